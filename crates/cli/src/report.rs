//! Prints the report of a pass.

use evenkeel_engine::{KernelError, Outcome, Report, Rollback};
use evenkeel_model::Names;
use evenkeel_plan::Object;
use evenkeel_plan::render::{Labels, Line, count};
use evenkeel_spec::Position;

use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::output::Output;
use crate::places::Places;

/// Prints each step with its outcome, the counts, and messages; returns the exit status. A step that failed
/// is shown with the position in the spec.
///
/// `command` is the command that the messages ask users to run again. With `is_daemon_enforcing`,
/// the daemon continues the drains.
pub(crate) fn print_report(
    report: &Report,
    command: &str,
    is_daemon_enforcing: bool,
    names: Names<'_>,
    places: &Places<'_>,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let labels = Labels::new(names);
    for done in report.iter() {
        let verb = done.op.verb();
        let line = Line { op: done.op, labels: &labels };
        match done.failure() {
            Some(failure) => match places.of(done.op) {
                Some(Position { name, line: row, .. }) => {
                    let line = format_args!("{line}  ({name}:{row}): failed: {failure}");
                    output.answer_line(verb, line)?;
                }
                None => output.answer_line(verb, format_args!("{line}: failed: {failure}"))?,
            },
            None => output.answer_line(verb, format_args!("{line}: {}", done.outcome))?,
        }
    }
    let counts: Vec<String> = Outcome::NAMES
        .into_iter()
        .filter_map(|outcome| match report.count(outcome) {
            0 => None,
            number => Some(format!("{number} {outcome}")),
        })
        .collect();
    let mut name = command.to_owned();
    name[..1].make_ascii_uppercase();
    let counts = match counts.is_empty() {
        // A wider scope takes no operation.
        true => "no operation was needed".to_owned(),
        false => counts.join(", "),
    };
    output.answer(format_args!("{name}: {counts}.\n"))?;
    output.flush()?;
    for warning in &report.warnings {
        output.warning(warning);
    }
    for ((service, real_server), connections) in &report.cut {
        output.warning(format!(
            "real server {real_server} of {} was deleted at its drain deadline; {} broke",
            names.label(service),
            count(*connections, "connection"),
        ));
    }
    for ((service, real_server), connections) in &report.deleted_by_others {
        output.warning(format!(
            "another program deleted real server {real_server} of {} while it drained; it last had \
             {}",
            names.label(service),
            count(*connections, "connection"),
        ));
    }
    for (service, real_server) in &report.added_by_others {
        output.warning(format!(
            "another program added real server {real_server} to {} or raised its weight while the \
             service drained; it drains too before the service is deleted",
            names.label(service),
        ));
    }
    for op in &report.mismatches {
        output.failure(&format!(
            "another program keeps changing what was applied; still to do: {}",
            Line { op, labels: &labels }
        ));
    }
    if let Some(error) = &report.error {
        output.cause(error);
    }
    if let Some(rollback) = &report.rollback {
        return Ok(print_rollback(rollback, names, output));
    }
    if report.interrupted {
        output.hint(&format!(
            "interrupted; what was done so far is valid, and drains continue; run {command} again \
             to finish"
        ));
        return Ok(CommandExit::Failed);
    }
    if report.is_success() {
        if report.count(Outcome::Draining.as_str()) > 0 {
            output.hint(&match is_daemon_enforcing {
                true => "drains continue; `evenkeel watch` then does the steps that depend on them"
                    .to_owned(),
                false => {
                    format!(
                        "drains continue; run {command} again for the steps that depend on them"
                    )
                }
            });
        }
        return Ok(CommandExit::Done);
    }
    let nothing_changed = report.count(Outcome::Applied.as_str()) == 0;
    output.hint(&if nothing_changed {
        format!("nothing was changed; fix the cause and run {command} again")
    } else {
        format!("what was done stays; fix the cause and run {command} again to continue from here")
    });
    Ok(match &report.error {
        Some(KernelError::NotPermitted { .. }) if nothing_changed => CommandExit::NotPermitted,
        _ => CommandExit::Failed,
    })
}

/// Prints the result of a rollback: complete, or what differs from before.
pub(crate) fn print_rollback(
    rollback: &Rollback,
    names: Names<'_>,
    output: &mut Output,
) -> CommandExit {
    let labels = &Labels::new(names);
    if rollback.broken > 0 {
        output.warning(format!(
            "{} to added objects broke in the rollback",
            count(rollback.broken, "connection")
        ));
    }
    if rollback.is_clean() {
        output.hint(
            "rolled back: everything touched is as it was before; fix the cause and run apply again",
        );
        return CommandExit::RolledBack;
    }
    output.failure("the rollback could not restore everything");
    if let Some(error) = &rollback.error {
        output.cause(error);
    }
    for (op, refused) in &rollback.refused {
        let why = evenkeel_engine::explain(op, refused);
        output.failure(&format!("refused during the rollback: {}: {why}", Line { op, labels }));
    }
    let values = |object: &Object| match rollback.traces.get(object) {
        Some(trace) => format!(": {trace}"),
        None => String::new(),
    };
    for op in &rollback.remaining {
        let object = op.object();
        output.failure(&format!(
            "{} was not restored{}; to restore it: {}",
            object.named(names),
            values(&object),
            Line { op, labels }
        ));
    }
    for object in &rollback.foreign {
        output.failure(&format!(
            "another program changed {} meanwhile, so it was left alone{}",
            object.named(names),
            values(object)
        ));
    }
    output.hint("`evenkeel plan` shows what differs from the spec");
    CommandExit::Failed
}
