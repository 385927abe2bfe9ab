//! `evenkeel teardown`: undo everything that evenkeel did here, and nothing else. What was there
//! before, and is adopted, stays or goes back to its value before.

use evenkeel_engine::{
    History, Journal, Kernel, OnFailure, Outcome, ParameterValues, Pass, Report, Targeted, Terms,
    execute_journalled, prepare,
};
use evenkeel_model::{Live, Names};
use evenkeel_plan::{Adopted, Op, Record, Remaining, TeardownInputs, remaining, render, teardown};

use crate::adoption::attempted;
use crate::args::{Global, Teardown};
use crate::commands::plan::{doubts, show_steps};
use crate::consent::Consent;
use crate::error::Error;
use crate::history::{NewSpec, history};
use crate::live::{Access, Host};
use crate::onlooker::Onlooker;
use crate::output::Output;
use crate::report::tell;
use crate::status::Status;
use crate::texts::Texts;
use crate::watcher::{Beside, check_alone};

pub(crate) fn run(
    arguments: &Teardown,
    global: &Global,
    output: &mut Output,
) -> Result<Status, Error> {
    let consent = Consent {
        allow: &arguments.allow,
        is_given: arguments.yes,
        may_ask: true,
        question: "Undo all of this?",
    };
    consent.check_question_can_be_asked()?;
    let host = Host::connect(global, Access::Write, output)?;
    check_alone(Beside::Nothing("a teardown"))?;
    let Host { mut kernel, state, mut journal, lock: _lock } = host;
    // A teardown goes by no spec of its own.
    let none = NewSpec { texts: &Texts::from(Vec::new()), parameters: &ParameterValues::new() };
    let last = match journal.record.applied {
        true => history(&state, &journal, none, &[], output).last,
        // A last spec that is known all the same was applied in an earlier namespace of this name.
        false => journal.targeted.over(None),
    };
    let record = journal.record.clone();
    let live = kernel.observe(&record.sysctls.keys().cloned().collect())?;
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
    let known = |_: &[Op]| History { last: last.clone(), ..History::default() };
    let (plan, _) = prepare(&mut kernel, &left, &live, &record, known)?;
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
    doubts(&plan, output);
    for words in render::changed_by_others(&stays, names) {
        output.warning(&words);
    }
    if let Some(status) = consent.stops(&plan, output)? {
        return Ok(status);
    }
    if plan.is_in_sync() {
        forget(&mut journal, &live);
        state.write(&journal)?;
        return Ok(Status::Done);
    }
    let bound = live.clone();
    let pass = Pass {
        desired: &left,
        last: last.as_ref(),
        is_whole: false,
        record,
        live,
        steps: plan.steps,
    };
    // What is gone is meant to be gone, whatever else is still there.
    let terms = Terms { on_failure: OnFailure::Keep, wait: !arguments.no_wait, ..Terms::default() };
    let mut onlooker = Onlooker::new(names, output)?;
    let report = execute_journalled(&mut kernel, pass, terms, &mut onlooker, &state, &mut journal)?;
    let status = tell(&report, "teardown", false, names, output)?;
    if is_over(&report) {
        forget(&mut journal, &bound);
        state.write(&journal)?;
    }
    Ok(status)
}

/// Whether nothing is left for another teardown.
fn is_over(report: &Report) -> bool {
    let draining = report.count(Outcome::Draining.word());
    report.is_success() && !report.interrupted && draining == 0
}

/// Nothing is applied here from now on. What is not evenkeel's to remove now, as an address out of
/// scope, is remembered as its own.
fn forget(journal: &mut Journal, live: &Live) {
    journal.record = Record::default();
    journal.spec = None;
    journal.targeted = Targeted::default();
    journal.next = None;
    journal.attempted = Targeted::default();
    journal.adopted = Adopted::default();
    journal.addresses.retain(|binding| live.addresses.contains_key(binding));
    let links = live.links.as_ref();
    journal.dummies.retain(|name| links.is_none_or(|links| links.contains_key(name)));
}
