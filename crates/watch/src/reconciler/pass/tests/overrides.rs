//! Tests operators' overrides in the daemon.

use evenkeel_control::{Answer, OverrideAction, Request, State, Trigger};
use evenkeel_engine::{NewOverride, StateDir, StoredOverrides};
use evenkeel_model::OverlayEffect;
use evenkeel_plan::ClockReading;

use super::SPEC;
use super::fixture::{Fixture, set_weight};

fn request(target: &str, action: OverrideAction, seconds: Option<u64>) -> Request {
    let (by, reason) = ("root".to_owned(), "disks".to_owned());
    Request::Override { target: target.to_owned(), action, seconds, by, reason }
}

impl Fixture {
    #[track_caller]
    fn done(&mut self, request: Request) -> String {
        match self.reconciler.handle(request) {
            Answer::Done(message) => message,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn refused(&mut self, request: Request) -> String {
        match self.reconciler.handle(request) {
            Answer::Refused(message) => message,
            other => panic!("{other:?}"),
        }
    }

    fn weight(&self, address: &str) -> Option<u32> {
        self.weights().get(address).copied()
    }
}

#[test]
fn each_override_is_in_force_at_once_and_ends_with_clear() {
    let mut fixture = Fixture::new(SPEC);
    for (action, weight) in [
        (OverrideAction::Drain, Some(0)),
        (OverrideAction::Weight(7), Some(7)),
        (OverrideAction::Disable, None),
        (OverrideAction::Enable, Some(3)),
    ] {
        let message = fixture.done(request("web/10.0.0.1", action, Some(7_200)));
        assert_eq!(message, "Override of web/10.0.0.1 for 2h (1 real server): ok");
        assert_eq!(fixture.weight("10.0.0.1"), weight, "{action:?}");
        fixture.assert_state(State::Ok, "");
        // It is no drift.
        fixture.pass(Trigger::Resync);
        assert_eq!(fixture.weight("10.0.0.1"), weight, "{action:?}");
        let status = fixture.status();
        assert_eq!(status.overrides.len(), 1);
        assert_eq!(status.overrides[0].real_servers[0].service, "web/192.0.2.1:80/tcp");
        assert!(status.conflicts.is_empty() && status.pending_steps.is_empty());
    }
    let target = Some("web/10.0.0.1".to_owned());
    let message = fixture.done(Request::ClearOverrides { target: target.clone() });
    assert_eq!(message, "Cleared 1 override: ok");
    assert_eq!(fixture.weight("10.0.0.1"), Some(3));
    let message = fixture.refused(Request::ClearOverrides { target });
    assert_eq!(message, "no override of `web/10.0.0.1` is in force; there is none");
    assert!(fixture.reconciler.host.journal().record.overlaid.is_empty());
}

#[test]
fn no_guard_refuses_what_an_operator_takes_out_and_drift_under_it_is_repaired() {
    let mut fixture = Fixture::new(SPEC);
    fixture.done(request("10.0.0.1", OverrideAction::Drain, None));
    fixture.done(request("10.0.0.2", OverrideAction::Disable, None));
    fixture.assert_state(State::Ok, "");
    assert_eq!((fixture.weight("10.0.0.1"), fixture.weight("10.0.0.2")), (Some(0), None));
    set_weight(&mut fixture.kernel.get().live, "10.0.0.1", 9);
    fixture.pass(Trigger::Resync);
    assert_eq!(fixture.weight("10.0.0.1"), Some(0));
}

#[test]
fn an_override_survives_a_restart_and_a_new_spec_and_ends_by_itself() {
    let mut fixture = Fixture::new(SPEC);
    fixture.done(request("10.0.0.1", OverrideAction::Drain, Some(2)));
    fixture.restart();
    assert_eq!(fixture.weight("10.0.0.1"), Some(0));
    fixture.write(&SPEC.replace("weight: 3", "weight: 4"));
    assert_eq!(fixture.weight("10.0.0.1"), Some(0));
    let next = fixture.reconciler.next_end().expect("it ends");
    assert!(next <= std::time::Duration::from_secs(2), "{next:?}");
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    fixture.pass(Trigger::Drain);
    std::thread::sleep(std::time::Duration::from_millis(1_000));
    fixture.pass(Trigger::Resync);
    assert_eq!(fixture.weight("10.0.0.1"), Some(4));
    assert!(fixture.status().overrides.is_empty());
}

#[test]
fn an_override_that_a_command_stored_beside_the_daemon_is_found_by_the_next_pass() {
    let mut fixture = Fixture::new(SPEC);
    let state = StateDir::new(fixture.folder.path(), "init");
    let now: ClockReading = fixture.reconciler.schedule.clock.both();
    let new = NewOverride {
        target: "10.0.0.1".parse().expect("a target"),
        effect: OverlayEffect::Weight(1),
        seconds: None,
        by: "root".into(),
        reason: "".into(),
    };
    StoredOverrides::update(&state, &now, |stored| stored.begin(new, &now)).expect("it is stored");
    fixture.pass(Trigger::Resync);
    assert_eq!(fixture.weight("10.0.0.1"), Some(1));
}

#[test]
fn a_damaged_file_ends_no_override_and_is_reported() {
    let mut fixture = Fixture::new(SPEC);
    fixture.done(request("10.0.0.1", OverrideAction::Drain, None));
    std::fs::write(fixture.folder.path().join("init/overrides.json"), "[{").expect("a file");
    fixture.pass(Trigger::Resync);
    fixture.pass(Trigger::Spec);
    assert_eq!(fixture.weight("10.0.0.1"), Some(0));
    fixture.assert_state(State::Degraded, "`evenkeel clear --all`");
    fixture.done(Request::ClearOverrides { target: None });
    assert_eq!(fixture.weight("10.0.0.1"), Some(3));
    fixture.assert_state(State::Ok, "");
}

#[test]
fn an_unknown_target_is_refused_and_a_paused_daemon_says_when_it_follows() {
    let mut fixture = Fixture::new(SPEC);
    let message = fixture.refused(request("web/10.0.0.9", OverrideAction::Drain, None));
    let expected =
        "no real server of `web` is called `10.0.0.9`; there is `10.0.0.1:80`, `10.0.0.2:80`";
    assert_eq!(message, expected);
    fixture.done(Request::Pause { seconds: None });
    let message = fixture.done(request("10.0.0.1", OverrideAction::Drain, None));
    assert!(message.ends_with("the daemon is paused, and follows it after `evenkeel resume`"));
    assert_eq!(fixture.weight("10.0.0.1"), Some(3));
    fixture.done(Request::Resume);
    assert_eq!(fixture.weight("10.0.0.1"), Some(0));
}
