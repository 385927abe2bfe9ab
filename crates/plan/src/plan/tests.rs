//! Laws of planning, on small states; [`laws`] holds those on arbitrary states.

mod default_route;
mod host_object;
mod label;
mod laws;
mod lost_vip;
mod neighbour;
mod packet_rules;
mod secondaries;
mod tunnel;

use evenkeel_model::{
    Binding, Drain, Forward, IgnoredField, Limits, Link, MAX_WEIGHT, Names, Netmask, Owner,
    Persistence, RealServer, RealServerKey, Scheduler, Scope, Service, ServiceKey, Tunnel,
    TunnelKind, Vip,
};

use super::*;
use crate::test_fixtures::{at, on, scheduled_by, spec, warnings, weighing};
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
fn equal_states_need_no_operation() {
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
fn a_real_server_with_another_port_is_added_before_the_old_one_is_deleted() {
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
fn real_servers_are_added_again_only_if_their_order_requires_it() {
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
fn a_service_is_deleted_with_its_real_servers_by_one_operation() {
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
fn meaningless_values_that_the_kernel_echoes_are_no_difference() {
    let echoed = Tunnel { kind: TunnelKind::Ipip, port: 6080, ..Tunnel::IPIP };
    let tunnelled = |tunnel| RealServer { forward: Forward::Tun(tunnel), ..weighing(1) };
    let wanted = spec([(on(1), service([(at(1), tunnelled(Tunnel::IPIP))]))]);
    let found = live([(on(1), service([(at(1), tunnelled(echoed))]))]);
    assert!(plan_of(&wanted, &found).is_in_sync());
}

#[test]
fn objects_out_of_scope_are_counted_and_never_changed() {
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

/// Sets that drain for every service, and for removed ones.
fn draining(limit: u32, mut desired: Desired) -> Desired {
    desired.drain = Drain(limit);
    desired.services.values_mut().for_each(|named| named.drain = Drain(limit));
    desired
}

#[test]
fn a_real_server_drains_after_its_replacements_are_added_and_is_deleted_last() {
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
fn a_removed_service_drains_as_its_last_spec_says_and_is_one_deletion() {
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
fn a_real_server_that_is_listed_again_regains_its_weight_even_if_weights_are_ignored() {
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
    // Another program has raised it already.
    let raised = live([(on(1), service([(at(1), weighing(4))]))]);
    assert_eq!(weights(&wanted, &raised, &record(&[(at(1), 3)])), [0; 0]);
}

#[test]
fn a_real_server_that_moves_does_not_drain_and_waits_for_the_weights_of_others() {
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
fn a_drain_that_silently_drops_connections_is_warned_of() {
    const NODEST: &str = "net.ipv4.vs.expire_nodest_conn";
    let found = |value: Option<&str>| Live {
        sysctls: value.map(|value| (NODEST.into(), value.into())).into_iter().collect(),
        ..live([(on(1), service([(at(1), weighing(1)), (at(2), weighing(1))]))])
    };
    let mut wanted = draining(30, spec([(on(1), service([(at(1), weighing(1))]))]));
    let warned = |desired: &Desired, live: &Live| -> bool {
        warnings(&plan_of(desired, live)).iter().any(|warning| warning.contains(NODEST))
    };
    assert!(warned(&wanted, &found(Some("0"))));
    assert!(!warned(&wanted, &found(Some("1"))));
    assert!(!warned(&wanted, &found(None)), "unknown");
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
fn a_missing_interface_is_an_unmet_precondition_unless_it_may_be_created() {
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
fn a_device_of_evenkeel_that_is_down_is_brought_up_after_its_services_and_before_its_bindings() {
    let mut wanted = spec([(on(1), service([(at(1), weighing(2))]))]);
    wanted.vips =
        [(vip(1), Vip { dummy: true, ..Vip::default() }), (vip(2), Vip::default())].into();
    let link = |up| Link { up, dummy: true, owner: Owner::Evenkeel };
    // The IPv4 address stays bound; the other one is new, or an IPv6 address that was lost.
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
    assert_eq!(plan.warnings, []);
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
fn a_device_of_another_program_that_is_down_causes_a_warning_and_is_not_changed() {
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
    assert!(
        warnings(&plan)[0].contains("interface eth0 is down: 192.0.2.1"),
        "{:?}",
        plan.warnings
    );
}

#[test]
fn a_loopback_that_is_down_prevents_only_new_real_servers() {
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
fn a_scheduler_needs_its_module_unless_it_is_loaded_and_none_needs_no_module() {
    let modules = |name: &str| {
        let service = Service { config: scheduled_by(name), ..service([]) };
        let found = Live { modules: Some(["ip_vs_rr".into()].into()), ..live([]) };
        let steps = plan_of(&spec([(on(1), service)]), &found).steps;
        steps.iter().filter(|op| matches!(op, Op::AddModule { .. })).count()
    };
    assert_eq!(["sh", "rr", "none"].map(modules), [1, 0, 0]);
}

#[test]
fn the_json_document_has_before_after_and_the_changed_fields() {
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
    // A name of the new spec takes precedence over one of the last.
    assert_eq!(names.label(&on(1)).to_string(), "web/192.0.2.1:80/tcp");
}
