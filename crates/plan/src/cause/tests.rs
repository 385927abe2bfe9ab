use std::collections::BTreeMap;

use evenkeel_model::{
    Binding, Drain, Family, Forward, HostRoute, IgnoredField, Limits, Link, Live, LiveHostObjects,
    Owner, RealServers, Scheduler, Scope, Service, ServiceConfig, Vip,
};

use super::*;
use crate::{Draining, Plan, PriorState, Verb, plan};

const WEB: ServiceKey = ServiceKey::Fwmark { family: Family::Ipv4, fwmark: 1 };
const OLD: ServiceKey = ServiceKey::Fwmark { family: Family::Ipv4, fwmark: 2 };

fn at(last: u8) -> RealServerKey {
    RealServerKey { address: [198, 51, 100, last].into(), port: 0 }
}

fn real_servers(weights: &[(u8, u32)]) -> RealServers {
    let value = |weight| RealServer::new(Forward::Dr, weight);
    weights.iter().map(|(last, weight)| (at(*last), value(*weight))).collect()
}

fn service(scheduler: &str, weights: &[(u8, u32)]) -> Service {
    let config = ServiceConfig::new(Scheduler::new(scheduler).expect("a name"));
    Service { config, real_servers: real_servers(weights) }
}

fn spec(services: &[(ServiceKey, Service)]) -> Desired {
    let named = |service: &Service| NamedService {
        drain: Drain(30),
        ..NamedService::new("web", service.clone())
    };
    Desired {
        scope: Scope::All,
        services: services.iter().map(|(key, service)| (*key, named(service))).collect(),
        ..Desired::default()
    }
}

fn host(services: &[(ServiceKey, Service)]) -> Live {
    Live { services: services.iter().cloned().collect(), ..Live::default() }
}

fn planned(last: &Desired, desired: &Desired, live: &Live, record: &PriorState) -> Plan {
    let plan = plan(Inputs { last: Some(last), ..Inputs::new(desired, live, record) });
    assert_eq!(plan.causes.len(), plan.steps.len());
    plan
}

fn explained(plan: &Plan) -> Vec<(Verb, &'static str, Cause)> {
    let steps = plan.steps.iter().zip(&plan.causes);
    steps.map(|(op, cause)| (op.verb(), op.object().kind(), *cause)).collect()
}

fn causes_of(last: &Desired, desired: &Desired, live: &Live) -> Vec<(Verb, &'static str, Cause)> {
    explained(&planned(last, desired, live, &PriorState::for_snapshot()))
}

use Cause::{Drift, SpecChanged};

#[test]
fn without_a_last_spec_there_are_no_causes() {
    let (desired, live) = (spec(&[(WEB, service("wrr", &[(1, 1)]))]), Live::default());
    let plan = plan(Inputs::new(&desired, &live, &PriorState::for_snapshot()));
    assert_eq!((plan.steps.len(), plan.causes), (2, vec![]));
}

#[test]
fn steps_for_unchanged_parts_of_the_spec_are_drift_and_others_are_spec_changes() {
    let last = spec(&[(WEB, service("wrr", &[(1, 1), (2, 2)]))]);
    let now = spec(&[(WEB, service("wrr", &[(1, 1), (2, 5)]))]);
    let live = host(&[(WEB, service("sh", &[(1, 7), (2, 2)]))]);
    assert_eq!(
        causes_of(&last, &now, &live),
        [
            (Verb::Edit, "service", Drift),
            (Verb::Edit, "real server", SpecChanged),
            (Verb::Edit, "real server", Drift),
        ]
    );
    // A service that another program deleted is added again, with the changes of the spec.
    assert_eq!(
        causes_of(&last, &now, &Live::default()),
        [
            (Verb::Add, "service", Drift),
            (Verb::Add, "real server", Drift),
            (Verb::Add, "real server", SpecChanged),
        ]
    );
    assert_eq!(
        causes_of(&spec(&[]), &now, &Live::default()),
        [
            (Verb::Add, "service", SpecChanged),
            (Verb::Add, "real server", SpecChanged),
            (Verb::Add, "real server", SpecChanged),
        ]
    );
}

#[test]
fn unlisted_objects_are_drift_until_their_drain_is_recorded() {
    let web = (WEB, service("wrr", &[(1, 1)]));
    let now = spec(std::slice::from_ref(&web));
    let live = host(&[(WEB, service("wrr", &[(1, 1), (9, 1)])), (OLD, service("wrr", &[(1, 0)]))]);
    let strange = [
        (Verb::Drain, "real server", Drift),
        (Verb::Drain, "real server", Drift),
        (Verb::Delete, "real server", Drift),
        (Verb::Delete, "service", Drift),
    ];
    assert_eq!(causes_of(&now, &now, &live), strange);
    let taken_out = strange.map(|(verb, object, _)| (verb, object, SpecChanged));
    let last = spec(&[(WEB, service("wrr", &[(1, 1), (9, 1)])), (OLD, service("wrr", &[(1, 1)]))]);
    assert_eq!(causes_of(&last, &now, &live), taken_out);
    let draining = Draining { since: 1, weight: 1, limit: Drain::default(), uptime: None };
    let drains = BTreeMap::from([((WEB, at(9)), draining), ((OLD, at(1)), draining)]);
    let record = PriorState { drains: DrainRecords(drains), ..PriorState::for_snapshot() };
    assert_eq!(explained(&planned(&now, &now, &live, &record)), taken_out);
}

#[test]
fn objects_that_a_wider_scope_newly_covers_are_spec_changes() {
    let now = spec(&[]);
    let live = host(&[(OLD, service("wrr", &[(1, 1)]))]);
    let mut last = now.clone();
    let of = |cause| [(Verb::Drain, "real server", cause), (Verb::Delete, "service", cause)];
    assert_eq!(causes_of(&last, &now, &live), of(Drift));
    last.scope = Scope::Limited(Limits { fwmarks: vec![1..=1], ..Limits::default() });
    assert_eq!(causes_of(&last, &now, &live), of(SpecChanged));
}

#[test]
fn a_field_that_is_no_longer_ignored_is_a_spec_change() {
    let now = spec(&[(WEB, service("wrr", &[(1, 1)]))]);
    let mut last = now.clone();
    for named in last.services.values_mut() {
        named.ignore = [IgnoredField::Weight].into_iter().collect();
    }
    let live = host(&[(WEB, service("wrr", &[(1, 4)]))]);
    assert_eq!(causes_of(&last, &now, &live), [(Verb::Edit, "real server", SpecChanged)]);
    assert_eq!(causes_of(&now, &now, &live), [(Verb::Edit, "real server", Drift)]);
}

#[test]
fn a_moved_real_server_has_the_cause_of_its_move() {
    let ordered = |weights: &[(u8, u32)], canonical_order| {
        let mut spec = spec(&[(WEB, service("sh", weights))]);
        spec.services.values_mut().for_each(|named| named.canonical_order = canonical_order);
        spec
    };
    let (there, wanted) = ([(2, 1), (1, 1)], [(1, 1), (2, 1)]);
    let (live, now) = (host(&[(WEB, service("sh", &there))]), ordered(&wanted, true));
    for (last, cause) in [
        (&now, Drift),
        (&ordered(&there, true), SpecChanged),
        (&ordered(&wanted, false), SpecChanged),
    ] {
        assert_eq!(
            causes_of(last, &now, &live),
            [(Verb::Delete, "real server", cause), (Verb::Add, "real server", cause)]
        );
    }
}

#[test]
fn modules_and_devices_have_the_cause_of_the_steps_that_need_them() {
    let binding = Binding::host([192, 0, 2, 1].into(), "web0");
    let mut now = spec(&[(WEB, service("sh", &[]))]);
    now.vips.insert(binding.clone(), Vip { dummy: true, ..Vip::default() });
    let live = Live { links: Some([].into()), modules: Some([].into()), ..host(&[]) };
    for (last, cause) in [(&now, Drift), (&spec(&[]), SpecChanged)] {
        assert_eq!(
            causes_of(last, &now, &live),
            [
                (Verb::Add, "kernel module", cause),
                (Verb::Add, "dummy device", cause),
                (Verb::Add, "service", cause),
                (Verb::Bind, "vip", cause),
            ]
        );
    }
    let bound = Live { addresses: [(binding, Owner::Evenkeel)].into(), ..host(&[]) };
    // evenkeel creates devices up, so another program set it down.
    let down = Link { up: false, dummy: true, owner: Owner::Evenkeel };
    let down = Live { links: Some([("web0".into(), down)].into()), ..bound.clone() };
    let (mut before, mut after) = (spec(&[]), spec(&[]));
    before.vips.clone_from(&now.vips);
    after.vips.clone_from(&now.vips);
    for last in [&before, &spec(&[])] {
        assert_eq!(causes_of(last, &after, &down), [(Verb::Edit, "dummy device", Drift)]);
    }
    let none = spec(&[]);
    assert_eq!(causes_of(&none, &none, &bound), [(Verb::Unbind, "vip", SpecChanged)]);
}

#[test]
fn timeouts_daemons_and_sysctls_have_causes_too() {
    let mut now = spec(&[(WEB, service("rr", &[]))]);
    now.timeouts.tcp = Some(60);
    now.sysctls.insert("net.a".into(), "1".into());
    now.sync = Some(BTreeMap::new());
    let mut last = now.clone();
    let live = Live {
        sysctls: [("net.a".into(), "0".into())].into(),
        ..host(&[(WEB, service("rr", &[]))])
    };
    let causes = |last: &Desired| -> Vec<Cause> {
        planned(last, &now, &live, &PriorState::for_snapshot()).causes
    };
    assert_eq!(causes(&last), [Drift, Drift]);
    last.timeouts.tcp = None;
    assert_eq!(causes(&last), [Drift, SpecChanged]);
    last.sysctls.clear();
    assert_eq!(causes(&last), [SpecChanged, SpecChanged]);
}

#[test]
fn a_route_that_is_added_again_with_its_vip_has_the_cause_of_the_vip() {
    let binding = Binding::host([192, 0, 2, 1].into(), "eth0");
    let route = HostRoute::of(&binding);
    let labelled = |label: &str| {
        let vip = Vip { label: Some(label.into()), ..Vip::default() };
        let mut desired = spec(&[]);
        desired.vips.insert(binding.clone(), vip);
        desired.host_objects.insert(route.clone().into(), route.value());
        desired
    };
    let live = |label: &str| Live {
        addresses: [(binding.clone(), Owner::Evenkeel)].into(),
        labels: [(binding.clone(), label.into())].into(),
        host_objects: LiveHostObjects::of_evenkeel([(route.clone().into(), route.value())].into()),
        ..Live::default()
    };
    let (one, two) = (labelled("eth0:1"), labelled("eth0:2"));
    for (last, found, cause) in
        [(&one, "eth0:1", Cause::SpecChanged), (&two, "eth0:1", Cause::Drift)]
    {
        let causes = causes_of(last, &two, &live(found));
        assert_eq!(causes.len(), 4, "{causes:?}");
        assert!(causes.iter().all(|(_, _, found)| *found == cause), "{causes:?}");
    }
}
