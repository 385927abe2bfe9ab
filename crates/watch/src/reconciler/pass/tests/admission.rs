//! Plans that guards refuse, and their approval.

use evenkeel_control::{Answer, Request, State, Trigger};
use evenkeel_engine::StateDir;
use evenkeel_model::ServiceKey;
use evenkeel_model::statistics::Statistics;
use evenkeel_source::{ParameterReadings, Reading, SpecText};

use super::SPEC;
use super::fixture::{Fixture, set_weight, spec_text};

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

/// The plans of the same texts differ with the values of their parameters.
#[test]
fn an_approval_ends_when_a_parameter_changes() {
    let services: String = (80..84)
        .map(|port| {
            format!(
                "  - {{ name: web{port}, vip: \"${{env:VIP}}\", port: {port}, drain: 1h, \
                 real_servers: [ {{ address: 10.0.0.1 }} ] }}\n"
            )
        })
        .collect();
    let text = format!("version: 1\nscope: all\nservices:\n{services}");
    let mut fixture = Fixture::new(SPEC);
    let read = |fixture: &mut Fixture, vip: &str| {
        let texts = vec![("spec.yaml".to_owned(), text.clone().into_bytes())];
        let parameters = [("env:VIP".into(), vip.into())].into();
        let spec = SpecText::recorded(texts, parameters).expect("it is valid");
        let reading = Reading { spec: Ok(spec), parameters: ParameterReadings::new() };
        fixture.reconciler.specs.take(reading, 100);
        fixture.pass(Trigger::Spec);
    };
    let approve = |fixture: &mut Fixture| {
        fixture.assert_state(State::Held, "guard");
        let id = fixture.status().spec.held.clone().expect("it is held").id;
        let answer = fixture.reconciler.handle(Request::Approve { id });
        assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
    };
    read(&mut fixture, "192.0.2.1");
    if fixture.status().state == State::Held {
        approve(&mut fixture);
    }
    // Connections keep the real servers of the services before.
    for (service, value) in &fixture.live().services {
        let statistics = &mut fixture.kernel.get().statistics;
        let counted = &mut statistics.services.entry(*service).or_default().real_servers;
        for (key, _) in value.real_servers.in_order() {
            counted.entry(*key).or_default().active_connections = 1;
        }
    }
    read(&mut fixture, "192.0.2.2");
    approve(&mut fixture);
    assert_eq!((fixture.status().state, fixture.status().draining), (State::Ok, 4));
    read(&mut fixture, "192.0.2.3");
    fixture.assert_state(State::Held, "guard mass-delete");
}
