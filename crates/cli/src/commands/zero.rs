//! `evenkeel zero`: resets the counters of services in scope, and of their real servers.

use std::path::Path;

use evenkeel_engine::{Exception, IpvsUse, Replies, explain_zero};
use evenkeel_model::{Names, ServiceKey};
use evenkeel_plan::Verb;
use evenkeel_workflow::{ZeroOptions, ZeroOutcome, ZeroResult, ZeroSelection, review_zero, zero};

use crate::args::{GlobalArgs, ZeroArgs};
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host::{EventLog, host};
use crate::output::Output;
use crate::prompt::Question;
use crate::render;

pub(crate) fn run(
    arguments: &ZeroArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let question = Question {
        text: "Reset these counters?",
        assume_yes: arguments.yes,
        is_interactive: !arguments.spec.iter().any(|place| place == Path::new("-")),
        preview: Some("evenkeel show --stats"),
    };
    question.check_can_ask(output)?;
    let spec = match arguments.spec.as_slice() {
        [] => None,
        places => Some(crate::input::spec(places, &arguments.parameters, global, output)?.desired),
    };
    let mut host = host(global, IpvsUse::Required)?;
    let mut events = EventLog::default();
    let base = ZeroOptions { spec: spec.as_ref(), selectors: &arguments.services, reviewed: None };
    loop {
        let mut reviewed = None;
        if !arguments.yes {
            let found = review_zero(&mut host, &base, &mut events);
            events.print(output);
            let selection = found?;
            for key in &selection.services {
                output.answer_line(Verb::Edit, line(selection.names(), key))?;
            }
            print_consequences(&selection, output)?;
            if selection.services.is_empty() {
                return Ok(CommandExit::Done);
            }
            if let Some(status) = question.declined(output)? {
                return Ok(status);
            }
            reviewed = Some(selection.services);
        }
        let options = ZeroOptions { reviewed: reviewed.as_ref(), ..base };
        let result = zero(&mut host, &options, &mut events);
        events.print(output);
        let ZeroResult { selection, outcome } = result?;
        if arguments.yes {
            print_consequences(&selection, output)?;
        }
        match outcome {
            ZeroOutcome::Changed => output.warning(
                "the services in scope have changed since they were shown; nothing was changed, and \
                 these are the services now",
            ),
            ZeroOutcome::Executed(replies) => {
                let status = match selection.services.is_empty() {
                    true => CommandExit::Done,
                    false => print_report(&selection, &replies, output)?,
                };
                return output.conclude(Ok(status), || render::zero(&selection, &replies));
            }
        }
    }
}

/// Prints which services have no counters, and what a reset means for others.
fn print_consequences(selection: &ZeroSelection, output: &mut Output) -> Result<(), Error> {
    if selection.services.is_empty() {
        output.answer("Nothing to reset.\n")?;
    }
    output.flush()?;
    for key in &selection.absent {
        let label = selection.names().label(key);
        output.warning(format_args!("{label} is not in the table and has no counters"));
    }
    if !selection.services.is_empty() {
        output.warning(render::RESTART);
    }
    Ok(())
}

fn line(names: Names<'_>, key: &ServiceKey) -> String {
    format!("~ reset counters of {}", names.label(key))
}

/// Prints the outcome for each service, and returns the exit status.
fn print_report(
    selection: &ZeroSelection,
    replies: &Replies,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let Replies { exceptions, warnings } = replies;
    for (place, key) in selection.services.iter().enumerate() {
        let outcome = match exceptions.get(&place) {
            None => "done".to_owned(),
            Some(Exception::Refused(refused)) => format!("failed: {}", explain_zero(refused)),
            Some(Exception::Lost) => "unknown: the reply of the kernel was lost".to_owned(),
            Some(Exception::NotSent | Exception::LeftToKernel) => "not done".to_owned(),
        };
        let line = line(selection.names(), key);
        output.answer_line(Verb::Edit, format_args!("{line}: {outcome}"))?;
    }
    let rest = match exceptions.len() {
        0 => String::new(),
        rest => format!(", {rest} not done or unknown"),
    };
    let done = selection.services.len() - exceptions.len();
    output.answer(format_args!("Zero: {done} done{rest}.\n"))?;
    output.flush()?;
    for warning in warnings {
        output.warning(warning);
    }
    if exceptions.is_empty() {
        return Ok(CommandExit::Done);
    }
    output.hint("run zero again for the services that were not reset");
    Ok(CommandExit::Failed)
}
