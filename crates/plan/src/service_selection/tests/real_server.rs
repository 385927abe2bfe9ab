//! Laws of targeted plans on a real server.

use evenkeel_model::{
    DefaultRouteValue, Family, HostRoles, HostRoute, HostValue, OwnDirector, RealServerPart, Scope,
    TunnelDevice, TunnelKind,
};

use super::*;
use crate::{LeavingPart, Object, PartRecord, Warning};

const ARP: &str = "net.ipv4.conf.all.arp_ignore";
const FILTER: &str = "net.ipv4.conf.tunl0.rp_filter";
const SYSCTLS: [&str; 2] = [ARP, FILTER];
/// A sysctl of the spec that no part needs.
const BESIDE: &str = "net.ipv4.conf.eth0.send_redirects";

fn key(number: u8) -> ServiceKey {
    match number {
        4 => ServiceKey::parse("fwmark-4/ipv6").expect("a service"),
        _ => ServiceKey::parse(&format!("192.0.2.{number}:80/udp")).expect("a service"),
    }
}

fn on_lo(last: u8) -> Binding {
    Binding::host(vip(last), "lo")
}

fn on_tunnel(last: u8) -> Binding {
    Binding::host(vip(last), "tunl0")
}

fn tunnel() -> (HostObject, HostValue) {
    let found = TunnelDevice::for_tunnel(TunnelKind::Ipip, Family::Ipv4, Family::Ipv4);
    let (device, value) = found.expect("there is one");
    (device.into(), value.into())
}

fn route(binding: &Binding) -> (HostObject, HostValue) {
    let route = HostRoute::of(binding);
    let value = route.value();
    (route.into(), value)
}

fn default_route() -> (HostObject, HostValue) {
    let gateway = DefaultRouteValue::Gateway([192, 0, 2, 254].into());
    (DefaultRoute { family: Family::Ipv4 }.into(), gateway.into())
}

/// A real server, to which services are added.
fn real_server() -> Desired {
    let roles = HostRoles { real_server: [[192, 0, 2, 200].into()].into(), ..HostRoles::NONE };
    Desired { roles, scope: Scope::All, ..Desired::default() }
}

/// Adds a service with what it needs.
fn add(
    desired: &mut Desired,
    (number, name): (u8, &str),
    vips: &[Binding],
    host_objects: &[(HostObject, HostValue)],
    sysctls: &[&str],
) {
    let part = RealServerPart {
        name: name.into(),
        drain: Drain(20),
        vips: vips.iter().cloned().collect(),
        host_objects: host_objects.iter().map(|(object, _)| object.clone()).collect(),
        sysctls: sysctls.iter().map(|it| (*it).into()).collect(),
    };
    desired.vips.extend(vips.iter().map(|it| (it.clone(), Vip::default())));
    desired.host_objects.extend(host_objects.iter().cloned());
    desired.sysctls.extend(sysctls.iter().map(|it| ((*it).into(), "1".into())));
    desired.real_server.insert(key(number), part);
}

/// `web` under DR, `mail` under TUN with the same VIP and another one, `inner` under NAT.
fn cluster() -> Desired {
    let mut desired = real_server();
    add(&mut desired, (1, "web"), &[on_lo(1)], &[route(&on_lo(1))], &[ARP]);
    add(&mut desired, (2, "mail"), &[on_tunnel(1), on_tunnel(2)], &[tunnel()], &SYSCTLS);
    add(&mut desired, (3, "inner"), &[], &[default_route()], &[]);
    desired.sysctls.insert(BESIDE.into(), "1".into());
    desired
}

/// A host on which nothing is set up.
fn empty_host() -> Live {
    let mut live = Live::default();
    live.sysctls.extend(SYSCTLS.map(|key| (key.into(), "0".into())));
    live.sysctls.insert(BESIDE.into(), "0".into());
    live.host_objects.read =
        [tunnel().0, route(&on_lo(1)).0, default_route().0].iter().map(HostObject::kind).collect();
    live
}

fn applied(desired: &Desired) -> (Live, RealServerRecords) {
    let live = empty_host();
    let steps = plan(Inputs::new(desired, &live, &PriorState::for_snapshot())).steps;
    let all = desired.real_server.keys().copied().collect();
    (simulate(&live, &steps), RealServerRecords::default().with_services(&all, desired))
}

fn part_of(desired: &Desired, key: &ServiceKey) -> PartRecord {
    let records = RealServerRecords::default().with_services(&[*key].into(), desired);
    records.in_force[key].clone()
}

fn targeted_here(
    selector: &str,
    (desired, last): (&Desired, Option<&Desired>),
    live: &Live,
    records: &RealServerRecords,
) -> Plan {
    let target = ServiceSelection::new(&[selector], desired, last).expect("it names a service");
    let warning = target.staying_parts(records, desired);
    let live = target.narrow_live(live.clone(), records);
    let desired = target.narrow_desired(desired.clone());
    let record = PriorState { real_server: records.clone(), ..PriorState::for_snapshot() };
    let mut plan = plan(Inputs::new(&desired, &live, &target.narrow_record(&record)));
    plan.refusals.retain(|refusal| !target.exempts(refusal.guard));
    plan.warnings.extend(warning);
    plan
}

/// The objects of evenkeel on the host.
fn ours(live: &Live) -> BTreeSet<Object> {
    let bound = live.addresses.iter().filter(|(_, owner)| **owner == Owner::Evenkeel);
    let bound = bound.map(|(binding, _)| Object::Vip(binding.clone()));
    let objects = live.host_objects.owned().map(|(object, _)| Object::Host(object.clone()));
    let sysctls = live.sysctls.iter().filter(|(_, value)| ***value == *"1");
    bound.chain(objects).chain(sysctls.map(|(key, _)| Object::Sysctl(key.clone()))).collect()
}

/// What a service needs; nothing where the spec does not list it.
fn needed(desired: &Desired, key: &ServiceKey) -> BTreeSet<Object> {
    let Some(part) = desired.real_server.get(key) else { return BTreeSet::new() };
    let vips = part.vips.iter().cloned().map(Object::Vip);
    let objects = part.host_objects.iter().cloned().map(Object::Host);
    vips.chain(objects).chain(part.sysctls.iter().cloned().map(Object::Sysctl)).collect()
}

#[test]
fn a_service_of_a_real_server_is_found_by_its_name_its_key_or_both() {
    let (desired, last) = (cluster(), real_server());
    for (desired, last) in [(&desired, None), (&last, Some(&desired))] {
        for selector in ["mail", "192.0.2.2:80/udp", "mail/192.0.2.2:80/udp"] {
            let found = ServiceSelection::new(&[selector], desired, last).map(|it| it.keys);
            assert_eq!(found, Ok([key(2)].into()), "{selector}");
        }
        let unknown = ServiceSelection::new(&["wbe"], desired, last).expect_err("there is none");
        assert_eq!(unknown.to_string(), "no service of this host is called `wbe`; there is `web`");
        let unknown = ServiceSelection::new(&["zzz"], desired, last).expect_err("there is none");
        assert_eq!(unknown.near, ["inner", "mail", "web"]);
    }
}

#[test]
fn a_part_without_a_name_is_found_by_its_key_alone() {
    let mut desired = real_server();
    add(&mut desired, (1, ""), &[on_lo(1)], &[], &[ARP]);
    let found = |selector: &str| ServiceSelection::new(&[selector], &desired, None);
    assert_eq!(found("192.0.2.1:80/udp").map(|it| it.keys), Ok([key(1)].into()));
    for selector in ["", "/192.0.2.1:80/udp"] {
        let unknown = found(selector).expect_err("there is none");
        assert!(!unknown.near.contains(&String::new()), "{unknown}");
    }
}

#[test]
fn a_service_gets_what_it_needs_and_nothing_else() {
    let (desired, records) = (cluster(), RealServerRecords::default());
    let mut live = empty_host();
    let mut after = |selector| {
        let steps = targeted_here(selector, (&desired, None), &live, &records).steps;
        live = simulate(&live, &steps);
        let again = targeted_here(selector, (&desired, None), &live, &records);
        assert_eq!((again.steps, again.warnings), (vec![], vec![]), "{selector}");
        ours(&live)
    };
    let [web, mail, inner] = [1, 2, 3].map(|number| needed(&desired, &key(number)));
    assert_eq!((web.len(), mail.len(), inner.len()), (3, 5, 1));
    assert_eq!(after("web"), web);
    assert_eq!(after("inner"), &web | &inner);
    assert_eq!(after("mail"), &(&web | &inner) | &mail);
    assert!(!ours(&live).contains(&Object::Sysctl(BESIDE.into())));
}

#[test]
fn drift_of_other_services_of_a_real_server_is_not_repaired() {
    let desired = cluster();
    let (whole, records) = applied(&desired);
    let mut live = whole.clone();
    live.addresses.remove(&on_lo(1));
    live.addresses.remove(&on_tunnel(2));
    live.host_objects.objects.remove(&default_route().0);
    live.sysctls.insert(FILTER.into(), "0".into());
    let steps = targeted_here("web", (&desired, None), &live, &records).steps;
    assert!(matches!(&steps[..], [Op::Bind { binding, .. }] if *binding == on_lo(1)), "{steps:?}");
    let steps = targeted_here("inner", (&desired, None), &live, &records).steps;
    assert!(matches!(&steps[..], [Op::AddHostObject { .. }]), "{steps:?}");
    let steps = targeted_here("mail", (&desired, None), &live, &records).steps;
    assert!(matches!(&steps[..], [Op::EditSysctl { .. }, Op::Bind { .. }]), "{steps:?}");
}

#[test]
fn what_a_service_alone_needed_stays_when_the_spec_no_longer_lists_it() {
    let last = cluster();
    let (live, records) = applied(&last);
    let mut desired = real_server();
    add(&mut desired, (1, "web"), &[on_lo(1)], &[route(&on_lo(1))], &[ARP]);
    let plan = targeted_here("mail", (&desired, Some(&last)), &live, &records);
    assert_eq!((plan.steps, plan.refusals), (vec![], vec![]));
    assert_eq!(plan.warnings, [Warning::PartsStay(vec!["mail/192.0.2.2:80/udp".into()])]);
    let plan = targeted_here("web", (&desired, Some(&last)), &live, &records);
    assert_eq!((plan.steps, plan.warnings), (vec![], vec![]));
}

#[test]
fn a_vip_leaves_its_place_for_another_one_unless_another_service_needs_it_there() {
    let mut last = real_server();
    add(&mut last, (1, "web"), &[on_lo(1)], &[route(&on_lo(1))], &[ARP]);
    let (live, records) = applied(&last);
    let mut desired = real_server();
    let objects = [tunnel(), route(&on_tunnel(1))];
    add(&mut desired, (1, "web"), &[on_tunnel(1)], &objects, &SYSCTLS);
    let unbound = |desired: &Desired, records: &RealServerRecords| {
        let steps = targeted_here("web", (desired, Some(&last)), &live, records).steps;
        let is_bound = ours(&simulate(&live, &steps)).contains(&Object::Vip(on_tunnel(1)));
        assert!(is_bound, "{steps:?}");
        steps.iter().any(|op| matches!(op, Op::Unbind { .. }))
    };
    assert!(unbound(&desired, &records));

    let mut leaving = records.clone();
    let part =
        LeavingPart { part: part_of(&last, &key(1)), since: 0, limit: Drain(1), uptime: None };
    leaving.leaving.insert(key(2), part);
    assert!(!unbound(&desired, &leaving), "another service leaves it");
    add(&mut desired, (3, "api"), &[on_lo(1)], &[], &[ARP]);
    assert!(!unbound(&desired, &records), "another service needs it");
}

#[test]
fn a_director_that_is_a_real_server_of_others_services_keeps_both_apart() {
    let mut desired = cluster();
    desired.roles.director = Some(OwnDirector::Unnamed);
    desired.services.insert(on(3, 80), named("own", service(1)));
    desired.vips.insert(bound(3), Vip::default());
    let (live, records) = applied(&desired);
    let mut spec = real_server();
    spec.roles = desired.roles.clone();
    add(&mut spec, (1, "web"), &[on_lo(1)], &[route(&on_lo(1))], &[ARP]);

    let plan = targeted_here("own", (&spec, Some(&desired)), &live, &records);
    assert_eq!((plan.counts().delete, plan.counts().unbind), (1, 1), "{:?}", plan.steps);
    let after = ours(&simulate(&live, &plan.steps));
    assert_eq!(after, &ours(&live) - &[Object::Vip(bound(3))].into());

    let mut gone = live.clone();
    gone.addresses.clear();
    let steps = targeted_here("web", (&desired, None), &gone, &records).steps;
    assert!(matches!(&steps[..], [Op::Bind { binding, .. }] if *binding == on_lo(1)), "{steps:?}");
}

#[test]
fn a_gateway_is_expected_unless_another_service_asks_for_the_route() {
    let mut desired = cluster();
    let expected: BTreeSet<IpAddr> = [[192, 0, 2, 253].into()].into();
    let families = [Family::Ipv4, Family::Ipv6].map(|family| (family, expected.clone()));
    desired.expected_gateways = families.into();
    let target = ServiceSelection::new(&["web"], &desired, None).expect("it names a service");
    let narrowed = target.narrow_desired(desired).expected_gateways;
    assert_eq!(narrowed.into_keys().collect::<Vec<_>>(), [Family::Ipv6]);
}

#[test]
fn an_apply_of_single_services_is_recorded_beside_the_others() {
    let last = cluster();
    let (_, mut before) = applied(&last);
    let part = before.in_force.remove(&key(2)).expect("it is there");
    let part = LeavingPart { part, since: 0, limit: Drain(1), uptime: None };
    before.leaving.insert(key(2), part);
    let mut desired = real_server();
    add(&mut desired, (1, "web"), &[on_tunnel(1)], &[tunnel()], &SYSCTLS);
    add(&mut desired, (2, "mail"), &[on_tunnel(2)], &[tunnel()], &SYSCTLS);

    let after = before.with_services(&[key(1), key(3)].into(), &desired);
    assert_eq!(after.leaving, before.leaving);
    assert_eq!(after.in_force[&key(3)], before.in_force[&key(3)], "the spec no longer lists it");
    let web = &after.in_force[&key(1)];
    assert_eq!(web.vips.keys().collect::<Vec<_>>(), [&on_lo(1), &on_tunnel(1)]);
    assert_eq!(web.host_objects.len(), 2);

    let after = before.with_services(&[key(2)].into(), &desired);
    assert_eq!(after.leaving, BTreeMap::new());
    let mail = &after.in_force[&key(2)];
    assert_eq!(mail.vips.keys().collect::<Vec<_>>(), [&on_tunnel(1), &on_tunnel(2)]);

    assert!(after.former.is_some());
    desired.roles.director = Some(OwnDirector::Unnamed);
    assert_eq!(before.with_services(&[key(2)].into(), &desired).former, None);
}

/// Some of the bindings.
fn on_some(chosen: &[bool]) -> Vec<Binding> {
    let all = [on_lo(1), on_lo(2), on_tunnel(1), on_tunnel(2)];
    all.into_iter().zip(chosen).filter(|(_, chosen)| **chosen).map(|(it, _)| it).collect()
}

/// A spec by numbers: for each service, bits of what it needs.
fn spec(bits: &[u16; 4]) -> Desired {
    let mut desired = real_server();
    for (number, bits) in (1..).zip(bits) {
        let chosen = |bit: u16| bits & (1 << bit) != 0;
        if !chosen(9) {
            continue;
        }
        let vips = on_some(&[0, 1, 2, 3].map(chosen));
        let mut objects = vec![];
        if vips.iter().any(|it| *it.interface == *"tunl0") {
            objects.push(tunnel());
        }
        // The kernel has a single route to an address.
        let route = route(&on_lo(2));
        if chosen(4) && vips.contains(&on_lo(2)) {
            objects.push(route);
        }
        if chosen(5) {
            objects.push(default_route());
        }
        let keys = (6..).zip(SYSCTLS).filter(|(bit, _)| chosen(*bit)).map(|(_, it)| it);
        add(&mut desired, (number, "web"), &vips, &objects, &keys.collect::<Vec<_>>());
    }
    desired
}

proptest! {
    #[test]
    fn a_targeted_plan_removes_nothing_that_another_service_needs(
        last in any::<[u16; 4]>(),
        next in any::<[u16; 4]>(),
        lost in any::<[bool; 5]>(),
    ) {
        let (last, desired) = (spec(&last), spec(&next));
        let (mut live, mut records) = applied(&last);
        for binding in on_some(&lost) {
            live.addresses.remove(&binding);
        }
        if lost[4] {
            live.sysctls.insert(ARP.into(), "0".into());
        }
        let specs = (&desired, Some(&last));
        let keys: BTreeSet<_> =
            last.real_server.keys().chain(desired.real_server.keys()).copied().collect();
        for key in &keys {
            let others = keys.iter().filter(|other| *other != key);
            let others = others.flat_map(|it| &needed(&last, it) | &needed(&desired, it));
            let (others, own) = (others.collect::<BTreeSet<_>>(), needed(&desired, key));
            let selector = key.to_string();
            let steps = targeted_here(&selector, specs, &live, &records).steps;
            let after = simulate(&live, &steps);

            let (before, now) = (ours(&live), ours(&after));
            prop_assert!((&before - &now).is_disjoint(&others), "{:?} for {}", steps, key);
            prop_assert!(own.is_subset(&now), "{:?} for {}", steps, key);
            prop_assert!((&now - &before).is_subset(&own), "{:?} for {}", steps, key);
            // A VIP only leaves its place for another one.
            let is_bound = |address: IpAddr| {
                own.iter().any(|it| matches!(it, Object::Vip(it) if it.address == address))
            };
            for op in &steps {
                if let Op::Unbind { binding, .. } = op {
                    prop_assert!(is_bound(binding.address), "{:?} for {}", steps, key);
                }
            }

            records = records.with_services(&[*key].into(), &desired);
            prop_assert_eq!(targeted_here(&selector, specs, &after, &records).steps, vec![]);
            live = after;
        }
        // The rest removes what nothing needs.
        let whole = plan(Inputs::new(&desired, &live, &PriorState::for_snapshot())).steps;
        let removes = |op: &Op| matches!(op, Op::Unbind { .. } | Op::DeleteHostObject { .. });
        prop_assert!(whole.iter().all(removes), "{:?}", whole);
    }
}
