//! Tests what the kernel refuses, and how refusals are reported.

use evenkeel_ipvs::{Error, Interrupted, RefusalReason};
use evenkeel_lab_tests::run;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::*;

#[test]
fn each_refusal_has_its_reason_and_its_index_in_the_batch() {
    let server = destination("198.51.100.1:80", forward::DROUTE);
    let other = destination("198.51.100.2:80", forward::DROUTE);
    let absent = service("192.0.2.2:80", protocol::TCP, "wrr");
    let no_scheduler = service("192.0.2.3:80", protocol::TCP, "nosuch");
    let no_engine =
        Service { persistence_engine: Some(Name::new("nosuch").unwrap()), ..no_scheduler };
    let no_engine = Service { scheduler: Name::new("wrr").unwrap(), ..no_engine };
    let heavy = Destination { weight: 1 << 31, ..other };
    let crossed = Destination { upper_threshold: 1, lower_threshold: 2, ..other };
    let no_netmask = |length| Service {
        netmask: Netmask::Ipv6(length),
        ..service("[2001:db8::1]:80", protocol::TCP, "wrr")
    };
    let odd_family = marked(Family::Other(7), 5);
    let add = |destination| Command::NewDestination(web().key, destination);
    let cases = [
        (Command::NewService(web()), None),
        (Command::NewService(web()), Some(RefusalReason::Exists)),
        (add(server), None),
        (add(server), Some(RefusalReason::Exists)),
        (Command::SetService(absent), Some(RefusalReason::NoService)),
        (Command::DeleteService(absent.key), Some(RefusalReason::NoService)),
        (Command::ZeroService(absent.key), Some(RefusalReason::NoService)),
        (Command::NewDestination(absent.key, server), Some(RefusalReason::NoService)),
        (Command::SetDestination(absent.key, server), Some(RefusalReason::NoService)),
        (Command::DeleteDestination(absent.key, server.key()), Some(RefusalReason::NoService)),
        (Command::SetDestination(web().key, other), Some(RefusalReason::NoDestination)),
        (Command::DeleteDestination(web().key, other.key()), Some(RefusalReason::NoDestination)),
        (Command::NewService(no_scheduler), Some(RefusalReason::NoScheduler)),
        (Command::NewService(no_engine), Some(RefusalReason::NoScheduler)),
        (
            Command::SetService(Service { key: web().key, ..no_scheduler }),
            Some(RefusalReason::NoScheduler),
        ),
        (add(heavy), Some(RefusalReason::OutOfRange)),
        (add(crossed), Some(RefusalReason::OutOfRange)),
        (
            Command::SetDestination(web().key, Destination { weight: u32::MAX, ..server }),
            Some(RefusalReason::OutOfRange),
        ),
        (add(tunnelled("198.51.100.2:80", tunnel_kind::GUE, 0, 0)), Some(RefusalReason::Invalid)),
        (add(destination("224.0.0.1:80", forward::DROUTE)), Some(RefusalReason::Invalid)),
        (add(destination("[2001:db8::a]:80", forward::DROUTE)), Some(RefusalReason::Invalid)),
        (add(destination("[2001:db8::a]:80", forward::MASQ)), Some(RefusalReason::Invalid)),
        (Command::NewService(no_netmask(0)), Some(RefusalReason::Invalid)),
        (Command::NewService(no_netmask(129)), Some(RefusalReason::Invalid)),
        (Command::NewService(odd_family), Some(RefusalReason::NoAddressFamily)),
        // The refused commands in between had no effect.
        (Command::NewService(absent), None),
        (Command::DeleteService(absent.key), None),
    ];
    let mut client = client();
    let refused = client.execute(cases.iter().map(|(command, _)| *command)).unwrap();
    for refusal in &refused {
        let (command, _) = &cases[refusal.index];
        assert_eq!(refusal.refusal.object, command.object());
        assert_eq!(refusal.refusal.operation, command.operation());
    }
    let refused: Vec<(usize, RefusalReason)> =
        refused.iter().map(|refusal| (refusal.index, refusal.refusal.reason())).collect();
    let expected: Vec<(usize, RefusalReason)> = cases
        .iter()
        .enumerate()
        .filter_map(|(index, (_, reason))| Some((index, (*reason)?)))
        .collect();
    assert_eq!(refused, expected);
    assert_saved(["-A -t 192.0.2.1:80 -s wrr", "-a -t 192.0.2.1:80 -r 198.51.100.1:80 -g -w 1"]);
}

/// Returns this many addresses of destinations of one service.
fn numbered(number: u32) -> Destination {
    let address = Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(10, 0, 0, 1)) + number);
    destination(&format!("{address}:80"), forward::DROUTE)
}

#[test]
fn refusals_among_thousands_are_reported_at_their_indices() {
    const COMMANDS: u32 = 4000;
    let mut client = client();
    done(&mut client, [Command::NewService(web())]);
    let heavy = |number: u32| number % 7 == 3;
    let commands = (0..COMMANDS).map(|number| {
        let weight = if heavy(number) { 1 << 31 } else { number };
        Command::NewDestination(web().key, Destination { weight, ..numbered(number) })
    });
    let refused = client.execute(commands).unwrap();
    assert!(refused.iter().all(|refusal| refusal.refusal.reason() == RefusalReason::OutOfRange));
    let places: Vec<usize> = refused.iter().map(|refusal| refusal.index).collect();
    let expected: Vec<usize> =
        (0..COMMANDS).filter(|number| heavy(*number)).map(|number| number as usize).collect();
    assert_eq!(places, expected);
    let mut done = BTreeSet::new();
    client
        .for_each_destination(&web().key, |reply| assert!(done.insert(reply.destination.weight)))
        .unwrap();
    assert_eq!(done, (0..COMMANDS).filter(|number| !heavy(*number)).collect());
}

#[test]
fn none_of_thousands_of_refusals_is_lost() {
    const COMMANDS: usize = 5000;
    let mut client = client();
    let server = destination("198.51.100.1:80", forward::DROUTE);
    for command in [Command::NewDestination(web().key, server), Command::DeleteService(web().key)] {
        let refused = client.execute(std::iter::repeat_n(command, COMMANDS)).unwrap();
        assert!(refused.iter().map(|refusal| refusal.index).eq(0..COMMANDS));
        assert!(refused.iter().all(|refusal| refusal.refusal.reason() == RefusalReason::NoService));
    }
}

/// Runs `work` without any capability.
pub(super) fn unprivileged<T>(act: impl FnOnce() -> T) -> T {
    let held = capabilities(None).unwrap();
    let mut fewer = held;
    fewer.effective = CapabilitySet::empty();
    set_capabilities(None, fewer).unwrap();
    let outcome = act();
    set_capabilities(None, held).unwrap();
    outcome
}

#[test]
fn reading_and_writing_without_cap_net_admin_is_not_permitted() {
    let mut privileged = client();
    done(&mut privileged, [Command::NewService(web())]);
    let other = service("192.0.2.2:80", protocol::TCP, "wrr");
    let key = web().key;
    let attempts = |client: &mut Client| {
        let denied = |outcome: Result<(), Error>| match outcome {
            Err(Error::PermissionDenied { .. }) => {}
            other => panic!("{other:?}"),
        };
        denied(client.services().map(drop));
        denied(client.service(&key).map(drop));
        denied(client.destinations(&key).map(drop));
        let written = client.execute([Command::NewService(other), Command::DeleteService(key)]);
        match written {
            Err(Interrupted { refusals, unknown, source: Error::PermissionDenied { .. } }) => {
                assert!(refusals.is_empty() && unknown.is_empty());
            }
            other => panic!("{other:?}"),
        }
    };
    unprivileged(|| attempts(&mut Client::connect().unwrap()));
    // A socket opened with the capability does not keep the permission.
    unprivileged(|| attempts(&mut privileged));
    assert_saved(["-A -t 192.0.2.1:80 -s wrr"]);
    assert_eq!(privileged.services().unwrap().len(), 1, "it is of use again");
}

#[test]
fn a_new_destination_needs_lo_to_be_up() {
    evenkeel_lab_tests::bare_namespace();
    let mut client = Client::connect().unwrap();
    let add =
        || Command::NewDestination(web().key, destination("198.51.100.1:80", forward::DROUTE));
    let refused = client.execute([Command::NewService(web()), add()]).unwrap();
    let refused: Vec<_> = refused.iter().map(|it| (it.index, it.refusal.reason())).collect();
    assert_eq!(refused, [(1, RefusalReason::Invalid)]);
    run("ip link set lo up");
    done(&mut client, [add()]);
}
