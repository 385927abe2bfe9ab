use evenkeel_control::{ActiveSpec, ConflictChange, Held, ParameterStatus, SpecProblem, Trigger};

use super::*;
use crate::test_fixtures;

fn ok() -> Status {
    Status { state: State::Ok, ..test_fixtures::status() }
}

/// The events of a change from one status to the other, without those of a pass.
fn between(before: &Status, after: &Status) -> Vec<EventKind> {
    events(PassEvents::default(), before, after)
}

#[test]
fn without_a_change_there_is_no_event() {
    let mut status = ok();
    status.last_success = Some(1);
    status.reasons = vec!["one".into(), "two".into()];
    status.failing = vec![failing("a", 1)];
    status.drains = vec![drain("a", 1)];
    status.conflicts = vec![conflict("a", "weight", 5)];
    status.warnings = vec!["careful".into()];
    let later = Status { last_success: Some(2), known_writers: vec!["x".into()], ..status.clone() };
    assert_eq!(between(&status, &later), []);
}

#[test]
fn a_reported_pass_comes_first_and_then_the_state_and_the_steps() {
    let pass = PassStatus {
        at: 7,
        trigger: Trigger::Resync,
        result: "changed".into(),
        milliseconds: 3,
        changes: 1,
    };
    let step = EventKind::Step { step: "+ add it".into(), repairs_drift: true };
    let of_pass = PassEvents { pass: Some(pass.clone()), steps: vec![step.clone()] };
    let summary = "ok".to_owned();
    let state = EventKind::State { from: State::Starting, to: State::Ok, summary };
    let expected = [EventKind::Pass { pass }, state, step];
    assert_eq!(events(of_pass, &test_fixtures::status(), &ok()), expected);
}

#[test]
fn another_summary_in_the_same_state_is_reported() {
    let of = |reason: &str| Status {
        state: State::Degraded,
        reasons: vec![reason.to_owned(), "other".into()],
        ..ok()
    };
    let (from, to) = (State::Degraded, State::Degraded);
    let summary = "degraded: two (and 1 more)".to_owned();
    assert_eq!(between(&of("one"), &of("two")), [EventKind::State { from, to, summary }]);
}

#[test]
fn the_seconds_of_a_pause_are_not_reported() {
    let paused = |since, until, reason: &str| Status {
        state: State::Paused,
        paused: Some(Pause { since, until }),
        reasons: vec![reason.to_owned()],
        ..ok()
    };
    let begun = paused(10, Some(100), "paused for another 1m30s");
    let state = |from, to, summary: &str| EventKind::State { from, to, summary: summary.into() };
    let pause = Pause { since: 10, until: Some(100) };
    assert_eq!(
        between(&ok(), &begun),
        [
            state(State::Ok, State::Paused, "paused: paused for another 1m30s"),
            EventKind::Paused { pause },
        ]
    );
    // The times are rounded anew.
    assert_eq!(between(&begun, &paused(11, Some(101), "paused for another 1m1s")), []);
    let longer = paused(40, Some(500), "paused for another 7m40s");
    let pause = Pause { since: 40, until: Some(500) };
    assert_eq!(between(&begun, &longer), [EventKind::Paused { pause }]);
    let endless = paused(10, None, "paused until `evenkeel resume`");
    let pause = Pause { since: 10, until: None };
    assert!(between(&begun, &endless).contains(&EventKind::Paused { pause }));
    assert!(between(&begun, &ok()).contains(&EventKind::PauseEnded));
}

#[test]
fn a_spec_is_rejected_and_then_valid_and_active() {
    let active = |generation| ActiveSpec { digest: "ab".into(), generation, since: 5 };
    let problem = |text: &str| SpecProblem { since: 3, text: text.into(), temporary: false };
    let mut before = ok();
    before.spec.active = Some(active(1));
    let mut bad = before.clone();
    bad.spec.problem = Some(problem("line 3"));
    let rejected = |text| EventKind::SpecRejected { problem: problem(text) };
    assert_eq!(between(&before, &bad), [rejected("line 3")]);
    let mut worse = bad.clone();
    worse.spec.problem = Some(problem("line 4"));
    assert_eq!(between(&bad, &worse), [rejected("line 4")]);
    let mut good = before.clone();
    good.spec.active = Some(active(2));
    let activated = EventKind::SpecActivated { spec: active(2) };
    assert_eq!(between(&bad, &good), [EventKind::SpecRejectionEnded, activated]);
}

#[test]
fn each_change_of_a_parameter_is_reported_before_the_spec_that_it_causes() {
    let parameter = |value: Option<&str>, since| ParameterStatus {
        name: "host:eth0".into(),
        value: value.map(Into::into),
        error: None,
        previous: Some("192.0.2.1".into()),
        since,
    };
    let of = |value, since| {
        let mut status = ok();
        status.spec.parameters = vec![parameter(value, since)];
        status
    };
    let changed = |value, since| EventKind::ParameterChanged { parameter: parameter(value, since) };
    let ended = EventKind::ParameterChangeEnded { name: "host:eth0".into() };
    let mut begun = of(Some("192.0.2.2"), 3);
    begun.spec.active = Some(ActiveSpec { digest: "ab".into(), generation: 2, since: 5 });
    let activated =
        begun.spec.active.clone().map(|spec| EventKind::SpecActivated { spec }).expect("a spec");
    assert_eq!(between(&ok(), &begun), [changed(Some("192.0.2.2"), 3), activated]);
    assert_eq!(between(&of(None, 4), &of(None, 4)), []);
    assert_eq!(between(&of(Some("192.0.2.2"), 3), &of(None, 4)), [changed(None, 4)]);
    assert_eq!(between(&of(None, 4), &ok()), [ended]);
}

#[test]
fn a_held_plan_is_reported_until_it_is_approved_or_replaced() {
    let held =
        |id: &str, steps| Held { id: id.into(), since: 3, guards: Default::default(), steps };
    let of = |id: &str, steps| {
        let mut status = ok();
        status.spec.held = Some(held(id, steps));
        status
    };
    let begun = |id| EventKind::PlanHeld { held: held(id, 2) };
    let ended = |id: &str| EventKind::PlanHoldEnded { id: id.into() };
    assert_eq!(between(&ok(), &of("a1", 2)), [begun("a1")]);
    assert_eq!(between(&of("a1", 2), &of("a1", 2)), []);
    assert_eq!(between(&of("a1", 2), &of("b2", 2)), [ended("a1"), begun("b2")]);
    assert_eq!(between(&of("b2", 2), &ok()), [ended("b2")]);
}

fn failing(object: &str, attempts: u32) -> FailingObject {
    FailingObject { object: object.into(), error: "refused".into(), attempts, next: 9 }
}

#[test]
fn each_failed_attempt_and_the_end_of_a_failure_are_reported() {
    let of = |failing| Status { failing, ..ok() };
    let failed = |object, attempts| EventKind::StepFailed { failing: failing(object, attempts) };
    let before = of(vec![failing("a", 1), failing("b", 3)]);
    let after = of(vec![failing("a", 2), failing("c", 1)]);
    let ended = EventKind::FailureEnded { object: "b".into() };
    assert_eq!(between(&before, &after), [failed("a", 2), failed("c", 1), ended]);
}

fn drain(object: &str, until: u64) -> DrainStatus {
    DrainStatus { object: object.into(), until }
}

#[test]
fn the_begin_and_the_end_of_a_drain_are_reported_once() {
    let of = |drains| Status { drains, ..ok() };
    let before = of(vec![drain("a", 50), drain("b", 60)]);
    // The clock was set: the end of a drain moves with it.
    let after = of(vec![drain("b", 9_060), drain("c", 70)]);
    let started = EventKind::DrainStarted { drain: drain("c", 70) };
    let ended = EventKind::DrainEnded { object: "a".into() };
    assert_eq!(between(&before, &after), [started, ended]);
}

fn conflict(object: &str, field: &str, times: u32) -> Conflict {
    let (expected, found) = ("1".to_owned(), "2".to_owned());
    let change = ConflictChange { field: field.into(), expected, found };
    Conflict { object: object.into(), change, times, next: 9 }
}

#[test]
fn each_repair_in_a_conflict_and_its_end_are_reported() {
    let of = |conflicts| Status { conflicts, ..ok() };
    let before = of(vec![conflict("a", "weight", 5), conflict("a", "flags", 5)]);
    let after = of(vec![conflict("a", "weight", 6)]);
    let again = EventKind::Conflict { conflict: conflict("a", "weight", 6) };
    let ended = EventKind::ConflictEnded { object: "a".into(), field: "flags".into() };
    assert_eq!(between(&before, &after), [again, ended]);
}

#[test]
fn only_a_new_warning_is_reported() {
    let of = |warnings: &[&str]| Status {
        warnings: warnings.iter().map(|it| (*it).to_owned()).collect(),
        ..ok()
    };
    let new = EventKind::Warning { warning: "new".into() };
    assert_eq!(between(&of(&["old"]), &of(&["old", "new"])), [new]);
    assert_eq!(between(&of(&["old"]), &of(&[])), []);
}

#[test]
fn what_exceeds_the_maximum_is_counted() {
    let all: Vec<EventKind> =
        (0..10_000).map(|it| EventKind::FailureEnded { object: it.to_string() }).collect();
    let limited = limited(all.clone(), MAX_EVENTS);
    assert_eq!(limited.len(), MAX_EVENTS + 1);
    assert_eq!(limited[..MAX_EVENTS], all[..MAX_EVENTS]);
    assert_eq!(limited[MAX_EVENTS], EventKind::Omitted { events: 10_000 - MAX_EVENTS });
    assert_eq!(super::limited(all[..MAX_EVENTS].to_vec(), MAX_EVENTS), all[..MAX_EVENTS]);
}
