//! `evenkeel apply`: brings this host to the state of the spec.

use std::path::Path;

use evenkeel_engine::{
    ApplyOptions, ExecutionWarning, OnFailure, PartialApplies, Pass, error_chain,
    execute_journalled,
};
use evenkeel_model::Names;
use evenkeel_source::{SourceCache, absolute_name};
use evenkeel_spec::Loaded;

use crate::adoption::Adoption;
use crate::args::{ApplyArgs, GlobalArgs, OnFailureArg, SpecArgs};
use crate::commands::plan::{print_warnings, show};
use crate::confirm_timeout;
use crate::daemon_client::{DaemonUse, check_no_conflict};
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host_session::{Access, HostSession};
use crate::last_applied::NewSpec;
use crate::output::Output;
use crate::plan_origin::PlanOrigin;
use crate::planning::PlannedHost;
use crate::progress::ProgressDisplay;
use crate::prompt::Prompt;
use crate::report::print_report;
use crate::saved_plan::SavedPlan;
use crate::wait_for_drains;

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
    };
    prompt.check_can_prompt()?;
    let (mut host, request) = match &arguments.plan {
        // An invalid spec is reported first, whatever else is wrong.
        None => {
            let request = ApplyRequest::of_spec(arguments, global, output)?;
            (HostSession::connect(global, Access::Write, output)?, request)
        }
        Some(path) => {
            let host = HostSession::connect(global, Access::Write, output)?;
            (host, ApplyRequest::of_saved_plan(path, global, output)?)
        }
    };
    match (&arguments.confirm, &arguments.plan) {
        (Some(_), _) => check_no_conflict(DaemonUse::Nothing("an apply with --confirm"))?,
        (_, Some(_)) => check_no_conflict(DaemonUse::Nothing("a saved plan"))?,
        (None, None) => check_no_conflict(DaemonUse::Spec(&arguments.spec.spec))?,
    }
    let ApplyRequest { loaded, texts, target, saved } = request;
    let parameters = loaded.parameters();
    let new = NewSpec { texts: &texts, parameters: &parameters };
    let PlannedHost { mut plan, desired, live, last, targeted } =
        PlannedHost::for_host(&mut host, loaded.desired, new, &target, output)?;
    if let Some(saved) = saved {
        saved.check(&plan.steps, &desired, last.as_ref())?;
    }
    let HostSession { mut kernel, state, mut journal, lock } = host;
    let record = journal.record.clone();
    if !prompt.assume_yes || plan.is_in_sync() {
        show(&plan, Names { desired: &desired, last: last.as_ref() }, None, output)?;
    }
    output.flush()?;
    print_warnings(&plan, output);
    if let Some(status) = prompt.blocking_status(&mut kernel, &plan, output)? {
        return Ok(status);
    }
    // A part of a spec does not become the last applied spec.
    let is_complete = target.is_empty();
    let asked = PartialApplies::new(&targeted, &desired);
    let before = journal.clone();
    let attempt = journal.next.take();
    if is_complete {
        let sources = texts.read()?;
        let names: Vec<String> = sources.iter().map(|source| absolute_name(&source.name)).collect();
        let named = names.iter().zip(sources.iter());
        let texts: Vec<(&str, &[u8])> =
            named.map(|(name, source)| (&**name, &*source.text)).collect();
        state.store_spec(&mut journal, &texts, &parameters)?;
    }
    // An unchanged spec was applied before, and adopted what there was to adopt.
    if !is_complete || journal.next.is_some() {
        let (desired, live, last) = (&desired, &live, last.as_ref());
        let adoption = Adoption { desired, live, last, attempt, services: &targeted };
        adoption.record(&state, &mut journal);
    }
    if plan.is_in_sync() {
        // A spec without changes still becomes the applied one.
        if is_complete {
            journal.set_active_spec(&desired);
        } else {
            journal.targeted_is_applied(asked);
        }
        if journal != before {
            state.write(&journal)?;
        }
        return Ok(CommandExit::Done);
    }
    let steps = std::mem::take(&mut plan.steps);
    if let Some(within) = arguments.confirm {
        confirm_timeout::begin(within, &steps, &state, &mut journal, global)?;
    }
    // A pending apply does not make the spec the applied one yet.
    let is_complete = is_complete && arguments.confirm.is_none();
    let pass = Pass { desired: &desired, last: last.as_ref(), is_complete, record, live, steps };
    let is_daemon_enforcing = wait_for_drains::is_daemon_enforcing()?;
    let options = ApplyOptions {
        on_failure: match arguments.on_failure {
            OnFailureArg::Rollback => OnFailure::Rollback,
            OnFailureArg::Keep => OnFailure::Keep,
        },
        wait: !arguments.no_wait && !is_daemon_enforcing,
        ..ApplyOptions::default()
    };
    let names = Names { desired: &desired, last: last.as_ref() };
    let mut progress_display = ProgressDisplay::new(names, output)?;
    let mut report = execute_journalled(
        &mut kernel,
        pass,
        options,
        &mut progress_display,
        &state,
        &mut journal,
    )?;
    // The journal is updated before printing, so that it does not depend on stdout.
    let confirm_hint = confirm_timeout::finish(&report, &asked, &state, &mut journal);
    if arguments.confirm.is_none() && !asked.is_empty() && report.is_success() {
        journal.targeted_is_applied(asked);
        if let Err(error) = state.write(&journal) {
            let error = error_chain(&error);
            report.warnings.push(ExecutionWarning::SelectionNotRecorded { error });
        }
    }
    let status = print_report(&report, "apply", is_daemon_enforcing, names, output)?;
    if let Some(message) = confirm_hint? {
        output.hint(&message);
    }
    if is_daemon_enforcing && !arguments.no_wait && report.is_success() {
        drop(lock);
        return wait_for_drains::wait(&report, &mut kernel, names, output);
    }
    Ok(status)
}

/// What is to be applied.
struct ApplyRequest {
    loaded: Loaded,
    texts: SourceCache,
    /// The services that it is limited to; empty for all.
    target: Vec<String>,
    /// The saved plan that a fresh plan must match.
    saved: Option<SavedPlan>,
}

impl ApplyRequest {
    fn of_spec(
        arguments: &ApplyArgs,
        global: &GlobalArgs,
        output: &mut Output,
    ) -> Result<Self, Error> {
        let SpecArgs { spec, parameters } = &arguments.spec;
        let (loaded, texts) = crate::input::spec_and_texts(spec, parameters, global, output)?;
        Ok(Self { loaded, texts, target: arguments.target.clone(), saved: None })
    }

    fn of_saved_plan(path: &Path, global: &GlobalArgs, output: &Output) -> Result<Self, Error> {
        let here = PlanOrigin::here(global.role).map_err(Error::Namespace)?;
        let saved = SavedPlan::read(path, &here)?;
        let sources = saved.sources();
        let loaded = crate::input::remembered(&sources, &saved.parameters(), output)?;
        let texts = SourceCache::from(sources);
        Ok(Self { loaded, texts, target: saved.target().to_vec(), saved: Some(saved) })
    }
}
