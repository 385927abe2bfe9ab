use std::path::Path;
use std::time::Duration;

use super::*;

/// A plan that these guards refuse.
fn plan(guards: &[Guard]) -> Plan {
    let refusals =
        guards.iter().map(|guard| GuardRefusal { guard: *guard, reasons: Vec::new() }).collect();
    Plan { refusals, ..Plan::default() }
}

/// Reviews a plan of the spec `spec`, whose id is `id`.
fn review(admission: &mut ChangeGate, plan: &Plan, spec: &str, id: &str) -> Option<Held> {
    admission.review(&Candidate { plan, spec, id: &|| id.to_owned(), now: 100 })
}

/// Reviews and holds a plan.
fn hold(admission: &mut ChangeGate, plan: &Plan, id: &str) -> bool {
    let held = review(admission, plan, "spec", id).expect("a guard refuses it");
    admission.hold(held)
}

#[test]
fn a_plan_that_no_guard_refuses_is_admitted_and_needs_no_id() {
    let mut admission = ChangeGate::default();
    let plan = plan(&[]);
    let no_id = || panic!("an id costs a digest of the plan");
    let candidate = Candidate { plan: &plan, spec: "spec", id: &no_id, now: 100 };
    assert_eq!(admission.review(&candidate), None);
}

#[test]
fn a_refused_plan_is_held_with_its_guards_and_only_the_first_time_is_new() {
    let mut admission = ChangeGate::default();
    let refused = plan(&[Guard::Empty, Guard::TakeOver]);
    assert!(hold(&mut admission, &refused, "a1"));
    let held = admission.held().expect("it is held");
    let guards: Vec<&str> = held.guards.keys().map(|name| &**name).collect();
    assert_eq!((&*held.id, held.since, guards.len()), ("a1", 100, 2), "{guards:?}");
    admission.begin_pass();
    assert_eq!(admission.held(), None, "the pass decides again");
    let later = review(&mut admission, &refused, "spec", "a1").expect("it is refused again");
    assert!(!admission.hold(Held { since: 200, ..later }));
    assert_eq!(admission.held().map(|held| held.since), Some(100), "since the first time");
    assert!(hold(&mut admission, &refused, "b2"));
    assert!(hold(&mut admission, &refused, "a1"), "another plan was held in between");
}

#[test]
fn only_the_held_plan_can_be_approved_and_the_approval_is_for_one_pass() {
    let mut admission = ChangeGate::default();
    let refused = plan(&[Guard::Empty]);
    assert_eq!(admission.approve("a1"), Err("no plan is held".to_owned()));
    hold(&mut admission, &refused, "a1");
    let error = admission.approve("b2").expect_err("it is not held");
    assert!(error.contains("the held plan is a1, not b2"), "{error}");
    assert!(review(&mut admission, &refused, "spec", "a1").is_some());
    assert_eq!(admission.approve("a1"), Ok(()));
    assert!(review(&mut admission, &refused, "spec", "b2").is_some(), "it is another plan");
    admission.end_approval();
    assert!(review(&mut admission, &refused, "spec", "a1").is_some());
}

#[test]
fn an_approved_spec_passes_the_same_guards_until_it_is_reached() {
    let mut admission = ChangeGate::default();
    let refused = plan(&[Guard::Empty]);
    hold(&mut admission, &refused, "a1");
    admission.approve("a1").expect("it is held");
    assert_eq!(review(&mut admission, &refused, "spec", "a1"), None);
    admission.end_approval();
    // The rest of an interrupted plan is another plan.
    assert_eq!(review(&mut admission, &refused, "spec", "rest"), None);
    let more = plan(&[Guard::Empty, Guard::TakeOver]);
    let held = review(&mut admission, &more, "spec", "more").expect("a guard was not approved");
    assert_eq!(held.guards.len(), 1);
    assert!(review(&mut admission, &refused, "other spec", "c3").is_some());
    admission.end_grant();
    assert!(review(&mut admission, &refused, "spec", "a1").is_some());
}

#[test]
fn a_spec_that_apply_has_applied_passes_all_guards() {
    let mut admission = ChangeGate::default();
    admission.grant_all("spec".to_owned());
    let refused = plan(Guard::ALL.as_slice());
    assert_eq!(review(&mut admission, &refused, "spec", "a1"), None);
}

fn clock(seconds: u64) -> ClockReading {
    ClockReading { wall: Duration::from_secs(seconds), ..evenkeel_engine::Clock::start().now() }
}

#[test]
fn a_pause_lasts_until_it_is_ended_and_outlives_the_daemon() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::new(folder.path(), "init");
    let mut admission = ChangeGate::default();
    assert_eq!(admission.paused(|| panic!("without a pause no clock is read")), None);
    admission.pause(&state, None, &clock(500)).expect("it is stored");
    assert!(admission.is_paused());
    let mut next = ChangeGate::default();
    next.restore_pause(&state, &clock(500));
    assert_eq!(next.paused(|| clock(500)), Some(Pause { since: 500, until: None }));
    next.resume(&state);
    assert!(!next.is_paused());
    next.restore_pause(&state, &clock(500));
    assert!(!next.is_paused(), "it is removed on disk too");
}

#[test]
fn a_pause_that_cannot_be_stored_does_not_begin() {
    let state = StateDir::new(Path::new("/proc/self/nothing"), "init");
    let mut admission = ChangeGate::default();
    assert!(admission.pause(&state, None, &clock(500)).is_err());
    assert!(!admission.is_paused());
}
