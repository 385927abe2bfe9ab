//! What became of a pass, for people.

use evenkeel_engine::{KernelError, Outcome, Report, Rollback};
use evenkeel_model::Names;
use evenkeel_plan::Object;
use evenkeel_plan::render::{Labels, Line, count};

use crate::error::Error;
use crate::exit_code::Status;
use crate::output::Output;

/// Each step with its outcome, then the counts, then what else there is to know; and the status
/// to end with. The command is named where it is to be run again; where a watch keeps the network
/// namespace, that goes on with drains.
pub(crate) fn print_report(
    report: &Report,
    command: &str,
    is_daemon_enforcing: bool,
    names: Names<'_>,
    output: &mut Output,
) -> Result<Status, Error> {
    let labels = Labels::new(names);
    for done in report.iter() {
        let verb = done.op.verb();
        let line = Line { op: done.op, labels: &labels };
        match done.failure() {
            Some(failure) => {
                output.answer_line(verb, format_args!("{line}: failed: {failure}"))?;
            }
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
    output.answer(format_args!("{name}: {}.\n", counts.join(", ")))?;
    output.flush()?;
    for warning in &report.warnings {
        output.warning(warning);
    }
    for ((service, real_server), connections) in &report.cut {
        output.warning(&format!(
            "real server {real_server} of {} was deleted at the end of its drain with {} left, which \
             broke",
            names.label(service),
            count(*connections, "connection"),
        ));
    }
    for ((service, real_server), connections) in &report.deleted_by_others {
        output.warning(&format!(
            "someone else deleted real server {real_server} of {} during its drain; it was last \
             seen with {}",
            names.label(service),
            count(*connections, "connection"),
        ));
    }
    for (service, real_server) in &report.added_by_others {
        output.warning(&format!(
            "someone else gave {}, which leaves, real server {real_server} while its connections \
             were waited for: that one drains too, and only then the service is deleted",
            names.label(service),
        ));
    }
    for op in &report.mismatches {
        output.failure(&format!(
            "someone else keeps changing what was applied; still to do: {}",
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
            "interrupted; what was done is valid as it stands, and drains go on; run {command} \
             again to finish"
        ));
        return Ok(Status::Failed);
    }
    if report.is_success() {
        if report.count(Outcome::Draining.as_str()) > 0 {
            output.hint(&match is_daemon_enforcing {
                true => "drains go on; `evenkeel watch` does what waits for them".to_owned(),
                false => {
                    format!("drains go on; run {command} again to finish what waits for them")
                }
            });
        }
        return Ok(Status::Done);
    }
    let nothing_changed = report.count(Outcome::Applied.as_str()) == 0;
    output.hint(&if nothing_changed {
        format!("nothing was changed; mend the cause and run {command} again")
    } else {
        format!("what was done stays; mend the cause and run {command} again, it goes on from here")
    });
    Ok(match &report.error {
        Some(KernelError::NotPermitted { .. }) if nothing_changed => Status::NotPermitted,
        _ => Status::Failed,
    })
}

/// The way back: clean, or what differs from before.
pub(crate) fn print_rollback(rollback: &Rollback, names: Names<'_>, output: &mut Output) -> Status {
    let labels = &Labels::new(names);
    if rollback.broken > 0 {
        output.warning(&format!(
            "{} to what had been added broke when it was taken back",
            count(rollback.broken, "connection")
        ));
    }
    if rollback.is_clean() {
        output.hint(
            "rolled back: what was touched is as it was before; mend the cause and run apply again",
        );
        return Status::RolledBack;
    }
    output.failure("the rollback did not lead back to the state before");
    if let Some(error) = &rollback.error {
        output.cause(error);
    }
    for (op, refused) in &rollback.refused {
        let why = evenkeel_engine::explain(op, refused);
        output.failure(&format!("refused on the way back: {}: {why}", Line { op, labels }));
    }
    let values = |object: &Object| match rollback.traces.get(object) {
        Some(trace) => format!(": {trace}"),
        None => String::new(),
    };
    for op in &rollback.remaining {
        let object = op.object();
        output.failure(&format!(
            "{} differs from before{}; back again takes: {}",
            object.named(names),
            values(&object),
            Line { op, labels }
        ));
    }
    for object in &rollback.foreign {
        output.failure(&format!(
            "someone else changed {} meanwhile, so it was left alone{}",
            object.named(names),
            values(object)
        ));
    }
    output.hint("`evenkeel plan` shows what differs from the spec");
    Status::Failed
}
