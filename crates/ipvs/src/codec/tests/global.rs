//! Properties of all timeouts and sync daemons, and of arbitrary bytes in their place.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::super::*;
use super::laws::{HEADER, attribute, decode_everything, name, number, payload, port, with};
use crate::uapi::*;
use crate::{CommandObject, DecodeError, Info, SyncDaemon, SyncState, Timeouts, Version};

/// The generic netlink header in front of a message's attributes.
const GENERIC: [u8; 4] = [0, 1, 0, 0];

fn timeouts() -> impl Strategy<Value = Timeouts> {
    (number(), number(), number()).prop_map(|(tcp, tcp_fin, udp)| Timeouts { tcp, tcp_fin, udp })
}

fn state() -> impl Strategy<Value = SyncState> {
    prop_oneof![Just(SyncState::Master), Just(SyncState::Backup), any::<u32>().prop_map_into()]
}

fn daemon() -> impl Strategy<Value = SyncDaemon> {
    let left_open = (
        proptest::option::of(port()),
        proptest::option::of(any::<IpAddr>()),
        proptest::option::of(port()),
        proptest::option::of(any::<u8>()),
    );
    (state(), name(), number(), left_open).prop_map(|(state, interface, sync_id, rest)| {
        let (max_length, group, port, ttl) = rest;
        SyncDaemon { state, interface, sync_id, max_length, group, port, ttl }
    })
}

fn encoded(encode: impl FnOnce(&mut Encoder)) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encode(&mut encoder);
    encoder.bytes().to_vec()
}

fn started(daemon: &SyncDaemon) -> Vec<u8> {
    encoded(|encoder| encoder.new_sync_daemon(HEADER, daemon).unwrap())
}

proptest! {
    #[test]
    fn decoded_timeouts_are_those_encoded(timeouts in timeouts()) {
        let bytes = encoded(|encoder| encoder.set_timeouts(HEADER, &timeouts).unwrap());
        prop_assert_eq!(decode_timeouts(payload(&bytes)), Ok(timeouts));
        prop_assert_eq!(decode_object(payload(&bytes)), Ok(CommandObject::Table));
    }

    #[test]
    fn a_decoded_sync_daemon_is_the_one_encoded(daemon in daemon()) {
        let bytes = started(&daemon);
        let entry = decode_sync_daemon(payload(&bytes)).unwrap().entry();
        prop_assert_eq!(entry.daemon, daemon);
        prop_assert!(entry.unknown.is_empty());
    }

    #[test]
    fn a_request_contains_its_sync_daemon(daemon in daemon()) {
        let stopped = encoded(|encoder| encoder.delete_sync_daemon(HEADER, daemon.state).unwrap());
        for bytes in [started(&daemon), stopped] {
            let object = decode_object(payload(&bytes));
            prop_assert_eq!(object, Ok(CommandObject::SyncDaemon(daemon.state)));
        }
    }

    #[test]
    fn the_report_on_ipvs_is_read_beside_unknown_attributes(
        version in number(), connection_table_size in number(), kind in 3..0x4000_u16,
    ) {
        let bytes = [
            GENERIC.to_vec(),
            attribute(kind, b"later"),
            attribute(IPVS_INFO_ATTR_CONN_TAB_SIZE, &connection_table_size.to_ne_bytes()),
            attribute(IPVS_INFO_ATTR_VERSION, &version.to_ne_bytes()),
        ]
        .concat();
        let expected = Info { version: Version(version), connection_table_size };
        prop_assert_eq!(decode_info(&bytes), Ok(expected));
    }

    #[test]
    fn a_sync_daemon_keeps_unknown_attributes(
        daemon in daemon(), kind in 9..0x4000_u16, bytes in any::<Vec<u8>>(),
    ) {
        let more = with(payload(&started(&daemon)), GENERIC.len(), &[attribute(kind, &bytes)]);
        let entry = decode_sync_daemon(&more).unwrap().entry();
        prop_assert_eq!(entry.daemon, daemon);
        let [only] = entry.unknown.as_slice() else { panic!("not one: {:?}", entry.unknown) };
        prop_assert_eq!((only.kind, &*only.bytes), (kind, &*bytes));
    }

    #[test]
    fn damaged_messages_decode_without_panic(
        daemon in daemon(),
        timeouts in timeouts(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let set = encoded(|encoder| encoder.set_timeouts(HEADER, &timeouts).unwrap());
        for mut bytes in [started(&daemon), set] {
            for (at, byte) in &damage {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            decode_everything(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            decode_everything(&bytes);
        }
    }
}

#[test]
fn a_timeout_of_zero_is_not_sent() {
    let bytes = encoded(|encoder| encoder.set_timeouts(HEADER, &Timeouts::default()).unwrap());
    assert_eq!(payload(&bytes), [IPVS_CMD_SET_CONFIG, 1, 0, 0]);
}

#[test]
fn a_kernel_without_a_protocol_reports_no_timeout_for_it() {
    let bytes =
        [GENERIC.to_vec(), attribute(IPVS_CMD_ATTR_TIMEOUT_UDP, &300_u32.to_ne_bytes())].concat();
    let expected = Timeouts { udp: 300, ..Timeouts::default() };
    assert_eq!(decode_timeouts(&bytes), Ok(expected));
}

#[test]
fn the_port_is_in_the_hosts_order_and_the_group_in_the_networks() {
    let group = Ipv4Addr::new(239, 1, 2, 3);
    let daemon = SyncDaemon {
        group: Some(group.into()),
        port: Some(0x1234),
        ..SyncDaemon::new(SyncState::Master, "eth0".try_into().unwrap())
    };
    let bytes = started(&daemon);
    for wanted in [
        attribute(IPVS_DAEMON_ATTR_MCAST_PORT, &0x1234_u16.to_ne_bytes()),
        attribute(IPVS_DAEMON_ATTR_MCAST_GROUP, &[239, 1, 2, 3]),
    ] {
        assert!(bytes.windows(wanted.len()).any(|window| window == wanted), "{wanted:02x?}");
    }
}

#[test]
fn an_old_kernels_sync_daemon_has_its_first_three_values() {
    let daemon =
        SyncDaemon { sync_id: 3, ..SyncDaemon::new(SyncState::Backup, "eth0".try_into().unwrap()) };
    let mut bytes = GENERIC.to_vec();
    let nested = [
        attribute(IPVS_DAEMON_ATTR_STATE, &IP_VS_STATE_BACKUP.to_ne_bytes()),
        attribute(IPVS_DAEMON_ATTR_MCAST_IFN, b"eth0\0"),
        attribute(IPVS_DAEMON_ATTR_SYNC_ID, &3_u32.to_ne_bytes()),
    ];
    bytes.extend(attribute(IPVS_CMD_ATTR_DAEMON, &nested.concat()));
    assert_eq!(decode_sync_daemon(&bytes).unwrap().daemon, daemon);
}

#[test]
fn a_missing_attribute_that_every_kernel_sends_is_an_error() {
    let error = decode_info(&GENERIC).unwrap_err();
    assert_eq!(error, DecodeError::Missing("IPVS_INFO_ATTR_VERSION"));
    let error = decode_sync_daemon(&GENERIC).unwrap_err();
    assert_eq!(error, DecodeError::Missing("IPVS_CMD_ATTR_DAEMON"));
    let empty = [GENERIC.to_vec(), attribute(IPVS_CMD_ATTR_DAEMON, &[])].concat();
    let error = decode_sync_daemon(&empty).unwrap_err();
    assert_eq!(error, DecodeError::Missing("IPVS_DAEMON_ATTR_STATE"));
    assert_eq!(decode_object(&empty), Err(error));
}
