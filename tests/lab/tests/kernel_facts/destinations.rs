//! P2, P3, P5, P11, P14, P15 and P17 of destinations.

use evenkeel_ipvs::{Tunnel, codec, forward, protocol, tunnel_flags, tunnel_kind};
use nix::errno::Errno;

use super::director::{Director, scheduled, server, visit};
use super::wire::{self, Wire, command, find, kinds, nest};
use super::*;

/// `IPVS_SVC_ATTR_AF` and `_FWMARK`
const SERVICE_AF: u16 = 1;
const SERVICE_FWMARK: u16 = 5;

/// `IPVS_DEST_ATTR_*`
const ADDR: u16 = 1;
const PORT: u16 = 2;
const FWD_METHOD: u16 = 3;
const WEIGHT: u16 = 4;
const U_THRESH: u16 = 5;
const L_THRESH: u16 = 6;
const ADDR_FAMILY: u16 = 11;
const TUN_TYPE: u16 = 13;
const TUN_PORT: u16 = 14;
const TUN_FLAGS: u16 = 15;

/// Returns the service of the raw messages here: IPv4 mark 5.
fn mark() -> Service {
    marked(Family::Ipv4, 5)
}

fn mark_key() -> Vec<u8> {
    let five = 5_u32.to_ne_bytes().to_vec();
    let family = 2_u16.to_ne_bytes().to_vec();
    nest(wire::SERVICE, &[(SERVICE_AF, family), (SERVICE_FWMARK, five)])
}

/// Returns the attributes that a request for 198.51.100.1:80 must contain.
fn complete(forward: u32) -> Vec<(u16, Vec<u8>)> {
    let mut address = vec![198, 51, 100, 1];
    address.resize(16, 0);
    vec![
        (ADDR, address),
        (PORT, vec![0, 80]),
        (FWD_METHOD, forward.to_ne_bytes().to_vec()),
        (WEIGHT, 7_u32.to_ne_bytes().to_vec()),
        (U_THRESH, vec![0; 4]),
        (L_THRESH, vec![0; 4]),
    ]
}

fn write(wire: &Wire, command: u8, attributes: &[(u16, Vec<u8>)]) -> Result<(), Errno> {
    let request = [mark_key(), nest(wire::DESTINATION, attributes)].concat();
    wire.ask(command, &request).map(drop)
}

/// Returns the only destination of the mark, as the kernel reports it.
fn only(wire: &Wire) -> Vec<u8> {
    let answers: Vec<_> = wire.dump(command::GET_DESTINATION, &mark_key()).flatten().collect();
    let [answer] = &answers[..] else { panic!("{} destinations", answers.len()) };
    find(answer, wire::DESTINATION).unwrap().to_vec()
}

/// Creates a namespace with the service and no destination.
fn with_service() -> (Client, Wire) {
    let mut client = client();
    done(&mut client, [Command::NewService(mark())]);
    (client, Wire::open())
}

#[test]
fn p02_everything_but_address_and_port_changes_in_place() {
    let mut client = client();
    let web = service("192.0.2.1:80", protocol::TCP, "rr");
    let all = ["198.51.100.1:80", "198.51.100.2:80", "198.51.100.2:81"]
        .map(|text| destination(text, forward::DROUTE));
    done(&mut client, [Command::NewService(web)]);
    done(&mut client, all.map(|it| Command::NewDestination(web.key, it)));
    let edited = Destination {
        forward: forward::TUNNEL,
        weight: 9,
        upper_threshold: 20,
        lower_threshold: 10,
        tunnel: Tunnel { kind: tunnel_kind::GUE, port: 6080, flags: tunnel_flags::CSUM },
        ..all[1]
    };
    done(&mut client, [Command::SetDestination(web.key, edited)]);
    let read: Vec<_> =
        client.destinations(&web.key).unwrap().into_iter().map(|it| it.destination).collect();
    assert_eq!(read, [all[2], edited, all[0]], "its place in the list stays");
    // The last one would be a change of family: it is another destination, which does not exist.
    for text in ["198.51.100.3:80", "198.51.100.1:8080", "[c633:6401::]:80"] {
        let other = destination(text, forward::TUNNEL);
        let refusal = reason(&mut client, Command::SetDestination(web.key, other));
        assert_eq!(refusal, Some(RefusalReason::NoDestination), "{text}");
    }
}

#[test]
fn p03_a_destination_without_a_family_gets_its_services_and_is_reported_with_it() {
    let (_client, wire) = with_service();
    write(&wire, command::NEW_DESTINATION, &complete(forward::DROUTE)).unwrap();
    let answer = only(&wire);
    assert_eq!(find(&answer, ADDR_FAMILY), Some(&2_u16.to_ne_bytes()[..]));
    let address = find(&answer, ADDR).unwrap();
    assert_eq!((address.len(), &address[..4]), (16, &[198, 51, 100, 1][..]));
}

/// Tested without a kernel: none before 3.18 can be booted here.
#[test]
fn p03_a_destination_that_an_old_kernel_reports_without_a_family_has_its_services() {
    // The generic netlink header, which is not read.
    let header = vec![0; 4];
    let mut old = complete(forward::MASQ);
    old.extend((7..=9).map(|kind| (kind, vec![0; 4])));
    let payload = [header, nest(wire::DESTINATION, &old)].concat();
    for (family, address) in [(Family::Ipv4, "198.51.100.1"), (Family::Ipv6, "c633:6401::")] {
        let reply = codec::decode_destination(&payload, family).unwrap();
        assert_eq!(reply.destination.address.to_string(), address);
    }
}

#[test]
fn p04_ports_of_destinations_and_tunnels_are_in_network_byte_order() {
    let (mut client, wire) = with_service();
    let tunnel = Tunnel { kind: tunnel_kind::GUE, port: 0x1234, flags: tunnel_flags::REMCSUM };
    let it = Destination { tunnel, ..destination("198.51.100.1:80", forward::TUNNEL) };
    done(&mut client, [Command::NewDestination(mark().key, it)]);
    let answer = only(&wire);
    assert_eq!(find(&answer, PORT), Some(&[0, 80][..]));
    assert_eq!(find(&answer, TUN_PORT), Some(&[0x12, 0x34][..]));
    assert_eq!(find(&answer, TUN_FLAGS), Some(&tunnel_flags::REMCSUM.to_ne_bytes()[..]));
}

#[test]
fn p05_weights_and_counts_of_connections_are_32_bits_wide() {
    let (mut client, wire) = with_service();
    let most = i32::MAX.cast_unsigned();
    let heavy = Destination { weight: most, ..destination("198.51.100.1:80", forward::DROUTE) };
    done(&mut client, [Command::NewDestination(mark().key, heavy)]);
    let answer = only(&wire);
    assert_eq!(find(&answer, WEIGHT), Some(&most.to_ne_bytes()[..]));
    // ACTIVE_CONNS, INACT_CONNS, PERSIST_CONNS
    for kind in 7..=9 {
        assert_eq!(find(&answer, kind), Some(&[0; 4][..]), "{kind}");
    }
    let heavier = Destination { weight: most + 1, ..heavy };
    for command in [
        Command::SetDestination(mark().key, heavier),
        Command::NewDestination(mark().key, Destination { port: 81, ..heavier }),
    ] {
        assert_eq!(reason(&mut client, command), Some(RefusalReason::OutOfRange));
    }
}

#[test]
fn p11_setting_a_destination_without_one_of_its_values_is_refused() {
    let (_client, wire) = with_service();
    write(&wire, command::NEW_DESTINATION, &complete(forward::DROUTE)).unwrap();
    for kind in [FWD_METHOD, WEIGHT, U_THRESH, L_THRESH] {
        let mut partial = complete(forward::DROUTE);
        partial.retain(|(other, _)| *other != kind);
        assert_eq!(write(&wire, command::SET_DESTINATION, &partial), Err(Errno::EINVAL), "{kind}");
    }
}

#[test]
fn p11_a_client_that_knows_no_tunnels_turns_each_into_ipip_when_it_sets_a_weight() {
    let (mut client, wire) = with_service();
    let tunnel = Tunnel { kind: tunnel_kind::GUE, port: 6080, flags: tunnel_flags::REMCSUM };
    let it = Destination { tunnel, ..destination("198.51.100.1:80", forward::TUNNEL) };
    done(&mut client, [Command::NewDestination(mark().key, it)]);
    write(&wire, command::SET_DESTINATION, &complete(forward::TUNNEL)).unwrap();
    let read = client.destinations(&mark().key).unwrap()[0].destination;
    assert_eq!((read.weight, read.tunnel), (7, Tunnel::default()));
}

#[test]
fn p14_raising_a_threshold_ends_an_overload_at_once_and_lowering_it_starts_none() {
    let limited = |upper_threshold| Destination { upper_threshold, ..server(1) };
    let service = scheduled("rr");
    let mut director = Director::new(service, [limited(2)]);
    let set = |upper| [Command::SetDestination(service.key, limited(upper))];
    assert!(visit(1) && visit(2));
    assert!(!visit(3), "two are enough");
    director.done(set(3));
    assert!(visit(4), "there is room for a third at once");
    assert!(!visit(5));
    director.done(set(0));
    assert!(visit(6) && visit(7), "0 is no limit");
    director.done(set(1));
    assert!(visit(8), "five above the limit, which is checked only after another connection");
    assert!(!visit(9));
    assert_eq!(director.counts(), [6]);
}

#[test]
fn p14_a_lower_threshold_needs_an_upper_one_that_is_not_below_it() {
    let (mut client, _wire) = with_service();
    let limited = |upper_threshold, lower_threshold| Destination {
        upper_threshold,
        lower_threshold,
        ..destination("198.51.100.1:80", forward::DROUTE)
    };
    let add = |upper, lower| Command::NewDestination(mark().key, limited(upper, lower));
    let set = |upper, lower| Command::SetDestination(mark().key, limited(upper, lower));
    assert_eq!(reason(&mut client, add(0, 1)), Some(RefusalReason::OutOfRange));
    assert_eq!(reason(&mut client, add(2, 3)), Some(RefusalReason::OutOfRange));
    // Both change in one message, each past the other's old value.
    done(&mut client, [add(5, 5), set(50, 40), set(3, 2), set(0, 0)]);
    assert_eq!(reason(&mut client, set(0, 1)), Some(RefusalReason::OutOfRange));
}

#[test]
fn p15_tunnel_attributes_of_other_forwarding_methods_are_stored_and_reported() {
    let (mut client, wire) = with_service();
    let mut odd = complete(forward::DROUTE);
    odd.extend([(TUN_TYPE, vec![tunnel_kind::GUE]), (TUN_PORT, vec![0x17, 0xc0])]);
    odd.push((TUN_FLAGS, tunnel_flags::CSUM.to_ne_bytes().to_vec()));
    write(&wire, command::NEW_DESTINATION, &odd).unwrap();
    let read = client.destinations(&mark().key).unwrap()[0].destination;
    let tunnel = Tunnel { kind: tunnel_kind::GUE, port: 0x17c0, flags: tunnel_flags::CSUM };
    assert_eq!((read.forward, read.tunnel), (forward::DROUTE, tunnel));
    assert!(kinds(&only(&wire)).contains(&TUN_TYPE));
    // Each attribute is reported, even without a meaning.
    write(&wire, command::SET_DESTINATION, &complete(forward::MASQ)).unwrap();
    let answered = kinds(&only(&wire));
    assert!([TUN_TYPE, TUN_PORT, TUN_FLAGS].iter().all(|it| answered.contains(it)), "{answered:?}");
}

/// The same holds for direct routing and address translation; `ipvsadm` and evenkeel send a port
/// with GUE only.
#[test]
fn p15_the_gue_type_needs_a_port_even_with_other_forwarding_methods() {
    let (_client, wire) = with_service();
    for method in [forward::TUNNEL, forward::DROUTE, forward::MASQ] {
        let mut gue = complete(method);
        gue.push((TUN_TYPE, vec![tunnel_kind::GUE]));
        let refused = write(&wire, command::NEW_DESTINATION, &gue);
        assert_eq!(refused, Err(Errno::EINVAL), "{method}");
    }
}

#[test]
fn p17_an_address_is_checked_when_it_is_new_and_not_when_it_is_added_again() {
    let mut client = client();
    let six = marked(Family::Ipv6, 5);
    // A link-local address is valid for a real server only if it belongs to this host.
    let it = destination("[fe80::17]:80", forward::MASQ);
    let add = || Command::NewDestination(six.key, it);
    done(&mut client, [Command::NewService(six)]);
    assert_eq!(reason(&mut client, add()), Some(RefusalReason::Invalid));
    run("ip link add d0 up type dummy");
    run("ip address add fe80::17/64 dev d0 nodad");
    done(&mut client, [add(), Command::DeleteDestination(six.key, it.key())]);
    run("ip link del d0");
    done(&mut client, [add()]);
    let other = destination("[fe80::17]:81", forward::MASQ);
    let refusal = reason(&mut client, Command::NewDestination(six.key, other));
    assert_eq!(refusal, Some(RefusalReason::Invalid), "one that was never there");
}
