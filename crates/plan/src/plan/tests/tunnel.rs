//! Laws of tunnel devices and FOU ports.

use std::collections::BTreeSet;

use evenkeel_model::{
    Family, FouPort, HostObject, HostRoute, HostValue, Link, LiveHostObject, TunnelDevice,
    TunnelDeviceValue, TunnelKind, TunnelMode,
};

use super::*;
use crate::{Object, hold_back, rollback_plan, simulate};

const RP_FILTER: &str = "net.ipv4.conf.tunl0.rp_filter";

fn tunl0() -> (HostObject, HostValue) {
    let needed = TunnelDevice::for_tunnel(TunnelKind::Gue, Family::Ipv4, Family::Ipv4);
    let (device, value) = needed.expect("a known kind");
    (device.into(), value.into())
}

fn fou(port: u16) -> (HostObject, HostValue) {
    let port = FouPort { port, family: Family::Ipv4 };
    (port.into(), port.value())
}

fn on_tunnel() -> Binding {
    Binding { interface: "tunl0".into(), ..vip(1) }
}

/// A real server of a tunnel.
fn real_server() -> Desired {
    let mut desired = spec([]);
    desired.host_objects.extend([tunl0(), fou(6080)]);
    desired.vips.insert(on_tunnel(), Vip::default());
    desired.sysctls.insert(RP_FILTER.into(), "0".into());
    desired
}

fn link(up: bool) -> Link {
    Link { up, dummy: false, owner: Owner::Other }
}

/// A host without the device.
fn fresh() -> Live {
    Live {
        links: Some([("lo".into(), link(true))].into()),
        modules: Some(BTreeSet::new()),
        ..Live::default()
    }
}

/// The host after a plan.
fn applied(desired: &Desired, live: &Live) -> Live {
    simulate(live, &plan_of(desired, live).steps)
}

#[test]
fn a_device_comes_before_its_sysctls_and_vips_and_goes_after_them() {
    let wanted = real_server();
    let plan = plan_of(&wanted, &fresh());
    assert_eq!(plan.unmet_preconditions, []);
    assert_eq!(
        lines(&wanted, &fresh()),
        [
            "+ add tunnel device tunl0: mode ipip",
            "+ add fou port 6080/ipv4: encapsulation gue",
            "~ edit sysctl net.ipv4.conf.tunl0.rp_filter: unset -> 0",
            "+ bind vip 192.0.2.1/32 on tunl0",
        ]
    );
    let found = applied(&wanted, &fresh());
    assert!(plan_of(&wanted, &found).is_in_sync());
    assert_eq!(
        lines(&spec([]), &found),
        [
            "- unbind vip 192.0.2.1/32 on tunl0",
            "- delete tunnel device tunl0: mode ipip",
            "- delete fou port 6080/ipv4: encapsulation gue",
        ]
    );
}

#[test]
fn a_sysctl_of_a_device_that_no_step_adds_is_unmet() {
    let mut wanted = real_server();
    wanted.host_objects.clear();
    let unmet = plan_of(&wanted, &fresh()).unmet_preconditions;
    assert_eq!(
        unmet,
        [
            UnmetPrecondition::NoInterface { interface: "tunl0".into() },
            UnmetPrecondition::NoSysctl { key: RP_FILTER.into() }
        ]
    );
}

#[test]
fn sysctls_that_cannot_be_set_are_one_unmet_precondition_and_none_once_they_have_their_values() {
    let wanted = real_server();
    let read_only = Live { sysctls_read_only: [RP_FILTER.into()].into(), ..fresh() };
    let needed = [(RP_FILTER.into(), "0".into())].into();
    let unmet = UnmetPrecondition::ReadOnlySysctls { needed };
    assert_eq!(plan_of(&wanted, &read_only).unmet_preconditions, [unmet]);
    let ready = applied(&wanted, &read_only);
    let bare = Live { addresses: read_only.addresses, ..ready };
    let plan = plan_of(&wanted, &bare);
    assert!(plan.unmet_preconditions.is_empty() && !plan.is_in_sync(), "{plan:?}");
}

#[test]
fn a_sysctl_of_a_dummy_device_is_unmet_until_the_device_is_there() {
    let key = "net.ipv4.conf.vips.rp_filter";
    let mut wanted = spec([]);
    wanted.vips.insert(
        Binding { interface: "vips".into(), ..vip(1) },
        Vip { dummy: true, ..Vip::default() },
    );
    wanted.sysctls.insert(key.into(), "0".into());
    let unmet = plan_of(&wanted, &fresh()).unmet_preconditions;
    assert_eq!(unmet, [UnmetPrecondition::NoSysctl { key: key.into() }]);
}

#[test]
fn a_device_that_is_down_is_added_again_without_a_warning() {
    let wanted = real_server();
    let mut found = applied(&wanted, &fresh());
    found.host_objects.objects.remove(&tunl0().0);
    found.links = Some([("tunl0".into(), link(false))].into());
    let plan = plan_of(&wanted, &found);
    assert_eq!(warnings(&plan), [""; 0]);
    assert_eq!(lines(&wanted, &found), ["+ add tunnel device tunl0: mode ipip"]);
}

#[test]
fn a_device_and_a_port_of_another_program_are_used_as_they_are() {
    let mut wanted = real_server();
    let mut found = applied(&wanted, &fresh());
    found.host_objects.objects.values_mut().for_each(|it| it.owner = Owner::Other);
    assert!(plan_of(&wanted, &found).is_in_sync());
    assert_eq!(lines(&spec([]), &found), ["- unbind vip 192.0.2.1/32 on tunl0"]);
    wanted.host_objects.insert(tunl0().0, TunnelDeviceValue { mode: TunnelMode::Any }.into());
    assert_eq!(
        warnings(&plan_of(&wanted, &found)),
        [
            "tunnel device tunl0 was added by another program and keeps mode ipip; the spec says mode any"
        ]
    );
}

#[test]
fn a_device_stays_while_an_address_stays_on_it() {
    let mut found = applied(&real_server(), &fresh());
    let other = Binding { interface: "tunl0".into(), ..vip(9) };
    found.addresses.insert(other, Owner::Other);
    let plan = plan_of(&spec([]), &found);
    assert_eq!(
        warnings(&plan),
        ["tunnel device tunl0 stays up, because 192.0.2.9/32 stays bound on it"]
    );
    assert!(!lines(&spec([]), &found).iter().any(|line| line.contains("tunnel device")));
    // The kernel's own addresses go with it.
    let mut found = applied(&real_server(), &fresh());
    for address in ["fe80::1", "::192.0.2.9"] {
        let binding = Binding::host(address.parse().expect("an address"), "tunl0");
        found.addresses.insert(binding, Owner::Other);
    }
    assert!(lines(&spec([]), &found).iter().any(|line| line.contains("tunnel device")));
}

#[test]
fn a_device_accepts_more_before_vips_are_bound_and_less_after_they_are_unbound() {
    let needed = TunnelDevice::for_tunnel(TunnelKind::Ipip, Family::Ipv6, Family::Ipv6);
    let (device, narrow) = needed.expect("a known kind");
    let mode = |wanted: &mut Desired, value: TunnelDeviceValue| {
        wanted.host_objects.insert(device.clone().into(), value.into());
    };
    let four = Binding { interface: "ip6tnl0".into(), ..vip(1) };
    let (mut few, mut both) = (spec([]), spec([]));
    mode(&mut few, narrow);
    mode(&mut both, narrow.and(TunnelDeviceValue { mode: TunnelMode::Any }));
    both.vips.insert(four.clone(), Vip::default());
    let found = applied(&few, &fresh());
    let more =
        ["~ edit tunnel device ip6tnl0: mode ip6ip6 -> any", "+ bind vip 192.0.2.1/32 on ip6tnl0"];
    assert_eq!(lines(&both, &found), more);
    let found = applied(&both, &found);
    let less = [
        "- unbind vip 192.0.2.1/32 on ip6tnl0",
        "~ edit tunnel device ip6tnl0: mode any -> ip6ip6",
    ];
    assert_eq!(lines(&few, &found), less);
    let steps = plan_of(&few, &found).steps;
    assert_eq!(hold_back(steps, &found, &[Object::Vip(four)].into()), []);
}

#[test]
fn what_depends_on_a_held_back_device_is_held_back_with_it() {
    let wanted = real_server();
    let steps = plan_of(&wanted, &fresh()).steps;
    let held = [Object::Host(tunl0().0)].into();
    let rest = hold_back(steps.clone(), &fresh(), &held);
    assert!(!rest.iter().any(|op| matches!(op, Op::Bind { .. })), "{rest:?}");
    // Without its FOU port a VIP gets no packets, which harms none.
    let rest = hold_back(steps, &fresh(), &[Object::Host(fou(6080).0)].into());
    assert!(rest.iter().any(|op| matches!(op, Op::Bind { .. })), "{rest:?}");
    let found = applied(&wanted, &fresh());
    let steps = plan_of(&spec([]), &found).steps;
    assert_eq!(hold_back(steps, &found, &[Object::Vip(on_tunnel())].into()), []);
}

#[test]
fn a_rollback_restores_the_host_without_the_sysctls_of_a_new_device() {
    let before = fresh();
    let steps = plan_of(&real_server(), &before).steps;
    let found = simulate(&before, &steps);
    let rollback = rollback_plan(&steps, &found);
    assert_eq!(rollback.foreign, BTreeSet::new());
    let after = simulate(&found, &rollback.steps);
    assert_eq!(after.host_objects.objects, before.host_objects.objects);
    assert_eq!(after.addresses, before.addresses);
    assert!(!rollback.steps.iter().any(|op| matches!(op, Op::EditSysctl { .. })));
    let steps = plan_of(&spec([]), &found).steps;
    let gone = simulate(&found, &steps);
    let restored = simulate(&gone, &rollback_plan(&steps, &gone).steps);
    assert_eq!(restored, found);
    let is_ours = |live: &LiveHostObject| live.owner == Owner::Evenkeel;
    assert!(restored.host_objects.objects.values().all(is_ours));
}

#[test]
fn a_route_on_a_device_that_the_plan_brings_up_is_added_without_a_warning() {
    let mut wanted = real_server();
    let route = HostRoute::of(&on_tunnel());
    wanted.host_objects.insert(route.clone().into(), route.value());
    let mut live = fresh();
    live.links.as_mut().expect("links").insert("tunl0".into(), link(false));
    let plan = plan_of(&wanted, &live);
    assert_eq!(plan.warnings, []);
    assert!(plan.steps.iter().any(|op| op.object() == Object::Host(route.clone().into())));
    assert_eq!(plan_of(&wanted, &simulate(&live, &plan.steps)).steps, []);
    wanted.host_objects.remove(&tunl0().0);
    assert_eq!(plan_of(&wanted, &live).warnings.len(), 1);
}

#[test]
fn a_vip_that_a_real_server_answers_for_elsewhere_is_warned_of() {
    let wanted = Desired { roles: evenkeel_model::HostRoles::NONE, ..real_server() };
    let elsewhere = Binding { interface: "eth0".into(), prefix: 24, ..vip(1) };
    let found = |wanted: &Desired, elsewhere: &Binding, owner| {
        let live = Live { addresses: [(elsewhere.clone(), owner)].into(), ..fresh() };
        let warnings = plan_of(wanted, &live).warnings;
        warnings.contains(&Warning::AnsweredElsewhere { bound: elsewhere.clone() })
    };
    assert!(found(&wanted, &elsewhere, Owner::Other));
    // It moves there, or is silent on lo; a director announces it.
    assert!(!found(&wanted, &elsewhere, Owner::Evenkeel));
    assert!(!found(&wanted, &Binding { interface: "lo".into(), ..vip(1) }, Owner::Other));
    assert!(!found(&real_server(), &elsewhere, Owner::Other));
}
