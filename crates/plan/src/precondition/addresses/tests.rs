use evenkeel_model::{Owner, Scope, Vip};

use super::*;
use crate::{Inputs, PriorState, plan};

fn wide(last: u8) -> Binding {
    Binding { address: [192, 0, 2, last].into(), interface: "eth0.100".into(), prefix: 24 }
}

fn narrow(last: u8) -> Binding {
    Binding { prefix: 32, ..wide(last) }
}

fn ipv6() -> Binding {
    Binding { address: "2001:db8::1".parse().expect("an address"), prefix: 128, ..wide(1) }
}

fn desired<const N: usize>(vips: [Binding; N]) -> Desired {
    let vips = vips.map(|it| (it, Vip::default())).into();
    Desired { scope: Scope::All, vips, ..Desired::default() }
}

/// A host that bound those VIPs one after the other, with sysctls of the interface.
fn host<const N: usize>(vips: [Binding; N], sysctls: &[(&str, &str)]) -> Live {
    let secondaries = vips.iter().skip(1).map(|it| (it.clone(), vips[0].clone())).collect();
    Live {
        addresses: vips.clone().map(|it| (it, Owner::Evenkeel)).into(),
        secondaries,
        sysctls: sysctls.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        ..Live::default()
    }
}

const ALL: &str = "net.ipv4.conf.all.promote_secondaries";
const ONE: &str = "net.ipv4.conf.eth0/100.promote_secondaries";

fn unmet(desired: &Desired, live: &Live) -> Vec<UnmetPrecondition> {
    let record = PriorState::default();
    let plan = plan(Inputs::new(desired, live, &record));
    for precondition in &plan.unmet_preconditions {
        assert!(plan.steps.iter().any(|op| precondition.prevents(op)), "{precondition}");
    }
    plan.unmet_preconditions
}

fn stay(primary: u8, secondaries: &[u8]) -> Vec<UnmetPrecondition> {
    let secondaries = secondaries.iter().map(|last| wide(*last).address).collect();
    vec![UnmetPrecondition::SecondariesStay { primary: wide(primary), secondaries }]
}

#[test]
fn a_primary_cannot_leave_or_change_its_length_while_a_secondary_stays() {
    let live = host([wide(2), wide(1), wide(3)], &[]);
    for (wanted, expected) in [
        (desired([wide(1)]), stay(2, &[1])),
        (desired([wide(1), wide(3), narrow(2)]), stay(2, &[1, 3])),
        // Secondaries go first, and one that stays primary takes nothing along.
        (desired([]), vec![]),
        (desired([wide(2)]), vec![]),
        (desired([narrow(1), narrow(2), narrow(3)]), vec![]),
    ] {
        assert_eq!(unmet(&wanted, &live), expected, "{wanted:?}");
    }
    let mut foreign = host([wide(2), wide(1)], &[]);
    foreign.addresses.insert(wide(1), Owner::Other);
    assert_eq!(unmet(&desired([]), &foreign), stay(2, &[1]));
}

#[test]
fn a_new_vip_of_the_subnet_is_a_secondary_of_the_one_that_leaves() {
    let wanted = desired([wide(1)]);
    let off = host([wide(2)], &[(ALL, "0"), (ONE, "0")]);
    assert_eq!(unmet(&wanted, &off), stay(2, &[1]));
    for on in [[(ALL, "1"), (ONE, "0")], [(ALL, "0"), (ONE, "1")]] {
        assert_eq!(unmet(&wanted, &host([wide(2)], &on)), []);
    }
    assert_eq!(unmet(&desired([narrow(1)]), &off), [], "another subnet");
    assert_eq!(unmet(&wanted, &host([], &[(ALL, "0"), (ONE, "0")])), []);
    // Nothing is known of the sysctls.
    assert_eq!(unmet(&wanted, &host([wide(2)], &[])), []);
}

#[test]
fn a_plan_that_has_secondaries_promoted_can_unbind_their_primary() {
    let live = host([wide(2), wide(1)], &[(ALL, "0"), (ONE, "0")]);
    for key in [ALL, ONE] {
        let sysctls = [(key.into(), "1".into())].into();
        let wanted = Desired { sysctls, ..desired([wide(1)]) };
        assert_eq!(unmet(&wanted, &live), []);
    }
}

const DISABLED: &str = "net.ipv6.conf.eth0/100.disable_ipv6";

fn disabled(is_set: bool) -> Vec<UnmetPrecondition> {
    let vips = [ipv6().address].into();
    vec![UnmetPrecondition::Ipv6Disabled { interface: "eth0.100".into(), vips, is_set }]
}

#[test]
fn an_ipv6_vip_cannot_be_bound_where_ipv6_is_disabled() {
    let wanted = desired([ipv6(), wide(1)]);
    assert_eq!(unmet(&wanted, &host([], &[(DISABLED, "1")])), disabled(false));
    for known in [&[(DISABLED, "0")] as &[_], &[]] {
        assert_eq!(unmet(&wanted, &host([], known)), []);
    }
    assert_eq!(unmet(&desired([wide(1)]), &host([], &[(DISABLED, "1")])), [], "IPv4");
    assert_eq!(unmet(&wanted, &host([wide(1)], &[("net.ipv6.conf.eth1.disable_ipv6", "1")])), []);
    // A device that comes with the plan.
    let default = host([], &[("net.ipv6.conf.default.disable_ipv6", "1")]);
    assert_eq!(unmet(&wanted, &default), disabled(false));
}

#[test]
fn a_plan_that_enables_ipv6_binds_and_one_that_disables_it_is_refused() {
    let all = "net.ipv6.conf.all.disable_ipv6";
    for key in [DISABLED, all] {
        let with = |value: &str| Desired {
            sysctls: [(key.into(), value.into())].into(),
            ..desired([ipv6()])
        };
        let off = host([], &[(DISABLED, "1"), (all, "1")]);
        assert_eq!(unmet(&with("0"), &off), []);
        assert_eq!(unmet(&with("1"), &off), disabled(false), "{key}");
        let on = host([ipv6()], &[(DISABLED, "0"), (all, "0")]);
        assert_eq!(unmet(&with("1"), &on), disabled(true), "{key}");
    }
}
