//! Tests the laws of a pass with the fake kernel.

use std::collections::BTreeSet;

use evenkeel_model::arbitrary::{Pair, pair, with_ignored_members};
use evenkeel_model::{
    Binding, Drain, Family, Forward, Link, NamedService, Owner, Protocol, RealServer,
    RealServerKey, RealServers, Scheduler, Service, ServiceConfig, ServiceKey, Vip,
};
use evenkeel_plan::Plan;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rustix::io::Errno;

use super::*;
use crate::NoopContext;
use crate::fake_kernel::{FakeKernel, Fault};

pub(crate) fn plan_of(desired: &Desired, live: &Live) -> Plan {
    plan(Inputs::new(desired, live, &PriorState::for_snapshot()))
}

pub(crate) fn apply(kernel: &mut FakeKernel, desired: &Desired) -> Report {
    let live = kernel.live.clone();
    let steps = plan_of(desired, &live).steps;
    execute(kernel, pass(desired, live, steps), ApplyOptions::default(), &mut NoopContext)
}

pub(crate) fn pass(desired: &Desired, live: Live, steps: Vec<Op>) -> Pass<'_> {
    Pass { record: PriorState::for_snapshot(), ..Pass::new(desired, live, steps) }
}

pub(crate) fn check(cases: u32, test: impl Fn(Pair) -> Result<(), TestCaseError>) {
    check_with(cases, pair(6), test);
}

pub(crate) fn check_with<T: std::fmt::Debug>(
    cases: u32,
    values: impl Strategy<Value = T>,
    test: impl Fn(T) -> Result<(), TestCaseError>,
) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    if let Err(error) = TestRunner::new(config).run(&values, test) {
        panic!("{error}");
    }
}

#[test]
fn a_pass_reaches_the_desired_state_with_the_fewest_operations_and_a_second_plan_is_empty() {
    check(10_000, |pair| {
        let Pair { desired, live, operations, same_services, same_real_servers, .. } = pair;
        let mut kernel = FakeKernel::new(live);
        let report = apply(&mut kernel, &desired);
        prop_assert!(report.is_success(), "{report:?}");
        for (key, named) in &desired.services {
            prop_assert_eq!(kernel.live.services.get(key), Some(&named.service));
        }
        prop_assert_eq!(kernel.live.services.len(), desired.services.len());
        prop_assert!(plan_of(&desired, &kernel.live).is_in_sync());
        prop_assert_eq!(kernel.received.len(), operations);
        for object in &kernel.received {
            let untouched = match object {
                Object::Service(key) => !same_services.contains(key),
                Object::RealServer(service, key) => !same_real_servers.contains(&(*service, *key)),
                _ => true,
            };
            prop_assert!(untouched, "{object:?} is equal on both sides");
        }
        Ok(())
    });
}

#[test]
fn real_servers_of_another_program_stay_and_a_second_plan_is_empty() {
    check_with(2_000, with_ignored_members(5), |pair| {
        let mut kernel = FakeKernel::new(pair.live.clone());
        let report = apply(&mut kernel, &pair.desired);
        prop_assert!(report.is_success(), "{report:?}");
        prop_assert_eq!(pair.check_members(&kernel.live), Ok(()));
        prop_assert!(plan_of(&pair.desired, &kernel.live).is_in_sync());
        Ok(())
    });
}

#[test]
fn no_prefix_of_a_plan_takes_the_last_weight_from_a_service_that_stays() {
    check(2_000, |pair| {
        let Pair { desired, live, .. } = pair;
        let serves = |live: &Live, key: &ServiceKey| {
            let weights = |service: &evenkeel_model::Service| {
                service.real_servers.iter().any(|(_, RealServer { weight, .. })| *weight > 0)
            };
            live.services.get(key).is_some_and(weights)
        };
        let mut kernel = FakeKernel::new(live.clone());
        let wanted = Live {
            services: desired.services.iter().map(|(k, v)| (*k, v.service.clone())).collect(),
            ..Live::default()
        };
        for step in plan_of(&desired, &live).steps {
            kernel.execute(&[step]).expect("memory can be written");
            for key in desired.services.keys() {
                if serves(&live, key) && serves(&wanted, key) {
                    prop_assert!(serves(&kernel.live, key), "{key} has no server");
                }
            }
        }
        Ok(())
    });
}

#[test]
fn after_a_failed_addition_nothing_is_deleted_and_no_vip_is_bound() {
    check(500, |pair| {
        let Pair { mut desired, mut live, .. } = pair;
        live.links =
            Some([("eth0".into(), Link { up: true, dummy: false, owner: Owner::Other })].into());
        desired.vips.insert(Binding::host([192, 0, 2, 99].into(), "eth0"), Vip::default());
        let plan = plan_of(&desired, &live);
        if !matches!(plan.steps[0], Op::AddService { .. } | Op::AddRealServer { .. }) {
            return Ok(());
        }
        let mut kernel = FakeKernel::new(live.clone());
        kernel.faults.insert(0, Fault::Refuse(Errno::NOMEM));
        apply(&mut kernel, &desired);
        prop_assert!(kernel.live.addresses.is_empty());
        for (key, service) in &live.services {
            let kept = kernel.live.services.get(key);
            prop_assert!(kept.is_some());
            for (real_server, _) in &service.real_servers {
                prop_assert!(kept.and_then(|kept| kept.real_servers.get(real_server)).is_some());
            }
        }
        Ok(())
    });
}

#[test]
fn no_weight_is_lowered_after_a_failed_addition() {
    let (key, before) = web([(1, 5)], Drain::NONE);
    let (_, after) = web([(1, 0), (2, 5)], Drain::NONE);
    let live = Live { services: [(key, before.service)].into(), ..Live::default() };
    let desired = Desired { services: [(key, after)].into(), ..Desired::default() };
    let mut kernel = FakeKernel::new(live.clone());
    kernel.faults.insert(0, Fault::Refuse(Errno::INVAL));
    let steps = plan_of(&desired, &live).steps;
    let options = ApplyOptions { on_failure: OnFailure::Keep, ..ApplyOptions::default() };
    let report =
        execute(&mut kernel, pass(&desired, live.clone(), steps), options, &mut NoopContext);
    let outcomes: Vec<&str> = report.iter().map(|done| done.outcome.as_str()).collect();
    assert_eq!(outcomes, ["failed", "skipped"]);
    assert_eq!(kernel.live, live);
}

pub(crate) fn vip(last: u8) -> Binding {
    Binding::host([192, 0, 2, last].into(), "eth0")
}

pub(crate) fn with_vips(vips: impl IntoIterator<Item = Binding>) -> Desired {
    let vips = vips.into_iter().map(|vip| (vip, Vip::default())).collect();
    Desired { vips, ..Desired::default() }
}

pub(crate) fn empty_service() -> (ServiceKey, NamedService) {
    let key = ServiceKey::Fwmark { family: Family::Ipv4, fwmark: 1 };
    let config = ServiceConfig::new(Scheduler::wlc());
    let service = Service { config, real_servers: RealServers::new() };
    (key, NamedService::new("marked", service))
}

pub(crate) fn host_with(addresses: impl IntoIterator<Item = (Binding, Owner)>) -> FakeKernel {
    let links = [("eth0".into(), Link { up: true, dummy: false, owner: Owner::Other })].into();
    let addresses = addresses.into_iter().collect();
    FakeKernel::new(Live { addresses, links: Some(links), ..Live::default() })
}

#[test]
fn an_address_that_evenkeel_did_not_bind_is_used_and_never_unbound() {
    let mut kernel = host_with([(vip(1), Owner::Other), (vip(2), Owner::Other)]);
    assert!(apply(&mut kernel, &with_vips([vip(1)])).is_success());
    assert!(kernel.received.is_empty());
}

#[test]
fn an_address_that_evenkeel_bound_is_unbound_when_the_spec_drops_it() {
    let mut kernel = host_with([(vip(1), Owner::Evenkeel), (vip(2), Owner::Evenkeel)]);
    assert!(apply(&mut kernel, &with_vips([vip(1), vip(3)])).is_success());
    let remaining: BTreeSet<Binding> = kernel.live.addresses.into_keys().collect();
    assert_eq!(remaining, BTreeSet::from([vip(1), vip(3)]));
}

#[test]
fn an_ipv4_vip_stays_bound_while_its_prefix_length_changes() {
    let wide = Binding { prefix: 24, ..vip(1) };
    let kernel = host_with([(wide.clone(), Owner::Evenkeel)]);
    let steps = plan_of(&with_vips([vip(1)]), &kernel.live).steps;
    assert_eq!(
        steps,
        [Op::Bind { binding: vip(1), label: None }, Op::Unbind { binding: wide, label: None }]
    );
}

#[test]
fn an_ipv6_vip_is_unbound_first_when_its_prefix_length_changes() {
    let host = Binding::host("2001:db8::1".parse().expect("an address"), "eth0");
    let wide = Binding { prefix: 64, ..host.clone() };
    let mut kernel = host_with([(wide.clone(), Owner::Evenkeel)]);
    assert!(apply(&mut kernel, &with_vips([host.clone()])).is_success());
    assert_eq!(kernel.live.addresses.keys().collect::<Vec<_>>(), [&host]);
}

#[test]
fn a_scheduler_that_cannot_be_loaded_stops_the_pass_before_the_first_change() {
    check(200, |pair| {
        let Pair { desired, mut live, .. } = pair;
        live.modules = Some(BTreeSet::new());
        let mut kernel = FakeKernel::new(live.clone());
        let steps = plan_of(&desired, &live).steps;
        let needed: Vec<Scheduler> = steps
            .iter()
            .filter_map(|op| match op {
                Op::AddModule { module } => Scheduler::new(module.strip_prefix("ip_vs_")?),
                _ => None,
            })
            .collect();
        kernel.missing_schedulers = needed.into_iter().collect();
        let report = apply(&mut kernel, &desired);
        if kernel.missing_schedulers.is_empty() {
            prop_assert!(report.is_success());
        } else {
            prop_assert!(!report.is_success());
            prop_assert_eq!(&kernel.live.services, &live.services);
        }
        Ok(())
    });
}

#[test]
fn a_module_that_may_not_be_loaded_is_not_reported_as_applied() {
    let (key, mut named) = web([(1, 5)], Drain::NONE);
    named.service.config.scheduler = Scheduler::new("sed").expect("a scheduler");
    let desired = Desired { services: [(key, named)].into(), ..Desired::default() };
    for (is_there, outcomes) in [
        (true, &["left to the kernel", "applied", "applied"][..]),
        (false, &["left to the kernel", "failed", "skipped"]),
    ] {
        let mut kernel = FakeKernel::new(Live { modules: Some([].into()), ..Live::default() });
        kernel.missing_capabilities.insert(evenkeel_host::Capability::SysModule);
        if !is_there {
            kernel.missing_schedulers.insert(Scheduler::new("sed").expect("a scheduler"));
        }
        let report = apply(&mut kernel, &desired);
        let found: Vec<&str> = report.iter().map(|done| done.outcome.as_str()).collect();
        assert_eq!(found, outcomes, "{report:?}");
        assert_eq!(report.is_success(), is_there);
        assert_eq!(report.count("applied"), if is_there { 2 } else { 0 });
    }
}

pub(crate) fn rs(last: u8) -> RealServerKey {
    RealServerKey { address: [198, 51, 100, last].into(), port: 80 }
}

/// A service with real servers by the last byte of their addresses, and their weights.
pub(crate) fn web<const N: usize>(
    real_servers: [(u8, u32); N],
    drain: Drain,
) -> (ServiceKey, NamedService) {
    let address = [192, 0, 2, 1].into();
    let key = ServiceKey::Address { address, port: 80, protocol: Protocol::Tcp };
    let (_, mut named) = empty_service();
    let real_server = |weight| RealServer::new(Forward::Dr, weight);
    named.drain = drain;
    named.service.real_servers =
        real_servers.into_iter().map(|(last, weight)| (rs(last), real_server(weight))).collect();
    (key, named)
}

#[test]
fn a_device_that_was_deleted_before_it_is_brought_up_is_created_again() {
    let vip = Binding::host([192, 0, 2, 1].into(), "vips");
    let desired = Desired {
        vips: [(vip.clone(), Vip { dummy: true, ..Vip::default() })].into(),
        ..Desired::default()
    };
    let link =
        |up| Some([("vips".into(), Link { up, dummy: true, owner: Owner::Evenkeel })].into());
    let seen =
        Live { links: link(false), addresses: [(vip, Owner::Evenkeel)].into(), ..Live::default() };
    let steps = plan_of(&desired, &seen).steps;
    assert_eq!(steps, [Op::EditDummy { interface: "vips".into() }]);
    let as_seen = FakeKernel::new(seen.clone());
    let gone = FakeKernel::new(Live { links: Some([].into()), ..Live::default() });
    for mut kernel in [as_seen, gone] {
        let options = ApplyOptions::default();
        let pass = pass(&desired, seen.clone(), steps.clone());
        let report = execute(&mut kernel, pass, options, &mut NoopContext);
        assert!(report.is_success(), "{report:?}");
        assert_eq!((&kernel.live.links, &kernel.live.addresses), (&link(true), &seen.addresses));
    }
}
