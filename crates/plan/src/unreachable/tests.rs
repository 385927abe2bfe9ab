use std::collections::BTreeMap;

use evenkeel_model::{
    Desired, Family, Ignore, Limits, Link, Live, RealServer, RealServerKey, Scope, ServiceConfig,
    Vip,
};

use super::*;
use crate::test_fixtures::{at, on, scheduled_by, spec, weighing};
use crate::{PriorState, plan};

fn service(real_servers: &[(RealServerKey, RealServer)]) -> Service {
    let config: ServiceConfig = scheduled_by("wrr");
    Service { config, real_servers: real_servers.iter().cloned().collect() }
}

fn serving() -> Service {
    service(&[(at(1), weighing(1))])
}

fn binding(last: u8) -> Binding {
    Binding::host([192, 0, 2, last].into(), "eth0")
}

/// A host in sync with the spec, whose local routes are known, with these addresses on eth0.
fn host(desired: &Desired, addresses: &[(u8, Owner)], up: bool) -> Live {
    let services = desired.services.iter().map(|(key, named)| (*key, named.service.clone()));
    let link = Link { up, dummy: false, owner: Owner::Other };
    Live {
        services: services.collect(),
        addresses: addresses.iter().map(|(last, owner)| (binding(*last), *owner)).collect(),
        links: Some([("eth0".into(), link)].into()),
        local_by_route: Some(BTreeSet::new()),
        ..Live::default()
    }
}

/// The warnings of this module.
fn warned(desired: &Desired, live: &Live) -> Vec<Warning> {
    warned_with(desired, live, &PriorState::default())
}

fn warned_with(desired: &Desired, live: &Live, record: &PriorState) -> Vec<Warning> {
    let plan = plan(Inputs::new(desired, live, record));
    let of_this = |it: &Warning| matches!(it, Warning::NotLocal(_) | Warning::NoServers(_));
    plan.warnings.into_iter().filter(of_this).collect()
}

fn not_local(last: u8) -> Vec<Warning> {
    vec![Warning::NotLocal(vec![format!("web/192.0.2.{last}:80/tcp")])]
}

#[test]
fn a_service_whose_address_no_interface_has_is_warned_of_and_the_host_stays_in_sync() {
    let desired = spec([(on(1), serving()), (on(2), serving())]);
    let live = host(&desired, &[(2, Owner::Other)], true);
    let record = PriorState::default();
    let found = plan(Inputs::new(&desired, &live, &record));
    assert!(found.is_in_sync());
    assert_eq!(found.warnings, not_local(1));
    let document = crate::render::json(&found, &desired);
    assert_eq!(document["services_not_local"], serde_json::json!(["web/192.0.2.1:80/tcp"]));
    assert_eq!(document["services_without_servers"], serde_json::json!([]));
}

#[test]
fn an_address_is_local_on_an_interface_that_is_up_or_by_a_route() {
    let desired = spec([(on(1), serving())]);
    let mut live = host(&desired, &[(1, Owner::Other)], true);
    assert_eq!(warned(&desired, &live), []);
    live.links = host(&desired, &[], false).links;
    assert_eq!(warned(&desired, &live), not_local(1));
    live.local_by_route = Some([[192, 0, 2, 1].into()].into());
    assert_eq!(warned(&desired, &live), []);
    // Of a snapshot the routes are not known.
    live.local_by_route = None;
    assert_eq!(warned(&desired, &live), []);
}

#[test]
fn a_vip_that_the_plan_binds_is_local_and_one_that_it_unbinds_or_leaves_to_others_is_not() {
    let mut desired = spec([(on(1), serving())]);
    let ours = host(&desired, &[(1, Owner::Evenkeel)], true);
    assert_eq!(warned(&desired, &ours), not_local(1));
    let narrow = Desired { scope: Scope::Limited(Limits::default()), ..desired.clone() };
    assert_eq!(warned(&narrow, &ours), [], "it stays bound");
    let missing = host(&desired, &[], true);
    desired.vips.insert(binding(1), Vip::default());
    assert_eq!(warned(&desired, &missing), []);
    assert_eq!(warned(&desired, &ours), []);
    let foreign_vips = [binding(1)].into();
    let record = PriorState { foreign_vips, ..PriorState::default() };
    assert_eq!(warned_with(&desired, &missing, &record), not_local(1));
}

#[test]
fn a_firewall_mark_has_no_address_that_could_be_missing() {
    let key = ServiceKey::Fwmark { fwmark: 7, family: Family::Ipv6 };
    let desired = spec([(key, serving())]);
    assert_eq!(warned(&desired, &host(&desired, &[], true)), []);
}

#[test]
fn a_service_without_positive_weight_is_warned_of_unless_real_servers_leave_it() {
    let bare = [service(&[]), service(&[(at(1), weighing(0)), (at(2), weighing(0))])];
    for service in bare {
        let desired = spec([(on(1), service)]);
        let mut live = host(&desired, &[(1, Owner::Other)], true);
        let expected = [Warning::NoServers(vec!["web/192.0.2.1:80/tcp".into()])];
        assert_eq!(warned(&desired, &live), expected);
        assert_eq!(warned(&desired, &Live::default()), expected, "a new service");
        // It drains.
        let leaving = live.services.get_mut(&on(1)).map(|it| &mut it.real_servers);
        leaving.expect("the service").insert(at(9), weighing(0));
        assert_eq!(warned(&desired, &live), []);
        // The service leaves.
        assert_eq!(warned(&spec([]), &live), []);
    }
}

#[test]
fn what_other_programs_decide_is_judged_as_it_is() {
    let cases: BTreeMap<(IgnoredField, u32, u32), bool> = [
        ((IgnoredField::Weight, 1, 0), true),
        ((IgnoredField::Weight, 0, 1), false),
        ((IgnoredField::RealServers, 1, 0), true),
        ((IgnoredField::RealServers, 0, 1), false),
    ]
    .into();
    for ((field, listed, found), is_warned) in cases {
        let mut desired = spec([(on(1), service(&[(at(1), weighing(listed))]))]);
        let mut live = host(&desired, &[(1, Owner::Other)], true);
        for named in desired.services.values_mut() {
            named.ignore = Ignore::from(vec![field]);
        }
        live.services.insert(on(1), service(&[(at(1), weighing(found))]));
        assert_eq!(!warned(&desired, &live).is_empty(), is_warned, "{field} {listed} {found}");
        // The spec's values are those of a new service.
        live.services.clear();
        assert_eq!(warned(&desired, &live).is_empty(), listed > 0, "{field} {listed}");
    }
    // Its real servers are not all added yet.
    let mut desired = spec([(on(1), serving())]);
    let mut live = host(&desired, &[(1, Owner::Other)], true);
    for named in desired.services.values_mut() {
        named.ignore = Ignore::from(vec![IgnoredField::RealServers]);
    }
    live.services.insert(on(1), service(&[]));
    let record = PriorState { unfilled: [on(1)].into(), ..PriorState::default() };
    assert_eq!(warned_with(&desired, &live, &record), []);
    assert_eq!(warned(&desired, &live).len(), 1);
}
