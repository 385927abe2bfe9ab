//! Laws of host objects, on routes to VIPs and on neighbour entries.

use std::collections::BTreeSet;

use evenkeel_model::{
    HostObject, HostRoute, HostValue, LiveHostObject, MacAddress, Neighbour, NeighbourValue,
    RouteValue,
};

use super::*;
use crate::{Object, hold_back};

/// A spec that asks for these VIPs and their routes.
fn routed(vips: impl IntoIterator<Item = Binding>) -> Desired {
    let mut desired = spec([]);
    for binding in vips {
        let route = HostRoute::of(&binding);
        desired.host_objects.insert(route.clone().into(), route.value());
        desired.vips.insert(binding, Vip::default());
    }
    desired
}

/// A host where evenkeel bound those addresses, with these routes.
fn host_of(
    bound: impl IntoIterator<Item = Binding>,
    routes: impl IntoIterator<Item = (HostObject, LiveHostObject)>,
) -> Live {
    let mut live = Live {
        addresses: bound.into_iter().map(|binding| (binding, Owner::Evenkeel)).collect(),
        ..Live::default()
    };
    live.host_objects.objects = routes.into_iter().collect();
    live
}

fn own_route(binding: &Binding) -> (HostObject, LiveHostObject) {
    let route = HostRoute::of(binding);
    let value = route.value();
    (route.into(), LiveHostObject::of_evenkeel(value))
}

/// The route to a VIP without a source.
fn bare_route(binding: &Binding, owner: Owner) -> (HostObject, LiveHostObject) {
    let value = RouteValue { source: None }.into();
    (HostRoute::of(binding).into(), LiveHostObject { owner, value })
}

#[test]
fn a_route_is_added_behind_its_vip_and_deleted_before_it() {
    let six = Binding::host("2001:db8::1".parse().expect("an address"), "eth0");
    let both = [vip(1), six];
    let found = host_of(both.clone(), both.clone().map(|it| own_route(&it)));
    assert_eq!(
        lines(&routed(both.clone()), &host_of([], [])),
        [
            "+ bind vip 192.0.2.1/32 on eth0",
            "+ bind vip 2001:db8::1/128 on eth0",
            "+ add route 192.0.2.1 dev eth0: source 192.0.2.1",
            "+ add route 2001:db8::1 dev eth0: source 2001:db8::1",
        ]
    );
    assert!(plan_of(&routed(both.clone()), &found).is_in_sync());
    let gone = [
        "- delete route 192.0.2.1 dev eth0: source 192.0.2.1",
        "- delete route 2001:db8::1 dev eth0: source 2001:db8::1",
        "- unbind vip 192.0.2.1/32 on eth0",
        "- unbind vip 2001:db8::1/128 on eth0",
    ];
    assert_eq!(lines(&spec([]), &found), gone);
    let mut kept = routed(both);
    kept.host_objects.clear();
    assert_eq!(lines(&kept, &found), gone[..2]);
}

#[test]
fn a_route_of_another_program_through_the_interface_is_used_and_never_deleted() {
    let found = host_of([vip(1)], [bare_route(&vip(1), Owner::Other)]);
    let plan = plan_of(&routed([vip(1)]), &found);
    assert!(plan.is_in_sync());
    assert_eq!(
        warnings(&plan),
        ["route 192.0.2.1 dev eth0 was added by another program and keeps source none; the spec \
          says source 192.0.2.1"]
    );
    assert_eq!(lines(&spec([]), &found), ["- unbind vip 192.0.2.1/32 on eth0"]);
}

#[test]
fn a_route_that_lost_its_source_is_edited_and_one_that_moves_makes_room_first() {
    let found = host_of([vip(1)], [bare_route(&vip(1), Owner::Evenkeel)]);
    assert_eq!(
        lines(&routed([vip(1)]), &found),
        ["~ edit route 192.0.2.1 dev eth0: source none -> 192.0.2.1"]
    );
    let moved = Binding { interface: "eth1".into(), ..vip(1) };
    let found = host_of([vip(1)], [own_route(&vip(1))]);
    assert_eq!(
        lines(&routed([moved]), &found),
        [
            "- delete route 192.0.2.1 dev eth0: source 192.0.2.1",
            "+ bind vip 192.0.2.1/32 on eth1",
            "+ add route 192.0.2.1 dev eth1: source 192.0.2.1",
            "- unbind vip 192.0.2.1/32 on eth0",
        ]
    );
}

#[test]
fn the_route_of_a_vip_that_gets_another_label_is_added_again() {
    let mut wanted = routed([vip(1)]);
    wanted.vips.entry(vip(1)).or_default().label = Some("eth0:1".into());
    let found = host_of([vip(1)], [own_route(&vip(1))]);
    let forth = [
        "- delete route 192.0.2.1 dev eth0: source 192.0.2.1",
        "- unbind vip 192.0.2.1/32 on eth0",
        "+ bind vip 192.0.2.1/32 on eth0 label eth0:1",
        "+ add route 192.0.2.1 dev eth0: source 192.0.2.1",
    ];
    assert_eq!(lines(&wanted, &found), forth);
    let steps = plan_of(&wanted, &found).steps;
    let after = simulate(&found, &steps);
    assert!(plan_of(&wanted, &after).is_in_sync());
    let back = crate::rollback_plan(&steps, &after).steps;
    assert_eq!(simulate(&after, &back), found);
    // Another program removed the VIP, and with it the route, while the plan ran.
    let without = Live::default();
    let back = crate::rollback_plan(&steps, &without).steps;
    assert_eq!(simulate(&without, &back), found);
}

#[test]
fn an_object_without_a_value_is_written_by_its_name_alone() {
    let binding = Binding::host("2001:db8::1".parse().expect("an address"), "eth0");
    let found = host_of([], [bare_route(&binding, Owner::Evenkeel)]);
    assert_eq!(lines(&routed([]), &found), ["- delete route 2001:db8::1 dev eth0"]);
}

#[test]
fn no_route_is_added_through_an_interface_that_stays_down() {
    let link = |up, owner| Link { up, dummy: true, owner };
    let down = |owner| Live {
        links: Some([("eth0".into(), link(false, owner))].into()),
        ..host_of([vip(1)], [])
    };
    let plan = plan_of(&routed([vip(1)]), &down(Owner::Other));
    assert!(plan.is_in_sync() && warnings(&plan)[0].contains("interface eth0 is down"));
    assert_eq!(
        lines(&routed([vip(1)]), &down(Owner::Evenkeel)),
        [
            "~ edit dummy device eth0: up no -> yes",
            "+ add route 192.0.2.1 dev eth0: source 192.0.2.1"
        ]
    );
}

fn neighbour(last: u8, interface: &str) -> HostObject {
    Neighbour { address: [192, 0, 2, last].into(), interface: interface.into() }.into()
}

fn mac(last: u8) -> MacAddress {
    MacAddress([2, 0, 0, 0, 0, last])
}

/// A spec that asks for a neighbour entry of the first VIP on these interfaces.
fn resolved(interfaces: &[&str]) -> Desired {
    let mut desired = spec([]);
    for interface in interfaces {
        desired.host_objects.insert(neighbour(1, interface), mac(1).into());
    }
    desired
}

fn own_neighbour(interface: &str, last: u8) -> (HostObject, LiveHostObject) {
    (neighbour(1, interface), LiveHostObject::of_evenkeel(mac(last).into()))
}

#[test]
fn a_neighbour_needs_no_vip_and_its_mac_address_is_edited_in_place() {
    let wanted = resolved(&["eth0"]);
    assert_eq!(
        lines(&wanted, &Live::default()),
        ["+ add neighbour 192.0.2.1 dev eth0: mac 02:00:00:00:00:01"]
    );
    let found = host_of([], [own_neighbour("eth0", 2)]);
    let steps = plan_of(&wanted, &found).steps;
    assert_eq!(
        lines(&wanted, &found),
        ["~ edit neighbour 192.0.2.1 dev eth0: mac 02:00:00:00:00:02 -> 02:00:00:00:00:01"]
    );
    let after = simulate(&found, &steps);
    assert!(plan_of(&wanted, &after).is_in_sync());
    assert_eq!(simulate(&after, &crate::rollback_plan(&steps, &after).steps), found);
    assert_eq!(
        lines(&spec([]), &found),
        ["- delete neighbour 192.0.2.1 dev eth0: mac 02:00:00:00:00:02"]
    );
}

#[test]
fn a_neighbour_that_moves_is_added_before_it_is_deleted() {
    let found = host_of([], [own_neighbour("eth0", 1)]);
    assert_eq!(
        lines(&resolved(&["eth1"]), &found),
        [
            "+ add neighbour 192.0.2.1 dev eth1: mac 02:00:00:00:00:01",
            "- delete neighbour 192.0.2.1 dev eth0: mac 02:00:00:00:00:01",
        ]
    );
}

#[test]
fn a_neighbour_that_is_held_back_delays_its_deletion_elsewhere_and_no_addition() {
    let found = host_of([], [own_neighbour("eth0", 1)]);
    let steps = plan_of(&resolved(&["eth1", "eth2"]), &found).steps;
    let held_back = [Object::Host(neighbour(1, "eth1"))].into();
    let rest = crate::hold_back(steps, &found, &held_back);
    let objects: Vec<Object> = rest.iter().map(Op::object).collect();
    assert_eq!(objects, [Object::Host(neighbour(1, "eth2"))]);
}

#[test]
fn a_neighbour_on_a_missing_interface_is_an_unmet_precondition_and_on_one_that_is_down_a_warning() {
    let link = |up| Link { up, dummy: false, owner: Owner::Other };
    let wanted = resolved(&["eth0"]);
    let missing = Live { links: Some([("lo".into(), link(true))].into()), ..Live::default() };
    let unmet = plan_of(&wanted, &missing).unmet_preconditions;
    let interface = "eth0".into();
    assert_eq!(unmet, [crate::UnmetPrecondition::NoInterface { interface }]);
    let down = Live { links: Some([("eth0".into(), link(false))].into()), ..Live::default() };
    let plan = plan_of(&wanted, &down);
    assert!(plan.is_in_sync() && warnings(&plan)[0].contains("interface eth0 is down"));
}

#[test]
fn a_neighbour_is_deleted_behind_the_real_servers_and_stays_while_one_is_held_back() {
    let both = service([(at(1), weighing(1)), (at(2), weighing(1))]);
    let gateway: HostObject =
        Neighbour { address: [198, 51, 100, 2].into(), interface: "eth0".into() }.into();
    let value = HostValue::Neighbour(NeighbourValue { mac: MacAddress([2, 0, 0, 0, 0, 2]) });
    let mut live = Live { services: [(on(1), both)].into(), ..Live::default() };
    let found = LiveHostObject::of_evenkeel(value);
    live.host_objects.objects.insert(gateway.clone(), found);
    let mut desired = spec([(on(1), service([(at(1), weighing(1))]))]);
    desired.services.values_mut().for_each(|named| named.drain = Drain(30));
    let steps = plan_of(&desired, &live).steps;
    let leaving = Object::RealServer(on(1), at(2));
    let objects: Vec<Object> = steps.iter().map(Op::object).collect();
    assert_eq!(objects, [leaving.clone(), leaving.clone(), Object::Host(gateway)]);
    assert_eq!(hold_back(steps, &live, &BTreeSet::from([leaving])), []);
    // Nor before a service that is held back.
    let steps = plan_of(&spec([]), &live).steps;
    let held = BTreeSet::from([Object::Service(on(1))]);
    assert_eq!(hold_back(steps, &live, &held), []);
}

#[test]
fn a_neighbour_is_there_before_the_services() {
    let gateway = Neighbour { address: [198, 51, 100, 2].into(), interface: "eth0".into() };
    let value = HostValue::Neighbour(NeighbourValue { mac: MacAddress([2, 0, 0, 0, 0, 2]) });
    let web = service([(at(1), weighing(1))]);
    let mut wanted = spec([(on(1), web.clone())]);
    wanted.host_objects.insert(gateway.clone().into(), value.clone());
    let objects = |desired: &Desired, live: &Live| -> Vec<Object> {
        plan_of(desired, live).steps.iter().map(Op::object).collect()
    };
    let [gateway, server, web_key] =
        [Object::Host(gateway.into()), Object::RealServer(on(1), at(1)), Object::Service(on(1))];
    assert_eq!(objects(&wanted, &Live::default()), [gateway, web_key, server]);
}
