//! `evenkeel status`: shows the daemon's status; [`follow`] prints its events.

mod follow;

use std::fmt::Display;
use std::time::Duration;

use evenkeel_control::{
    Answer, AskError, DrainStatus, FORMAT, HealthHeld, HealthStatus, Mode, OverrideStatus,
    ParameterStatus, Request, State, Status, StayingStatus,
};
use evenkeel_engine::Clock;
use evenkeel_model::{Desired, Span, printable_name};
use evenkeel_plan::render::count;
use evenkeel_watch::{list_drains, list_staying};
use evenkeel_workflow::now;
use jiff::Timestamp;

use crate::args::{GlobalArgs, OutputFormat, StatusArgs};
use crate::commands::stored_overrides::stored_overrides;
use crate::daemon_client::query;
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host::state_dir;
use crate::output::Output;

pub(crate) fn run(
    arguments: &StatusArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    if arguments.follow {
        return follow::run(arguments.output, global, output);
    }
    let status = match query(&Request::Status, global) {
        Err(Error::Ask(AskError::NoDaemon)) => return without(arguments.output, global, output),
        Err(error) => return Err(error),
        Ok(Answer::Status(status)) => status,
        Ok(Answer::Done(message) | Answer::Refused(message)) => {
            return Err(AskError::Refused(message).into());
        }
    };
    match arguments.output {
        OutputFormat::Json => {
            let text = serde_json::to_string_pretty(&status).map_err(std::io::Error::from);
            output.answer(format_args!("{}\n", text.map_err(Error::Output)?))?;
        }
        OutputFormat::Text => print_status(&status, output)?,
    }
    Ok(CommandExit::of_daemon(status.mode, status.state))
}

/// Prints what the journal records, where no daemon runs.
fn without(
    form: OutputFormat,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let (journal, warning) = state_dir(global)?.read(false)?;
    if let Some(warning) = warning {
        output.warning(&warning);
    }
    let digest = journal.spec.as_ref().map(|spec| &*spec.digest);
    // The spec, which has the names, is not read here.
    let drains = list_drains(&journal.record.drains, &Desired::default());
    let now_both = Clock::start().now();
    let staying = journal.record.real_server.staying_in_force(&now_both);
    let staying = list_staying(staying, &now_both);
    let overrides = stored_overrides(global)?;
    let waits = journal.pending.as_ref().map(|pending| pending.description(now()));
    if form == OutputFormat::Json {
        let document = serde_json::json!({
            "format": FORMAT,
            "state": "not_running",
            "reasons": waits,
            "last_applied": digest,
            "draining": drains.len(),
            "drains": drains,
            "staying": staying,
            "overrides": overrides,
        });
        output.answer(format_args!("{document:#}\n"))?;
        return Ok(CommandExit::NotRunning);
    }
    output.answer("not running: no daemon manages this network namespace\n")?;
    let digest = digest.and_then(|it| it.get(..12)).unwrap_or("nothing");
    row("last applied", digest, output)?;
    let rows = drain_rows(&drains).chain(staying_rows(&staying)).chain(override_rows(&overrides));
    for (what, text) in rows {
        row(what, text, output)?;
    }
    if let Some(message) = waits {
        row("unconfirmed", message, output)?;
    }
    Ok(CommandExit::NotRunning)
}

/// The rows of drains, with their remaining time.
fn drain_rows(drains: &[DrainStatus]) -> impl Iterator<Item = (&'static str, String)> {
    let all = (!drains.is_empty()).then(|| ("draining", count(drains.len(), "real server")));
    let each = drains.iter().map(|DrainStatus { object, until }| {
        let message = match until.saturating_sub(now()) {
            0 => "deadline reached".to_owned(),
            remaining => format!("{} left, until {}", Span(remaining), utc(*until)),
        };
        ("", format!("{object}: {message}"))
    });
    all.into_iter().chain(each)
}

/// The rows of what stays on a real server, with the remaining time.
fn staying_rows(staying: &[StayingStatus]) -> impl Iterator<Item = (&'static str, String)> {
    let all = (!staying.is_empty()).then(|| ("leaving", count(staying.len(), "object")));
    let each = staying.iter().map(|StayingStatus { object, service, until }| {
        let remaining = Span(until.saturating_sub(now()));
        ("", format!("{object}: {remaining} left, until {}, for {service}", utc(*until)))
    });
    all.into_iter().chain(each)
}

/// The rows of overrides, with the remaining time.
fn override_rows(overrides: &[OverrideStatus]) -> impl Iterator<Item = (&'static str, String)> {
    let places = ["override"].into_iter().chain(std::iter::repeat(""));
    places.zip(overrides.iter().map(override_line))
}

/// How many rows of real servers that health holds are shown.
const HELD_ROWS: usize = 20;

/// The rows of the health checks: a summary, and the real servers that they hold.
fn health_rows(health: &HealthStatus) -> Vec<(&'static str, String)> {
    let HealthStatus { checks, held, services } = health;
    let mut summary = count(*checks, "check");
    if held.is_empty() {
        summary.push_str(": all real servers are up");
    } else {
        summary.push_str(&format!("; {} held", count(held.len(), "real server")));
    }
    let mut rows = vec![("health", summary)];
    let shown = held.iter().take(HELD_ROWS);
    rows.extend(shown.map(|HealthHeld { service, real_server, text, .. }| {
        ("", format!("{real_server} of {service}: {text}"))
    }));
    if held.len() > HELD_ROWS {
        rows.push(("", format!("and {} more", held.len() - HELD_ROWS)));
    }
    let without = services.iter().filter(|it| !it.quorum);
    rows.extend(without.map(|it| ("", format!("{} has no quorum", it.service))));
    rows
}

/// An override in one line: `drain 10.0.0.5 by root (new disks): 1h30m left, until 14:00:00 UTC; 1 real
/// server: 10.0.0.5:80 of web/192.0.2.1:80/tcp`.
pub(super) fn override_line(it: &OverrideStatus) -> String {
    let OverrideStatus { target, action, by, reason, since: _, until, real_servers } = it;
    let reason = match reason.as_str() {
        "" => String::new(),
        reason => format!(" ({})", printable_name(reason)),
    };
    let end = match until {
        Some(until) => {
            format!("{} left, until {}", Span(until.saturating_sub(now())), utc(*until))
        }
        None => "until cleared".to_owned(),
    };
    let all: Vec<String> =
        real_servers.iter().map(|it| format!("{} of {}", it.real_server, it.service)).collect();
    let all = match all.is_empty() {
        true => "the spec lists none".to_owned(),
        false => format!("{}: {}", count(all.len(), "real server"), all.join(", ")),
    };
    format!("{action} {target} by {}{reason}: {end}; {all}", printable_name(by))
}

fn row(what: &str, text: impl Display, output: &mut Output) -> Result<(), Error> {
    output.answer(format_args!("{what:<14}{text}\n"))
}

fn print_status(status: &Status, output: &mut Output) -> Result<(), Error> {
    let mode = match status.mode {
        Mode::Enforce => "",
        Mode::Observe => ", observing only",
    };
    output.answer(format_args!(
        "{} (process {}{mode}, for {})\n",
        status.state.as_str(),
        status.pid,
        ago(status.started)
    ))?;
    for reason in &status.reasons {
        for line in reason.lines() {
            // Without blanks on an empty line.
            output.answer(format_args!("{}\n", format!("  {line}").trim_end()))?;
        }
    }
    let mut row = |what: &str, text: String| row(what, text, output);
    if let Some(until) = status.paused.and_then(|pause| pause.until) {
        row("paused until", utc(until))?;
    }
    row("spec", status.spec.sources.join(" "))?;
    match &status.spec.active {
        Some(spec) => row(
            "active spec",
            format!(
                "{} (number {}), for {}: {}, {}, {}",
                spec.digest.get(..12).unwrap_or_default(),
                spec.generation,
                ago(spec.since),
                count(status.services, "service"),
                count(status.real_servers, "real server"),
                count(status.vips, "VIP")
            ),
        )?,
        None => row("active spec", "none".to_owned())?,
    }
    for parameter in &status.spec.parameters {
        let change = parameter_change(parameter);
        row("parameter", format!("{change}, for {}", ago(parameter.since)))?;
    }
    if let Some(pass) = &status.last_pass {
        row(
            "last pass",
            format!(
                "{} ago, for {}: {}, {}, {} ms",
                ago(pass.at),
                pass.trigger.as_str(),
                pass.result,
                count(pass.changes, "operation"),
                pass.milliseconds
            ),
        )?;
    }
    let success = status.last_success.map_or("never".to_owned(), |at| format!("{} ago", ago(at)));
    row("in sync", success)?;
    let staying = staying_rows(&status.staying);
    let overrides = override_rows(&status.overrides);
    let health = status.health.iter().flat_map(health_rows);
    let rows = drain_rows(&status.drains).chain(staying).chain(overrides).chain(health);
    for (what, text) in rows {
        row(what, text)?;
    }
    if status.unmanaged > 0 {
        row("out of scope", count(status.unmanaged, "service"))?;
    }
    for failing in &status.failing {
        let (attempts, next) = (times(failing.attempts), utc(failing.next));
        row("failing", format!("{}: tried {attempts}, next at {next}", failing.object))?;
    }
    for conflict in &status.conflicts {
        let undone = times(conflict.times);
        let next = match conflict.next {
            next if next > now() => format!(", next at {}", utc(next)),
            _ => String::new(),
        };
        row("conflict", format!("{}: undone {undone}{next}", conflict.object))?;
    }
    for warning in &status.warnings {
        row("warning", warning.clone())?;
    }
    for writer in &status.known_writers {
        row("other writers", writer.clone())?;
    }
    for (number, line) in status.pending_steps.iter().enumerate() {
        row(if number == 0 { "pending" } else { "" }, line.clone())?;
    }
    if status.state == State::Starting {
        row("", "try again in a moment".to_owned())?;
    }
    Ok(())
}

/// How often: `once`, `3 times`.
fn times(number: u32) -> String {
    match number {
        1 => "once".to_owned(),
        _ => format!("{number} times"),
    }
}

/// A parameter with its last value and the current one.
fn parameter_change(parameter: &ParameterStatus) -> String {
    let ParameterStatus { name, value, error, previous, since: _ } = parameter;
    let before = previous.as_ref().map(|previous| format!("{previous} -> ")).unwrap_or_default();
    let now = value.as_deref().unwrap_or("no value");
    let why = error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
    format!("${{{name}}}: {before}{now}{why}")
}

/// The time since `at`, which is in seconds since 1970, for users.
fn ago(at: u64) -> Span {
    let seconds = now().saturating_sub(at);
    // Of a long time, the smaller units do not matter.
    let unit = match seconds {
        86_400.. => 3_600,
        3_600.. => 60,
        _ => 1,
    };
    Span(seconds - seconds % unit)
}

/// A time, with its date if it is a day or more ahead.
pub(super) fn utc(at: u64) -> String {
    let format = if at.saturating_sub(now()) < 86_400 { "%T UTC" } else { "%F %T UTC" };
    let time = Timestamp::UNIX_EPOCH.checked_add(Duration::from_secs(at));
    // A time beyond the year 9999 cannot be formatted as a date.
    time.map_or_else(|_| format!("{at} s"), |time| time.strftime(format).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_is_days_ahead_has_a_date() {
        assert_eq!(utc(3_600), "01:00:00 UTC");
        assert_eq!(utc(now() + 60).len(), "01:00:00 UTC".len());
        assert_eq!(utc(6_090_632_228), "2163-01-02 10:17:08 UTC");
        assert_eq!(utc(u64::MAX), format!("{} s", u64::MAX));
    }
}
