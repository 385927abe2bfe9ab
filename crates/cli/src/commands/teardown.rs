//! `evenkeel teardown`: undoes everything that evenkeel did here, and nothing else. Adopted objects,
//! which were there before, stay and get their original values back.

use evenkeel_engine::IpvsUse;
use evenkeel_plan::render::{changed_by_others, staying, summary};
use evenkeel_workflow::{
    TeardownOptions, TeardownOutcome, TeardownPlan, TeardownResult, review_teardown, tear_down,
};

use crate::args::{GlobalArgs, TeardownArgs};
use crate::commands::plan::{print_warnings, show_steps};
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host::{EventLog, host};
use crate::output::Output;
use crate::places::Places;
use crate::progress::ProgressDisplay;
use crate::prompt::Prompt;
use crate::render;
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
        preview: None,
    };
    prompt.check_can_prompt(output)?;
    let mut host = host(global, IpvsUse::IfPresent)?;
    let mut events = EventLog::default();
    let base = TeardownOptions {
        adopted: arguments.adopted,
        allow: &arguments.allow,
        reviewed: None,
        wait: !arguments.no_wait,
    };
    loop {
        let mut reviewed = None;
        if !arguments.yes {
            let found = review_teardown(&mut host, &base, &mut events);
            events.print(output);
            let (planned, blocked) = found?;
            print_plan(&planned, true, output)?;
            if let Some(blocked) = blocked {
                return Ok(prompt.print_blocked(
                    &blocked,
                    &planned.plan.steps,
                    &Places::none(),
                    output,
                ));
            }
            if !planned.plan.is_in_sync()
                && let Some(status) = prompt.declined(output)?
            {
                return Ok(status);
            }
            reviewed = Some(planned.plan.steps);
        }
        let options = TeardownOptions { reviewed: reviewed.as_deref(), ..base };
        let mut progress = ProgressDisplay::new(global.color)?;
        let result = tear_down(&mut host, &options, &mut progress, &mut events);
        drop(progress);
        events.print(output);
        let TeardownResult { planned, outcome } = result?;
        if arguments.yes {
            print_plan(&planned, false, output)?;
        }
        let status = match &outcome {
            TeardownOutcome::Blocked(blocked) => {
                prompt.print_blocked(blocked, &planned.plan.steps, &Places::none(), output)
            }
            TeardownOutcome::NothingToUndo => CommandExit::Done,
            TeardownOutcome::Changed(difference) => {
                Prompt::print_changed(difference, output);
                continue;
            }
            TeardownOutcome::Executed(report) => {
                print_report(report, "teardown", false, planned.names(), &Places::none(), output)?
            }
        };
        return output.conclude(Ok(status), || render::teardown(&planned, &outcome));
    }
}

/// Prints what stays, and with `is_review` also the steps and the counts.
fn print_plan(planned: &TeardownPlan, is_review: bool, output: &mut Output) -> Result<(), Error> {
    let TeardownPlan { plan, stays, .. } = planned;
    let names = planned.names();
    if planned.is_nothing_to_undo() {
        output.answer("Nothing to undo.\n")?;
    } else if is_review {
        show_steps(plan, names, None, output)?;
    }
    for line in staying(stays, names) {
        output.answer(format_args!("{line}\n"))?;
    }
    if !planned.is_nothing_to_undo() && is_review {
        output.answer(format_args!("{}\n", summary(plan)))?;
    }
    output.flush()?;
    print_warnings(plan, output);
    for message in changed_by_others(stays, names) {
        output.warning(&message);
    }
    Ok(())
}
