//! Laws of VIPs that share a subnet on an interface that promotes no secondary addresses.

use evenkeel_model::Drain;

use super::*;
use crate::rollback_plan;

fn wide(last: u8) -> Binding {
    Binding { prefix: 24, ..vip(last) }
}

/// A host that bound those VIPs one after the other.
fn bound<const N: usize>(lasts: [u8; N]) -> Live {
    let primary = wide(lasts[0]);
    let others = lasts[1..].iter();
    Live {
        addresses: lasts.iter().map(|last| (wide(*last), Owner::Evenkeel)).collect(),
        secondaries: others.map(|last| (wide(*last), primary.clone())).collect(),
        ..live([])
    }
}

fn vips<const N: usize>(vips: [(Binding, Option<&str>); N]) -> Desired {
    let mut wanted = spec([]);
    wanted.vips = vips
        .into_iter()
        .map(|(binding, label)| (binding, Vip { label: label.map(Into::into), ..Vip::default() }))
        .collect();
    wanted
}

/// The addresses of a step, with the sign of its verb.
fn steps_of(wanted: &Desired, found: &Live) -> Vec<String> {
    let steps = plan_of(wanted, found).steps;
    let after = simulate(found, &steps);
    assert!(plan_of(wanted, &after).is_in_sync());
    let text = |op: &Op| match op {
        Op::Bind { binding, .. } => format!("+{}/{}", binding.address, binding.prefix),
        Op::Unbind { binding, .. } => format!("-{}/{}", binding.address, binding.prefix),
        other => panic!("{other:?}"),
    };
    steps.iter().map(text).collect()
}

#[test]
fn secondaries_are_unbound_before_their_primary() {
    assert_eq!(
        steps_of(&spec([]), &bound([1, 2, 3])),
        ["-192.0.2.2/24", "-192.0.2.3/24", "-192.0.2.1/24"]
    );
    // The primary is the one that was bound first.
    assert_eq!(
        steps_of(&spec([]), &bound([2, 3, 1])),
        ["-192.0.2.1/24", "-192.0.2.3/24", "-192.0.2.2/24"]
    );
    // Where the kernel promotes them, the order is that of the addresses.
    let promoted = Live { secondaries: [].into(), ..bound([2, 3, 1]) };
    assert_eq!(steps_of(&spec([]), &promoted), ["-192.0.2.1/24", "-192.0.2.2/24", "-192.0.2.3/24"]);
}

#[test]
fn a_rollback_unbinds_secondaries_before_their_primary() {
    let bind = |last| Op::Bind { binding: wide(last), label: None };
    let rollback = rollback_plan(&[bind(1), bind(2), bind(3)], &bound([1, 2, 3]));
    let unbind = |last| Op::Unbind { binding: wide(last), label: None };
    assert_eq!(rollback.steps, [unbind(2), unbind(3), unbind(1)]);
}

#[test]
fn with_another_length_the_primary_is_unbound_last_and_no_vip_is_missing() {
    let wanted = vips([(vip(1), None), (vip(2), None), (vip(3), None)]);
    assert_eq!(
        steps_of(&wanted, &bound([1, 2, 3])),
        [
            "+192.0.2.1/32",
            "+192.0.2.2/32",
            "-192.0.2.2/24",
            "+192.0.2.3/32",
            "-192.0.2.3/24",
            "-192.0.2.1/24",
        ]
    );
    // A secondary that leaves for good.
    let wanted = vips([(vip(1), None), (vip(3), None)]);
    assert_eq!(
        steps_of(&wanted, &bound([1, 2, 3])),
        ["+192.0.2.1/32", "+192.0.2.3/32", "-192.0.2.3/24", "-192.0.2.2/24", "-192.0.2.1/24"]
    );
}

#[test]
fn with_another_label_the_vips_of_a_subnet_are_unbound_and_bound_again_together() {
    let labelled = |last| (wide(last), Some("eth0:1"));
    let wanted = vips([labelled(1), labelled(2), labelled(3)]);
    assert_eq!(
        steps_of(&wanted, &bound([1, 2, 3])),
        [
            "-192.0.2.3/24",
            "-192.0.2.2/24",
            "-192.0.2.1/24",
            "+192.0.2.1/24",
            "+192.0.2.2/24",
            "+192.0.2.3/24",
        ]
    );
    // A secondary that leaves for good goes first, and the primary follows it.
    assert_eq!(
        steps_of(&vips([labelled(1), labelled(3)]), &bound([1, 2, 3])),
        ["-192.0.2.2/24", "-192.0.2.3/24", "-192.0.2.1/24", "+192.0.2.1/24", "+192.0.2.3/24"]
    );
    // A new VIP would be one more secondary if it was bound before.
    assert_eq!(
        steps_of(
            &vips([labelled(1), labelled(2), (wide(9), None), (vip(8), None)]),
            &bound([1, 2])
        ),
        [
            "+192.0.2.8/32",
            "-192.0.2.2/24",
            "-192.0.2.1/24",
            "+192.0.2.1/24",
            "+192.0.2.2/24",
            "+192.0.2.9/24",
        ]
    );
    // A secondary alone needs nothing of the others.
    let wanted = vips([(wide(1), None), labelled(2), (wide(3), None)]);
    assert_eq!(steps_of(&wanted, &bound([1, 2, 3])), ["-192.0.2.2/24", "+192.0.2.2/24"]);
}

#[test]
fn a_primary_with_another_label_follows_a_secondary_that_waits_for_a_drain() {
    let mut found = bound([1, 2]);
    found.services.insert(on(2), service([(at(1), weighing(1))]));
    let mut wanted = vips([(wide(1), Some("eth0:1"))]);
    wanted.drain = Drain(30);
    let verbs: Vec<_> = plan_of(&wanted, &found).steps.iter().map(Op::verb).collect();
    let [unbind, bind] = [Verb::Unbind, Verb::Bind];
    assert_eq!(verbs, [Verb::Drain, unbind, unbind, bind, Verb::Delete]);
}
