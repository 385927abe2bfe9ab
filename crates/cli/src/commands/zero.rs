//! `evenkeel zero`: resets the counters of services in scope, and of their real servers.
//!
//! The question is asked without the lock. The services are looked up again under it, so that only
//! those are reset that were shown.

use std::collections::BTreeSet;
use std::path::Path;

use evenkeel_engine::{Exception, Kernel, ReadRequest, Replies, explain_zero};
use evenkeel_model::{Desired, ServiceKey};
use evenkeel_plan::Verb;

use crate::args::{GlobalArgs, ZeroArgs};
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host_session::{Access, HostSession};
use crate::last_applied::desired;
use crate::output::Output;
use crate::prompt::Question;
use crate::selection::select_live;

pub(crate) fn run(
    arguments: &ZeroArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let question = Question {
        text: "Reset these counters?",
        assume_yes: arguments.yes,
        is_interactive: !arguments.spec.iter().any(|place| place == Path::new("-")),
        preview: "evenkeel show --stats",
    };
    question.check_can_ask()?;
    let given = match arguments.spec.is_empty() {
        true => None,
        false => Some(
            crate::input::spec(&arguments.spec, &arguments.parameters, global, output)?.desired,
        ),
    };
    let mut host = HostSession::connect(global, Access::Ask, output)?;
    let spec = spec(&host, given.as_ref())?;
    let Selected { services, absent } = select(&mut host, &spec, &arguments.services)?;
    for key in absent {
        let label = spec.label(&key);
        output.warning(format!("{label} is not in the table and has no counters"));
    }
    if services.is_empty() {
        output.answer("Nothing to reset.\n")?;
        return Ok(CommandExit::Done);
    }
    if !arguments.yes {
        for key in &services {
            output.answer_line(Verb::Edit, line(&spec, key))?;
        }
        output.flush()?;
    }
    output.warning(
        "counters of monitoring restart at 0: rate() and increase() of Prometheus take that into \
         account, graphs of plain counters drop",
    );
    if !question.ask(output)? {
        return Ok(CommandExit::Refused);
    }
    host.begin_writing()?;
    let spec = self::spec(&host, given.as_ref())?;
    let now = select(&mut host, &spec, &arguments.services)?;
    if now.services != services {
        return Err(Error::SelectionChanged);
    }
    let replies = host.kernel.zero(&services)?;
    // The lock is not held while output may have to wait for a reader.
    drop(host);
    report(&spec, &services, &replies, output)
}

/// The spec that decides about the scope: the one that is given, or the last applied one, with the
/// services that were applied one by one since.
fn spec(host: &HostSession, given: Option<&Desired>) -> Result<Desired, Error> {
    if let Some(given) = given {
        return Ok(given.clone());
    }
    let HostSession { state, journal, .. } = host;
    // Without an apply in this namespace, a last spec on record is that of an earlier namespace of
    // its name. The scope of services that were applied one by one is not recorded.
    let last = match journal.record.applied {
        true => state.last_spec(journal)?,
        false => None,
    };
    let last = last.and_then(desired).ok_or(Error::NoSpec)?;
    let targeted = journal.active_partial_applies();
    targeted.over(Some(last)).ok_or(Error::NoSpec)
}

/// The services that are selected.
struct Selected {
    services: BTreeSet<ServiceKey>,
    /// Those that the kernel does not have.
    absent: BTreeSet<ServiceKey>,
}

/// Finds the live services in scope that are named, or all of them.
fn select(host: &mut HostSession, spec: &Desired, selectors: &[String]) -> Result<Selected, Error> {
    let live = host.kernel.observe(&ReadRequest::new())?;
    let live_keys = || live.services.keys().copied();
    let Some(selection) = select_live(selectors, spec, &live)? else {
        let services = live_keys().filter(|key| spec.scope.contains(key)).collect();
        return Ok(Selected { services, absent: BTreeSet::new() });
    };
    if let Some(key) = selection.services().iter().find(|key| !spec.scope.contains(key)) {
        return Err(Error::OutOfScope { service: *key, scope: spec.scope.to_string() });
    }
    let (services, absent) =
        selection.services().iter().partition(|key| live.services.contains_key(key));
    Ok(Selected { services, absent })
}

fn line(spec: &Desired, key: &ServiceKey) -> String {
    format!("~ reset counters of {}", spec.label(key))
}

/// Prints the outcome for each service.
fn report(
    spec: &Desired,
    services: &BTreeSet<ServiceKey>,
    replies: &Replies,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let Replies { exceptions, warnings } = replies;
    for (place, key) in services.iter().enumerate() {
        let outcome = match exceptions.get(&place) {
            None => "done".to_owned(),
            Some(Exception::Refused(refused)) => format!("failed: {}", explain_zero(refused)),
            Some(Exception::Lost) => "unknown: the reply of the kernel was lost".to_owned(),
            Some(Exception::NotSent) => "not done".to_owned(),
        };
        output.answer_line(Verb::Edit, format_args!("{}: {outcome}", line(spec, key)))?;
    }
    let done = services.len() - exceptions.len();
    let rest = match exceptions.len() {
        0 => String::new(),
        rest => format!(", {rest} not done or unknown"),
    };
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
