//! `evenkeel apply`: brings this host to the state of the spec.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use evenkeel_engine::{HostKernel, OnFailure, Report};
use evenkeel_model::{Cluster, Drain, HostInputs, HostRoles, Names, OwnerName};
use evenkeel_plan::Op;
use evenkeel_source::{HostParameters, HostRequest};
use evenkeel_spec::{HostKnowledge, Loaded, Parameters as _};
use evenkeel_workflow::{
    Applied, ApplyOptions, ApplyOutcome, ApplyRequest, ApplyResult, ConfirmOptions, DaemonUse,
    DrainEnd, Host, LeavingEnd, LeavingWait, PendingUpdate, PlanOrigin, PlannedHost, SavedPlan,
    apply, is_daemon_enforcing, review_apply, wait_for_drains, wait_for_leaving,
};

use crate::args::{ApplyArgs, GlobalArgs, OnFailureArg, SpecArgs};
use crate::commands::plan::{print_warnings, show, show_kept};
use crate::commands::watchdog;
use crate::daemon_client::absolute;
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host::{EventLog, enter, host, ipvs_use};
use crate::input::{HostSpec, of_this_host};
use crate::output::Output;
use crate::places::Places;
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
    let Requested { request, global } = match &arguments.plan {
        None => of_spec(arguments, global, output)?,
        Some(path) => of_saved_plan(path, arguments, global, output)?,
    };
    let global = &global;
    let places = Places::of_apply(&request);
    let mut host = host(global, ipvs_use(&request.desired.roles))?;
    host.health = arguments.health.mode();
    let mut events = EventLog::default();
    loop {
        let reviewed = match prompt.assume_yes {
            true => None,
            false => match review(&mut host, &request, prompt, &places, &mut events, output)? {
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
            if matches!(outcome, ApplyOutcome::Applied(_)) {
                show_kept(&planned.plan, names, output)?;
            }
            print_warnings(&planned.plan, output);
        }
        let Finished { mut ended, drains } = match &outcome {
            ApplyOutcome::Blocked(blocked) => Finished::without_drains({
                let steps = &planned.plan.steps;
                prompt.print_blocked(blocked, steps, &places, output)
            }),
            ApplyOutcome::InSync => Finished::without_drains(CommandExit::Done),
            ApplyOutcome::Changed(difference) => {
                Prompt::print_changed(difference, output);
                continue;
            }
            ApplyOutcome::Applied(applied) => {
                let follow = Following { owner: host.state.owner(), no_wait: arguments.no_wait };
                finish(applied, &mut kernel, follow, names, &places, output)?
            }
        };
        let mut leaving = None;
        if matches!(ended, Ok(CommandExit::Done)) && !planned.plan.staying.is_empty() {
            // The kernel of the apply is closed: a removal connects again.
            drop(kernel);
            let followed =
                finish_leaving(&mut host, &request, arguments, &places, &mut events, output);
            (ended, leaving) = match followed {
                Ok(FinishedLeaving { status, wait }) => (Ok(status), wait),
                Err(error) => (Err(error), None),
            };
        }
        let leaving = leaving.as_ref();
        let end = ApplyEnd { planned: &planned, outcome: &outcome, drains, leaving };
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
    places: &Places<'_>,
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
        return Ok(Reviewed::Ended(prompt.print_blocked(&blocked, &plan.steps, places, output)));
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

/// How drains that a daemon continues are followed.
struct Following<'a> {
    /// The owner of the daemon.
    owner: &'a OwnerName,
    no_wait: bool,
}

/// Prints the report, and follows the drains that a daemon continues.
///
/// # Errors
/// The report cannot be printed.
fn finish(
    applied: &Applied,
    kernel: &mut HostKernel,
    Following { owner, no_wait }: Following<'_>,
    names: Names<'_>,
    places: &Places<'_>,
    output: &mut Output,
) -> Result<Finished, Error> {
    let Applied { report, is_daemon_enforcing, pending } = applied;
    let status = print_report(report, "apply", *is_daemon_enforcing, names, places, output)?;
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
    Ok(match follow_drains(report, owner, kernel, output) {
        Ok(end) => Finished { ended: Ok(print_drain_end(end, output)), drains: Some(end) },
        Err(error) => Finished { ended: Err(error), drains: None },
    })
}

/// How services were left, after an apply.
struct FinishedLeaving {
    status: CommandExit,
    /// The wait for them; `None` if they are left to a later pass.
    wait: Option<LeavingWait>,
}

/// Waits for the services that this real server leaves, and prints the removal of what stayed for them.
///
/// # Errors
/// Something cannot be read, or the report not be printed.
fn finish_leaving(
    host: &mut Host<'_, HostKernel>,
    request: &ApplyRequest<'_>,
    arguments: &ApplyArgs,
    places: &Places<'_>,
    events: &mut EventLog,
    output: &mut Output,
) -> Result<FinishedLeaving, Error> {
    if arguments.no_wait || arguments.confirm.is_some() {
        output.hint(match is_daemon_enforcing(host.state.owner())? {
            true => "`evenkeel watch` removes what stays for a while",
            false => "run apply again, later, to remove what stays for a while",
        });
        return Ok(FinishedLeaving { status: CommandExit::Done, wait: None });
    }
    let mut progress = ProgressDisplay::new(output.color())?;
    let wait = wait_for_leaving(host, request, &mut progress, events);
    drop(progress);
    events.print(output);
    let wait = wait?;
    let mut status = CommandExit::Done;
    for report in &wait.removals {
        let names = Names::from(&request.desired);
        status = print_report(report, "apply", false, names, places, output)?;
    }
    match wait.end {
        LeavingEnd::NothingStays | LeavingEnd::Failed => {}
        LeavingEnd::Left => {
            output.message("left: nothing stays any more\n");
        }
        LeavingEnd::Interrupted => {
            output.hint(
                "interrupted; the rest stays until `evenkeel watch` or a later apply removes it",
            );
            status = CommandExit::Failed;
        }
        LeavingEnd::OtherSpec => {
            output.hint("another spec was applied meanwhile, and decides what stays");
        }
    }
    Ok(FinishedLeaving { status, wait: Some(wait) })
}

fn follow_drains(
    report: &Report,
    owner: &OwnerName,
    kernel: &mut HostKernel,
    output: &Output,
) -> Result<DrainEnd, Error> {
    let mut progress = ProgressDisplay::new(output.color())?;
    Ok(wait_for_drains(report, owner, kernel, &mut progress)?)
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

/// What is applied.
struct Requested {
    request: ApplyRequest<'static>,
    /// The options, with the owner that the spec or they name.
    global: GlobalArgs,
}

fn of_spec(
    arguments: &ApplyArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<Requested, Error> {
    let SpecArgs { spec, parameters } = &arguments.spec;
    let HostSpec { loaded, texts, global } = of_this_host(spec, parameters, global, output)?;
    let request = ApplyRequest {
        parameters: loaded.parameters(),
        desired: loaded.desired,
        texts: texts.read()?.into_owned(),
        selectors: arguments.target.clone(),
        saved: None,
        daemon_use: match arguments.confirm {
            Some(_) => DaemonUse::Nothing("an apply with --confirm"),
            None => DaemonUse::Spec(absolute(spec)),
        },
    };
    Ok(Requested { request, global })
}

/// Determines the roles of the host as for the plan, but by its present addresses.
fn roles_now(loaded: &Loaded, global: &GlobalArgs) -> Result<HostRoles, Error> {
    let Some(made) = loaded.host_inputs() else { return Ok(loaded.desired.roles.clone()) };
    let HostInputs { requested: role, former, macs, .. } = made.clone();
    let request = HostRequest::ThisHost { role, former, macs };
    // The MAC addresses of the plan were reviewed: they are not learned again.
    let parameters =
        HostParameters::new(BTreeMap::new(), global.netns.as_deref(), request).keeping_macs();
    let knowledge = parameters.host(loaded.cluster().unwrap_or(&Cluster::default()));
    match knowledge.map_err(Error::Role)? {
        HostKnowledge::AnyHost => Ok(loaded.desired.roles.clone()),
        HostKnowledge::Host(inputs) => {
            // A host that is not listed any more has no role, and the plan was made for one.
            Ok(loaded.for_host(&inputs).map_or(HostRoles::NONE, |desired| desired.roles))
        }
    }
}

fn of_saved_plan(
    path: &Path,
    arguments: &ApplyArgs,
    global: &GlobalArgs,
    output: &Output,
) -> Result<Requested, Error> {
    enter(global)?;
    let here =
        PlanOrigin::here(&OwnerName::default(), &HostRoles::default()).map_err(Error::Namespace)?;
    let saved = SavedPlan::read(path, &here)?;
    let made = saved.owner().clone();
    if let Some(owner) = global.owner.as_ref().filter(|owner| **owner != made) {
        return Err(Error::Usage(format!(
            "the plan was made for {made}, and --owner names {owner}"
        )));
    }
    let global = GlobalArgs { owner: Some(made), ..global.clone() };
    let texts = saved.sources();
    let loaded = crate::input::remembered(&texts, &saved.parameters(), output)?;
    saved.check_roles(&roles_now(&loaded, &global)?)?;
    let request = ApplyRequest {
        parameters: loaded.parameters(),
        desired: loaded.desired,
        texts,
        selectors: saved.target().to_vec(),
        saved: Some(saved),
        daemon_use: DaemonUse::Nothing(match arguments.confirm {
            Some(_) => "an apply with --confirm",
            None => "applying a saved plan",
        }),
    };
    Ok(Requested { request, global })
}
