//! What is done of a plan and what becomes of it: all but what is left alone, with what relies on
//! that.

use std::collections::BTreeSet;

use evenkeel_engine::{
    Journal, NotPermitted, OnFailure, Outcome, Pass, Report, Terms, Unattended, execute_journalled,
    in_full, missing,
};
use evenkeel_host::Capability;
use evenkeel_model::{Desired, Live};
use evenkeel_plan::{Cause, Object, Obstacle, Op, Plan, without};
use tracing::warn;

use super::{End, connected};
use crate::keeper::{Ground, Keeper, Trouble};
use crate::source::SpecText;

impl<K: Ground> Keeper<K> {
    pub(super) fn carry_out(
        &mut self,
        plan: Plan,
        spec: &SpecText,
        last: Option<&Desired>,
        (live, mut held_back): (Live, BTreeSet<Object>),
    ) -> Result<End, Trouble> {
        let mut lacking = missing(&plan.steps).map_err(|error| Trouble::of(&error))?;
        // A VIP that cannot be announced is bound all the same, with a warning.
        lacking.retain(|it| it.capability != Capability::NetRaw);
        if !lacking.is_empty() {
            return Err(Trouble::of(&NotPermitted(lacking)));
        }
        let now = self.clock.now();
        held_back.extend(self.failing.waiting(now).cloned());
        let fought = plan.steps.iter().filter(|op| self.fights.puts_off(op, now));
        held_back.extend(fought.map(Op::object));
        for obstacle in &plan.obstacles {
            held_back.extend(behind(obstacle, &plan.steps));
            self.obstacles.push(obstacle.to_string());
        }
        let unrecorded = plan.steps.iter().filter(|op| is_unrecorded(op, &self.journal));
        let unrecorded: BTreeSet<Object> = unrecorded.map(Op::object).collect();
        if !unrecorded.is_empty()
            && let Err(error) = self.options.state.write(&self.journal)
        {
            // What is known of already is repaired all the same.
            held_back.extend(unrecorded);
            self.obstacles.push(in_full(&error));
        }
        let drift: BTreeSet<Object> = repairs(&plan).map(Op::object).collect();
        let steps = without(plan.steps, &live, &held_back);
        if steps.is_empty() {
            let is_failing = !self.failing.is_empty() || !self.obstacles.is_empty();
            return Ok(End::quiet(if is_failing { "failed" } else { "put_off" }));
        }
        let pass = Pass {
            desired: &spec.desired,
            last,
            is_whole: held_back.is_empty(),
            record: self.journal.record.clone(),
            live,
            steps,
        };
        let terms = Terms { on_failure: OnFailure::Keep, wait: false, always_record: false };
        let kernel = connected(&mut self.kernel)?;
        let (state, journal) = (&self.options.state, &mut self.journal);
        let report = execute_journalled(kernel, pass, terms, &mut Unattended, state, journal)
            .map_err(|error| Trouble::of(&error))?;
        Ok(self.conclude(&report, spec, &drift, held_back.is_empty()))
    }

    /// What became of it.
    fn conclude(
        &mut self,
        report: &Report,
        spec: &SpecText,
        drift: &BTreeSet<Object>,
        is_whole: bool,
    ) -> End {
        let now = self.clock.now();
        for done in report.iter() {
            let object = done.op.object();
            // A drain that goes on is no operation.
            if !matches!(done.outcome, Outcome::AlreadyInPlace | Outcome::Draining) {
                let (verb, outcome) = (done.op.verb().word(), done.outcome.word());
                self.surroundings.metrics.operation(verb, outcome);
            }
            match done.outcome {
                Outcome::Failed(_) => {
                    let failure = done.failure().unwrap_or_default();
                    self.failing.failed(object, failure, now);
                }
                Outcome::Applied => {
                    self.failing.mended(&object);
                    if drift.contains(&object) {
                        self.surroundings.metrics.drift(object.kind());
                        self.fights.undone(done.op, &spec.desired, now);
                    }
                }
                Outcome::AlreadyInPlace => self.failing.mended(&object),
                _ => {}
            }
        }
        for op in &report.mismatches {
            let why = "someone else keeps changing it while it is applied".to_owned();
            self.failing.failed(op.object(), why, now);
        }
        for warning in &report.warnings {
            warn!("{warning}");
        }
        for ((service, real_server), connections) in &report.cut {
            warn!(
                service = %spec.desired.label(service),
                %real_server,
                connections,
                "deleted at the end of its drain with connections left"
            );
        }
        if let Some(error) = &report.error {
            warn!("{}", in_full(error));
            self.kernel = None;
        }
        let changes = report.count(Outcome::Applied.word());
        let skipped = report.count(Outcome::Skipped.word());
        let is_done = report.is_success() && is_whole;
        let is_draining = report.count(Outcome::Draining.word()) > 0;
        if is_done {
            self.last_success = Some(self.clock.wall());
        }
        if is_done && !is_draining {
            self.specs.is_reached();
            self.granted = None;
        }
        let result = match (is_done, is_draining) {
            (false, _) => "failed",
            (true, true) => "draining",
            (true, false) => "changed",
        };
        // What was skipped for the sake of what failed can be done without it.
        let follows_up = skipped > 0 && report.has_failed() && report.error.is_none();
        End { result, changes, follows_up, is_worth_telling: true }
    }
}

/// Whether the journal must know of it beforehand, and does not.
fn is_unrecorded(op: &Op, journal: &Journal) -> bool {
    match op {
        Op::Bind { binding } => !journal.addresses.contains(binding),
        Op::AddDummy { interface } => !journal.dummies.contains(interface),
        Op::EditSysctl { key, .. } => !journal.record.sysctls.contains_key(key),
        Op::DrainRealServer { service, key, .. } => {
            !journal.record.drains.0.contains_key(&(*service, *key))
        }
        _ => false,
    }
}

/// The steps that mend what someone else changed.
fn repairs(plan: &Plan) -> impl Iterator<Item = &Op> {
    let caused = plan.steps.iter().zip(&plan.causes);
    caused.filter(|(_, cause)| **cause == Cause::Drift).map(|(op, _)| op)
}

/// The objects that cannot be brought about as long as that obstacle stands.
fn behind<'a>(obstacle: &'a Obstacle, steps: &'a [Op]) -> impl Iterator<Item = Object> + 'a {
    let stands_behind = move |op: &&Op| match (obstacle, op) {
        (Obstacle::NoInterface { interface }, Op::Bind { binding }) => {
            binding.interface == *interface
        }
        (Obstacle::NoInterface { interface }, Op::AddSync { after, .. }) => {
            after.interface == *interface
        }
        (Obstacle::NoSysctl { key: missing }, Op::EditSysctl { key, .. }) => key == missing,
        (Obstacle::LoopbackDown, Op::AddRealServer { .. }) => true,
        _ => false,
    };
    steps.iter().filter(stands_behind).map(Op::object)
}
