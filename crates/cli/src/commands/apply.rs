//! `evenkeel apply`: bring this host to the state of the spec.

use std::path::Path;

use evenkeel_engine::{OnFailure, Pass, Targeted, Terms, execute_journalled, in_full};
use evenkeel_model::Names;
use evenkeel_spec::Loaded;

use crate::adoption::Adoption;
use crate::args::{self, Apply, Global, Spec};
use crate::commands::plan::{doubts, show};
use crate::confirmation;
use crate::consent::Consent;
use crate::error::Error;
use crate::fresh::Fresh;
use crate::handover;
use crate::history::{NewSpec, absolute};
use crate::live::{Access, Host};
use crate::onlooker::Onlooker;
use crate::origin::Origin;
use crate::output::Output;
use crate::report::tell;
use crate::saved_plan::SavedPlan;
use crate::status::Status;
use crate::texts::Texts;
use crate::watcher::{Beside, check_alone};

pub(crate) fn run(
    arguments: &Apply,
    global: &Global,
    output: &mut Output,
) -> Result<Status, Error> {
    let consent = Consent {
        allow: &arguments.allow,
        // A saved plan was reviewed.
        is_given: arguments.yes || arguments.plan.is_some(),
        may_ask: !arguments.spec.spec.iter().any(|place| place == Path::new("-")),
        question: "Apply this plan?",
    };
    consent.check_question_can_be_asked()?;
    let (mut host, order) = match &arguments.plan {
        // Whoever has a wrong spec is told so, whatever else is wrong.
        None => {
            let order = Order::of_spec(arguments, global, output)?;
            (Host::connect(global, Access::Write, output)?, order)
        }
        Some(path) => {
            let host = Host::connect(global, Access::Write, output)?;
            (host, Order::of_saved_plan(path, global, output)?)
        }
    };
    match (&arguments.confirm, &arguments.plan) {
        (Some(_), _) => check_alone(Beside::Nothing("an apply with --confirm"))?,
        (_, Some(_)) => check_alone(Beside::Nothing("a saved plan"))?,
        (None, None) => check_alone(Beside::Spec(&arguments.spec.spec))?,
    }
    let Order { loaded, texts, target, saved } = order;
    let parameters = loaded.parameters();
    let new = NewSpec { texts: &texts, parameters: &parameters };
    let Fresh { mut plan, desired, live, last, targeted } =
        Fresh::of_host(&mut host, loaded.desired, new, &target, output)?;
    if let Some(saved) = saved {
        saved.check(&plan.steps, &desired, last.as_ref())?;
    }
    let Host { mut kernel, state, mut journal, lock } = host;
    let record = journal.record.clone();
    if !consent.is_given || plan.is_in_sync() {
        show(&plan, Names { desired: &desired, last: last.as_ref() }, None, output)?;
    }
    output.flush()?;
    doubts(&plan, output);
    if let Some(status) = consent.stops(&plan, output)? {
        return Ok(status);
    }
    // A part of a spec is not in force by itself.
    let is_whole = target.is_empty();
    let asked = Targeted::new(&targeted, &desired);
    let before = journal.clone();
    let attempt = journal.next.take();
    if is_whole {
        let sources = texts.read()?;
        let names: Vec<String> = sources.iter().map(|source| absolute(&source.name)).collect();
        let named = names.iter().zip(sources.iter());
        let texts: Vec<(&str, &[u8])> =
            named.map(|(name, source)| (&**name, &*source.text)).collect();
        state.store_spec(&mut journal, &texts, &parameters)?;
    }
    // The spec that is in force already has adopted what there was to adopt.
    if !is_whole || journal.next.is_some() {
        let (desired, live, last) = (&desired, &live, last.as_ref());
        let adoption = Adoption { desired, live, last, attempt, services: &targeted };
        adoption.record(&state, &mut journal);
    }
    if plan.is_in_sync() {
        // What is in force already is applied all the same.
        if is_whole {
            journal.is_in_force(&desired);
        } else {
            journal.targeted_is_applied(asked);
        }
        if journal != before {
            state.write(&journal)?;
        }
        return Ok(Status::Done);
    }
    let steps = std::mem::take(&mut plan.steps);
    if let Some(within) = arguments.confirm {
        confirmation::begin(within, &steps, &state, &mut journal, global)?;
    }
    // What waits for its confirmation is not in force yet.
    let is_whole = is_whole && arguments.confirm.is_none();
    let pass = Pass { desired: &desired, last: last.as_ref(), is_whole, record, live, steps };
    let is_kept = handover::is_kept()?;
    let terms = Terms {
        on_failure: match arguments.on_failure {
            args::OnFailure::Rollback => OnFailure::Rollback,
            args::OnFailure::Keep => OnFailure::Keep,
        },
        wait: !arguments.no_wait && !is_kept,
        ..Terms::default()
    };
    let names = Names { desired: &desired, last: last.as_ref() };
    let mut onlooker = Onlooker::new(names, output)?;
    let mut report =
        execute_journalled(&mut kernel, pass, terms, &mut onlooker, &state, &mut journal)?;
    // What becomes of it must not depend on whether anyone can be told.
    let settled = confirmation::settle(&report, &asked, &state, &mut journal);
    if arguments.confirm.is_none() && !asked.is_empty() && report.is_success() {
        journal.targeted_is_applied(asked);
        if let Err(error) = state.write(&journal) {
            let words = "the next plan does not know that these services were applied";
            report.warnings.push(format!("{}; {words}", in_full(&error)));
        }
    }
    let status = tell(&report, "apply", is_kept, names, output)?;
    if let Some(words) = settled? {
        output.hint(&words);
    }
    if is_kept && !arguments.no_wait && report.is_success() {
        drop(lock);
        return handover::wait(&report, &mut kernel, names, output);
    }
    Ok(status)
}

/// What is to be applied.
struct Order {
    loaded: Loaded,
    texts: Texts,
    /// The services it is limited to; none for all.
    target: Vec<String>,
    /// What the plan has to be like.
    saved: Option<SavedPlan>,
}

impl Order {
    fn of_spec(arguments: &Apply, global: &Global, output: &mut Output) -> Result<Self, Error> {
        let Spec { spec, parameters } = &arguments.spec;
        let (loaded, texts) = crate::input::spec_and_texts(spec, parameters, global, output)?;
        Ok(Self { loaded, texts, target: arguments.target.clone(), saved: None })
    }

    fn of_saved_plan(path: &Path, global: &Global, output: &Output) -> Result<Self, Error> {
        let saved = SavedPlan::read(path, &Origin::here(global.role)?)?;
        let sources = saved.sources();
        let loaded = crate::input::remembered(&sources, &saved.parameters(), output)?;
        let texts = Texts::from(sources);
        Ok(Self { loaded, texts, target: saved.target().to_vec(), saved: Some(saved) })
    }
}
