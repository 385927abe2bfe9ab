//! Writes version after version, and checks the results of those that stay long enough.

use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use evenkeel_control::{Answer, Client, Request};
use evenkeel_engine::{ParameterValues, StoredSpec};
use serde_json::Value;

use super::{FULL, Shared, SpecOutcome};
use crate::disturbed::fixture::Fixture;
use crate::disturbed::specs::{Kind, Writer};
use evenkeel_lab_tests::dice::TestRng;

/// The usual time that a version stays.
const SHORT: Duration = Duration::from_millis(200);

/// One of this many versions stays longer than the daemon may take, in a full run and in a short one.
const ONE_OF: usize = 8;
const ONE_OF_IN_SHORT_RUN: usize = 3;

/// The longest time for the daemon: until the file is stable, and then until it is active. A short run is held to
/// no time: it is one of many tests, which run beside others.
const MAY_TAKE: Duration = Duration::from_millis(600);
const MAY_TAKE_IN_SHORT_RUN: Duration = Duration::from_secs(20);

/// How long a version that is overwritten in place is half written.
const OVERWRITING: Duration = Duration::from_millis(20);

/// The time between two checks for the result of a version.
const LOOK: Duration = Duration::from_millis(20);

/// Writes until it is stopped.
pub(super) fn write(
    shared: &Shared,
    fixture: &Fixture,
    writer: &mut Writer,
    mut rng: TestRng,
    length: Duration,
) {
    let is_short = length < FULL;
    let one_of = if is_short { ONE_OF_IN_SHORT_RUN } else { ONE_OF };
    for number in 1.. {
        if !shared.run.is_running() {
            return;
        }
        let (kind, text) = writer.next();
        let stands = number % one_of == 0;
        let before = if stands { status() } else { None };
        match rng.below(4) {
            0 => fixture.overwrite(&text, || sleep(OVERWRITING)),
            _ => fixture.replace(&text),
        }
        *shared.counts().written.entry(kind).or_default() += 1;
        if !stands {
            sleep(SHORT);
            continue;
        }
        let alone = shared.is_alone.load(Ordering::SeqCst);
        let stays = MAY_TAKE + Duration::from_millis(rng.between(100, 2400) as u64);
        let may_take = if is_short && alone { MAY_TAKE_IN_SHORT_RUN } else { stays };
        let written = Instant::now();
        let outcome = outcome(kind, &text, before.as_ref(), may_take);
        sleep(stays.saturating_sub(written.elapsed()));
        if !alone {
            continue;
        }
        let mut counts = shared.counts();
        match outcome {
            Ok((outcomes, took)) => {
                *counts.outcomes.entry(outcomes).or_default() += 1;
                counts.took.push(took);
            }
            Err(last) => {
                *counts.outcomes.entry(SpecOutcome::Missed).or_default() += 1;
                drop(counts);
                shared.run.fail(format!(
                    "a version ({kind:?}) stood for {may_take:?} and was neither enforced nor reported: \
                     {last:#}\n{text}"
                ));
            }
        }
    }
}

/// Asks the control socket, whose answer has the text of a problem; that of the HTTP endpoint has not.
fn status() -> Option<Value> {
    let Ok(Answer::Status(status)) = Client::of_owner(None).ask(&Request::Status) else {
        return None;
    };
    serde_json::to_value(status).ok()
}

/// Waits for the result of the version, at most so long. Returns it and the time it took, or the last status.
fn outcome(
    kind: Kind,
    text: &str,
    before: Option<&Value>,
    may_take: Duration,
) -> Result<(SpecOutcome, Duration), Value> {
    let begin = Instant::now();
    let texts = [("spec.yaml", text.as_bytes())];
    let digest = StoredSpec::new(&texts, &ParameterValues::default()).digest;
    let mut outcome = None;
    let mut last = Value::Null;
    while begin.elapsed() < may_take && outcome.is_none() {
        sleep(LOOK);
        let Some(now) = status() else { continue };
        outcome = became(kind, &digest, before, &now).map(|outcomes| (outcomes, begin.elapsed()));
        last = now;
    }
    outcome.ok_or(last)
}

/// Returns the result of a version, or `None` if there is none yet. A status names the active spec;
/// a problem or a held plan belongs to this version if it differs from the one before.
fn became(kind: Kind, digest: &str, before: Option<&Value>, now: &Value) -> Option<SpecOutcome> {
    let is_new = |pointer: &str| {
        let before = before.and_then(|before| before.pointer(pointer));
        let now = now.pointer(pointer);
        now.is_some_and(|now| !now.is_null()) && now != before
    };
    let is_active = now["spec"]["active"]["digest"] == digest;
    match kind {
        Kind::Good | Kind::Cut | Kind::NoServer if is_active => Some(SpecOutcome::Enforced),
        Kind::NoServer | Kind::Cut if is_new("/spec/held/id") => Some(SpecOutcome::Held),
        Kind::Syntax | Kind::UnknownKey | Kind::Cut if is_new("/spec/problem/text") => {
            Some(SpecOutcome::Bad)
        }
        _ => None,
    }
}
