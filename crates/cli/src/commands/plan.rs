//! `evenkeel plan`: shows what apply would change.

use evenkeel_engine::Clock;
use evenkeel_model::{Desired, HostRoles, Live, Names};
use evenkeel_plan::render::{self, Labels, Line, Remark};
use evenkeel_plan::{Plan, Verb};
use evenkeel_spec::{Position, WriteInput};
use evenkeel_workflow::{NewSpec, PlanOrigin, PlannedHost, SavedPlan};

use crate::args::{GlobalArgs, PlanArgs, PlanOutput};
use crate::commands::all_hosts;
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host::{self, EventLog};
use crate::input::{HostSpec, of_this_host, spec_and_texts};
use crate::output::Output;
use crate::places::Places;

pub(crate) fn run(
    arguments: &PlanArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    if arguments.all_hosts {
        return all_hosts::run(arguments, global, output);
    }
    let spec = &arguments.spec;
    let snapshot = match &arguments.live {
        None => None,
        Some(path) => Some(host::from_file(path, output)?),
    };
    let HostSpec { loaded, texts, global } = match &snapshot {
        None => of_this_host(&spec.spec, &spec.parameters, global, output)?,
        Some((live, _)) => {
            let of = host::of_snapshot(live, global);
            let (loaded, texts) = spec_and_texts(&spec.spec, &spec.parameters, of, global, output)?;
            HostSpec { loaded, texts, global: global.clone() }
        }
    };
    let global = &global;
    let sources = texts.read()?;
    let parameters = loaded.parameters();
    let desired = loaded.desired.clone();
    let places = Places::new(|| loaded.provenance(&sources));
    let new = NewSpec { texts: &texts, parameters: &parameters };
    let planned = match snapshot {
        Some(live) => PlannedHost::for_snapshot(live, desired, &texts, &arguments.target)?,
        None => {
            let mut session =
                host::open_for_reading(global, host::ipvs_use(&desired.roles), output)?;
            session.health = arguments.health.mode();
            let mut events = EventLog::default();
            let target = &arguments.target;
            let now = Clock::start().now();
            let planned =
                PlannedHost::for_host(&mut session, desired, new, target, &now, &mut events);
            events.print(output);
            planned?
        }
    };
    let PlannedHost { plan, desired, live, last, .. } = planned;
    let names = Names { desired: &desired, last: last.as_ref() };
    if let Some(path) = &arguments.out {
        let origin = PlanOrigin::here(&global.owner.clone().unwrap_or_default(), &desired.roles)
            .map_err(Error::Namespace)?;
        let steps = &plan.steps;
        SavedPlan::new(origin, &arguments.target, &texts.read()?, parameters.clone(), steps)
            .write(path)?;
    }
    match arguments.output {
        PlanOutput::Text => {
            // A director of a spec without `directors` has nothing to explain.
            if global.verbose > 0 && desired.roles != HostRoles::default() {
                output.answer(format_args!("role: {}\n", desired.roles.explanation()))?;
            }
            show(&plan, names, (global.verbose > 0).then_some(&places), output)?;
        }
        PlanOutput::Json => {
            output.answer(format_args!("{:#}\n", render::json(&plan, names)))?;
        }
        PlanOutput::Diff => output.answer(diff(&plan, &live, &desired))?,
    }
    output.flush()?;
    print_warnings(&plan, output);
    for refusal in &plan.refusals {
        output.warning(format!(
            "apply would refuse this plan without --allow {}: {}",
            refusal.guard, refusal
        ));
    }
    for precondition in &plan.unmet_preconditions {
        let why = places.unmet(precondition, &plan.steps);
        output.warning(format!("apply could not execute this plan: {why}"));
    }
    if let Some(path) = &arguments.out {
        output.hint(&format!("saved; `evenkeel apply --plan {}` applies it", path.display()));
    }
    Ok(match arguments.detailed_exitcode {
        true if !plan.refusals.is_empty() => CommandExit::Refused,
        true if !plan.is_in_sync() => CommandExit::Changes,
        _ => CommandExit::Done,
    })
}

/// Prints the steps and the counts, for plan and apply. With `places`, also prints the position in
/// the spec of each step, the reason for it, and what it means for connections.
pub(crate) fn show(
    plan: &Plan,
    names: Names<'_>,
    places: Option<&Places<'_>>,
    output: &mut Output,
) -> Result<(), Error> {
    show_steps(plan, names, places, output)?;
    show_kept(plan, names, output)?;
    for line in render::held(plan, names) {
        output.answer(format_args!("{line}\n"))?;
    }
    for line in render::leaving(&plan.staying) {
        output.answer(format_args!("{line}\n"))?;
    }
    output.answer(format_args!("{}\n", render::summary(plan)))
}

/// Prints what left the scope and stays.
pub(crate) fn show_kept(plan: &Plan, names: Names<'_>, output: &mut Output) -> Result<(), Error> {
    for line in render::kept(plan, names) {
        output.answer(format_args!("{line}\n"))?;
    }
    Ok(())
}

/// Prints the steps as [`show`] does, without the counts.
pub(crate) fn show_steps(
    plan: &Plan,
    names: Names<'_>,
    places: Option<&Places<'_>>,
    output: &mut Output,
) -> Result<(), Error> {
    let labels = Labels::new(names);
    if let Some(wider) = &plan.wider_scope {
        output.answer_line(Verb::Edit, format_args!("{wider}"))?;
    }
    for (number, op) in plan.steps.iter().enumerate() {
        let line = Line { op, labels: &labels };
        let remark = Remark::new(plan, number, places.is_some());
        match places.and_then(|places| places.of(op)) {
            Some(Position { name, line: row, .. }) => {
                output.answer_line(op.verb(), format_args!("{line}  ({name}:{row}){remark}"))?;
            }
            None => output.answer_line(op.verb(), format_args!("{line}{remark}"))?,
        }
    }
    Ok(())
}

/// Prints the warnings of a plan.
pub(crate) fn print_warnings(plan: &Plan, output: &mut Output) {
    for warning in &plan.warnings {
        output.warning(warning);
    }
}

/// The difference between the live state before and after the plan, in the spec's syntax and with
/// its names, limited to what the spec governs. What the plan leaves to others is the same on both
/// sides.
fn diff(plan: &Plan, live: &Live, desired: &Desired) -> String {
    let after = evenkeel_plan::simulate(live, &plan.steps);
    let write = |live| evenkeel_spec::write(&WriteInput::of_live(live, desired).expanded());
    render::unified_diff(&write(live), &write(&after))
}
