//! `evenkeel plan`: shows what apply would change.

use evenkeel_model::{Desired, Live, Names};
use evenkeel_plan::render::{self, Labels, Line, Remark};
use evenkeel_plan::{Object, Op, Plan, Verb};
use evenkeel_spec::{Position, Provenance, WriteInput};
use evenkeel_workflow::{NewSpec, PlanOrigin, PlannedHost, SavedPlan};

use crate::args::{GlobalArgs, PlanArgs, PlanOutput};
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host::{self, EventLog};
use crate::output::Output;

pub(crate) fn run(
    arguments: &PlanArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let spec = &arguments.spec;
    let (loaded, texts) =
        crate::input::spec_and_texts(&spec.spec, &spec.parameters, global, output)?;
    let provenance = match global.verbose {
        0 => None,
        _ => Some(loaded.provenance(&texts.read()?)),
    };
    let parameters = loaded.parameters();
    let desired = loaded.desired;
    let new = NewSpec { texts: &texts, parameters: &parameters };
    let planned = match &arguments.live {
        Some(path) => {
            let live = host::from_file(path, output)?;
            PlannedHost::for_snapshot(live, desired, &texts, &arguments.target)?
        }
        None => {
            let mut session = host::open_for_reading(global, output)?;
            let mut events = EventLog::default();
            let target = &arguments.target;
            let planned = PlannedHost::for_host(&mut session, desired, new, target, &mut events);
            events.print(output);
            planned?
        }
    };
    let PlannedHost { plan, desired, live, last, targeted: _ } = planned;
    let names = Names { desired: &desired, last: last.as_ref() };
    if let Some(path) = &arguments.out {
        let origin = PlanOrigin::here(global.role).map_err(Error::Namespace)?;
        let steps = &plan.steps;
        SavedPlan::new(origin, &arguments.target, &texts.read()?, parameters.clone(), steps)
            .write(path)?;
    }
    match arguments.output {
        PlanOutput::Text => show(&plan, names, provenance.as_ref(), output)?,
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
        output.warning(format!("apply could not execute this plan: {precondition}"));
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
    places: Option<&Provenance>,
    output: &mut Output,
) -> Result<(), Error> {
    show_steps(plan, names, places, output)?;
    output.answer(format_args!("{}\n", render::summary(plan)))
}

/// Prints the steps as [`show`] does, without the counts.
pub(crate) fn show_steps(
    plan: &Plan,
    names: Names<'_>,
    places: Option<&Provenance>,
    output: &mut Output,
) -> Result<(), Error> {
    let labels = Labels::new(names);
    if let Some(wider) = &plan.wider_scope {
        output.answer_line(Verb::Edit, format_args!("{wider}"))?;
    }
    for (number, op) in plan.steps.iter().enumerate() {
        let line = Line { op, labels: &labels };
        let remark = Remark::new(plan, number, places.is_some());
        match places.and_then(|places| place(op, places)) {
            Some(Position { name, line: row, .. }) => {
                output.answer_line(op.verb(), format_args!("{line}  ({name}:{row}){remark}"))?;
            }
            None => output.answer_line(op.verb(), format_args!("{line}{remark}"))?,
        }
    }
    Ok(())
}

/// The position in the spec of an operation's object; `None` for objects that it does not list.
fn place<'a>(op: &Op, places: &'a Provenance) -> Option<&'a Position> {
    match op.object() {
        Object::Service(key) => places.service(&key),
        Object::RealServer(service, key) => places.real_server(&service, &key),
        Object::Vip(binding) => places.vip(&binding),
        Object::Host(object) => places.host_object(&object),
        Object::Sync(state) => places.sync(state),
        Object::Sysctl(key) => places.sysctl(&key),
        Object::Timeouts => ["tcp", "tcp_fin", "udp"].iter().find_map(|key| places.timeout(key)),
        Object::Module(_) | Object::Dummy(_) => None,
    }
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
