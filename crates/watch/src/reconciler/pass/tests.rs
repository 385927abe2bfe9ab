mod capabilities;
mod fixture;
mod probe;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_control::{Answer, Mode, Request, State, Trigger};
use evenkeel_engine::StateDir;
use evenkeel_engine::fake_kernel::Fault;
use evenkeel_model::statistics::Statistics;
use evenkeel_model::{Live, ServiceKey};
use rustix::io::Errno;

use crate::reconciler::Message;
use fixture::{Fixture, set_weight, spec_text};

const SPEC: &str = "version: 1
scope: all
vips: [ { address: 192.0.2.1, interface: eth0 } ]
services:
  - name: web
    vip: 192.0.2.1
    port: 80
    drain: 0s
    real_servers: [ { address: 10.0.0.1, weight: 3 }, { address: 10.0.0.2 } ]
  - { name: dns, vip: 192.0.2.1, port: 53, protocol: udp, drain: 0s, real_servers: [ { address: 10.0.0.3 } ] }
";

#[test]
fn a_host_is_brought_to_the_spec_and_then_not_changed() {
    let mut fixture = Fixture::new(SPEC);
    fixture.assert_state(State::Ok, "");
    let live = fixture.live();
    assert_eq!((live.services.len(), live.addresses.len()), (2, 1));
    let received = fixture.received();
    for trigger in [Trigger::Resync, Trigger::Address, Trigger::Spec, Trigger::Signal] {
        fixture.pass(trigger);
    }
    assert_eq!(fixture.received(), received);
    assert_eq!(fixture.status().last_pass.as_ref().map(|it| &*it.result), Some("in_sync"));
}

#[test]
fn drift_of_every_kind_is_repaired() {
    let mut fixture = Fixture::new(SPEC);
    let before = fixture.live();
    for change in [
        (|live: &mut Live| drop(live.services.pop_first())) as fn(&mut Live),
        |live| live.addresses.clear(),
        |live| set_weight(live, "10.0.0.1", 77),
    ] {
        change(&mut fixture.kernel.get().live);
        assert_ne!(fixture.live(), before);
        fixture.pass(Trigger::Resync);
        assert_eq!(fixture.live(), before);
        fixture.assert_state(State::Ok, "");
    }
}

#[test]
fn address_events_are_rate_limited_unless_a_vip_was_removed() {
    let mut fixture = Fixture::new(SPEC);
    let mut on_message = |gone: &[[u8; 4]]| {
        let gone = gone.iter().map(|address| (*address).into()).collect();
        fixture.reconciler.on_message(Message::Address { gone });
        let schedule = &fixture.reconciler.schedule;
        (
            schedule.address.expect("a pass"),
            schedule.addresses_from,
            fixture.reconciler.schedule.clock.now(),
        )
    };
    for gone in [&[][..], &[[198, 51, 100, 9]]] {
        let (due, from, _) = on_message(gone);
        assert_eq!(due, from, "{gone:?}");
    }
    let (due, from, now) = on_message(&[[198, 51, 100, 9], [192, 0, 2, 1]]);
    assert!(due < from && due <= now);
    // A later event does not delay it.
    assert_eq!(on_message(&[]).0, due);
    // One pass covers all events before it, unless it could not be made.
    fixture.kernel.get().is_unreachable = true;
    fixture.reconciler.pass(Trigger::Signal);
    assert!(fixture.reconciler.schedule.address.is_some());
    fixture.kernel.get().is_unreachable = false;
    fixture.reconciler.pass(Trigger::Signal);
    assert_eq!(fixture.reconciler.schedule.address, None);
}

#[test]
fn an_own_device_that_was_set_down_is_set_up_and_its_vips_are_bound_again() {
    let mut fixture =
        Fixture::new(&SPEC.replace("interface: eth0", "interface: vips, dummy: true"));
    let before = fixture.live();
    let set_down = |live: &mut Live, name: &str| {
        let links = live.links.as_mut().expect("they are known");
        links.get_mut(name).expect("it is there").up = false;
    };
    set_down(&mut fixture.kernel.get().live, "vips");
    // The kernel removes those of IPv6.
    fixture.kernel.get().live.addresses.clear();
    let seen = fixture.received();
    fixture.pass(Trigger::Address);
    assert_eq!(fixture.live(), before);
    assert_eq!(fixture.received(), seen + 1 + before.addresses.len());
    fixture.assert_state(State::Ok, "");
    // Other interfaces are not evenkeel's.
    set_down(&mut fixture.kernel.get().live, "eth0");
    fixture.pass(Trigger::Address);
    assert!(fixture.live().links.is_some_and(|links| !links["eth0"].up));
}

#[test]
fn a_failed_vip_that_is_reported_as_unbound_is_retried_at_once() {
    let mut fixture = Fixture::new(SPEC);
    fixture.kernel.get().live.addresses.clear();
    let number = fixture.received();
    fixture.kernel.get().faults.insert(number, Fault::Refuse(Errno::NOMEM));
    fixture.pass(Trigger::Address);
    fixture.assert_state(State::Degraded, "vip 192.0.2.1/32 on eth0");
    let gone: BTreeSet<IpAddr> = [[192, 0, 2, 1].into()].into();
    fixture.pass(Trigger::Address);
    assert!(fixture.live().addresses.is_empty(), "its back-off has not ended");
    fixture.reconciler.on_message(Message::Address { gone });
    fixture.pass(Trigger::Address);
    assert_eq!(fixture.live().addresses.len(), 1);
    fixture.assert_state(State::Ok, "");
}

#[test]
fn a_failed_object_is_retried_later_and_the_rest_is_applied() {
    let mut fixture = Fixture::new(SPEC);
    let number = fixture.received();
    // The first operation of the next plan: one of the two real servers that are added.
    fixture.kernel.get().faults.insert(number, Fault::Refuse(Errno::NOMEM));
    let spec = SPEC
        .replace("{ address: 10.0.0.2 }", "{ address: 10.0.0.4 }")
        .replace("address: 10.0.0.3", "address: 10.0.0.5");
    fixture.write(&spec);
    let status = fixture.status();
    assert_eq!(status.state, State::Degraded);
    assert_eq!((status.failing.len(), status.failing[0].attempts), (1, 1), "{status:?}");
    let weights = fixture.weights();
    // The other service was changed completely; in this one nothing is removed.
    let is_kept = |address: &str| weights.contains_key(address);
    let web = (is_kept("10.0.0.2"), is_kept("10.0.0.4"));
    let dns = (is_kept("10.0.0.3"), is_kept("10.0.0.5"));
    assert!(
        [((true, false), (false, true)), ((false, true), (true, false))].contains(&(web, dns)),
        "{weights:?}"
    );
    std::thread::sleep(Duration::from_millis(1_050));
    fixture.pass(Trigger::Retry);
    fixture.assert_state(State::Ok, "");
    let expected = [("10.0.0.1", 3), ("10.0.0.4", 1), ("10.0.0.5", 1)];
    assert_eq!(fixture.weights(), expected.map(|(it, weight)| (it.to_owned(), weight)).into());
}

#[test]
fn an_invalid_spec_changes_nothing_and_the_last_valid_one_is_enforced() {
    let mut fixture = Fixture::new(SPEC);
    let before = fixture.live();
    for bad in ["", "version: 1\nservices: [", "version: 1\nservises: []\n"] {
        fixture.write(bad);
        fixture
            .assert_state(State::Degraded, "the spec is invalid; the last valid one stays active");
        fixture.assert_state(State::Degraded, "spec.yaml");
        fixture.kernel.get().live.addresses.clear();
        fixture.pass(Trigger::Address);
        assert_eq!(fixture.live(), before);
        // Also by a daemon that never read another one.
        fixture.restart();
        fixture.assert_state(State::Degraded, "the last valid one stays active");
        fixture.kernel.get().live.services.pop_first();
        fixture.pass(Trigger::Resync);
        assert_eq!(fixture.live(), before);
    }
    fixture.write(SPEC);
    fixture.assert_state(State::Ok, "");
    assert_eq!(fixture.live(), before);
}

#[test]
fn a_plan_that_a_guard_refuses_is_held_until_it_is_approved() {
    let mut fixture = Fixture::new(SPEC);
    let before = fixture.live();
    let smaller = SPEC.split("  - { name: dns").next().expect("a part").replace(
        "{ address: 10.0.0.1, weight: 3 }, { address: 10.0.0.2 }",
        "{ address: 10.0.0.1, weight: 0 }",
    );
    fixture.write(&smaller);
    fixture.assert_state(State::Held, "guard no-server holds plan");
    fixture.kernel.get().live.addresses.clear();
    fixture.pass(Trigger::Address);
    assert_eq!(fixture.live(), before, "the last valid one is enforced");
    let held = fixture.status().spec.held.clone().expect("it is held");
    let answer = fixture.reconciler.handle(Request::Approve { id: "other".to_owned() });
    assert!(
        matches!(&answer, Answer::Refused(message) if message.contains(&held.id)),
        "{answer:?}"
    );
    assert_eq!(fixture.live(), before);
    let answer = fixture.reconciler.handle(Request::Approve { id: held.id.clone() });
    assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
    assert_eq!(fixture.weights(), [("10.0.0.1".to_owned(), 0)].into());
    fixture.assert_state(State::Ok, "");
    let answer = fixture.reconciler.handle(Request::Approve { id: held.id });
    assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
}

#[test]
fn an_approval_for_which_no_pass_can_be_made_reports_the_reason() {
    let mut fixture = Fixture::new(SPEC);
    fixture.write(&SPEC.replace(", weight: 3 }, { address: 10.0.0.2", ", weight: 0"));
    let id = fixture.status().spec.held.clone().expect("it is held").id;
    fixture.kernel.get().is_unreachable = true;
    let answer = fixture.reconciler.handle(Request::Approve { id: id.clone() });
    let reason = fixture.status().reasons.last().cloned().expect("there is one");
    assert!(
        matches!(&answer, Answer::Refused(message) if message.ends_with(&reason)),
        "{answer:?}, but {reason}"
    );
    fixture.kernel.get().is_unreachable = false;
    let answer = fixture.reconciler.handle(Request::Approve { id });
    assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
}

#[test]
fn drift_does_not_release_a_held_plan() {
    let mut fixture = Fixture::new(SPEC);
    let before = fixture.live();
    let quiet = SPEC.replace(", weight: 3 }, { address: 10.0.0.2", ", weight: 0");
    fixture.write(&quiet);
    let id = fixture.status().spec.held.clone().expect("it is held").id;
    fixture.kernel.get().live.services.clear();
    fixture.pass(Trigger::Resync);
    assert_eq!(fixture.live(), before);
    assert_eq!(fixture.status().spec.held.as_ref().map(|held| &held.id), Some(&id));
    // Nor does it let a plan pass that is new when the host has drifted.
    fixture.write(SPEC);
    fixture.assert_state(State::Ok, "");
    fixture.kernel.get().live.services.clear();
    fixture.write(&quiet);
    fixture.assert_state(State::Held, "guard no-server");
    assert_eq!(fixture.live(), before);
}

/// Adds enough services as another program for a guard to refuse their deletion.
fn add_foreign_services(fixture: &Fixture) {
    let mut kernel = fixture.kernel.get();
    let (key, service) =
        kernel.live.services.iter().next().map(|(k, s)| (*k, s.clone())).expect("one");
    for port in 1_000..1_010 {
        let ServiceKey::Address { address, protocol, .. } = key else { continue };
        kernel
            .live
            .services
            .insert(ServiceKey::Address { address, port, protocol }, service.clone());
    }
}

#[test]
fn a_guard_on_the_repair_of_drift_holds_back_only_removals() {
    for is_newer_held in [false, true] {
        let mut fixture = Fixture::new(SPEC);
        if is_newer_held {
            fixture.write(&SPEC.replace(", weight: 3 }, { address: 10.0.0.2", ", weight: 0"));
        }
        add_foreign_services(&fixture);
        fixture.kernel.get().live.addresses.clear();
        set_weight(&mut fixture.kernel.get().live, "10.0.0.1", 9);
        fixture.pass(Trigger::Resync);
        fixture.assert_state(State::Held, "guard mass-delete");
        let live = fixture.live();
        assert_eq!((live.services.len(), live.addresses.len()), (12, 1));
        assert_eq!(fixture.weights()["10.0.0.1"], 3);
    }
}

#[test]
fn a_spec_that_apply_applied_becomes_active() {
    let mut fixture = Fixture::new(SPEC);
    let quiet = SPEC.replace(", weight: 3 }, { address: 10.0.0.2", ", weight: 0");
    fixture.write(&quiet);
    fixture.assert_state(State::Held, "guard no-server");
    // `apply --allow no-server` of the same file.
    let spec = spec_text("spec.yaml", &quiet).expect("a good one");
    let state = StateDir::new(fixture.folder.path(), "init");
    let (mut journal, _) = state.read(false).expect("a journal");
    state.store_spec(&mut journal, &spec.texts(), &spec.parameters).expect("room");
    journal.promote_next_spec();
    state.write(&journal).expect("room");
    fixture.pass(Trigger::Resync);
    fixture.assert_state(State::Ok, "");
    assert_eq!(fixture.weights()["10.0.0.1"], 0);
}

#[test]
fn a_lost_journal_is_written_again_with_the_last_valid_spec() {
    let mut fixture = Fixture::new(SPEC);
    let before = fixture.live();
    std::fs::remove_dir_all(fixture.folder.path().join("init")).expect("it is there");
    fixture.pass(Trigger::Resync);
    fixture.write("version: 1\nservices: [");
    fixture.restart();
    fixture.kernel.get().live.services.clear();
    fixture.pass(Trigger::Resync);
    assert_eq!(fixture.live(), before);
}

#[test]
fn a_conflict_on_one_object_delays_no_other() {
    let mut fixture = Fixture::new(&SPEC.replace(", { address: 10.0.0.2 }", ""));
    for _ in 0..6 {
        set_weight(&mut fixture.kernel.get().live, "10.0.0.1", 9);
        fixture.pass(Trigger::Resync);
    }
    assert_eq!(fixture.weights()["10.0.0.1"], 9, "it backs off");
    fixture.kernel.get().live.services.clear();
    fixture.pass(Trigger::Resync);
    assert_eq!(fixture.weights()["10.0.0.1"], 3);
    assert_eq!(fixture.live().services.len(), 2);
}

#[test]
fn an_approved_plan_continues_through_its_drains() {
    let more = "{ address: 10.0.0.2 }, { address: 10.0.0.4 }, { address: 10.0.0.5 }";
    let text = SPEC.replace("drain: 0s", "drain: 1h").replace("{ address: 10.0.0.2 }", more);
    let text = text.replace("services:", "guards: { mass_delete_from: 2 }\nservices:");
    let mut fixture = Fixture::new(&text);
    for (service, value) in &fixture.live().services {
        let statistics = &mut fixture.kernel.get().statistics;
        let counted = &mut statistics.services.entry(*service).or_default().real_servers;
        for (key, _) in value.real_servers.in_order() {
            let real_server = counted.entry(*key).or_default();
            (real_server.active_connections, real_server.inactive_connections) = (1, 1);
        }
    }
    let smaller = text.split("services:").next().expect("a part").to_owned()
        + "services:\n  - { name: new, vip: 192.0.2.1, port: 8080, real_servers: [ { address: 10.0.0.9 } ] }\n";
    fixture.write(&smaller);
    fixture.assert_state(State::Held, "guard mass-delete");
    // A removed service keeps its name until it is deleted.
    let pending_steps = fixture.status().pending_steps.join("\n");
    assert!(pending_steps.contains("delete service dns/192.0.2.1:53/udp"), "{pending_steps}");
    let id = fixture.status().spec.held.clone().expect("it is held").id;
    let answer = fixture.reconciler.handle(Request::Approve { id });
    assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
    assert_eq!((fixture.status().state, fixture.status().draining), (State::Ok, 5));
    let status = fixture.status();
    let objects: Vec<&str> = status.drains.iter().map(|drain| &*drain.object).collect();
    assert!(objects.contains(&"real server 10.0.0.3:53 of dns/192.0.2.1:53/udp"), "{objects:?}");
    let left = status.drains[0].until - fixture.reconciler.schedule.clock.wall();
    assert!((3_590..=3_601).contains(&left), "{left} s");
    fixture.pass(Trigger::Drain);
    assert_eq!((fixture.status().state, fixture.status().draining), (State::Ok, 5));
    fixture.kernel.get().statistics = Statistics::default();
    fixture.pass(Trigger::Drain);
    assert_eq!((fixture.status().state, fixture.status().draining), (State::Ok, 0));
    assert_eq!(fixture.live().services.len(), 1);
}

#[test]
fn a_pause_changes_nothing_and_outlives_the_daemon() {
    let mut fixture = Fixture::new(SPEC);
    let before = fixture.live();
    let answer = fixture.reconciler.handle(Request::Pause { seconds: None });
    assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
    fixture.kernel.get().live.services.pop_first();
    let broken = fixture.live();
    fixture.pass(Trigger::Resync);
    fixture.restart();
    fixture.pass(Trigger::Resync);
    assert_eq!(fixture.live(), broken);
    fixture.assert_state(State::Paused, "until `evenkeel resume`");
    assert!(!fixture.status().pending_steps.is_empty());
    let answer = fixture.reconciler.handle(Request::Resume);
    assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
    assert_eq!(fixture.live(), before);
    fixture.assert_state(State::Ok, "");
}

#[test]
fn observe_mode_reports_and_changes_nothing() {
    let mut fixture = Fixture::with(SPEC, Mode::Observe);
    fixture.assert_state(State::Drifted, "");
    assert!(
        fixture
            .status()
            .pending_steps
            .iter()
            .any(|line| line.contains("add service web/192.0.2.1:80/tcp"))
    );
    fixture.write(&SPEC.replace("weight: 3", "weight: 4"));
    assert!(fixture.status().pending_steps.iter().any(|line| line.contains("weight 4")));
    assert_eq!((fixture.received(), fixture.live().services.len()), (0, 0));
    assert_eq!(std::fs::read_dir(fixture.folder.path()).expect("a folder").count(), 0);
}

#[test]
fn a_change_that_keeps_coming_back_is_a_conflict_with_backoff() {
    let mut fixture = Fixture::new(SPEC);
    let spoil = |fixture: &Fixture| set_weight(&mut fixture.kernel.get().live, "10.0.0.1", 9);
    for _ in 0..5 {
        spoil(&fixture);
        fixture.pass(Trigger::Resync);
        assert_eq!(fixture.weights()["10.0.0.1"], 3);
    }
    fixture.assert_state(State::Degraded, "weight is 9, the spec says 3; undone 5 times");
    spoil(&fixture);
    fixture.kernel.get().live.addresses.clear();
    fixture.pass(Trigger::Resync);
    assert_eq!((fixture.weights()["10.0.0.1"], fixture.live().addresses.len()), (9, 1));
    // A new spec is applied at once.
    fixture.write(&SPEC.replace("weight: 3", "weight: 4"));
    assert_eq!(fixture.weights()["10.0.0.1"], 4);
    fixture.assert_state(State::Ok, "");
}

#[test]
fn a_missing_interface_stops_only_steps_that_need_it() {
    let mut fixture = Fixture::new(&SPEC.replace("interface: eth0", "interface: eth7"));
    fixture.assert_state(State::Degraded, "interface eth7 does not exist");
    assert_eq!((fixture.live().services.len(), fixture.live().addresses.len()), (2, 0));
    let links = fixture.live().links.expect("there are some");
    let eth0 = links["eth0"];
    fixture.kernel.get().live.links.as_mut().expect("some").insert("eth7".into(), eth0);
    fixture.pass(Trigger::Address);
    assert_eq!(fixture.live().addresses.len(), 1);
    fixture.assert_state(State::Ok, "");
}

#[test]
fn an_unreachable_kernel_is_reported_and_retried() {
    let mut fixture = Fixture::new(SPEC);
    fixture.kernel.get().is_unreachable = true;
    fixture.reconciler.pass(Trigger::Resync);
    fixture.assert_state(State::Degraded, "");
    assert!(fixture.reconciler.schedule.retry.is_some());
    fixture.kernel.get().is_unreachable = false;
    fixture.kernel.get().live.services.pop_first();
    fixture.pass(Trigger::Retry);
    fixture.assert_state(State::Ok, "");
    assert_eq!(fixture.live().services.len(), 2);
}

#[test]
fn only_the_daemons_own_spec_may_be_applied_beside_it() {
    let mut fixture = Fixture::new(SPEC);
    let mut may = |source: &str| {
        fixture.reconciler.handle(Request::MayApply { sources: vec![source.to_owned()] })
    };
    assert!(matches!(may("/etc/evenkeel"), Answer::Done(_)));
    let answer = may("/tmp/other.yaml");
    assert!(
        matches!(&answer, Answer::Refused(message) if message.contains("/etc/evenkeel")),
        "{answer:?}"
    );
}

#[test]
fn objects_from_before_the_first_spec_are_adopted_and_no_others() {
    let mut fixture = Fixture::new("");
    let by_hand = "services: [ { name: web, vip: 192.0.2.1, port: 80, scheduler: wrr, \
                   real_servers: [ { address: 10.0.0.1, weight: 7 } ] } ]";
    let by_hand = spec_text("spec.yaml", &format!("version: 1\n{by_hand}\n")).expect("it is good");
    let live = |named: &evenkeel_model::NamedService| named.service.clone();
    let found = by_hand.desired.services.iter().map(|(key, named)| (*key, live(named)));
    let found: std::collections::BTreeMap<_, _> = found.collect();
    fixture.kernel.get().live.services.clone_from(&found);
    fixture.write(SPEC);
    fixture.assert_state(State::Ok, "");
    assert_eq!((fixture.live().services.len(), fixture.weights()["10.0.0.1"]), (2, 3));
    assert_eq!(
        fixture.reconciler.host.journal().adopted.services,
        found,
        "web, with one of two real servers"
    );
    // Neither a restarted daemon nor a newer spec adopts what evenkeel changed of it.
    fixture.restart();
    fixture.assert_state(State::Ok, "");
    fixture.write(&SPEC.replace("weight: 3", "weight: 5"));
    assert_eq!(fixture.weights()["10.0.0.1"], 5);
    assert_eq!(fixture.reconciler.host.journal().adopted.services, found);
    // An object that a spec removes and a later one adds again is evenkeel's.
    let without = SPEC.replace("{ address: 10.0.0.1, weight: 3 }, ", "");
    fixture.write(&without);
    fixture.write(SPEC);
    let adopted = fixture
        .reconciler
        .host
        .journal()
        .adopted
        .services
        .values()
        .next()
        .expect("web stays adopted");
    assert!(adopted.real_servers.is_empty(), "{adopted:?}");
}

#[test]
fn after_the_loss_of_the_journal_all_existing_objects_are_adopted() {
    let mut fixture = Fixture::new(SPEC);
    assert!(fixture.reconciler.host.journal().adopted.is_empty());
    std::fs::remove_dir_all(fixture.folder.path().join("init")).expect("it is there");
    fixture.pass(Trigger::Resync);
    assert_eq!(fixture.reconciler.host.journal().adopted.services, fixture.live().services);
}
