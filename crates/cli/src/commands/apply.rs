//! `evenkeel apply`: brings this host to the state of the spec.

use std::path::Path;
use std::sync::Arc;

use evenkeel_engine::{HostKernel, OnFailure, Report};
use evenkeel_model::{Drain, Names};
use evenkeel_plan::Op;
use evenkeel_workflow::{
    Applied, ApplyOptions, ApplyOutcome, ApplyRequest, ApplyResult, ConfirmOptions, DaemonUse,
    DrainEnd, Host, PendingUpdate, PlanOrigin, PlannedHost, SavedPlan, apply, review_apply,
    wait_for_drains,
};

use crate::args::{ApplyArgs, GlobalArgs, OnFailureArg, SpecArgs};
use crate::commands::plan::{print_warnings, show};
use crate::commands::watchdog;
use crate::daemon_client::absolute;
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host::{EventLog, enter, host};
use crate::output::Output;
use crate::progress::ProgressDisplay;
use crate::prompt::Prompt;
use crate::render::{self, ApplyEnd};
use crate::report::print_report;

pub(crate) fn run(
    arguments: &ApplyArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let prompt = Prompt {
        allow: &arguments.allow,
        // A saved plan was reviewed.
        assume_yes: arguments.yes || arguments.plan.is_some(),
        is_interactive: !arguments.spec.spec.iter().any(|place| place == Path::new("-")),
        question: "Apply this plan?",
        preview: Some("evenkeel plan"),
    };
    prompt.check_can_prompt(output)?;
    // Files are read before the lock is taken, and an invalid spec is reported first.
    let request = match &arguments.plan {
        None => of_spec(arguments, global, output)?,
        Some(path) => of_saved_plan(path, arguments, global, output)?,
    };
    let mut host = host(global)?;
    let mut events = EventLog::default();
    loop {
        let reviewed = match prompt.assume_yes {
            true => None,
            false => match review(&mut host, &request, prompt, &mut events, output)? {
                Reviewed::Steps(steps) => Some(steps),
                Reviewed::Ended(status) => return Ok(status),
            },
        };
        let result =
            execute(&mut host, &request, reviewed.as_deref(), arguments, global, &mut events);
        events.print(output);
        let ApplyResult { planned, outcome, mut kernel } = result?;
        let names = Names { desired: &planned.desired, last: planned.last.as_ref() };
        if prompt.assume_yes {
            if planned.plan.is_in_sync() && !matches!(outcome, ApplyOutcome::Applied(_)) {
                show(&planned.plan, names, None, output)?;
                output.flush()?;
            }
            print_warnings(&planned.plan, output);
        }
        let Finished { ended, drains } = match &outcome {
            ApplyOutcome::Blocked(blocked) => {
                Finished::without_drains(prompt.print_blocked(blocked, output))
            }
            ApplyOutcome::InSync => Finished::without_drains(CommandExit::Done),
            ApplyOutcome::Changed(difference) => {
                Prompt::print_changed(difference, output);
                continue;
            }
            ApplyOutcome::Applied(applied) => {
                finish(applied, &mut kernel, arguments.no_wait, names, output)?
            }
        };
        let end = ApplyEnd { planned: &planned, outcome: &outcome, drains };
        return output.conclude(ended, || render::apply(end));
    }
}

/// The result of a review.
enum Reviewed {
    /// The user accepted these steps.
    Steps(Vec<Op>),
    /// Nothing is to be executed.
    Ended(CommandExit),
}

/// Shows the plan and asks. No lock is held meanwhile.
fn review(
    host: &mut Host<'_, HostKernel>,
    request: &ApplyRequest<'_>,
    prompt: Prompt<'_>,
    events: &mut EventLog,
    output: &mut Output,
) -> Result<Reviewed, Error> {
    let reviewed = review_apply(host, request, prompt.allow, events);
    events.print(output);
    let (PlannedHost { plan, desired, last, .. }, blocked) = reviewed?;
    show(&plan, Names { desired: &desired, last: last.as_ref() }, None, output)?;
    output.flush()?;
    print_warnings(&plan, output);
    if let Some(blocked) = blocked {
        return Ok(Reviewed::Ended(prompt.print_blocked(&blocked, output)));
    }
    if !plan.is_in_sync()
        && let Some(status) = prompt.declined(output)?
    {
        return Ok(Reviewed::Ended(status));
    }
    Ok(Reviewed::Steps(plan.steps))
}

/// Executes the plan. Prints nothing but the progress of drains, which a thread of its own shows.
fn execute(
    host: &mut Host<'_, HostKernel>,
    request: &ApplyRequest<'_>,
    reviewed: Option<&[Op]>,
    arguments: &ApplyArgs,
    global: &GlobalArgs,
    events: &mut EventLog,
) -> Result<ApplyResult<HostKernel>, Error> {
    let mut start_watchdog = |id: &str| watchdog::start(id, global);
    let confirm = arguments
        .confirm
        .map(|seconds| ConfirmOptions { seconds, start_watchdog: &mut start_watchdog });
    let options = ApplyOptions {
        allow: &arguments.allow,
        reviewed,
        on_failure: match arguments.on_failure {
            OnFailureArg::Rollback => OnFailure::Rollback,
            OnFailureArg::Keep => OnFailure::Keep,
        },
        wait: !arguments.no_wait,
        confirm,
    };
    let mut progress = ProgressDisplay::new(global.color)?;
    Ok(apply(host, request, options, &mut progress, events)?)
}

/// How an apply ended, after its report.
struct Finished {
    ended: Result<CommandExit, Error>,
    /// How the wait for the drains of the daemon ended; `None` if there was no such wait.
    drains: Option<DrainEnd>,
}

impl Finished {
    fn without_drains(status: CommandExit) -> Self {
        Self { ended: Ok(status), drains: None }
    }
}

/// Prints the report, and follows the drains that a daemon continues.
///
/// # Errors
/// The report cannot be printed.
fn finish(
    applied: &Applied,
    kernel: &mut HostKernel,
    no_wait: bool,
    names: Names<'_>,
    output: &mut Output,
) -> Result<Finished, Error> {
    let Applied { report, is_daemon_enforcing, pending } = applied;
    let status = print_report(report, "apply", *is_daemon_enforcing, names, output)?;
    match pending {
        PendingUpdate::NotPending => {}
        PendingUpdate::Interrupted => output.hint("its watchdog rolls the apply back"),
        PendingUpdate::Waiting { seconds, deadline: _ } => output.hint(&format!(
            "the apply is rolled back in {} unless `evenkeel confirm` confirms it; `evenkeel \
             confirm --abort` rolls it back now",
            Drain(*seconds)
        )),
        PendingUpdate::NotUpdated(error) => {
            let error = Error::PendingNotUpdated(Arc::clone(error));
            return Ok(Finished { ended: Err(error), drains: None });
        }
    }
    if !is_daemon_enforcing || no_wait || !report.is_success() {
        return Ok(Finished::without_drains(status));
    }
    Ok(match follow_drains(report, kernel, output) {
        Ok(end) => Finished { ended: Ok(print_drain_end(end, output)), drains: Some(end) },
        Err(error) => Finished { ended: Err(error), drains: None },
    })
}

fn follow_drains(
    report: &Report,
    kernel: &mut HostKernel,
    output: &Output,
) -> Result<DrainEnd, Error> {
    let mut progress = ProgressDisplay::new(output.color())?;
    Ok(wait_for_drains(report, kernel, &mut progress)?)
}

fn print_drain_end(end: DrainEnd, output: &mut Output) -> CommandExit {
    match end {
        DrainEnd::NoDrains => CommandExit::Done,
        DrainEnd::Drained => {
            output.message("drained\n");
            CommandExit::Done
        }
        DrainEnd::Interrupted => {
            output.hint("interrupted; the drains continue");
            CommandExit::Failed
        }
        DrainEnd::DaemonStopped => {
            output.hint("`evenkeel watch` was paused or has stopped; run apply again to finish");
            CommandExit::Failed
        }
    }
}

fn of_spec<'a>(
    arguments: &ApplyArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<ApplyRequest<'a>, Error> {
    let SpecArgs { spec, parameters } = &arguments.spec;
    let (loaded, texts) = crate::input::spec_and_texts(spec, parameters, global, output)?;
    Ok(ApplyRequest {
        parameters: loaded.parameters(),
        desired: loaded.desired,
        texts: texts.read()?.into_owned(),
        selectors: arguments.target.clone(),
        saved: None,
        daemon_use: match arguments.confirm {
            Some(_) => DaemonUse::Nothing("an apply with --confirm"),
            None => DaemonUse::Spec(absolute(spec)),
        },
    })
}

fn of_saved_plan<'a>(
    path: &Path,
    arguments: &ApplyArgs,
    global: &GlobalArgs,
    output: &Output,
) -> Result<ApplyRequest<'a>, Error> {
    enter(global)?;
    let here = PlanOrigin::here(global.role).map_err(Error::Namespace)?;
    let saved = SavedPlan::read(path, &here)?;
    let texts = saved.sources();
    let loaded = crate::input::remembered(&texts, &saved.parameters(), output)?;
    Ok(ApplyRequest {
        parameters: loaded.parameters(),
        desired: loaded.desired,
        texts,
        selectors: saved.target().to_vec(),
        saved: Some(saved),
        daemon_use: DaemonUse::Nothing(match arguments.confirm {
            Some(_) => "an apply with --confirm",
            None => "applying a saved plan",
        }),
    })
}
