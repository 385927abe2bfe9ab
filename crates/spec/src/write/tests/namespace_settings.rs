//! Tests how timeouts, sync daemons and sysctls are written.

use std::collections::BTreeMap;

use evenkeel_model::{DesiredTimeouts, Live, SyncDaemon, SyncState, Timeouts};

use super::*;

#[test]
fn namespace_settings_are_written_as_a_person_would_write_them() {
    let daemon = SyncDaemon {
        interface: "eth1".into(),
        id: 7,
        max_length: Some(1472),
        group: Some([224, 0, 0, 81].into()),
        port: Some(8848),
        ttl: Some(1),
    };
    let short =
        SyncDaemon { max_length: None, group: None, port: None, ttl: None, ..daemon.clone() };
    let sysctls = [
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv4.tcp_congestion_control", "bbr"),
        ("net.ipv4.vs.sync_threshold", "3 50"),
    ];
    let all = Desired {
        timeouts: DesiredTimeouts { tcp: Some(900), tcp_fin: None, udp: Some(300) },
        sync: Some([(SyncState::Master, daemon), (SyncState::Backup, short)].into()),
        sysctls: sysctls.map(|(key, value)| (key.into(), value.into())).into(),
        ..Desired::default()
    };
    assert_eq!(
        write(&WriteInput::of_desired(&all)),
        "version: 1

services: []

timeouts: { tcp: 900, udp: 300 }

sync:
  - { state: master, interface: eth1, id: 7, max_length: 1472, group: 224.0.0.81, port: 8848, ttl: 1 }
  - { state: backup, interface: eth1, id: 7 }

sysctls:
  net.ipv4.ip_forward: 1
  net.ipv4.tcp_congestion_control: bbr
  net.ipv4.vs.sync_threshold: \"3 50\"
"
    );
    assert_written(&all);
    let none = Desired { sync: Some(BTreeMap::new()), ..Desired::default() };
    assert!(write(&WriteInput::of_desired(&none)).ends_with("\nsync: []\n"));
    assert_written(&none);
}

#[test]
fn a_timeout_that_no_spec_can_express_is_left_out_with_a_comment() {
    let longest = DesiredTimeouts::MAX;
    let timeouts = Timeouts { tcp: longest + 1, tcp_fin: longest, udp: 0 };
    let live = Live { timeouts: Some(timeouts), ..Live::default() };
    let text = write(&WriteInput::of_live(&live, &Desired::default()));
    assert!(text.contains("\ntimeouts: { tcp_fin: 2147483 }\n"), "{text}");
    assert!(text.contains("# left out: the timeout tcp, 2147484 s\n"), "{text}");
    assert!(text.contains("# left out: the timeout udp, 0 s\n"), "{text}");
    let read = read(&text).into_live().timeouts;
    assert_eq!(read, Some(Timeouts { tcp: 900, tcp_fin: longest, udp: 300 }));
}

#[test]
fn an_empty_list_of_sync_daemons_is_written_only_if_the_spec_has_the_key() {
    let live = Live::default();
    let silent = write(&WriteInput::of_live(&live, &Desired::default()));
    assert!(!silent.contains("sync"), "{silent}");
    let asked = Desired { sync: Some(BTreeMap::new()), ..Desired::default() };
    assert!(write(&WriteInput::of_live(&live, &asked)).contains("\nsync: []\n"));
}
