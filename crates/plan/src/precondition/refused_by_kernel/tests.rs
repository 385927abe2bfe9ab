use evenkeel_model::{Link, Owner, SyncDaemon};

use super::*;
use crate::test_fixtures::{on, scheduled_by, sync_daemon, weighing};

fn real_server(address: &str) -> RealServerKey {
    RealServerKey { address: address.parse().expect("an address"), port: 80 }
}

fn adds(address: &str) -> Op {
    Op::AddRealServer { service: on(1), key: real_server(address), after: weighing(1) }
}

fn host(up: bool) -> Live {
    let bound = |address: [u8; 4], prefix| Binding {
        address: address.into(),
        interface: "eth0".into(),
        prefix,
    };
    let addresses = [bound([10, 5, 0, 1], 24), bound([10, 6, 0, 0], 31), bound([10, 7, 0, 9], 32)];
    Live {
        addresses: addresses.map(|it| (it, Owner::Other)).into(),
        links: Some([("eth0".into(), Link { up, dummy: false, owner: Owner::Other })].into()),
        ..Live::default()
    }
}

fn daemon() -> SyncDaemon {
    sync_daemon("eth0", 7)
}

#[test]
fn the_broadcast_address_of_a_network_of_the_host_is_no_real_server() {
    let unmet = refused_by_kernel(&host(true), &[adds("10.5.0.255"), adds("10.5.0.2")]);
    let [UnmetPrecondition::BroadcastRealServer { address, .. }] = &*unmet else {
        panic!("{unmet:?}")
    };
    assert_eq!(*address, real_server("10.5.0.255").address);
    assert!(unmet[0].prevents(&adds("10.5.0.255")) && !unmet[0].prevents(&adds("10.5.0.2")));
    for good in ["10.5.0.254", "10.6.0.1", "10.7.0.9", "10.5.1.255", "2001:db8::ff"] {
        assert_eq!(refused_by_kernel(&host(true), &[adds(good)]), [], "{good}");
    }
    assert_eq!(refused_by_kernel(&host(false), &[adds("10.5.0.255")]), [], "it is down");
}

#[test]
fn real_servers_of_another_family_cannot_be_beside_a_sync_daemon_that_stays() {
    let live = Live { sync: [(SyncState::Backup, daemon())].into(), ..host(true) };
    let mixed = adds("2001:db8::5");
    let unmet = refused_by_kernel(&live, &[mixed.clone(), adds("10.0.0.1")]);
    assert_eq!(unmet, [UnmetPrecondition::MixedBesideSync { daemons: vec![SyncState::Backup] }]);
    assert!(unmet[0].prevents(&mixed) && !unmet[0].prevents(&adds("10.0.0.1")));
    let stop = Op::DeleteSync { state: SyncState::Backup, before: Box::new(daemon()) };
    assert_eq!(refused_by_kernel(&live, &[stop, mixed.clone()]), [], "it is stopped first");
    assert_eq!(refused_by_kernel(&host(true), &[mixed]), []);
}

#[test]
fn a_sync_daemon_cannot_be_started_beside_a_service_that_stays_mixed() {
    let mut live = host(true);
    let real_servers = [(real_server("2001:db8::5"), weighing(1))].into_iter().collect();
    let service = Service { config: scheduled_by("wlc"), real_servers };
    live.services.insert(on(1), service.clone());
    let start = Op::AddSync { state: SyncState::Master, after: Box::new(daemon()) };
    let unmet = refused_by_kernel(&live, std::slice::from_ref(&start));
    assert_eq!(unmet, [UnmetPrecondition::SyncBesideMixed { services: vec![on(1)] }]);
    assert!(unmet[0].prevents(&start) && !unmet[0].prevents(&adds("10.0.0.1")));
    let delete = Op::DeleteService { key: on(1), before: Box::new(service) };
    assert_eq!(refused_by_kernel(&live, &[delete, start]), []);
}
