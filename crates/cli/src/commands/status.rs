//! `evenkeel status`: how is the running watch?

use std::fmt::Display;
use std::time::Duration;

use evenkeel_model::Desired;
use evenkeel_plan::render::count;
use evenkeel_watch::control::{Answer, AskError, Request};
use evenkeel_watch::{DrainStatus, FORMAT, Mode, State, Status};
use jiff::Timestamp;

use crate::args::{self, Global, ShowOutput};
use crate::error::Error;
use crate::live::{now, state_dir};
use crate::output::Output;
use crate::status;
use crate::watcher::question;

pub(crate) fn run(
    arguments: &args::Status,
    global: &Global,
    output: &mut Output,
) -> Result<status::Status, Error> {
    let status = match question(&Request::Status, global) {
        Err(Error::Ask(AskError::NoDaemon)) => return without(arguments.output, global, output),
        Err(error) => return Err(error),
        Ok(Answer::Status(status)) => status,
        Ok(Answer::Done(words) | Answer::Refused(words)) => {
            output.refusal(&words);
            return Ok(status::Status::Refused);
        }
    };
    match arguments.output {
        ShowOutput::Json => {
            let text = serde_json::to_string_pretty(&status).map_err(std::io::Error::from);
            output.answer(format_args!("{}\n", text.map_err(Error::Output)?))?;
        }
        ShowOutput::Text => tell(&status, output)?,
    }
    Ok(status::Status::Done)
}

/// What is on record where no daemon runs.
fn without(
    form: ShowOutput,
    global: &Global,
    output: &mut Output,
) -> Result<status::Status, Error> {
    let (journal, warning) = state_dir(global)?.read(false)?;
    if let Some(warning) = warning {
        output.warning(&warning);
    }
    let digest = journal.spec.as_ref().map(|spec| &*spec.digest);
    // Names are in the spec, which is not read here.
    let drains = DrainStatus::of(&journal.record.drains, &Desired::default());
    let waits = journal.pending.as_ref().map(|pending| pending.words(now()));
    if form == ShowOutput::Json {
        let document = serde_json::json!({
            "format": FORMAT,
            "state": "not_running",
            "reasons": waits,
            "last_applied": digest,
            "draining": drains.len(),
            "drains": drains,
        });
        output.answer(format_args!("{document:#}\n"))?;
        return Ok(status::Status::Done);
    }
    output.answer("not running: no daemon keeps this network namespace\n")?;
    let digest = digest.and_then(|it| it.get(..12)).unwrap_or("nothing");
    row("last applied", digest, output)?;
    for (what, text) in drain_rows(&drains) {
        row(what, text, output)?;
    }
    if let Some(words) = waits {
        row("waiting", words, output)?;
    }
    Ok(status::Status::Done)
}

/// What drains, and for how long at most.
fn drain_rows(drains: &[DrainStatus]) -> impl Iterator<Item = (&'static str, String)> {
    let all = (!drains.is_empty()).then(|| ("draining", count(drains.len(), "real server")));
    let each = drains.iter().map(|DrainStatus { object, until }| {
        let words = match until.saturating_sub(now()) {
            0 => "its time is over".to_owned(),
            left => format!("{left} s left"),
        };
        ("", format!("{object}: {words}"))
    });
    all.into_iter().chain(each)
}

fn row(what: &str, text: impl Display, output: &mut Output) -> Result<(), Error> {
    output.answer(format_args!("{what:<14}{text}\n"))
}

fn tell(status: &Status, output: &mut Output) -> Result<(), Error> {
    let mode = match status.mode {
        Mode::Enforce => "",
        Mode::Observe => ", observing only",
    };
    output.answer(format_args!(
        "{} (process {}{mode}, for {})\n",
        status.state.word(),
        status.pid,
        ago(status.started)
    ))?;
    for reason in &status.reasons {
        output.answer(format_args!("  {}\n", reason.replace('\n', "\n  ")))?;
    }
    let mut row = |what: &str, text: String| row(what, text, output);
    row("spec", status.spec.sources.join(" "))?;
    match &status.spec.in_force {
        Some(spec) => row(
            "in force",
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
        None => row("in force", "none".to_owned())?,
    }
    if let Some(pass) = &status.last_pass {
        row(
            "last pass",
            format!(
                "{} ago, for {}: {}, {}, {} ms",
                ago(pass.at),
                pass.reason.word(),
                pass.result,
                count(pass.changes, "operation"),
                pass.milliseconds
            ),
        )?;
    }
    let success = status.last_success.map_or("never".to_owned(), |at| format!("{} ago", ago(at)));
    row("in sync", success)?;
    for (what, text) in drain_rows(&status.drains) {
        row(what, text)?;
    }
    if status.unmanaged > 0 {
        row("out of scope", count(status.unmanaged, "service"))?;
    }
    for failing in &status.failing {
        let (attempts, next) = (failing.attempts, moment(failing.next));
        row("failing", format!("{}: tried {attempts} times, next at {next}", failing.object))?;
    }
    for fight in &status.fights {
        let (times, next) = (fight.times, moment(fight.next));
        row("fight", format!("{}: undone {times} times, next at {next}", fight.object))?;
    }
    for warning in &status.warnings {
        row("warning", warning.clone())?;
    }
    for hand in &status.other_hands {
        row("also here", hand.clone())?;
    }
    for (number, line) in status.to_do.iter().enumerate() {
        row(if number == 0 { "to do" } else { "" }, line.clone())?;
    }
    if status.state == State::Starting {
        row("", "try again in a moment".to_owned())?;
    }
    Ok(())
}

/// How long ago that was, in seconds since 1970.
fn ago(at: u64) -> String {
    let seconds = now().saturating_sub(at);
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (hours, minutes) = (rest / 3_600, rest % 3_600 / 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", rest % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

fn moment(at: u64) -> String {
    let time = Timestamp::UNIX_EPOCH.checked_add(Duration::from_secs(at));
    // A clock that shows the year 10000 tells nothing.
    time.map_or_else(|_| format!("{at} s"), |time| time.strftime("%T UTC").to_string())
}
