//! Laws of rollbacks.

use evenkeel_model::arbitrary::{Pair, populated};
use evenkeel_model::{
    ArpRules, ArpRulesValue, Binding, HostObject, HostValue, Link, LiveHostObjects, Owner,
    RealServer, RealServers, Scheduler, Service, ServiceConfig, ServiceKey, SourceNat,
    SourceNatValue, SyncState,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;
use crate::test_fixtures::sync_daemon;
use crate::{Inputs, PriorState, plan, simulate};

fn steps_of(pair: &Pair) -> Vec<Op> {
    plan(Inputs::new(&pair.desired, &pair.live, &PriorState::for_snapshot())).steps
}

/// A pair, and a sync daemon that may have to change.
fn with_sync() -> impl Strategy<Value = Pair> {
    (populated(5), any::<bool>()).prop_map(|(mut pair, changes)| {
        let daemon = |id| sync_daemon("eth0", id);
        if changes {
            pair.live.sync.insert(SyncState::Master, daemon(1));
            pair.desired.sync = Some([(SyncState::Master, daemon(2))].into());
        }
        pair
    })
}

fn check(cases: u32, test: impl Fn(Pair) -> Result<(), TestCaseError>) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    if let Err(error) = TestRunner::new(config).run(&with_sync(), test) {
        panic!("{error}");
    }
}

#[test]
fn a_rollback_of_any_prefix_of_a_plan_restores_the_state_from_before() {
    check(1_000, |pair| {
        let steps = steps_of(&pair);
        for length in 0..=steps.len() {
            let now = simulate(&pair.live, &steps[..length]);
            // Whether or not the other steps were tried, they had no effect.
            for tried in [&steps[..length], &steps] {
                let RollbackPlan { steps: back, foreign, .. } = rollback_plan(tried, &now);
                prop_assert_eq!(&foreign, &BTreeSet::new());
                prop_assert_eq!(&simulate(&now, &back), &pair.live);
                prop_assert!(rollback_plan(tried, &pair.live).steps.is_empty());
            }
        }
        Ok(())
    });
}

#[test]
fn objects_that_other_programs_changed_are_left_alone_and_reported() {
    check(1_000, |pair| {
        let steps = steps_of(&pair);
        let mut now = simulate(&pair.live, &steps);
        let Some(key) = steps.iter().find_map(|op| match op {
            Op::AddService { key, .. } | Op::EditService { key, .. } => Some(*key),
            _ => None,
        }) else {
            return Ok(());
        };
        let service = now.services.get_mut(&key).expect("it is there");
        service.config.scheduler = Scheduler::new("twos").expect("a name");
        let RollbackPlan { steps: back, foreign, .. } = rollback_plan(&steps, &now);
        prop_assert!(foreign.contains(&Object::Service(key)));
        let after = simulate(&now, &back);
        let left = after.services.get(&key).map(|service| &service.config);
        prop_assert_eq!(left, now.services.get(&key).map(|service| &service.config));
        Ok(())
    });
}

/// Such a value is repaired, and cannot be set again.
#[test]
fn what_another_program_made_of_a_rule_stays_repaired_and_is_reported() {
    let rules = HostObject::from(ArpRules { address: [192, 0, 2, 1].into() });
    let wanted = ArpRulesValue::with_source([10, 0, 0, 1].into());
    let service = ServiceKey::Fwmark { family: evenkeel_model::Family::Ipv4, fwmark: 1 };
    let real_server = evenkeel_model::RealServerKey { address: [10, 0, 0, 2].into(), port: 0 };
    let source_nat = HostObject::from(SourceNat { service, real_server });
    for (object, changed, wanted) in [
        (rules.clone(), ArpRulesValue { has_others: true, ..wanted }.into(), wanted.into()),
        (rules, ArpRulesValue { source: None, ..wanted }.into(), wanted.into()),
        (source_nat, SourceNatValue::Other.into(), HostValue::from(SourceNatValue::Masquerade)),
    ] {
        let before: HostValue = changed;
        let live = |value: &HostValue| {
            let objects = [(object.clone(), value.clone())].into();
            Live { host_objects: LiveHostObjects::of_evenkeel(objects), ..Live::default() }
        };
        let mut desired = crate::test_fixtures::spec([]);
        desired.host_objects.insert(object.clone(), wanted.clone());
        let steps = plan(Inputs::new(&desired, &live(&before), &PriorState::for_snapshot())).steps;
        assert!(matches!(&*steps, [Op::EditHostObject { .. }]), "{steps:?}");
        let rollback = rollback_plan(&steps, &live(&wanted));
        assert_eq!(
            (rollback.steps, rollback.foreign),
            (vec![], [Object::Host(object.clone())].into())
        );
        assert_eq!(rollback_plan(&steps, &live(&before)), RollbackPlan::default());
    }
}

fn example() -> (ServiceKey, ServiceConfig, evenkeel_model::RealServerKey, RealServer) {
    let key = ServiceKey::Fwmark { family: evenkeel_model::Family::Ipv4, fwmark: 1 };
    let config = ServiceConfig::new(Scheduler::wlc());
    let real_server = evenkeel_model::RealServerKey { address: [10, 0, 0, 1].into(), port: 0 };
    let forward = evenkeel_model::Forward::Dr;
    (key, config, real_server, RealServer::new(forward, 1))
}

#[test]
fn a_service_left_without_a_scheduler_regains_its_scheduler() {
    let (key, before, ..) = example();
    let mh = ServiceConfig { scheduler: Scheduler::new("mh").expect("a name"), ..before.clone() };
    let edit =
        Op::EditService { key, before: Box::new(before.clone()), after: Box::new(mh.clone()) };
    for half_done in [&before, &mh] {
        let config = ServiceConfig { scheduler: Scheduler::none(), ..half_done.clone() };
        let service = Service { config: config.clone(), real_servers: RealServers::new() };
        let now = Live { services: [(key, service)].into(), ..Live::default() };
        let after = Box::new(before.clone());
        let back = Op::EditService { key, before: Box::new(config), after };
        let found = rollback_plan(std::slice::from_ref(&edit), &now);
        assert_eq!((found.steps, found.foreign), (vec![back], BTreeSet::new()));
    }
}

#[test]
fn an_added_service_stays_if_another_program_added_a_real_server_to_it() {
    let (key, config, real_server, value) = example();
    let add = Op::AddService { key, after: Box::new(config.clone()) };
    let service = Service { config, real_servers: [(real_server, value)].into_iter().collect() };
    let now = Live { services: [(key, service)].into(), ..Live::default() };
    let found = rollback_plan(&[add], &now);
    assert_eq!((found.steps, found.foreign), (Vec::new(), BTreeSet::from([Object::Service(key)])));
}

#[test]
fn a_drained_real_server_regains_its_weight_from_before_the_drain() {
    let (service, config, key, before) = example();
    let drain = Op::DrainRealServer { service, key, before, limit: evenkeel_model::Drain(30) };
    let delete = Op::DeleteRealServer { service, key, before: before.drained() };
    let add = Op::AddRealServer { service, key, after: before };
    let empty = Service { config, real_servers: RealServers::new() };
    let now = Live { services: [(service, empty)].into(), ..Live::default() };
    assert_eq!(rollback_plan(&[drain, delete], &now).steps, [add]);
}

#[test]
fn a_dummy_device_stays_if_another_program_bound_an_address_on_it() {
    let bind = Binding::host([203, 0, 113, 3].into(), "vips");
    let done = [
        Op::AddDummy { interface: "vips".into() },
        Op::Bind { binding: bind.clone(), label: None },
    ];
    let foreign = Binding::host([203, 0, 113, 4].into(), "vips");
    let now = Live {
        links: Some(
            [("vips".into(), Link { up: true, dummy: true, owner: Owner::Evenkeel })].into(),
        ),
        addresses: [(bind.clone(), Owner::Evenkeel), (foreign, Owner::Other)].into(),
        ..Live::default()
    };
    let found = rollback_plan(&done, &now);
    assert_eq!(found.steps, [Op::Unbind { binding: bind, label: None }]);
    assert_eq!(found.foreign, BTreeSet::from([Object::Dummy("vips".into())]));
}

#[test]
fn objects_that_differ_from_before_are_reported_with_all_values() {
    let (service, config, key, before) = example();
    let weighing = |weight| RealServer { weight, ..before };
    let edit = Op::EditRealServer { service, key, before: Box::new(before), after: weighing(5) };
    let object = Object::RealServer(service, key);
    let trace_text = |done: &[Op], now: Option<RealServer>| {
        let real_servers: RealServers = now.map(|it| (key, it)).into_iter().collect();
        let found = Service { config: config.clone(), real_servers };
        let now = Live { services: [(service, found)].into(), ..Live::default() };
        rollback_plan(done, &now).traces.get(&object).map(ToString::to_string)
    };
    assert_eq!(
        trace_text(std::slice::from_ref(&edit), Some(weighing(7))).as_deref(),
        Some(
            "before: forward dr, weight 1; by the plan: forward dr, weight 5; now: forward dr, \
             weight 7"
        )
    );
    assert_eq!(trace_text(std::slice::from_ref(&edit), Some(before)), None);
    let drain = Op::DrainRealServer { service, key, before, limit: evenkeel_model::Drain(30) };
    let delete = Op::DeleteRealServer { service, key, before: before.drained() };
    assert_eq!(
        trace_text(&[drain, delete], None).as_deref(),
        Some(
            "before: forward dr, weight 1; by the plan: forward dr, weight 0, then absent; now: \
             absent"
        )
    );
}

#[test]
fn every_rollback_step_is_reported_with_its_values() {
    check(300, |pair| {
        let steps = steps_of(&pair);
        let now = simulate(&pair.live, &steps);
        let RollbackPlan { steps: back, foreign, traces } = rollback_plan(&steps, &now);
        for object in back.iter().map(Op::object).chain(foreign) {
            let trace_text = traces.get(&object).map(ToString::to_string).unwrap_or_default();
            prop_assert!(
                trace_text.starts_with("before: ") && trace_text.contains("; now: "),
                "{object}"
            );
        }
        Ok(())
    });
}

#[test]
fn a_label_that_was_changed_goes_back() {
    let vip = Binding::host([203, 0, 113, 3].into(), "eth0");
    let labelled = |label: Option<&str>| Live {
        addresses: [(vip.clone(), Owner::Evenkeel)].into(),
        labels: label.map(|label| (vip.clone(), label.into())).into_iter().collect(),
        ..Live::default()
    };
    let op = |unbinds, label: Option<&str>| {
        let (binding, label) = (vip.clone(), label.map(Into::into));
        if unbinds { Op::Unbind { binding, label } } else { Op::Bind { binding, label } }
    };
    let done = [op(true, Some("eth0:1")), op(false, Some("eth0:2"))];
    let back = |now: &Live| rollback_plan(&done, now);
    let after = labelled(Some("eth0:2"));
    assert_eq!(back(&after).steps, [op(true, Some("eth0:2")), op(false, Some("eth0:1"))]);
    assert_eq!(back(&Live::default()).steps, [op(false, Some("eth0:1"))]);
    assert_eq!(back(&labelled(Some("eth0:1"))).steps, []);
    let foreign = back(&labelled(None));
    assert_eq!((foreign.steps, foreign.foreign.len()), (vec![], 1));
}
