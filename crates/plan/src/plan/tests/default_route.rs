//! Laws of default routes.

use std::net::IpAddr;

use evenkeel_model::{
    DefaultRoute, DefaultRouteValue, Family, HostObject, HostObjectKind, HostValue, LiveHostObject,
    RecordedRoute, RouteMessage,
};

use super::*;
use crate::{ReplacedObjects, UnmetPrecondition};

const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

fn gateway(family: Family, last: u8) -> IpAddr {
    match family {
        Family::Ipv4 => [192, 0, 2, last].into(),
        Family::Ipv6 => [0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()].into(),
    }
}

fn route(family: Family) -> HostObject {
    DefaultRoute { family }.into()
}

/// A spec whose default route leads through that address.
fn through(family: Family, last: u8) -> Desired {
    let value = DefaultRouteValue::Gateway(gateway(family, last)).into();
    Desired { host_objects: [(route(family), value)].into(), ..spec([]) }
}

fn recorded(family: Family, last: u8, metric: u32) -> RecordedRoute {
    RecordedRoute {
        gateway: Some(gateway(family, last)),
        interfaces: vec!["eth0".into()],
        metric,
        protocol: 16,
        is_ours: false,
        message: RouteMessage([last].into()),
    }
}

fn found(routes: impl IntoIterator<Item = RecordedRoute>) -> HostValue {
    DefaultRouteValue::Found(routes.into_iter().collect()).into()
}

fn ours(family: Family, last: u8) -> HostValue {
    DefaultRouteValue::Gateway(gateway(family, last)).into()
}

/// A host with that default route, and eth0 up.
fn host_with(family: Family, value: Option<HostValue>) -> Live {
    let up = Link { up: true, dummy: false, owner: Owner::Other };
    let mut live = Live { links: Some([("eth0".into(), up)].into()), ..Live::default() };
    live.host_objects.read = HostObjectKind::ALL.into();
    let value = value.map(|value| (route(family), LiveHostObject::set_to(value)));
    live.host_objects.objects.extend(value);
    live
}

fn plan_with(desired: &Desired, live: &Live, former: Option<HostValue>, family: Family) -> Plan {
    let replaced =
        ReplacedObjects(former.map(|value| (route(family), value)).into_iter().collect());
    let record = PriorState { replaced, ..PriorState::for_snapshot() };
    plan(Inputs::new(desired, live, &record))
}

fn text(plan: &Plan) -> Vec<String> {
    let desired = spec([]);
    let labels = render::Labels::new(&desired);
    plan.steps.iter().map(|op| render::Line { op, labels: &labels }.to_string()).collect()
}

#[test]
fn a_default_route_is_added_edited_and_deleted() {
    let on_host = |value| host_with(Family::Ipv4, value);
    let wanted = through(Family::Ipv4, 2);
    assert_eq!(lines(&wanted, &on_host(None)), ["+ add default route ipv4: gateway 192.0.2.2"]);
    assert_eq!(
        lines(&wanted, &on_host(Some(ours(Family::Ipv4, 3)))),
        ["~ edit default route ipv4: gateway 192.0.2.3 -> 192.0.2.2"]
    );
    let in_place = on_host(Some(ours(Family::Ipv4, 2)));
    assert!(plan_of(&wanted, &in_place).is_in_sync());
    assert_eq!(lines(&spec([]), &in_place), ["- delete default route ipv4: gateway 192.0.2.2"]);
    // One of each family is independent of the other.
    assert_eq!(
        lines(&through(Family::Ipv6, 2), &in_place),
        [
            "+ add default route ipv6: gateway 2001:db8::2",
            "- delete default route ipv4: gateway 192.0.2.2"
        ]
    );
}

#[test]
fn one_of_another_program_is_replaced_unless_it_leads_to_the_gateway() {
    for family in FAMILIES {
        let wanted = through(family, 2);
        let elsewhere = host_with(family, Some(found([recorded(family, 254, 100)])));
        let plan = plan_of(&wanted, &elsewhere);
        let (from, to) = (gateway(family, 254), gateway(family, 2));
        let line = format!("~ edit default route {family}: gateway {from} -> {to}");
        assert_eq!(text(&plan), [line]);
        assert!(plan.warnings.is_empty() && plan.unmet_preconditions.is_empty(), "{plan:?}");
        let after = simulate(&elsewhere, &plan.steps);
        assert!(plan_of(&wanted, &after).is_in_sync());
        // It is not touched where the spec asks for none, and used where it fits.
        assert!(plan_of(&spec([]), &elsewhere).is_in_sync());
        let same = host_with(family, Some(found([recorded(family, 2, 100)])));
        let plan = plan_of(&wanted, &same);
        assert!(plan.is_in_sync() && plan.warnings.is_empty(), "{plan:?}");
        assert!(plan_of(&spec([]), &same).is_in_sync());
    }
}

#[test]
fn the_former_route_is_restored_where_it_is_possible() {
    for family in FAMILIES {
        let former = || Some(found([recorded(family, 254, 100)]));
        let live = host_with(family, Some(ours(family, 2)));
        let plan = plan_with(&spec([]), &live, former(), family);
        let (from, to) = (gateway(family, 2), gateway(family, 254));
        let line = format!("~ edit default route {family}: gateway {from} -> {to}");
        assert_eq!(text(&plan), [line]);
        let after = simulate(&live, &plan.steps);
        assert_eq!(after, host_with(family, former()));
        // While the spec asks for a route, it is not.
        assert!(plan_with(&through(family, 2), &live, former(), family).is_in_sync());

        for links in [None, Some(false)] {
            let mut live = live.clone();
            let link = |up| ("eth0".into(), Link { up, dummy: false, owner: Owner::Other });
            live.links = Some(links.map(link).into_iter().collect());
            let plan = plan_with(&spec([]), &live, former(), family);
            assert_eq!(text(&plan), [format!("- delete default route {family}: gateway {from}")]);
            let [warning] = &warnings(&plan)[..] else { panic!("{plan:?}") };
            assert!(warning.contains("interface eth0 is missing or down"), "{warning}");
        }
    }
}

#[test]
fn what_another_program_did_to_the_route_meanwhile_stays() {
    let family = Family::Ipv4;
    let former = || Some(found([recorded(family, 254, 100)]));
    let theirs = host_with(family, Some(found([recorded(family, 253, 100)])));
    let plan = plan_with(&spec([]), &theirs, former(), family);
    assert!(plan.is_in_sync() && plan.warnings.is_empty(), "{plan:?}");
    let none = host_with(family, None);
    let plan = plan_with(&spec([]), &none, former(), family);
    assert!(plan.is_in_sync());
    let [warning] = &warnings(&plan)[..] else { panic!("{plan:?}") };
    assert!(warning.contains("via 192.0.2.254 dev eth0 metric 100, is not restored"), "{warning}");
    // That of evenkeel has no effect any more, behind one of a lower metric.
    let behind = RecordedRoute { is_ours: true, ..recorded(family, 2, 100) };
    let over = host_with(family, Some(found([recorded(family, 253, 50), behind])));
    let plan = plan_with(&spec([]), &over, former(), family);
    let both = found([recorded(family, 253, 50), recorded(family, 254, 100)]);
    let [Op::EditHostObject { after, .. }] = &plan.steps[..] else { panic!("{plan:?}") };
    assert_eq!(**after, both);
}

#[test]
fn several_ipv6_routes_of_one_metric_are_refused_and_of_ipv4_replaced() {
    for (family, is_refused) in [(Family::Ipv4, false), (Family::Ipv6, true)] {
        let two = found([recorded(family, 253, 100), recorded(family, 254, 100)]);
        let plan = plan_of(&through(family, 2), &host_with(family, Some(two)));
        assert_eq!(plan.steps.len(), 1);
        let unmet = UnmetPrecondition::SeveralDefaultRoutes { route: DefaultRoute { family } };
        assert_eq!(plan.unmet_preconditions, Vec::from_iter(is_refused.then_some(unmet)));
    }
}

#[test]
fn a_default_route_precedes_services_and_is_restored_after_drains() {
    let family = Family::Ipv4;
    let web = || (on(1), service([(at(1), weighing(1))]));
    let wanted = Desired { host_objects: through(family, 2).host_objects, ..spec([web()]) };
    let live = host_with(family, Some(found([recorded(family, 254, 0)])));
    let plan = plan_of(&wanted, &live);
    let [route, rest @ ..] = &plan.steps[..] else { panic!("{plan:?}") };
    assert!(matches!(route, Op::EditHostObject { .. }) && !rest.is_empty(), "{plan:?}");
    let live = Live { services: [web()].into(), ..host_with(family, Some(ours(family, 2))) };
    let former = Some(found([recorded(family, 254, 0)]));
    let plan = plan_with(&Desired { drain: Drain(60), ..spec([]) }, &live, former, family);
    let verbs: Vec<Verb> = plan.steps.iter().map(Op::verb).collect();
    assert_eq!(verbs, [Verb::Drain, Verb::Edit, Verb::Delete]);
}

#[test]
fn a_return_path_that_misses_the_director_is_a_warning_only_where_no_route_is_asked_for() {
    for family in FAMILIES {
        let expects = |mut desired: Desired| {
            desired.expected_gateways.insert(family, [gateway(family, 2)].into());
            desired
        };
        for (value, words) in [
            (None, Some("does not exist")),
            (Some(found([recorded(family, 254, 0)])), Some("is via ")),
            (Some(found([recorded(family, 2, 0)])), None),
            (Some(ours(family, 2)), None),
        ] {
            let live = host_with(family, value);
            let plan = plan_with(&expects(spec([])), &live, None, family);
            let texts = warnings(&plan);
            assert_eq!(texts.len(), usize::from(words.is_some()), "{texts:?}");
            assert!(words.is_none_or(|words| texts[0].contains(words)), "{texts:?}");
            let plan = plan_with(&expects(through(family, 2)), &live, None, family);
            assert_eq!(warnings(&plan), [""; 0]);
        }
        // Nothing is said of routes that were not read.
        let plan = plan_of(&expects(spec([])), &Live::default());
        assert_eq!(warnings(&plan), [""; 0]);
    }
}

#[test]
fn a_record_of_replaced_routes_survives_its_serialized_form() {
    let family = Family::Ipv6;
    let behind = RecordedRoute { is_ours: true, ..recorded(family, 2, 100) };
    let values = [ours(family, 2), found([recorded(family, 254, 50), behind])];
    for value in values {
        let replaced = ReplacedObjects([(route(family), value)].into());
        let text = serde_json::to_string(&replaced).expect("JSON");
        assert_eq!(
            serde_json::from_str::<ReplacedObjects>(&text).expect("JSON"),
            replaced,
            "{text}"
        );
    }
    let neither =
        r#"[{"object":{"default_route":{"family":"ipv6"}},"value":{"default_route":{}}}]"#;
    assert!(serde_json::from_str::<ReplacedObjects>(neither).is_err());
}
