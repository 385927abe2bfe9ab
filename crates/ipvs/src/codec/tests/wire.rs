//! Bytes that a kernel sent or accepted, each file with the command that produced it.

use std::net::Ipv4Addr;

use super::super::*;
use crate::{
    Command, CommandObject, Destination, DestinationKey, Family, Info, Name, Netmask, Service,
    ServiceKey, SyncDaemon, SyncState, Timeouts, Tunnel, Version, flags, forward, protocol,
    tunnel_kind,
};

macro_rules! wire {
    ($name:literal) => {
        bytes(include_str!(concat!("wire/", $name, ".hex")))
    };
}

fn bytes(text: &str) -> Vec<u8> {
    text.lines()
        .filter_map(|line| line.split('#').next())
        .flat_map(str::split_whitespace)
        .map(|byte| u8::from_str_radix(byte, 16).expect("two hexadecimal digits"))
        .collect()
}

fn only(datagram: &[u8]) -> Message<'_> {
    let mut all = messages(datagram);
    let first = all.next().expect("a message").expect("whole");
    assert_eq!(all.next(), None);
    first
}

fn web() -> Service {
    let key = ServiceKey::Address {
        address: Ipv4Addr::new(192, 0, 2, 1).into(),
        port: 80,
        protocol: protocol::TCP,
    };
    Service {
        flags: flags::PERSISTENT,
        timeout: 360,
        netmask: Netmask::Ipv4(Ipv4Addr::new(255, 255, 255, 0)),
        ..Service::new(key, Name::new("wrr").unwrap())
    }
}

#[test]
fn a_dump_of_services_holds_both() {
    let datagram = wire!("services");
    let services: Vec<_> = messages(&datagram)
        .map(|message| {
            let message = message.unwrap();
            assert_eq!((message.kind, message.sequence), (0x1c, 7));
            assert_eq!(message.answer(), Ok(Answer::Data(message.payload)));
            let entry = decode_service(message.payload).unwrap().entry().unwrap();
            assert!(entry.unknown.is_empty());
            entry.service
        })
        .collect();
    let marked = ServiceKey::Fwmark { family: Family::Ipv6, fwmark: 5 };
    let expected = [
        Service { flags: flags::PERSISTENT | flags::HASHED, ..web() },
        Service {
            flags: flags::SCHED2 | flags::HASHED,
            netmask: Netmask::Ipv6(128),
            ..Service::new(marked, Name::new("sh").unwrap())
        },
    ];
    assert_eq!(services, expected);
}

#[test]
fn a_dump_ends_with_done() {
    assert_eq!(only(&wire!("done")).answer(), Ok(Answer::Done));
}

#[test]
fn a_destination_behind_nat_has_weight_and_thresholds() {
    let datagram = wire!("masq");
    let reply = decode_destination(only(&datagram).payload, Family::Ipv4).unwrap();
    let address = Ipv4Addr::new(198, 51, 100, 1).into();
    let key = DestinationKey { address, port: 8080 };
    let expected = Destination {
        weight: 5,
        upper_threshold: 100,
        lower_threshold: 50,
        ..Destination::new(key, forward::MASQ)
    };
    assert_eq!(reply.destination, expected);
    assert!(reply.unknown().is_empty());
}

#[test]
fn a_tunnel_keeps_its_kind_and_port_and_a_weight_of_zero() {
    let datagram = wire!("gue");
    let reply = decode_destination(only(&datagram).payload, Family::Ipv6).unwrap();
    let key = DestinationKey { address: "2001:db8::a".parse().unwrap(), port: 0 };
    let expected = Destination {
        weight: 0,
        tunnel: Tunnel { kind: tunnel_kind::GUE, port: 6080, flags: 0 },
        ..Destination::new(key, forward::TUNNEL)
    };
    assert_eq!(reply.destination, expected);
}

#[test]
fn a_new_service_is_encoded_as_the_kernel_accepted_it() {
    let mut encoder = Encoder::default();
    let header = Header { family: 0x1c, sequence: 7 };
    let service = Service { flags: flags::PERSISTENT | flags::HASHED, ..web() };
    let command = Command::NewService(service);
    encoder.command(header, &command).unwrap();
    assert_eq!(encoder.bytes(), wire!("new_service"));
    let object = decode_object(only(encoder.bytes()).payload);
    assert_eq!(object, Ok(CommandObject::Service(web().key)));
}

#[test]
fn a_reset_of_counters_names_its_service_and_nothing_else() {
    let mut encoder = Encoder::default();
    encoder.command(HEADER, &Command::ZeroService(web().key)).unwrap();
    assert_eq!(encoder.bytes(), wire!("zero"));
    let object = decode_object(only(encoder.bytes()).payload);
    assert_eq!(object, Ok(CommandObject::Service(web().key)));
}

#[test]
fn a_refusal_without_a_message_has_its_number() {
    let failure = Failure { errno: 17, message: None };
    assert_eq!(only(&wire!("exists")).answer(), Ok(Answer::Failed(failure)));
}

#[test]
fn a_refusal_contains_the_kernels_message_behind_the_echo() {
    let failure = Failure { errno: 34, message: Some("Attribute failed policy validation".into()) };
    assert_eq!(only(&wire!("policy")).answer(), Ok(Answer::Failed(failure)));
}

#[test]
fn the_message_at_a_batchs_end_is_acknowledged() {
    let mut encoder = Encoder::default();
    encoder.barrier(8).unwrap();
    let sent = [16, 0, 0, 0, 1, 0, 5, 0, 8, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(encoder.bytes(), sent);
    let datagram = wire!("barrier");
    let answer = only(&datagram);
    assert_eq!((answer.sequence, answer.answer()), (8, Ok(Answer::Acknowledged)));
}

const HEADER: Header = Header { family: 0x1c, sequence: 7 };

#[test]
fn the_report_on_ipvs_is_version_and_size() {
    let datagram = wire!("info");
    let expected = Info { version: Version(0x01_02_01), connection_table_size: 4096 };
    assert_eq!(decode_info(only(&datagram).payload), Ok(expected));
    assert_eq!(expected.version.to_string(), "1.2.1");
}

#[test]
fn timeouts_are_in_seconds_and_only_those_set_are_sent() {
    let datagram = wire!("timeouts");
    let expected = Timeouts { tcp: 7200, tcp_fin: 120, udp: 61 };
    assert_eq!(decode_timeouts(only(&datagram).payload), Ok(expected));
    let mut encoder = Encoder::default();
    encoder.set_timeouts(HEADER, &Timeouts { tcp_fin: 0, ..expected }).unwrap();
    assert_eq!(encoder.bytes(), wire!("set_timeouts"));
}

fn backup() -> SyncDaemon {
    SyncDaemon {
        state: SyncState::Backup,
        interface: Name::new("eth1").unwrap(),
        sync_id: 8,
        max_length: Some(2000),
        group: Some("ff02::81".parse().unwrap()),
        port: Some(9000),
        ttl: Some(3),
    }
}

#[test]
fn a_dump_of_sync_daemons_holds_the_values_chosen_by_the_kernel() {
    let datagram = wire!("daemons");
    let daemons: Vec<_> = messages(&datagram)
        .map(|message| {
            let entry = decode_sync_daemon(message.unwrap().payload).unwrap().entry();
            assert!(entry.unknown.is_empty());
            entry.daemon
        })
        .collect();
    let master = SyncDaemon {
        state: SyncState::Master,
        interface: Name::new("eth0").unwrap(),
        sync_id: 7,
        max_length: Some(1472),
        group: Some(Ipv4Addr::new(224, 0, 0, 81).into()),
        port: Some(8848),
        ttl: Some(1),
    };
    assert_eq!(daemons, [master, backup()]);
}

#[test]
fn a_new_sync_daemon_is_encoded_as_the_kernel_accepted_it() {
    let mut encoder = Encoder::default();
    encoder.new_sync_daemon(HEADER, &backup()).unwrap();
    assert_eq!(encoder.bytes(), wire!("new_daemon"));
}

#[test]
fn stopping_a_missing_sync_daemon_is_refused() {
    let datagram = wire!("no_daemon");
    let failure = Failure { errno: 3, message: None };
    assert_eq!(only(&datagram).answer(), Ok(Answer::Failed(failure)));
    let mut encoder = Encoder::default();
    encoder.delete_sync_daemon(HEADER, SyncState::Backup).unwrap();
    let echo = only(&datagram).payload.get(4..);
    assert_eq!(Some(encoder.bytes()), echo);
    let object = decode_object(only(encoder.bytes()).payload);
    assert_eq!(object, Ok(CommandObject::SyncDaemon(SyncState::Backup)));
}
