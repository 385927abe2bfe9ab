//! P1 and P3 to P12 of services: their identity, the encoding of their values, and the effects of
//! an edit.

use std::net::Ipv4Addr;

use evenkeel_ipvs::{Netmask, flags, protocol};
use nix::errno::Errno;

use super::wire::{self, Wire, attribute, command, find, kinds, nest};
use super::*;

/// `IPVS_SVC_ATTR_*`
const AF: u16 = 1;
const PROTOCOL: u16 = 2;
const ADDR: u16 = 3;
const PORT: u16 = 4;
const FWMARK: u16 = 5;
const SCHED_NAME: u16 = 6;
const FLAGS: u16 = 7;
const TIMEOUT: u16 = 8;
const NETMASK: u16 = 9;
const PE_NAME: u16 = 11;

fn web() -> Service {
    service("192.0.2.1:80", protocol::TCP, "rr")
}

/// Returns the only service of the table, as the kernel reports it.
fn only(wire: &Wire) -> Vec<u8> {
    let answers: Vec<Vec<u8>> = wire.dump(command::GET_SERVICE, &[]).flatten().collect();
    let [answer] = &answers[..] else { panic!("{} services", answers.len()) };
    find(answer, wire::SERVICE).unwrap().to_vec()
}

/// Returns the attributes that a request for that service must contain; for IPv6 by its mark.
fn complete(family: u16, key: &[(u16, Vec<u8>)]) -> Vec<(u16, Vec<u8>)> {
    let mask = if family == 2 { u32::MAX } else { 128 };
    let mut attributes = vec![(AF, family.to_ne_bytes().to_vec())];
    attributes.extend_from_slice(key);
    attributes.extend([
        (SCHED_NAME, b"rr\0".to_vec()),
        (FLAGS, [0_u32, u32::MAX].map(u32::to_ne_bytes).concat()),
        (TIMEOUT, vec![0; 4]),
        (NETMASK, mask.to_ne_bytes().to_vec()),
    ]);
    attributes
}

/// Returns the attributes of TCP 192.0.2.1:80.
fn complete_web() -> Vec<(u16, Vec<u8>)> {
    let mut address = vec![192, 0, 2, 1];
    address.resize(16, 0);
    let key = [(PROTOCOL, vec![6, 0]), (ADDR, address), (PORT, vec![0, 80])];
    complete(2, &key)
}

fn with(mut attributes: Vec<(u16, Vec<u8>)>, kind: u16, bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    attributes.retain(|(other, _)| *other != kind);
    attributes.push((kind, bytes.to_vec()));
    attributes
}

fn without(mut attributes: Vec<(u16, Vec<u8>)>, kind: u16) -> Vec<(u16, Vec<u8>)> {
    attributes.retain(|(other, _)| *other != kind);
    attributes
}

fn write(wire: &Wire, command: u8, attributes: &[(u16, Vec<u8>)]) -> Result<(), Errno> {
    wire.ask(command, &nest(wire::SERVICE, attributes)).map(drop)
}

#[test]
fn p01_a_mark_is_reported_without_protocol_address_and_port() {
    let mut client = client();
    let wire = Wire::open();
    done(&mut client, [Command::NewService(marked(Family::Ipv6, 5))]);
    let answered = kinds(&only(&wire));
    assert!(answered.contains(&FWMARK));
    assert!([PROTOCOL, ADDR, PORT].iter().all(|kind| !answered.contains(kind)), "{answered:?}");
    done(&mut client, [Command::DeleteService(marked(Family::Ipv6, 5).key)]);
    done(&mut client, [Command::NewService(web())]);
    let answered = kinds(&only(&wire));
    assert!([PROTOCOL, ADDR, PORT].iter().all(|kind| answered.contains(kind)), "{answered:?}");
    assert!(!answered.contains(&FWMARK));
}

#[test]
fn p03_addresses_of_services_have_sixteen_bytes_in_either_family() {
    for (text, start) in
        [("192.0.2.1:80", &[192, 0, 2, 1][..]), ("[2001:db8::1]:80", b" \x01\r\xb8")]
    {
        let mut client = client();
        done(&mut client, [Command::NewService(service(text, protocol::TCP, "rr"))]);
        let answer = only(&Wire::open());
        let address = find(&answer, ADDR).unwrap();
        assert_eq!((address.len(), &address[..4]), (16, start));
    }
}

#[test]
fn p04_a_port_and_a_mask_are_in_network_byte_order_and_a_prefix_length_in_host_byte_order() {
    let mut client = client();
    let masked = Service { netmask: Netmask::Ipv4(Ipv4Addr::new(255, 254, 0, 0)), ..web() };
    done(&mut client, [Command::NewService(masked)]);
    let answer = only(&Wire::open());
    assert_eq!(find(&answer, PORT), Some(&[0, 80][..]));
    assert_eq!(find(&answer, NETMASK), Some(&[255, 254, 0, 0][..]));
    assert_eq!(find(&answer, PROTOCOL), Some(&6_u16.to_ne_bytes()[..]));

    let mut client = super::client();
    let prefix = Service { netmask: Netmask::Ipv6(48), ..marked(Family::Ipv6, 5) };
    done(&mut client, [Command::NewService(prefix)]);
    assert_eq!(find(&only(&Wire::open()), NETMASK), Some(&48_u32.to_ne_bytes()[..]));
}

#[test]
fn p05_flags_are_reported_with_every_bit_in_their_mask() {
    let mut client = client();
    done(&mut client, [Command::NewService(web())]);
    let answered = [flags::HASHED, u32::MAX].map(u32::to_ne_bytes).concat();
    assert_eq!(find(&only(&Wire::open()), FLAGS), Some(&answered[..]));
}

#[test]
fn p06_an_unknown_bit_is_stored_and_survives_an_edit_whose_mask_omits_it() {
    const NEW: u32 = 0x4000_0000;
    let mut client = client();
    let wire = Wire::open();
    let all = [NEW, u32::MAX].map(u32::to_ne_bytes).concat();
    write(&wire, command::NEW_SERVICE, &with(complete_web(), FLAGS, &all)).unwrap();
    let mut flags = || client.service(&web().key).unwrap().unwrap().service.flags;
    assert_eq!(flags(), NEW | flags::HASHED);
    let none_of_known = [0, flags::KNOWN].map(u32::to_ne_bytes).concat();
    write(&wire, command::SET_SERVICE, &with(complete_web(), FLAGS, &none_of_known)).unwrap();
    assert_eq!(flags(), NEW | flags::HASHED);
    let none_at_all = [0, u32::MAX].map(u32::to_ne_bytes).concat();
    write(&wire, command::SET_SERVICE, &with(complete_web(), FLAGS, &none_at_all)).unwrap();
    assert_eq!(flags(), flags::HASHED, "the kernel's own bit cannot be taken away");
}

#[test]
fn p07_a_timeout_is_stored_in_ticks_and_wraps_around_beyond_32_bits_of_them() {
    // HZ is 100 in the kernel that the lab boots.
    const MOST: u32 = u32::MAX / 100;
    let mut client = client();
    for (sent, stored) in [(0, 0), (1, 1), (MOST, MOST), (MOST + 1, 0), (MOST + 3, 2)] {
        let timed = Service { timeout: sent, flags: flags::PERSISTENT, ..web() };
        done(&mut client, [Command::NewService(timed)]);
        assert_eq!(client.service(&web().key).unwrap().unwrap().service.timeout, stored, "{sent}");
        done(&mut client, [Command::DeleteService(web().key)]);
    }
}

#[test]
fn p08_an_ipv6_service_needs_a_prefix_length_even_without_persistence() {
    fresh_namespace();
    let wire = Wire::open();
    let marked = || complete(10, &[(FWMARK, 5_u32.to_ne_bytes().to_vec())]);
    for length in [0, 129, u32::MAX] {
        let wrong = with(marked(), NETMASK, &length.to_ne_bytes());
        assert_eq!(write(&wire, command::NEW_SERVICE, &wrong), Err(Errno::EINVAL), "{length}");
    }
    write(&wire, command::NEW_SERVICE, &marked()).unwrap();
    let wrong = with(marked(), NETMASK, &[0; 4]);
    assert_eq!(write(&wire, command::SET_SERVICE, &wrong), Err(Errno::EINVAL));
    // IPv4 accepts any value.
    write(&wire, command::NEW_SERVICE, &with(complete_web(), NETMASK, &[0; 4])).unwrap();
}

#[test]
fn p09_a_scheduler_has_at_most_fifteen_bytes_and_no_other_name() {
    fresh_namespace();
    let wire = Wire::open();
    let named =
        |name: &[u8]| write(&wire, command::NEW_SERVICE, &with(complete_web(), SCHED_NAME, name));
    assert_eq!(named(b"abcdefghijklmnop\0"), Err(Errno::EINVAL));
    for missing in [&b"abcdefghijklmno\0"[..], b"RR\0", b"round-robin\0"] {
        assert_eq!(named(missing), Err(Errno::ENOENT));
    }
}

#[test]
fn p09_flag_bits_stay_when_the_scheduler_changes_and_get_another_meaning() {
    let mut client = client();
    let bits = flags::SCHED1 | flags::SCHED2;
    let hashed = service("192.0.2.1:80", protocol::TCP, "sh");
    done(&mut client, [Command::NewService(Service { flags: bits, ..hashed })]);
    assert_eq!(run("ipvsadm -Sn").trim_end(), "-A -t 192.0.2.1:80 -s sh -b sh-fallback,sh-port");
    run("ipvsadm -E -t 192.0.2.1:80 -s mh -b mh-fallback,mh-port");
    assert_eq!(client.service(&web().key).unwrap().unwrap().service.flags, bits | flags::HASHED);
    done(&mut client, [Command::SetService(Service { flags: bits, ..web() })]);
    assert_eq!(run("ipvsadm -Sn").trim_end(), "-A -t 192.0.2.1:80 -s rr -b flag-1,flag-2");
}

#[test]
fn p10_an_engine_is_reported_only_if_there_is_one() {
    let mut client = client();
    let wire = Wire::open();
    done(&mut client, [Command::NewService(web())]);
    assert_eq!(find(&only(&wire), PE_NAME), None);
    let sip = Some(Name::new("sip").unwrap());
    done(&mut client, [Command::SetService(Service { persistence_engine: sip, ..web() })]);
    assert_eq!(find(&only(&wire), PE_NAME), Some(&b"sip\0"[..]));
    // Any request without one removes it.
    write(&wire, command::SET_SERVICE, &complete_web()).unwrap();
    assert_eq!(find(&only(&wire), PE_NAME), None);
}

#[test]
fn p11_setting_a_service_without_one_of_its_values_is_refused() {
    fresh_namespace();
    let wire = Wire::open();
    write(&wire, command::NEW_SERVICE, &complete_web()).unwrap();
    write(&wire, command::SET_SERVICE, &complete_web()).unwrap();
    for kind in [SCHED_NAME, FLAGS, TIMEOUT, NETMASK] {
        let partial = without(complete_web(), kind);
        assert_eq!(write(&wire, command::SET_SERVICE, &partial), Err(Errno::EINVAL), "{kind}");
    }
    // The key alone is enough to find it.
    let [af, protocol, address, port, ..] = &complete_web()[..] else { panic!("too few") };
    let key = [af, protocol, address, port].map(|(kind, bytes)| attribute(*kind, bytes)).concat();
    let key = attribute(wire::SERVICE | 0x8000, &key);
    assert!(wire.ask(command::GET_SERVICE, &key).unwrap().is_some());
}

/// The kernel looks for the new scheduler before it detaches the old one, which is therefore kept.
/// The service is left without a scheduler only if the new one is found and cannot be initialised,
/// for lack of memory.
#[test]
fn p12_a_missing_scheduler_leaves_the_service_with_its_former_one() {
    let mut client = client();
    done(&mut client, [Command::NewService(service("192.0.2.1:80", protocol::TCP, "wrr"))]);
    let nosuch = service("192.0.2.1:80", protocol::TCP, "nosuch");
    assert_eq!(reason(&mut client, Command::SetService(nosuch)), Some(RefusalReason::NoScheduler));
    let engine = Some(Name::new("nosuch").unwrap());
    let engine = Service { persistence_engine: engine, ..web() };
    assert_eq!(reason(&mut client, Command::SetService(engine)), Some(RefusalReason::NoScheduler));
    assert_eq!(run("ipvsadm -Sn").trim_end(), "-A -t 192.0.2.1:80 -s wrr");
}
