//! Tests VIPs of one subnet on a kernel that deletes secondary addresses with their primary.

use evenkeel_model::{Binding, Drain, Owner, Vip};
use rustix::io::Errno;

use super::tests::{apply, host_with, pass, plan_of, rs, vip, web, with_vips};
use super::*;
use crate::NoopContext;
use crate::fake_kernel::{FakeKernel, Fault};

fn wide(last: u8) -> Binding {
    Binding { prefix: 24, ..vip(last) }
}

/// A host on which the VIPs 2, 3 and 1 were bound in that order.
fn host() -> FakeKernel {
    let mut kernel = host_with([]);
    for last in [2, 3, 1] {
        let bind = Op::Bind { binding: wide(last), label: None };
        assert!(kernel.execute(&[bind]).expect("memory can be written").exceptions.is_empty());
    }
    let primary = |last| (wide(last), wide(2));
    assert_eq!(kernel.live.secondaries, [primary(1), primary(3)].into());
    kernel.received.clear();
    kernel
}

/// The changes to all VIPs of a subnet: they leave, or get another length, or another label.
fn changes() -> Vec<Desired> {
    let mut labelled = with_vips([1, 2, 3].map(wide));
    for vip in labelled.vips.values_mut() {
        *vip = Vip { label: Some("eth0:1".into()), ..Vip::default() };
    }
    let mut one_leaves = labelled.clone();
    one_leaves.vips.remove(&wide(3));
    vec![with_vips([]), with_vips([1, 2, 3].map(vip)), labelled, one_leaves]
}

#[test]
fn all_vips_of_a_subnet_change_in_one_pass() {
    for desired in changes() {
        let mut kernel = host();
        let report = apply(&mut kernel, &desired);
        assert!(report.is_success(), "{report:?}");
        assert!(plan_of(&desired, &kernel.live).is_in_sync(), "{desired:?}");
    }
}

#[test]
fn after_a_failure_of_any_step_all_vips_of_the_subnet_are_bound_again() {
    for desired in changes() {
        let steps = plan_of(&desired, &host().live).steps;
        for failing in 0..steps.len() {
            let mut kernel = host();
            let before = kernel.live.clone();
            kernel.faults.insert(failing, Fault::Refuse(Errno::NOMEM));
            let report = apply(&mut kernel, &desired);
            assert!(report.has_failed(), "{report:?}");
            assert!(report.rollback.as_ref().is_none_or(crate::Rollback::is_clean), "{report:?}");
            assert_eq!(kernel.live.addresses, before.addresses, "{steps:?} at {failing}");
            assert_eq!(kernel.live.labels, before.labels, "{steps:?} at {failing}");
            let report = apply(&mut kernel, &desired);
            assert!(report.is_success(), "the next apply: {report:?}");
        }
    }
}

#[test]
fn a_new_vip_is_bound_beside_one_of_its_subnet_that_gets_another_label() {
    let mut kernel = host_with([]);
    let bind = Op::Bind { binding: wide(2), label: None };
    assert!(kernel.execute(&[bind]).expect("memory can be written").exceptions.is_empty());
    let mut desired = with_vips([1, 2].map(wide));
    for vip in desired.vips.values_mut() {
        *vip = Vip { label: Some("eth0:1".into()), ..Vip::default() };
    }
    let report = apply(&mut kernel, &desired);
    assert!(report.is_success(), "{report:?}");
    assert!(plan_of(&desired, &kernel.live).is_in_sync());
}

#[test]
fn secondaries_with_the_right_label_are_bound_again_with_their_primary() {
    let mut desired = with_vips([1, 2, 3].map(wide));
    for (binding, vip) in &mut desired.vips {
        let label = (*binding == wide(2)).then(|| "eth0:1".into());
        *vip = Vip { label, ..Vip::default() };
    }
    let mut kernel = host();
    let report = apply(&mut kernel, &desired);
    assert!(report.is_success(), "{report:?}");
    assert!(plan_of(&desired, &kernel.live).is_in_sync());
}

#[test]
fn a_primary_that_cannot_be_relabelled_costs_no_secondary() {
    // In the order of the plan before and after the primary, with another label and with the right one.
    for (foreign, ours, is_relabelled) in [(1, 3, true), (1, 3, false), (3, 1, true), (3, 1, false)]
    {
        let mut labelled = with_vips([2, ours].map(wide));
        for (binding, vip) in &mut labelled.vips {
            let is_labelled = is_relabelled || *binding == wide(2);
            let label = is_labelled.then(|| "eth0:1".into());
            *vip = Vip { label, ..Vip::default() };
        }
        let mut kernel = host();
        kernel.live.addresses.insert(wide(foreign), Owner::Other);
        let live = kernel.live.clone();
        let steps = plan_of(&labelled, &live).steps;
        let is_moved = |op: &Op| matches!(op, Op::Unbind { binding, .. } if *binding == wide(ours));
        assert_eq!(steps.iter().any(is_moved), is_relabelled, "{steps:?}");
        let options = ApplyOptions { on_failure: OnFailure::Keep, ..ApplyOptions::default() };
        let report = execute(&mut kernel, pass(&labelled, live, steps), options, &mut NoopContext);
        assert!(report.has_failed(), "{report:?}");
        for last in [1, 2, 3] {
            assert!(kernel.live.addresses.contains_key(&wide(last)), "{last}: {report:?}");
        }
    }
}

#[test]
fn vips_that_a_failed_pass_bound_are_unbound_again() {
    let desired = with_vips([1, 2, 3, 4].map(wide));
    let mut kernel = host_with([]);
    kernel.faults.insert(3, Fault::Refuse(Errno::NOMEM));
    let report = apply(&mut kernel, &desired);
    assert!(report.rollback.as_ref().is_some_and(crate::Rollback::is_clean), "{report:?}");
    assert_eq!(kernel.live.addresses, [].into());
}

#[test]
fn a_primary_waits_while_a_secondary_waits_for_a_drain() {
    let mut labelled = with_vips([wide(2), wide(3)]);
    for vip in labelled.vips.values_mut() {
        *vip = Vip { label: Some("eth0:1".into()), ..Vip::default() };
    }
    for mut desired in [with_vips([]), labelled] {
        desired.drain = Drain(30);
        let mut kernel = host();
        let (key, named) = web([(1, 5)], Drain(30));
        kernel.live.services.insert(key, named.service);
        kernel.connect(key, 1, 7);
        let live = kernel.live.clone();
        let steps = plan_of(&desired, &live).steps;
        let options = ApplyOptions { wait: false, ..ApplyOptions::default() };
        let report = execute(&mut kernel, pass(&desired, live, steps), options, &mut NoopContext);
        assert!(report.is_success(), "{report:?}");
        for last in [1, 2] {
            let owner = kernel.live.addresses.get(&wide(last));
            assert_eq!(owner, Some(&Owner::Evenkeel), "{last}: {report:?}");
        }
        assert_eq!(kernel.live.labels.get(&wide(2)), None);

        kernel.connect(key, 1, 0);
        let drained = kernel.live.services.get(&key).and_then(|it| it.real_servers.get(&rs(1)));
        assert_eq!(drained.map(|it| it.weight), Some(0));
        let report = apply(&mut kernel, &desired);
        assert!(report.is_success(), "{report:?}");
        assert!(plan_of(&desired, &kernel.live).is_in_sync());
    }
}
