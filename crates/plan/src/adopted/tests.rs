//! Laws of adoption.

use evenkeel_model::arbitrary::pair;
use evenkeel_model::{Drain, Family, Forward, NamedService, RealServer, Scheduler, ServiceConfig};
use proptest::prelude::*;

use super::*;
use crate::Draining;
use crate::test_fixtures::sync_daemon;

const KEY: ServiceKey = ServiceKey::Fwmark { family: Family::Ipv6, fwmark: 7 };

fn rs(last: u8) -> RealServerKey {
    RealServerKey { address: [10, 0, 0, last].into(), port: 0 }
}

fn service<const N: usize>(weights: [(u8, u32); N]) -> Service {
    let real_server = |(last, weight)| (rs(last), RealServer::new(Forward::Dr, weight));
    let real_servers = weights.into_iter().map(real_server).collect();
    Service { config: ServiceConfig::new(Scheduler::wlc()), real_servers }
}

fn live<const N: usize>(weights: [(u8, u32); N]) -> Live {
    Live { services: [(KEY, service(weights))].into(), ..Live::default() }
}

fn spec<const N: usize>(weights: [(u8, u32); N]) -> Desired {
    let named = NamedService::new("web", service(weights));
    Desired { services: [(KEY, named)].into(), ..Desired::default() }
}

fn nothing(drains: &DrainRecords) -> Governed<'_> {
    Governed { last: None, attempted: None, drains }
}

proptest! {
    #[test]
    fn without_a_last_spec_listed_live_objects_are_adopted_unchanged(pair in pair(8)) {
        let drains = DrainRecords::default();
        let mut adopted = Adopted::default();
        adopted.adopt(&pair.desired, &pair.live, nothing(&drains));
        for (key, found) in &pair.live.services {
            let listed = pair.desired.services.get(key);
            let entry = adopted.services.get(key);
            prop_assert_eq!(entry.map(|it| &it.config), listed.map(|_| &found.config));
            for (real_server, value) in &found.real_servers {
                let is_listed =
                    listed.is_some_and(|it| it.service.real_servers.get(real_server).is_some());
                let kept = entry.and_then(|entry| entry.real_servers.get(real_server));
                prop_assert_eq!(kept, Some(value).filter(|_| is_listed));
            }
        }
        let all = adopted.services.keys().all(|key| pair.live.services.contains_key(key));
        prop_assert!(all, "no absent object");
        let text = serde_json::to_string(&adopted).expect("it has a text form");
        let read: Adopted = serde_json::from_str(&text).expect("it is what was written");
        prop_assert_eq!(read, adopted);
    }
}

#[test]
fn managed_objects_are_not_adopted_and_entries_keep_their_first_value() {
    let drains = DrainRecords::default();
    let (found, asked) = (live([(1, 1), (2, 2)]), spec([(1, 5), (2, 2)]));
    for governed in [
        Governed { last: Some(&asked), ..nothing(&drains) },
        Governed { attempted: Some(&asked), ..nothing(&drains) },
    ] {
        let mut adopted = Adopted::default();
        adopted.adopt(&asked, &found, governed);
        assert!(adopted.is_empty(), "{governed:?}");
        adopted.adopt(&asked, &found, nothing(&drains));
        adopted.adopt(&asked, &live([(1, 5), (2, 2)]), governed);
        assert_eq!(adopted.services, found.services);
    }
}

#[test]
fn a_later_spec_adopts_real_servers_that_others_added_to_an_adopted_service() {
    let drains = DrainRecords::default();
    let first = spec([(1, 1)]);
    let mut adopted = Adopted::default();
    adopted.adopt(&first, &live([(1, 1)]), nothing(&drains));
    let governed = Governed { last: Some(&first), ..nothing(&drains) };
    adopted.adopt(&spec([(1, 1), (2, 5), (3, 3)]), &live([(1, 1), (2, 2)]), governed);
    assert_eq!(adopted.services, live([(1, 1), (2, 2)]).services);
}

#[test]
fn a_service_that_evenkeel_created_has_no_adopted_real_servers() {
    let drains = DrainRecords::default();
    let first = spec([(1, 1)]);
    let mut adopted = Adopted::default();
    let governed = Governed { last: Some(&first), ..nothing(&drains) };
    adopted.adopt(&spec([(1, 1), (2, 2)]), &live([(1, 1), (2, 2)]), governed);
    assert!(adopted.is_empty());
}

#[test]
fn objects_that_no_spec_governs_any_more_are_adopted_with_their_present_value() {
    let mut drains = DrainRecords::default();
    let mut adopted = Adopted::default();
    adopted.adopt(&spec([(1, 1), (2, 2)]), &live([(1, 1), (2, 2)]), nothing(&drains));
    let found = adopted.clone();
    let last = spec([(1, 1)]);
    let all = spec([(1, 1), (2, 2)]);
    let draining = Draining { since: 0, weight: 2, limit: Drain(30), uptime: None };
    drains.0.insert((KEY, rs(2)), draining);
    let governed = Governed { last: Some(&last), ..nothing(&drains) };
    adopted.adopt(&all, &live([(1, 1), (2, 0)]), governed);
    assert_eq!(adopted, found, "it drains, so evenkeel restores it");
    let drains = DrainRecords::default();
    let governed = Governed { last: Some(&last), ..nothing(&drains) };
    adopted.adopt(&all, &live([(1, 1), (2, 9)]), governed);
    assert_eq!(adopted.services, live([(1, 1), (2, 9)]).services);
}

#[test]
fn services_that_were_not_selected_are_not_adopted() {
    let drains = DrainRecords::default();
    let other = ServiceKey::Fwmark { family: Family::Ipv4, fwmark: 7 };
    let mut adopted = Adopted::default();
    adopted.services.insert(other, service([(1, 1)]));
    let asked = spec([(1, 1)]);
    adopted.adopt_services(&[KEY].into(), &asked, &live([(1, 1)]), nothing(&drains));
    assert_eq!(adopted.services.len(), 2);
    adopted.adopt(&asked, &live([(1, 1)]), nothing(&drains));
    assert_eq!(adopted.services.keys().collect::<Vec<_>>(), [&KEY], "no spec lists the other");
}

#[test]
fn objects_that_are_deleted_only_to_be_added_again_stay_adopted() {
    let drains = DrainRecords::default();
    let mut adopted = Adopted::default();
    let daemon = sync_daemon("eth0", 1);
    let asked = Desired {
        sync: Some([(SyncState::Backup, daemon.clone())].into()),
        ..spec([(1, 1), (2, 2)])
    };
    let found =
        Live { sync: [(SyncState::Backup, daemon.clone())].into(), ..live([(1, 1), (2, 2)]) };
    adopted.adopt(&asked, &found, nothing(&drains));
    let all = adopted.clone();
    let before = RealServer::new(Forward::Dr, 1);
    let delete = Op::DeleteRealServer { service: KEY, key: rs(1), before };
    let add = Op::AddRealServer { service: KEY, key: rs(1), after: before };
    let daemon = Box::new(daemon);
    let stop = Op::DeleteSync { state: SyncState::Backup, before: daemon.clone() };
    let start = Op::AddSync { state: SyncState::Backup, after: daemon };
    adopted.forget_deleted([&delete, &stop, &add, &start]);
    assert_eq!(adopted, all);
    adopted.forget_deleted([&delete, &stop]);
    assert_eq!(adopted.services, live([(2, 2)]).services);
    assert!(adopted.sync.is_empty());
    let before = Box::new(service([]));
    adopted.forget_deleted([&Op::DeleteService { key: KEY, before }]);
    assert!(adopted.is_empty());
}
