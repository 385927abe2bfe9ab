//! Tests the texts of this crate against `tests/wording/control.txt`.

use std::io;

use crate::{
    AskError, BindError, EndReason, LockError, PendingElsewhere, Process, SpecProblem, State,
    Trigger,
};

#[path = "../../../tests/wording/golden.rs"]
mod golden;

use golden::{Golden, chained, displayed, section};

#[test]
fn every_text_is_as_reviewed() {
    let mut golden = Golden::new("control.txt");
    golden.add_texts("Process", processes().map(|it| it.to_string()).to_vec());
    section!(golden, LockError { Held, NotPermitted, Failed }, chained(lock_errors()));
    section!(golden, PendingElsewhere { Found, Unknown }, chained(pending_elsewhere()));
    section!(golden, BindError { Taken, Failed }, chained(bind_errors()));
    section!(golden, AskError { NoDaemon, OtherVersion, Refused, Failed }, chained(ask_errors()));
    section!(
        golden,
        EndReason { Stopping, TooSlow },
        displayed(vec![EndReason::Stopping, EndReason::TooSlow])
    );
    section!(
        golden,
        State { Starting, Paused, Held, Degraded, Drifted, Ok },
        State::ALL.map(|state| (state, state.as_str().to_owned()))
    );
    let triggers = [
        Trigger::Start,
        Trigger::Spec,
        Trigger::Address,
        Trigger::Resync,
        Trigger::Retry,
        Trigger::Drain,
        Trigger::Health,
        Trigger::Signal,
        Trigger::Command,
    ];
    section!(
        golden,
        Trigger { Start, Spec, Address, Resync, Retry, Drain, Health, Signal, Command },
        triggers.map(|trigger| (trigger, trigger.as_str().to_owned()))
    );
    let effect = |temporary, is_any_active| {
        SpecProblem { since: 0, text: String::new(), temporary }.effect(is_any_active)
    };
    let effects = [(false, true), (false, false), (true, true), (true, false)];
    let effects = effects.map(|(temporary, is_any_active)| effect(temporary, is_any_active));
    golden.add_texts("SpecProblem", effects.to_vec());
    golden.check();
}

/// Processes of two users, and one that is not visible.
fn processes() -> [Process; 3] {
    let process =
        |pid, uid, command: Option<&str>| Process { pid, uid, command: command.map(str::to_owned) };
    [
        process(Some(7), 0, Some("evenkeel apply web.yaml")),
        process(Some(8), 4_000_000_000, Some("nc -lU socket")),
        process(None, 0, None),
    ]
}

fn refusal() -> io::Error {
    io::Error::from_raw_os_error(24)
}

fn lock_errors() -> Vec<LockError> {
    let held = processes().map(|process| LockError::Held(Some(process)));
    let others = [LockError::Held(None), LockError::NotPermitted, LockError::Failed(refusal())];
    held.into_iter().chain(others).collect()
}

fn pending_elsewhere() -> Vec<PendingElsewhere> {
    let found = processes().map(|process| PendingElsewhere::Found(Some(process)));
    let others = [PendingElsewhere::Found(None), PendingElsewhere::Unknown(refusal())];
    found.into_iter().chain(others).collect()
}

fn bind_errors() -> Vec<BindError> {
    let taken = processes().map(|process| BindError::Taken(Some(process)));
    taken.into_iter().chain([BindError::Taken(None), BindError::Failed(refusal())]).collect()
}

fn ask_errors() -> Vec<AskError> {
    vec![
        AskError::NoDaemon,
        AskError::OtherVersion(Some(9)),
        AskError::OtherVersion(None),
        AskError::Refused("the daemon already has 16 subscribers".to_owned()),
        AskError::Failed(refusal()),
    ]
}
