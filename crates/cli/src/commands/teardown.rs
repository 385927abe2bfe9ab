//! `evenkeel teardown`: undoes everything that evenkeel did here, and nothing else. Adopted objects,
//! which were there before, stay and get their original values back.

use evenkeel_engine::{
    ApplyOptions, Journal, Kernel, LastApplied, OnFailure, Outcome, ParameterValues,
    PartialApplies, Pass, ReadRequest, Report, execute_journalled, plan_changes,
};
use evenkeel_model::{Live, Names};
use evenkeel_plan::{
    Adopted, Op, PriorState, Remaining, TeardownInputs, remaining, render, teardown,
};
use evenkeel_source::SourceCache;

use crate::adoption::attempted;
use crate::args::{GlobalArgs, TeardownArgs};
use crate::commands::plan::{print_warnings, show_steps};
use crate::daemon_client::{DaemonUse, check_no_conflict};
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host_session::{Access, HostSession};
use crate::last_applied::{NewSpec, history};
use crate::output::Output;
use crate::progress::ProgressDisplay;
use crate::prompt::Prompt;
use crate::report::print_report;

pub(crate) fn run(
    arguments: &TeardownArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let prompt = Prompt {
        allow: &arguments.allow,
        assume_yes: arguments.yes,
        is_interactive: true,
        question: "Undo all of this?",
    };
    prompt.check_can_prompt()?;
    let host = HostSession::connect(global, Access::Write, output)?;
    check_no_conflict(DaemonUse::Nothing("a teardown"))?;
    let HostSession { mut kernel, state, mut journal, lock: _lock } = host;
    // A teardown has no new spec.
    let none =
        NewSpec { texts: &SourceCache::from(Vec::new()), parameters: &ParameterValues::new() };
    let last = match journal.record.applied {
        true => history(&state, &journal, none, &[], output).last,
        // A last spec on record was then applied in an earlier namespace of this name.
        false => journal.targeted.over(None),
    };
    let record = journal.record.clone();
    let live = kernel.observe(&ReadRequest::for_journal(&journal))?;
    let attempted = journal.attempted.over(attempted(&state, &journal));
    let adopted = match arguments.adopted {
        true => Adopted::default(),
        false => journal.adopted.clone(),
    };
    let Remaining { desired: left, stays } = remaining(TeardownInputs {
        last: last.as_ref(),
        attempted: attempted.as_ref(),
        live: &live,
        drains: &record.drains,
        adopted: &adopted,
    });
    let known = |_: &[Op]| LastApplied { last: last.clone(), ..LastApplied::default() };
    let (plan, _) = plan_changes(&mut kernel, &left, &live, &record, known)?;
    let plan = teardown(plan, &live, &record, &journal.dummies);
    let names = Names::from(last.as_ref().or(attempted.as_ref()).unwrap_or(&left));
    if plan.is_in_sync() {
        output.answer("Nothing to undo.\n")?;
    } else if !arguments.yes {
        show_steps(&plan, names, None, output)?;
    }
    for line in render::staying(&stays, names) {
        output.answer(format_args!("{line}\n"))?;
    }
    if !plan.is_in_sync() && !arguments.yes {
        output.answer(format_args!("{}\n", render::summary(&plan)))?;
    }
    output.flush()?;
    print_warnings(&plan, output);
    for message in render::changed_by_others(&stays, names) {
        output.warning(&message);
    }
    if let Some(status) = prompt.blocking_status(&mut kernel, &plan, output)? {
        return Ok(status);
    }
    if plan.is_in_sync() {
        forget(&mut journal, &live);
        state.write(&journal)?;
        return Ok(CommandExit::Done);
    }
    let bound = live.clone();
    let pass = Pass {
        desired: &left,
        last: last.as_ref(),
        is_complete: false,
        record,
        live,
        steps: plan.steps,
    };
    // A failure does not bring back what was removed.
    let options = ApplyOptions {
        on_failure: OnFailure::Keep,
        wait: !arguments.no_wait,
        ..ApplyOptions::default()
    };
    let mut progress_display = ProgressDisplay::new(names, output)?;
    let report = execute_journalled(
        &mut kernel,
        pass,
        options,
        &mut progress_display,
        &state,
        &mut journal,
    )?;
    let status = print_report(&report, "teardown", false, names, output)?;
    if is_complete(&report) {
        forget(&mut journal, &bound);
        state.write(&journal)?;
    }
    Ok(status)
}

/// Whether nothing remains for another teardown.
fn is_complete(report: &Report) -> bool {
    let draining = report.count(Outcome::Draining.as_str());
    report.is_success() && !report.interrupted && draining == 0
}

/// Resets the journal: nothing is applied here any more. Objects that evenkeel created and may not
/// remove now, such as an address out of scope, stay on record as its own.
fn forget(journal: &mut Journal, live: &Live) {
    journal.record = PriorState::default();
    journal.spec = None;
    journal.targeted = PartialApplies::default();
    journal.next = None;
    journal.attempted = PartialApplies::default();
    journal.adopted = Adopted::default();
    journal.addresses.retain(|binding| live.addresses.contains_key(binding));
    journal.host_objects.retain(|object| !live.host_objects.is_gone(object));
    let links = live.links.as_ref();
    journal.dummies.retain(|name| links.is_none_or(|links| links.contains_key(name)));
}
