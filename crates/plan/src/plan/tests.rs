//! Laws of planning, on small states; in [`laws`] on arbitrary ones.

mod laws;

use evenkeel_model::{
    Binding, Drain, Forward, HostRoute, IgnoredField, Limits, Link, LiveRoute, MAX_WEIGHT, Names,
    Netmask, Owner, Persistence, RealServer, RealServerKey, Scheduler, Scope, Service, ServiceKey,
    Tunnel, TunnelKind, Vip,
};

use super::*;
use crate::test_fixtures::{at, on, scheduled_by, spec, weighing};
use crate::{DrainRecords, Draining, PriorState, render, simulate};

fn service<const N: usize>(real_servers: [(RealServerKey, RealServer); N]) -> Service {
    Service { config: scheduled_by("wrr"), real_servers: real_servers.into_iter().collect() }
}

fn live<const N: usize>(services: [(ServiceKey, Service); N]) -> Live {
    Live { services: services.into(), ..Live::default() }
}

fn plan_of(desired: &Desired, live: &Live) -> Plan {
    plan(Inputs::new(desired, live, &PriorState::for_snapshot()))
}

fn lines(desired: &Desired, live: &Live) -> Vec<String> {
    let labels = render::Labels::new(desired);
    let steps = plan_of(desired, live).steps;
    steps.iter().map(|op| render::Line { op, labels: &labels }.to_string()).collect()
}

#[test]
fn what_is_equal_needs_no_operation() {
    let services = || [(on(1), service([(at(1), weighing(1)), (at(2), weighing(0))]))];
    let plan = plan_of(&spec(services()), &live(services()));
    assert!(plan.is_in_sync());
    let unchanged = Unchanged { services: 1, real_servers: 2, vips: 0 };
    assert_eq!(plan.unchanged, unchanged);
}

#[test]
fn a_weight_of_zero_is_a_value_in_both_directions() {
    for (before, after) in [(1, 0), (0, 1), (0, MAX_WEIGHT)] {
        let wanted = spec([(on(1), service([(at(1), weighing(after))]))]);
        let found = live([(on(1), service([(at(1), weighing(before))]))]);
        let label = "web/192.0.2.1:80/tcp";
        let line =
            format!("~ edit real server 198.51.100.1:80 of {label}: weight {before} -> {after}");
        assert_eq!(lines(&wanted, &found), [line]);
    }
}

#[test]
fn an_edit_of_one_field_carries_all_the_others() {
    let mut config = scheduled_by("sh");
    config.persistence = Some(Persistence { timeout: 60, netmask: Netmask::V6(64) });
    config.one_packet = true;
    let before = Service { config: config.clone(), real_servers: Default::default() };
    let mut after = before.clone();
    after.config.scheduler = Scheduler::wlc();
    let plan = plan_of(&spec([(on(1), after.clone())]), &live([(on(1), before)]));
    let (before, after) = (Box::new(config), Box::new(after.config));
    let edit = Op::EditService { key: on(1), before, after };
    assert_eq!(plan.steps, [edit]);
}

#[test]
fn a_real_server_with_another_port_is_another_real_server_added_before_the_old_one_goes() {
    let other = RealServerKey { port: 8080, ..at(1) };
    let nat = RealServer { forward: Forward::Nat, ..weighing(1) };
    let plan = plan_of(
        &spec([(on(1), service([(other, nat)]))]),
        &live([(on(1), service([(at(1), nat)]))]),
    );
    assert!(matches!(plan.steps[..], [Op::AddRealServer { .. }, Op::DeleteRealServer { .. }]));
}

#[test]
fn weights_are_raised_before_others_are_lowered() {
    let wanted = spec([(on(1), service([(at(1), weighing(0)), (at(2), weighing(5))]))]);
    let found = live([(on(1), service([(at(1), weighing(5)), (at(2), weighing(0))]))]);
    let raised: Vec<_> = plan_of(&wanted, &found).steps.iter().map(Op::object).collect();
    let real_server = |last| crate::Object::RealServer(on(1), at(last));
    assert_eq!(raised, [real_server(2), real_server(1)]);
}

#[test]
fn new_real_servers_are_added_in_the_order_of_the_spec() {
    let added = [(at(3), weighing(1)), (at(1), weighing(1)), (at(2), weighing(1))];
    let plan = plan_of(&spec([(on(1), service(added))]), &Live::default());
    let objects: Vec<_> = plan.steps.iter().skip(1).map(Op::object).collect();
    assert_eq!(objects, [3, 1, 2].map(|last| crate::Object::RealServer(on(1), at(last))));
}

#[test]
fn real_servers_are_added_again_only_as_far_as_their_order_asks() {
    let ordered = |lasts: &[u8]| lasts.iter().map(|last| (at(*last), weighing(1))).collect();
    let with = |real_servers| Service { config: scheduled_by("sh"), real_servers };
    // Live, desired, and which are added (again).
    let cases: [(&[u8], &[u8], &[u8]); 6] = [
        (&[1, 2, 3], &[1, 2, 3], &[]),
        (&[1, 2, 3], &[1, 3, 2], &[2]),
        (&[3, 2, 1], &[1, 2, 3], &[2, 3]),
        (&[1, 2], &[1, 2, 3], &[3]),
        (&[1, 2], &[3, 1, 2], &[3, 1, 2]),
        (&[9, 1, 2], &[1, 2], &[]),
    ];
    for (found, wanted, added) in cases {
        let mut desired = spec([(on(1), with(ordered(wanted)))]);
        let live = live([(on(1), with(ordered(found)))]);
        let adds = |desired: &Desired| -> Vec<_> {
            let is_add = |op: &Op| matches!(op, Op::AddRealServer { .. });
            let steps = plan_of(desired, &live).steps;
            steps.iter().filter(|op| is_add(op)).map(Op::object).collect()
        };
        let new = wanted.iter().filter(|last| !found.contains(last)).count();
        assert_eq!(adds(&desired).len(), new, "only new ones without being asked");
        desired.services.values_mut().for_each(|named| named.canonical_order = true);
        let expected = added.iter().map(|last| crate::Object::RealServer(on(1), at(*last)));
        assert_eq!(adds(&desired), expected.collect::<Vec<_>>(), "{found:?} -> {wanted:?}");
        let after = crate::simulate(&live, &plan_of(&desired, &live).steps);
        let order: Vec<_> =
            after.services[&on(1)].real_servers.in_order().map(|it| *it.0).collect();
        assert_eq!(order, wanted.iter().map(|last| at(*last)).collect::<Vec<_>>());
        assert!(plan_of(&desired, &after).is_in_sync());
    }
}

#[test]
fn a_removed_service_is_one_operation_whatever_it_takes_along() {
    let found = live([
        (on(1), service([(at(1), weighing(1)), (at(2), weighing(1))])),
        (on(2), service([])),
    ]);
    let wanted = spec([(on(2), service([]))]);
    assert_eq!(lines(&wanted, &found), ["- delete service 192.0.2.1:80/tcp with 2 real servers"]);
}

#[test]
fn ignored_fields_keep_their_live_values_and_new_objects_get_the_specs() {
    let mut wanted = spec([(on(1), service([(at(1), weighing(1)), (at(2), weighing(7))]))]);
    for named in wanted.services.values_mut() {
        named.ignore = [IgnoredField::Weight].into_iter().collect();
    }
    let mut checked = weighing(0);
    checked.upper_threshold = 10;
    let found = live([(on(1), service([(at(1), checked)]))]);
    let plan = plan_of(&wanted, &found);
    let after = RealServer { upper_threshold: 0, ..checked };
    let add = Op::AddRealServer { service: on(1), key: at(2), after: weighing(7) };
    let edit = Op::EditRealServer { service: on(1), key: at(1), before: Box::new(checked), after };
    assert_eq!(plan.steps, [add, edit]);
}

#[test]
fn what_the_kernel_echoes_without_meaning_is_no_difference() {
    let echoed = Tunnel { kind: TunnelKind::Ipip, port: 6080, ..Tunnel::IPIP };
    let tunnelled = |tunnel| RealServer { forward: Forward::Tun(tunnel), ..weighing(1) };
    let wanted = spec([(on(1), service([(at(1), tunnelled(Tunnel::IPIP))]))]);
    let found = live([(on(1), service([(at(1), tunnelled(echoed))]))]);
    assert!(plan_of(&wanted, &found).is_in_sync());
}

#[test]
fn what_is_out_of_scope_is_counted_and_never_touched() {
    let mut wanted = spec([]);
    wanted.scope = Scope::Limited(Limits {
        vips: vec!["192.0.2.1/32".parse().expect("a net")],
        ..Limits::default()
    });
    let found = live([(on(1), service([])), (on(2), service([(at(1), weighing(1))]))]);
    let plan = plan_of(&wanted, &found);
    assert_eq!(plan.steps.len(), 1);
    assert_eq!(plan.steps[0].service(), Some(on(1)));
    assert_eq!(plan.out_of_scope, 1);
}

/// The same with that drain for every service, and for those that leave.
fn draining(limit: u32, mut desired: Desired) -> Desired {
    desired.drain = Drain(limit);
    desired.services.values_mut().for_each(|named| named.drain = Drain(limit));
    desired
}

#[test]
fn a_real_server_that_leaves_drains_behind_all_that_takes_its_place_and_goes_last() {
    let wanted = draining(120, spec([(on(1), service([(at(2), weighing(1))]))]));
    let found = live([(on(1), service([(at(1), weighing(5)), (at(3), weighing(0))]))]);
    let label = "web/192.0.2.1:80/tcp";
    assert_eq!(
        lines(&wanted, &found),
        [
            format!("+ add real server 198.51.100.2:80 to {label}: forward dr, weight 1"),
            format!(
                "~ drain real server 198.51.100.1:80 of {label}: weight 5 -> 0, for 2m at most"
            ),
            format!("~ drain real server 198.51.100.3:80 of {label}: weight 0, for 2m at most"),
            format!("- delete real server 198.51.100.1:80 of {label}: forward dr, weight 0"),
            format!("- delete real server 198.51.100.3:80 of {label}: forward dr, weight 0"),
        ]
    );
}

#[test]
fn a_service_that_leaves_drains_by_the_spec_that_last_listed_it_and_is_one_deletion() {
    let there = service([(at(1), weighing(5)), (at(2), weighing(0))]);
    let (wanted, found) = (draining(30, spec([])), live([(on(1), there.clone())]));
    let steps = |last: Option<&Desired>| {
        plan(Inputs { last, ..Inputs::new(&wanted, &found, &PriorState::for_snapshot()) }).steps
    };
    let drain = |last, weight, limit| Op::DrainRealServer {
        service: on(1),
        key: at(last),
        before: weighing(weight),
        limit: Drain(limit),
    };
    let drained = service([(at(1), weighing(0)), (at(2), weighing(0))]);
    let delete = |before: &Service| Op::DeleteService { key: on(1), before: before.clone().into() };
    let last = draining(90, spec([(on(1), there.clone())]));
    assert_eq!(steps(Some(&last)), [drain(1, 5, 90), drain(2, 0, 90), delete(&drained)]);
    for unknown in [None, Some(&wanted)] {
        assert_eq!(steps(unknown), [drain(1, 5, 30), drain(2, 0, 30), delete(&drained)]);
    }
    let at_once = draining(0, last.clone());
    assert_eq!(steps(Some(&at_once)), [delete(&there)]);
}

#[test]
fn a_real_server_that_is_listed_again_gets_its_weight_back_also_where_that_is_left_to_others() {
    let mut wanted = spec([(on(1), service([(at(1), weighing(7))]))]);
    let drained = live([(on(1), service([(at(1), weighing(0))]))]);
    let weights = |desired: &Desired, live: &Live, record: &PriorState| -> Vec<u32> {
        let steps = plan(Inputs::new(desired, live, record)).steps;
        let after = |op: Op| match op {
            Op::EditRealServer { after, .. } => after.weight,
            other => panic!("{other:?}"),
        };
        steps.into_iter().map(after).collect()
    };
    let record = |entries: &[(RealServerKey, u32)]| {
        let draining = |(key, weight): &(RealServerKey, u32)| {
            (
                (on(1), *key),
                Draining { since: 1, weight: *weight, limit: Drain::default(), uptime: None },
            )
        };
        let drains = DrainRecords(entries.iter().map(draining).collect());
        PriorState { drains, ..PriorState::for_snapshot() }
    };
    assert_eq!(weights(&wanted, &drained, &record(&[(at(1), 3)])), [7]);
    wanted.services.values_mut().for_each(|named| {
        named.ignore = [IgnoredField::Weight].into_iter().collect();
    });
    assert_eq!(weights(&wanted, &drained, &record(&[(at(1), 3)])), [3]);
    assert_eq!(weights(&wanted, &drained, &record(&[(at(2), 3)])), [0; 0]);
    assert_eq!(weights(&wanted, &drained, &record(&[(at(1), 0)])), [0; 0]);
    // Somebody else has raised it already.
    let raised = live([(on(1), service([(at(1), weighing(4))]))]);
    assert_eq!(weights(&wanted, &raised, &record(&[(at(1), 3)])), [0; 0]);
}

#[test]
fn what_is_added_again_for_its_order_does_not_drain_and_waits_for_the_others_weights() {
    let listed = |all: &[(u8, u32)]| Service {
        config: scheduled_by("wrr"),
        real_servers: all.iter().map(|(last, weight)| (at(*last), weighing(*weight))).collect(),
    };
    let mut wanted = draining(30, spec([(on(1), listed(&[(2, 1), (1, 5)]))]));
    wanted.services.values_mut().for_each(|named| named.canonical_order = true);
    let found = live([(on(1), listed(&[(1, 5), (2, 0), (3, 1)]))]);
    let steps = plan_of(&wanted, &found).steps;
    let reported: Vec<_> = steps.iter().map(|op| (op.verb(), op.object())).collect();
    let real_server = |last| crate::Object::RealServer(on(1), at(last));
    assert_eq!(
        reported,
        [
            (Verb::Edit, real_server(2)),
            (Verb::Delete, real_server(1)),
            (Verb::Add, real_server(1)),
            (Verb::Drain, real_server(3)),
            (Verb::Delete, real_server(3)),
        ]
    );
}

#[test]
fn a_drain_under_which_connections_are_dropped_in_silence_is_warned_of() {
    const NODEST: &str = "net.ipv4.vs.expire_nodest_conn";
    let found = |value: Option<&str>| Live {
        sysctls: value.map(|value| (NODEST.into(), value.into())).into_iter().collect(),
        ..live([(on(1), service([(at(1), weighing(1)), (at(2), weighing(1))]))])
    };
    let mut wanted = draining(30, spec([(on(1), service([(at(1), weighing(1))]))]));
    let warned = |desired: &Desired, live: &Live| -> bool {
        plan_of(desired, live).warnings.iter().any(|warning| warning.contains(NODEST))
    };
    assert!(warned(&wanted, &found(Some("0"))));
    assert!(!warned(&wanted, &found(Some("1"))));
    assert!(!warned(&wanted, &found(None)), "it is not known");
    assert!(!warned(&draining(0, wanted.clone()), &found(Some("0"))), "nothing drains");
    wanted.sysctls.insert(NODEST.into(), "1".into());
    assert!(!warned(&wanted, &found(Some("0"))), "it is set before");
}

fn vip(last: u8) -> Binding {
    Binding::host([192, 0, 2, last].into(), "eth0")
}

#[test]
fn vips_are_bound_after_their_services_are_ready_and_unbound_before_they_go() {
    let mut wanted = spec([(on(1), service([(at(1), weighing(1))]))]);
    wanted.vips.insert(vip(1), Vip::default());
    let mut found = live([(on(2), service([(at(1), weighing(1))]))]);
    found.addresses.insert(vip(2), Owner::Evenkeel);
    let shown = lines(&wanted, &found);
    assert_eq!(
        shown,
        [
            "+ add service web/192.0.2.1:80/tcp: scheduler wrr",
            "+ add real server 198.51.100.1:80 to web/192.0.2.1:80/tcp: forward dr, weight 1",
            "+ bind vip 192.0.2.1/32 on eth0",
            "- unbind vip 192.0.2.2/32 on eth0",
            "- delete service 192.0.2.2:80/tcp with 1 real server",
        ]
    );
}

#[test]
fn an_interface_that_is_not_there_is_an_obstacle_unless_it_may_be_created() {
    let mut wanted = spec([]);
    wanted.vips.insert(vip(1), Vip::default());
    let found = Live { links: Some([].into()), ..Live::default() };
    let precondition = UnmetPrecondition::NoInterface { interface: "eth0".into() };
    assert_eq!(plan_of(&wanted, &found).unmet_preconditions, [precondition]);

    wanted.vips.insert(vip(1), Vip { dummy: true, ..Vip::default() });
    wanted.vips.insert(vip(2), Vip { dummy: true, ..Vip::default() });
    let plan = plan_of(&wanted, &found);
    assert_eq!(plan.unmet_preconditions, []);
    assert_eq!(
        plan.steps,
        [
            Op::AddDummy { interface: "eth0".into() },
            Op::Bind { binding: vip(1), label: None },
            Op::Bind { binding: vip(2), label: None },
        ]
    );
}

#[test]
fn a_device_of_our_own_that_is_down_is_brought_up_behind_its_services_and_before_its_bindings() {
    let mut wanted = spec([(on(1), service([(at(1), weighing(2))]))]);
    wanted.vips =
        [(vip(1), Vip { dummy: true, ..Vip::default() }), (vip(2), Vip::default())].into();
    let link = |up| Link { up, dummy: true, owner: Owner::Evenkeel };
    // What IPv4 has stays bound; the other one is new, or one that IPv6 lost.
    let found = Live {
        links: Some([("eth0".into(), link(false)), ("unused".into(), link(false))].into()),
        addresses: [(vip(1), Owner::Evenkeel)].into(),
        ..live([(on(1), service([(at(1), weighing(1))]))])
    };
    let plan = plan_of(&wanted, &found);
    assert_eq!(
        lines(&wanted, &found),
        [
            "~ edit real server 198.51.100.1:80 of web/192.0.2.1:80/tcp: weight 1 -> 2",
            "~ edit dummy device eth0: up no -> yes",
            "+ bind vip 192.0.2.2/32 on eth0",
        ]
    );
    assert_eq!(plan.warnings, Vec::<String>::new());
    let document = render::json(&plan, &wanted);
    let step = &document["steps"][1];
    assert_eq!((&step["verb"], &step["object"]), (&"edit".into(), &"dummy device".into()));
    assert_eq!((&step["interface"], &step["after"]["up"]), (&"eth0".into(), &"yes".into()));
    let after = simulate(&found, &plan.steps);
    assert_eq!(
        after.links,
        Some([("eth0".into(), link(true)), ("unused".into(), link(false))].into())
    );
    assert!(plan_of(&wanted, &after).is_in_sync());
}

#[test]
fn a_device_of_another_program_that_is_down_is_warned_of_and_left_alone() {
    let mut wanted = spec([]);
    wanted.vips.insert(vip(1), Vip { dummy: true, ..Vip::default() });
    let down = Link { up: false, dummy: true, owner: Owner::Other };
    let found = Live {
        links: Some([("eth0".into(), down)].into()),
        addresses: [(vip(1), Owner::Evenkeel)].into(),
        ..Live::default()
    };
    let plan = plan_of(&wanted, &found);
    assert!(plan.is_in_sync());
    assert!(plan.warnings[0].contains("interface eth0 is down: 192.0.2.1"), "{:?}", plan.warnings);
}

#[test]
fn a_loopback_that_is_down_is_an_obstacle_to_new_real_servers_only() {
    let links = |up| Some([("lo".into(), Link { up, dummy: false, owner: Owner::Other })].into());
    let wanted = spec([(on(1), service([(at(1), weighing(1))]))]);
    let down = Live { links: links(false), ..Live::default() };
    assert_eq!(plan_of(&wanted, &down).unmet_preconditions, [UnmetPrecondition::LoopbackDown]);
    let up = Live { links: links(true), ..Live::default() };
    assert_eq!(plan_of(&wanted, &up).unmet_preconditions, []);
    let in_sync = Live { links: links(false), ..live([(on(1), service([(at(1), weighing(1))]))]) };
    assert_eq!(plan_of(&wanted, &in_sync).unmet_preconditions, []);
}

#[test]
fn a_scheduler_needs_its_module_unless_it_is_there_and_none_needs_no_module() {
    let modules = |name: &str| {
        let service = Service { config: scheduled_by(name), ..service([]) };
        let found = Live { modules: Some(["ip_vs_rr".into()].into()), ..live([]) };
        let steps = plan_of(&spec([(on(1), service)]), &found).steps;
        steps.iter().filter(|op| matches!(op, Op::AddModule { .. })).count()
    };
    assert_eq!(["sh", "rr", "none"].map(modules), [1, 0, 0]);
}

#[test]
fn the_json_document_has_before_after_and_what_changed() {
    let wanted = spec([(on(1), service([(at(1), weighing(2))]))]);
    let found = live([(on(1), service([(at(1), weighing(1))]))]);
    let document = render::json(&plan_of(&wanted, &found), &wanted);
    let step = &document["steps"][0];
    assert_eq!(step["verb"], "edit");
    assert_eq!(step["object"], "real server");
    assert_eq!(step["service"]["name"], "web");
    assert_eq!(step["before"]["weight"], 1);
    assert_eq!(step["after"]["weight"], 2);
    assert_eq!(step["changes"][0]["field"], "weight");
    assert_eq!(step["changes"].as_array().map(Vec::len), Some(1));
    assert_eq!(document["counts"]["edit"], 1);
}

#[test]
fn a_service_that_leaves_has_the_name_that_the_last_spec_gave_it() {
    let found = live([(on(1), service([])), (on(2), service([])), (on(3), service([]))]);
    let (wanted, mut last) = (spec([(on(1), service([]))]), spec([(on(2), service([]))]));
    last.services.get_mut(&on(2)).expect("it is listed").name = "gone".into();
    let plan = plan_of(&wanted, &found);
    let names = Names { desired: &wanted, last: Some(&last) };
    let labels = render::Labels::new(names);
    let lines = plan.steps.iter().map(|op| render::Line { op, labels: &labels }.to_string());
    assert_eq!(
        lines.collect::<Vec<_>>(),
        [
            "- delete service gone/192.0.2.2:80/tcp with 0 real servers",
            "- delete service 192.0.2.3:80/tcp with 0 real servers"
        ]
    );
    let document = render::json(&plan, names);
    assert_eq!(document["steps"][0]["service"]["name"], "gone");
    assert_eq!(document["steps"][1]["service"].get("name"), None);
    // A name of the new spec goes before one of the last.
    assert_eq!(names.label(&on(1)).to_string(), "web/192.0.2.1:80/tcp");
}

/// A VIP with that label in the spec, live with another owner or label.
fn labelled(label: Option<&str>, live_label: Option<&str>, owner: Owner) -> (Desired, Live) {
    let mut wanted = spec([(on(1), service([(at(1), weighing(1))]))]);
    wanted.vips.insert(vip(1), Vip { label: label.map(Into::into), ..Vip::default() });
    let found = Live {
        addresses: [(vip(1), owner)].into(),
        labels: live_label.map(|label| (vip(1), label.into())).into_iter().collect(),
        ..live([(on(1), service([(at(1), weighing(1))]))])
    };
    (wanted, found)
}

#[test]
fn a_label_is_changed_by_unbinding_and_binding_again_at_once() {
    for (label, live_label, expected) in [
        (None, Some("eth0:9"), [].as_slice()),
        (Some("eth0:1"), Some("eth0:1"), &[]),
        (Some("eth0"), None, &[]),
        (
            Some("eth0:1"),
            None,
            &["- unbind vip 192.0.2.1/32 on eth0", "+ bind vip 192.0.2.1/32 on eth0 label eth0:1"],
        ),
        (
            Some("eth0"),
            Some("eth0:9"),
            &["- unbind vip 192.0.2.1/32 on eth0 label eth0:9", "+ bind vip 192.0.2.1/32 on eth0"],
        ),
    ] {
        let (wanted, found) = labelled(label, live_label, Owner::Evenkeel);
        assert_eq!(lines(&wanted, &found), expected, "{label:?} {live_label:?}");
        let after = simulate(&found, &plan_of(&wanted, &found).steps);
        assert!(plan_of(&wanted, &after).is_in_sync());
    }
}

#[test]
fn a_label_is_changed_before_drains_and_leaves_no_other_length_of_the_address_behind() {
    let (mut wanted, mut found) = labelled(Some("eth0:1"), None, Owner::Evenkeel);
    let wide = Binding { prefix: 24, ..vip(1) };
    found.addresses.insert(wide, Owner::Evenkeel);
    let mut named = evenkeel_model::NamedService::new("web", service([(at(2), weighing(1))]));
    named.drain = evenkeel_model::Drain(30);
    wanted.services.insert(on(1), named);
    assert_eq!(
        lines(&wanted, &found),
        [
            "+ add real server 198.51.100.2:80 to web/192.0.2.1:80/tcp: forward dr, weight 1",
            "- unbind vip 192.0.2.1/32 on eth0",
            "+ bind vip 192.0.2.1/32 on eth0 label eth0:1",
            "~ drain real server 198.51.100.1:80 of web/192.0.2.1:80/tcp: weight 1 -> 0, for 30s at most",
            "- delete real server 198.51.100.1:80 of web/192.0.2.1:80/tcp: forward dr, weight 0",
            "- unbind vip 192.0.2.1/24 on eth0",
        ]
    );
}

#[test]
fn the_label_of_an_address_of_another_program_stays_with_a_warning() {
    let (wanted, found) = labelled(Some("eth0:1"), Some("eth0:9"), Owner::Other);
    let plan = plan_of(&wanted, &found);
    assert!(plan.is_in_sync());
    let warning = "192.0.2.1/32 on eth0 was bound by someone else and keeps its label eth0:9; \
                   the spec says eth0:1";
    assert_eq!(plan.warnings, [warning]);
    let (wanted, found) = labelled(Some("eth0:1"), Some("eth0:1"), Owner::Other);
    assert_eq!(plan_of(&wanted, &found).warnings, [""; 0]);
}

fn routed(vips: impl IntoIterator<Item = Binding>) -> Desired {
    let vip = || Vip { route: true, ..Vip::default() };
    Desired { vips: vips.into_iter().map(|binding| (binding, vip())).collect(), ..spec([]) }
}

/// A host where evenkeel bound those addresses and added those routes.
fn host_of(bound: impl IntoIterator<Item = Binding>, routes: &[(Binding, LiveRoute)]) -> Live {
    let routes = routes.iter().map(|(binding, found)| (HostRoute::of(binding), *found));
    Live {
        addresses: bound.into_iter().map(|binding| (binding, Owner::Evenkeel)).collect(),
        routes: Some(routes.collect()),
        ..Live::default()
    }
}

fn own_route(binding: &Binding) -> (Binding, LiveRoute) {
    (binding.clone(), LiveRoute::of_evenkeel(&HostRoute::of(binding)))
}

#[test]
fn a_route_is_added_behind_its_vip_and_deleted_before_it() {
    let six = Binding::host("2001:db8::1".parse().expect("an address"), "eth0");
    let both = [vip(1), six];
    let found = host_of(both.clone(), &both.clone().map(|it| own_route(&it)));
    assert_eq!(
        lines(&routed(both.clone()), &host_of([], &[])),
        [
            "+ bind vip 192.0.2.1/32 on eth0",
            "+ bind vip 2001:db8::1/128 on eth0",
            "+ add route 192.0.2.1 dev eth0",
            "+ add route 2001:db8::1 dev eth0",
        ]
    );
    assert!(plan_of(&routed(both.clone()), &found).is_in_sync());
    let gone = [
        "- delete route 192.0.2.1 dev eth0",
        "- delete route 2001:db8::1 dev eth0",
        "- unbind vip 192.0.2.1/32 on eth0",
        "- unbind vip 2001:db8::1/128 on eth0",
    ];
    assert_eq!(lines(&spec([]), &found), gone);
    let mut kept = routed(both);
    kept.vips.values_mut().for_each(|vip| vip.route = false);
    assert_eq!(lines(&kept, &found), gone[..2]);
}

#[test]
fn a_route_of_another_program_through_the_interface_is_used_and_never_deleted() {
    let foreign = LiveRoute { owner: Owner::Other, source: None };
    let found = host_of([vip(1)], &[(vip(1), foreign)]);
    assert!(plan_of(&routed([vip(1)]), &found).is_in_sync());
    assert_eq!(lines(&spec([]), &found), ["- unbind vip 192.0.2.1/32 on eth0"]);
}

#[test]
fn a_route_that_lost_its_source_or_moves_to_another_interface_makes_room_first() {
    let bare = LiveRoute { owner: Owner::Evenkeel, source: None };
    assert_eq!(
        lines(&routed([vip(1)]), &host_of([vip(1)], &[(vip(1), bare)])),
        ["- delete route 192.0.2.1 dev eth0", "+ add route 192.0.2.1 dev eth0"]
    );
    let moved = Binding { interface: "eth1".into(), ..vip(1) };
    let found = host_of([vip(1)], &[own_route(&vip(1))]);
    assert_eq!(
        lines(&routed([moved]), &found),
        [
            "- delete route 192.0.2.1 dev eth0",
            "+ bind vip 192.0.2.1/32 on eth1",
            "+ add route 192.0.2.1 dev eth1",
            "- unbind vip 192.0.2.1/32 on eth0",
        ]
    );
}

#[test]
fn the_route_of_a_vip_that_gets_another_label_is_added_anew() {
    let mut wanted = routed([vip(1)]);
    wanted.vips.entry(vip(1)).or_default().label = Some("eth0:1".into());
    let found = host_of([vip(1)], &[own_route(&vip(1))]);
    let forth = [
        "- delete route 192.0.2.1 dev eth0",
        "- unbind vip 192.0.2.1/32 on eth0",
        "+ bind vip 192.0.2.1/32 on eth0 label eth0:1",
        "+ add route 192.0.2.1 dev eth0",
    ];
    assert_eq!(lines(&wanted, &found), forth);
    let steps = plan_of(&wanted, &found).steps;
    let after = simulate(&found, &steps);
    assert!(plan_of(&wanted, &after).is_in_sync());
    let back = crate::rollback_plan(&steps, &after).steps;
    assert_eq!(simulate(&after, &back), found);
    // Someone else took the VIP, and with it the route, while the plan ran.
    let without = Live { routes: Some([].into()), ..Live::default() };
    let back = crate::rollback_plan(&steps, &without).steps;
    assert_eq!(simulate(&without, &back), found);
}

#[test]
fn no_route_is_added_through_an_interface_that_stays_down() {
    let link = |up, owner| Link { up, dummy: true, owner };
    let down = |owner| Live {
        links: Some([("eth0".into(), link(false, owner))].into()),
        ..host_of([vip(1)], &[])
    };
    let plan = plan_of(&routed([vip(1)]), &down(Owner::Other));
    assert!(plan.is_in_sync() && plan.warnings[0].contains("interface eth0 is down"));
    assert_eq!(
        lines(&routed([vip(1)]), &down(Owner::Evenkeel)),
        ["~ edit dummy device eth0: up no -> yes", "+ add route 192.0.2.1 dev eth0"]
    );
}
