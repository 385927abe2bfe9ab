//! `evenkeel status --follow`: the status, and from then on the daemon's events, one a line.

use evenkeel_control::{EndReason, Event, EventKind, Held, Pause};
use evenkeel_plan::render::count;
use evenkeel_workflow::now;
use jiff::Timestamp;

use super::{parameter_change, print_status, times};
use crate::args::{GlobalArgs, OutputFormat};
use crate::daemon_client::subscribe;
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::output::Output;

/// Ends when the daemon stops or when nothing reads the output any more.
pub(super) fn run(
    form: OutputFormat,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let subscription = subscribe(global)?;
    match form {
        OutputFormat::Text => print_status(&subscription.status, output)?,
        OutputFormat::Json => {
            let status = &subscription.status;
            let line = serde_json::json!({ "at": now(), "event": "status", "status": status });
            output.answer(format_args!("{line}\n"))?;
        }
    }
    let mut is_read = output.flush_to_reader()?;
    for event in subscription {
        if !is_read {
            return Ok(CommandExit::Done);
        }
        let event = event?;
        match form {
            OutputFormat::Text => {
                if let Some(line) = description(&event.kind) {
                    output.answer(format_args!("{}  {line}\n", utc(event.at)))?;
                }
            }
            OutputFormat::Json => print_json(&event, output)?,
        }
        is_read = output.flush_to_reader()?;
        if let EventKind::End { reason: EndReason::TooSlow } = event.kind {
            return Err(Error::MissedEvents);
        }
    }
    Ok(CommandExit::Done)
}

fn print_json(event: &Event, output: &mut Output) -> Result<(), Error> {
    if event.kind == EventKind::Unknown {
        return Ok(());
    }
    let line = serde_json::to_string(event).map_err(std::io::Error::from);
    output.answer(format_args!("{}\n", line.map_err(Error::Output)?))
}

/// An event in one line; `None` for one that this version does not know, and where an error message
/// follows.
fn description(event: &EventKind) -> Option<String> {
    let text = match event {
        EventKind::Pass { pass } => format!(
            "pass for {}: {}, {}, {} ms",
            pass.trigger.as_str(),
            pass.result,
            count(pass.changes, "operation"),
            pass.milliseconds
        ),
        EventKind::State { from, to, summary } if from == to => format!("state {summary}"),
        EventKind::State { from, summary, .. } => format!("state {} -> {summary}", from.as_str()),
        EventKind::SpecActivated { spec } => {
            let digest = spec.digest.get(..12).unwrap_or(&spec.digest);
            format!("spec {digest} (number {}) is active", spec.generation)
        }
        EventKind::SpecRejected { problem } => format!("spec rejected: {}", problem.text.trim()),
        EventKind::SpecRejectionEnded => "spec no longer rejected".to_owned(),
        EventKind::ParameterChanged { parameter } => {
            format!("parameter {}", parameter_change(parameter))
        }
        EventKind::ParameterChangeEnded { name } => {
            format!("parameter no longer changed or without a value: ${{{name}}}")
        }
        EventKind::PlanHeld { held: Held { id, guards, steps, .. } } => {
            let guards: Vec<&str> = guards.keys().map(String::as_str).collect();
            format!(
                "plan {id} held by {}: {}; to apply it anyway: `evenkeel approve {id}`",
                guards.join(", "),
                count(*steps, "step")
            )
        }
        EventKind::PlanHoldEnded { id } => format!("plan {id} no longer held"),
        EventKind::Paused { pause: Pause { until: Some(until), .. } } => {
            format!("paused until {}", utc(*until))
        }
        EventKind::Paused { .. } => "paused until `evenkeel resume`".to_owned(),
        EventKind::PauseEnded => "no longer paused".to_owned(),
        EventKind::Step { step, repairs_drift } => {
            format!("applied: {step}{}", if *repairs_drift { " # drift" } else { "" })
        }
        EventKind::StepFailed { failing } => format!(
            "failed: {}: {}; tried {}, next at {}",
            failing.object,
            failing.error,
            times(failing.attempts),
            utc(failing.next)
        ),
        EventKind::FailureEnded { object } => format!("no longer failing: {object}"),
        EventKind::DrainStarted { drain } => {
            format!("drain started: {}, until {} at the latest", drain.object, utc(drain.until))
        }
        EventKind::DrainEnded { object } => format!("drain ended: {object}"),
        EventKind::Conflict { conflict } => format!(
            "conflict: {}: {} is {}, the spec says {}; undone {}, next at {}",
            conflict.object,
            conflict.change.field,
            conflict.change.found,
            conflict.change.expected,
            times(conflict.times),
            utc(conflict.next)
        ),
        EventKind::ConflictEnded { object, field } => format!("conflict ended: {object}: {field}"),
        EventKind::Warning { warning } => format!("warning: {warning}"),
        EventKind::Omitted { events } => {
            format!("{} not shown; `evenkeel status` shows the result", count(*events, "event"))
        }
        EventKind::End { reason: EndReason::Stopping } => EndReason::Stopping.to_string(),
        EventKind::End { reason: EndReason::TooSlow } | EventKind::Unknown => return None,
    };
    Some(one_line(&text))
}

/// The text with its lines joined.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

/// A time of an event, which may be of another day.
fn utc(at: u64) -> String {
    let time = i64::try_from(at).ok().and_then(|at| Timestamp::from_second(at).ok());
    // A time beyond the year 9999 cannot be formatted as a date.
    time.map_or_else(|| format!("{at} s"), |time| time.strftime("%F %T UTC").to_string())
}

#[cfg(test)]
mod tests {
    use evenkeel_control::{
        Conflict, ConflictChange, FailingObject, ParameterStatus, PassStatus, SpecProblem, State,
        Trigger,
    };

    use super::*;

    #[track_caller]
    fn assert_shown(event: EventKind, expected: &str) {
        assert_eq!(description(&event).as_deref(), Some(expected));
    }

    #[test]
    fn each_event_is_one_line() {
        let pass = PassStatus {
            at: 0,
            trigger: Trigger::Resync,
            result: "changed".into(),
            milliseconds: 3,
            changes: 1,
        };
        assert_shown(EventKind::Pass { pass }, "pass for resync: changed, 1 operation, 3 ms");
        let (from, to) = (State::Ok, State::Degraded);
        let summary = "degraded: it is broken".to_owned();
        let state = EventKind::State { from, to, summary: summary.clone() };
        assert_shown(state, "state ok -> degraded: it is broken");
        let state = EventKind::State { from: to, to, summary };
        assert_shown(state, "state degraded: it is broken");
        let text = "error: bad\n  --> spec.yaml:3:4\n\n  | x\n".to_owned();
        assert_shown(
            EventKind::SpecRejected { problem: SpecProblem { since: 0, text, temporary: false } },
            "spec rejected: error: bad --> spec.yaml:3:4 | x",
        );
        let parameter = ParameterStatus {
            name: "host:eth0".into(),
            value: None,
            error: None,
            previous: Some("192.0.2.1".into()),
            since: 0,
        };
        assert_shown(
            EventKind::ParameterChanged { parameter },
            "parameter ${host:eth0}: 192.0.2.1 -> no value",
        );
        let guards = [("empty", "none"), ("mass-delete", "all")];
        let guards = guards.map(|(guard, why)| (guard.to_owned(), why.to_owned())).into();
        assert_shown(
            EventKind::PlanHeld { held: Held { id: "a1".into(), since: 0, guards, steps: 2 } },
            "plan a1 held by empty, mass-delete: 2 steps; to apply it anyway: `evenkeel approve a1`",
        );
        let step = EventKind::Step { step: "- delete it".into(), repairs_drift: true };
        assert_shown(step, "applied: - delete it # drift");
        let failing = FailingObject {
            object: "VIP".into(),
            error: "no".into(),
            attempts: 1,
            next: 1_767_268_803,
        };
        assert_shown(
            EventKind::StepFailed { failing },
            "failed: VIP: no; tried once, next at 2026-01-01 12:00:03 UTC",
        );
        let change =
            ConflictChange { field: "weight".into(), expected: "1".into(), found: "2".into() };
        let conflict = Conflict { object: "real server".into(), change, times: 5, next: u64::MAX };
        assert_shown(
            EventKind::Conflict { conflict },
            "conflict: real server: weight is 2, the spec says 1; undone 5 times, next at \
             18446744073709551615 s",
        );
        let pause = Pause { since: 0, until: Some(1_767_268_803) };
        assert_shown(EventKind::Paused { pause }, "paused until 2026-01-01 12:00:03 UTC");
        assert_shown(EventKind::End { reason: EndReason::Stopping }, "the daemon is stopping");
    }

    #[test]
    fn an_event_of_a_later_version_is_not_shown() {
        assert_eq!(description(&EventKind::Unknown), None);
    }
}
