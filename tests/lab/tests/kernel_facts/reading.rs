//! P27, P28, P31 and P48: reading the table, and reading it while others write.

use evenkeel_ipvs::{Tunnel, flags, forward, protocol, tunnel_flags, tunnel_kind};

use super::wire::{self, Wire, command, find, kinds, nest};
use super::*;

/// `IPVS_SVC_ATTR_AF`, `_PORT` and `_FWMARK`
const SERVICE_AF: u16 = 1;
const SERVICE_PORT: u16 = 4;
const SERVICE_FWMARK: u16 = 5;
/// `IPVS_DEST_ATTR_PORT`
const DESTINATION_PORT: u16 = 2;
/// `CTRL_ATTR_OPS` and `CTRL_ATTR_MCAST_GROUPS`
const OPERATIONS: u16 = 6;
const GROUPS: u16 = 7;

/// Enough objects for several datagrams of the smallest size.
const OBJECTS: u16 = 60;

fn mark() -> Service {
    marked(Family::Ipv4, 5)
}

fn numbered(port: u16) -> Destination {
    destination(&format!("198.51.100.1:{port}"), forward::MASQ)
}

/// Creates a namespace with a service of this many destinations, which are listed from the last one
/// down.
fn crowded() -> (Client, Wire) {
    let mut client = client();
    done(&mut client, [Command::NewService(mark())]);
    done(&mut client, (1..=OBJECTS).map(|it| Command::NewDestination(mark().key, numbered(it))));
    (client, Wire::open())
}

fn mark_key() -> Vec<u8> {
    let family = (SERVICE_AF, 2_u16.to_ne_bytes().to_vec());
    let mark = (SERVICE_FWMARK, 5_u32.to_ne_bytes().to_vec());
    nest(wire::SERVICE, &[family, mark])
}

/// Returns the ports of a dump of the destinations during which `write` runs after the second
/// datagram.
fn disturbed(wire: &Wire, write: impl FnOnce()) -> Vec<u16> {
    let names = (wire::DESTINATION, DESTINATION_PORT);
    ports_of(wire, command::GET_DESTINATION, &mark_key(), names, write)
}

/// Reads one datagram of a dump, runs `write`, and reads the rest. The kernel has made two
/// datagrams by then, so the change falls between the second and the third.
fn ports_of(
    wire: &Wire,
    command: u8,
    key: &[u8],
    (object, port): (u16, u16),
    write: impl FnOnce(),
) -> Vec<u16> {
    let port = |answer: &Vec<u8>| {
        let bytes = find(find(answer, object).unwrap(), port).unwrap();
        u16::from_be_bytes(bytes.try_into().unwrap())
    };
    let mut dump = wire.dump(command, key);
    let mut read = dump.next().unwrap();
    assert!(read.len() < usize::from(OBJECTS) / 3, "{} in one datagram", read.len());
    write();
    read.extend(dump.by_ref().flatten());
    assert!(!dump.was_interrupted, "the kernel has learned to say so");
    read.iter().map(port).collect()
}

/// Returns 60, 59, ... without the numbers that a predicate removes.
fn descending(keep: impl Fn(u16) -> bool) -> Vec<u16> {
    (1..=OBJECTS).rev().filter(|port| keep(*port)).collect()
}

#[test]
fn p27_an_undisturbed_dump_is_complete_and_in_the_order_of_the_list() {
    let (_client, wire) = crowded();
    assert_eq!(disturbed(&wire, || ()), descending(|_| true));
}

#[test]
fn p27_a_destination_deleted_during_a_dump_hides_another_one() {
    let (mut client, wire) = crowded();
    let delete = Command::DeleteDestination(mark().key, numbered(OBJECTS).key());
    let read = disturbed(&wire, || done(&mut client, [delete]));
    let missing: Vec<u16> = (1..=OBJECTS).filter(|port| !read.contains(port)).collect();
    let [hidden] = missing[..] else { panic!("{missing:?} are missing of {read:?}") };
    assert_ne!(hidden, OBJECTS, "the deleted one was read before it went");
    assert_eq!(read, descending(|port| port != hidden));
    assert_eq!(client.destinations(&mark().key).unwrap().len(), usize::from(OBJECTS) - 1);
}

#[test]
fn p27_a_destination_added_during_a_dump_duplicates_another_one_and_is_missing_itself() {
    let (mut client, wire) = crowded();
    let add = Command::NewDestination(mark().key, numbered(OBJECTS + 1));
    let mut read = disturbed(&wire, || done(&mut client, [add]));
    assert_eq!(read.len(), usize::from(OBJECTS) + 1);
    read.dedup();
    assert_eq!(read, descending(|_| true));
}

#[test]
fn p27_a_service_deleted_during_a_dump_of_its_destinations_truncates_it_silently() {
    let (mut client, wire) = crowded();
    let read = disturbed(&wire, || done(&mut client, [Command::DeleteService(mark().key)]));
    assert!(!read.is_empty() && read.len() < usize::from(OBJECTS), "{read:?}");
    let none = wire.dump(command::GET_DESTINATION, &mark_key()).flatten().count();
    assert_eq!(none, 0, "and afterwards it is empty, which is no error");
}

#[test]
fn p27_a_service_deleted_during_a_dump_hides_another_one() {
    let mut client = client();
    let numbered = |port| service(&format!("192.0.2.1:{port}"), protocol::TCP, "rr");
    done(&mut client, (1..=OBJECTS).map(|port| Command::NewService(numbered(port))));
    let wire = Wire::open();
    let names = (wire::SERVICE, SERVICE_PORT);
    let whole = ports_of(&wire, command::GET_SERVICE, &[], names, || ());
    assert_eq!(whole.len(), usize::from(OBJECTS));
    let delete = Command::DeleteService(numbered(whole[0]).key);
    let read = ports_of(&wire, command::GET_SERVICE, &[], names, || done(&mut client, [delete]));
    assert_eq!((read.len(), read[0]), (whole.len() - 1, whole[0]));
}

#[test]
fn p28_the_family_has_operations_and_no_multicast_group() {
    fresh_namespace();
    let answered = kinds(&wire::lookup().unwrap());
    assert!(answered.contains(&OPERATIONS) && !answered.contains(&GROUPS), "{answered:?}");
}

#[test]
fn p31_a_dump_for_an_invalid_key_is_empty_and_not_refused() {
    let (_client, wire) = crowded();
    let odd_family = nest(wire::SERVICE, &[(SERVICE_AF, 7_u16.to_ne_bytes().to_vec())]);
    for key in [vec![], nest(wire::SERVICE, &[]), odd_family] {
        assert_eq!(wire.dump(command::GET_DESTINATION, &key).flatten().count(), 0);
    }
}

#[test]
fn p48_the_file_in_proc_omits_attributes_that_netlink_shows() {
    let mut client = client();
    let sip = Some(Name::new("sip").unwrap());
    let persistent = Service {
        flags: flags::PERSISTENT | flags::SCHED1,
        timeout: 300,
        persistence_engine: sip,
        ..service("192.0.2.1:5060", protocol::UDP, "sh")
    };
    let ops = |text| Service { flags: flags::ONE_PACKET, ..service(text, protocol::UDP, "rr") };
    let tunnel = Tunnel { kind: tunnel_kind::GUE, port: 6080, flags: tunnel_flags::CSUM };
    let limited = Destination {
        upper_threshold: 20,
        lower_threshold: 10,
        tunnel,
        ..destination("198.51.100.1:53", forward::TUNNEL)
    };
    for (services, expected) in [
        // The timeout is in ticks; flag and engine are missing.
        (vec![persistent], "UDP C0000201:13C4 sh persistent 30000 FFFFFFFF\n"),
        (vec![ops("192.0.2.1:53")], "UDP C0000201:0035 rr ops\n"),
        (vec![ops("[2001:db8::1]:53")], "UDP [2001:0db8:0000:0000:0000:0000:0000:0001]:0035 rr\n"),
        (
            vec![marked(Family::Ipv4, 5), marked(Family::Ipv6, 5)],
            "FWM 00000005 rr\nFWM 00000005 rr\n",
        ),
    ] {
        done(&mut client, services.iter().copied().map(Command::NewService));
        assert_eq!(shown(), expected);
        done(&mut client, services.iter().map(|it| Command::DeleteService(it.key)));
    }
    let plain = service("192.0.2.1:53", protocol::UDP, "rr");
    done(&mut client, [Command::NewService(plain), Command::NewDestination(plain.key, limited)]);
    assert_eq!(shown(), "UDP C0000201:0035 rr\n-> C6336401:0035 Tunnel 1 0 0\n");
}

/// Returns the table as a file, with single spaces, without its three lines of heading.
fn shown() -> String {
    let text = std::fs::read_to_string("/proc/thread-self/net/ip_vs").unwrap();
    let lines = text.lines().skip(3);
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}
