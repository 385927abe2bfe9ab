//! Which plans are let through: whether a newer spec comes into force, and which drift is undone. A
//! plan that guards refuse is held until someone approves it.

use std::collections::BTreeSet;

use evenkeel_engine::{EarlierSpecs, History, Journal, JournalError, in_full};
use evenkeel_model::{Desired, Live, Names};
use evenkeel_plan::render::{Labels, Line, count};
use evenkeel_plan::{Guard, Inputs, Object, Op, Plan, Refusal, Verb, carried_out, plan};
use sha2::{Digest, Sha256};
use tracing::{info, warn};

use crate::keeper::{Ground, Keeper, Trouble};
use crate::metrics::Reload;
use crate::source::SpecText;
use crate::status::{Held, Mode};

/// How many lines of what is to be done are told.
const LINES: usize = 200;

impl<K: Ground> Keeper<K> {
    /// Lets the newest spec come into force if its guards, or someone, let it.
    pub(super) fn judge_newest(&mut self, live: &Live) -> Result<(), Trouble> {
        let Some(newest) = self.specs.newest() else { return Ok(()) };
        if self.options.mode == Mode::Observe {
            return Ok(());
        }
        let (mut plan, _) = self.plan(&newest, live)?;
        if self.paused.is_some() {
            self.to_do = lines(&plan, self.specs.names(&newest));
            for Refusal { guard, message } in &plan.refusals {
                self.obstacles.push(format!("guard {guard} would hold this plan: {message}"));
            }
            return Ok(());
        }
        if self.was_applied(&newest) {
            // By `apply`, which has asked its guards, or was told to pass them.
            self.specs.accept(self.clock.wall());
            self.granted = Some((newest.digest(), Guard::ALL.to_vec()));
            self.failing.clear();
            self.fights.clear();
            return Ok(());
        }
        if let Some(undrifted) = self.undrifted(live)? {
            // What someone else has broken is no reason to let through what would break it, nor
            // to call it by another name.
            let on_live = plan.refusals;
            plan = self.plan_on(&newest, &undrifted);
            let known: Vec<Guard> = plan.refusals.iter().map(|refusal| refusal.guard).collect();
            plan.refusals.extend(on_live.into_iter().filter(|it| !known.contains(&it.guard)));
        }
        if let Some(held) = self.refused(&plan, &newest) {
            self.hold(held, &plan, &newest);
            return Ok(());
        }
        // Whatever follows, this is the last good spec from now on: it is enforced again after a
        // restart. A journal that cannot be written is found out before the first change, and
        // leaves the one in force that is.
        if let Err(error) = self.record_spec(&newest, live) {
            self.obstacles.push(format!("the newest spec is not taken: {}", in_full(&error)));
            return Ok(());
        }
        self.specs.accept(self.clock.wall());
        self.failing.clear();
        self.fights.clear();
        Ok(())
    }

    /// Whether the journal says that someone else has applied it here. A spec that was applied in
    /// an earlier namespace of this name has yet to pass its guards.
    fn was_applied(&self, spec: &SpecText) -> bool {
        let Journal { record, spec: applied, .. } = &self.journal;
        record.applied && applied.as_ref().is_some_and(|applied| spec.is_stored_as(applied))
    }

    /// The host as the spec in force wants it, where someone else has changed it.
    fn undrifted(&mut self, live: &Live) -> Result<Option<Live>, Trouble> {
        let Some(in_force) = self.specs.in_force() else { return Ok(None) };
        let (plan, _) = self.plan(&in_force, live)?;
        Ok((!plan.is_in_sync()).then(|| carried_out(live, &plan.steps)))
    }

    /// A plan for a host that is not this one.
    fn plan_on(&self, spec: &SpecText, live: &Live) -> Plan {
        let inputs = Inputs::new(&spec.desired, live, &self.journal.record);
        let steps = plan(inputs).steps;
        let History { last, cut_off, lost_files } = self.specs.history(spec, &steps);
        let (last, cut_off) = (last.as_ref(), cut_off.as_ref());
        plan(Inputs { last, cut_off, lost_files: &lost_files, ..inputs })
    }

    /// What is held where guards refuse a plan that nobody let through.
    fn refused(&mut self, plan: &Plan, spec: &SpecText) -> Option<Held> {
        let digest = spec.digest();
        let allowed: &[Guard] = match &self.granted {
            Some((granted, guards)) if *granted == digest => guards,
            _ => &[],
        };
        let refusals: Vec<&Refusal> = plan.refused(allowed).collect();
        if refusals.is_empty() {
            return None;
        }
        let id = plan_id(&digest, plan, spec);
        if self.approved.as_ref() == Some(&id) {
            info!(id, "approved");
            let guards = plan.refusals.iter().map(|refusal| refusal.guard).collect();
            self.granted = Some((digest, guards));
            return None;
        }
        let guards = refusals.iter();
        let guards = guards.map(|it| (it.guard.name().to_owned(), it.message.clone())).collect();
        Some(Held { id, since: self.clock.wall(), guards, steps: plan.steps.len() })
    }

    /// Tells of it, the first time also in the log.
    fn hold(&mut self, held: Held, plan: &Plan, spec: &SpecText) {
        let before = self.last_held.take().filter(|before| before.id == held.id);
        let since = before.as_ref().map_or(held.since, |before| before.since);
        if before.is_none() {
            for (guard, message) in &held.guards {
                let id = &held.id;
                warn!(guard, id, "held: {message}; `evenkeel approve {id}` lets it through");
            }
            self.surroundings.metrics.reload(Reload::Held);
        }
        self.to_do = lines(plan, self.specs.names(spec));
        self.last_held = Some(Held { since, ..held });
        self.held.clone_from(&self.last_held);
    }

    /// Where guards refuse to repair what someone else has changed, the objects that this would
    /// take something away from: those are left alone, and the rest is repaired.
    pub(super) fn held_by_drift(&mut self, plan: &Plan, spec: &SpecText) -> BTreeSet<Object> {
        let Some(held) = self.refused(plan, spec) else { return BTreeSet::new() };
        if self.held.is_none() {
            self.hold(held, plan, spec);
        } else {
            // Only one plan is held at a time; the turn of this one comes next.
            let guards = held.guards.into_iter();
            self.obstacles.extend(guards.map(|(guard, message)| {
                format!("guard {guard} keeps drift from being undone: {message}")
            }));
        }
        plan.steps.iter().filter(|op| takes(op)).map(Op::object).collect()
    }

    /// What the last good spec is must not be forgotten with a journal that was lost.
    pub(super) fn keep_on_record(&mut self, live: &Live) {
        let Some(in_force) = self.specs.in_force() else { return };
        if self.journal.spec.is_none()
            && let Err(error) = self.record_spec(&in_force, live)
        {
            self.obstacles.push(in_full(&error));
        }
    }

    /// Makes that spec the last applied one, on disk too, and adopts what it lists and what is there
    /// already. With a journal that was lost that is all it lists: what evenkeel created of it is no
    /// longer known, and a teardown deletes nothing that it may not have created.
    fn record_spec(&mut self, spec: &SpecText, live: &Live) -> Result<(), JournalError> {
        let state = &self.options.state;
        let mut journal = self.journal.clone();
        let attempt = journal.of_attempt();
        state.store_spec(&mut journal, &spec.texts(), &spec.parameters)?;
        if journal.next.is_some() && journal.may_adopt(live) {
            let in_force = self.specs.in_force().filter(|_| journal.spec.is_some());
            let in_force = in_force.map(|in_force| Desired::clone(&in_force.desired));
            let last = journal.targeted_in_force().over(in_force);
            let attempted = attempt.and_then(|attempt| self.specs.stored(state, &attempt));
            let earlier = EarlierSpecs { last: last.as_ref(), attempted: attempted.as_deref() };
            journal.adopt(&spec.desired, live, earlier);
        }
        journal.spec_is_applied();
        journal.record.governed_by(&spec.desired);
        if journal != self.journal {
            state.write(&journal)?;
            self.journal = journal;
        }
        Ok(())
    }
}

/// Whether it takes away something that clients may be using.
fn takes(op: &Op) -> bool {
    match op {
        Op::EditRealServer { before, after, .. } => after.weight == 0 && before.weight > 0,
        _ => matches!(op.verb(), Verb::Drain | Verb::Delete | Verb::Unbind),
    }
}

/// The steps as a plan shows them.
pub(super) fn lines(plan: &Plan, names: Names<'_>) -> Vec<String> {
    let labels = Labels::new(names);
    let scope = plan.wider_scope.iter().map(ToString::to_string);
    let steps = plan.steps.iter().take(LINES);
    let mut lines: Vec<String> =
        scope.chain(steps.map(|op| Line { op, labels: &labels }.to_string())).collect();
    if plan.steps.len() > LINES {
        lines.push(format!("... and {} more", count(plan.steps.len() - LINES, "operation")));
    }
    lines
}

/// What `evenkeel approve` takes: the spec and all that would be done for it. What else is
/// different on the host, as counters are, makes no other plan of it.
fn plan_id(digest: &str, plan: &Plan, spec: &SpecText) -> String {
    let labels = Labels::new(&spec.desired);
    let mut hash = Sha256::new();
    hash.update(digest);
    for op in &plan.steps {
        hash.update(format!("\n{}", Line { op, labels: &labels }));
    }
    hash.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}
