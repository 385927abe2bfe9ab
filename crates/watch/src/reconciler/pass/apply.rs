//! Applies a plan except for what is held back and what depends on it, and records the results.

use std::collections::BTreeSet;

use evenkeel_control::EventKind;
use evenkeel_engine::{
    Done, Kernel, MissingCapabilities, Outcome, Pass, Report, error_chain, missing_capabilities,
};
use evenkeel_host::Capability;
use evenkeel_model::{Desired, Live, Overlays};
use evenkeel_plan::render::{Labels, Line};
use evenkeel_plan::{Cause, DrainRecords, Object, Op, Plan, hold_back};
use evenkeel_source::SpecText;
use tracing::warn;

use super::End;
use crate::reconciler::Reconciler;
use crate::reconciler::pass_error::PassError;

/// What a plan was made for.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) spec: &'a SpecText,
    /// What the spec asks for, with what stays for services that this real server leaves.
    pub(super) desired: &'a Desired,
    /// What operators hold.
    pub(super) overlays: &'a Overlays,
    /// What the spec before it asks for, if that matters.
    pub(super) last: Option<&'a Desired>,
}

impl<K: Kernel> Reconciler<K> {
    pub(super) fn apply_plan(
        &mut self,
        plan: Plan,
        Wanted { spec, desired, overlays, last }: Wanted<'_>,
        (live, mut held_back): (Live, BTreeSet<Object>),
    ) -> Result<End, PassError> {
        let kernel = self.host.kernel()?;
        let missing = missing_capabilities(kernel, &plan.steps);
        let mut missing = missing.map_err(|error| PassError::of(&error))?;
        // A VIP that cannot be announced is bound all the same, with a warning.
        missing.retain(|it| it.capability != Capability::NetRaw);
        if !missing.is_empty() {
            return Err(PassError::of(&MissingCapabilities(missing)));
        }
        let now = self.schedule.clock.now();
        held_back.extend(self.retries.waiting(now).cloned());
        let conflicting = plan.steps.iter().filter(|op| self.conflicts.backs_off(op, now));
        held_back.extend(conflicting.map(Op::object));
        for precondition in &plan.unmet_preconditions {
            let prevented = plan.steps.iter().filter(|op| precondition.prevents(op));
            held_back.extend(prevented.map(Op::object));
            self.report.prevented(precondition.to_string());
        }
        let unrecorded = plan.steps.iter().filter(|op| self.host.journal().lacks(op));
        let unrecorded: BTreeSet<Object> = unrecorded.map(Op::object).collect();
        if !unrecorded.is_empty()
            && let Err(error) = self.options.state.write(self.host.journal())
        {
            // Drift of what the journal records already is repaired all the same.
            held_back.extend(unrecorded);
            self.report.prevented(error_chain(&error));
        }
        let mut drift: BTreeSet<Object> = repairs(&plan).map(Op::object).collect();
        let drains = &self.host.journal().record.drains;
        let appeared = plan.steps.iter().filter(|op| has_appeared(op, drains, &drift));
        let appeared: BTreeSet<Object> = appeared.map(Op::object).collect();
        let ended = appeared.iter().filter(|it| is_draining(it, drains)).cloned();
        let ended: BTreeSet<Object> = ended.collect();
        drift.extend(appeared.iter().cloned());
        let steps = hold_back(plan.steps, &live, &held_back);
        if steps.is_empty() {
            let is_failing =
                !self.retries.is_empty() || !self.report.unmet_preconditions().is_empty();
            return Ok(End::quiet(if is_failing { "failed" } else { "backing_off" }));
        }
        // An unconfirmed apply is not completed by repairs beside it.
        let is_complete = held_back.is_empty() && self.host.journal().pending.is_none();
        let pass = Pass {
            desired,
            last,
            overlays,
            is_complete,
            record: self.host.journal().record.clone(),
            live,
            steps,
        };
        self.bound_vips.shared().withdraw(&pass.steps);
        let report = self.host.execute(&self.options.state, pass)?;
        self.bound_vips.executed(&spec.desired, &report);
        self.count_undone(&report, spec, &drift, &appeared, &ended);
        Ok(self.record_report(&report, spec, &drift, is_complete))
    }

    /// Counts what undid changes of other programs; a drain with the deletion that ends it counts once,
    /// when the real server has appeared.
    fn count_undone(
        &mut self,
        report: &Report,
        spec: &SpecText,
        drift: &BTreeSet<Object>,
        appeared: &BTreeSet<Object>,
        ended: &BTreeSet<Object>,
    ) {
        let now = self.schedule.clock.now();
        let drains = |op: &Op| matches!(op, Op::DrainRealServer { .. });
        let of = |is_of: &dyn Fn(&Op) -> bool| -> BTreeSet<Object> {
            report.iter().filter(|done| is_of(done.op)).map(|done| done.op.object()).collect()
        };
        let draining = of(&drains);
        // A service that is added again was deleted as a whole; one that is deleted and added again in the same
        // pass gets another order.
        let new_services = of(&|op| matches!(op, Op::AddService { .. }));
        let added = of(&|op| matches!(op, Op::AddRealServer { .. }));
        let deleted = of(&|op| matches!(op, Op::DeleteRealServer { .. }));
        let is_of_new_service = |object: &Object| {
            matches!(object, Object::RealServer(service, _)
                if new_services.contains(&Object::Service(*service)))
        };
        for done in report.iter() {
            let object = done.op.object();
            if is_of_new_service(&object) || added.contains(&object) && deleted.contains(&object) {
                continue;
            }
            let is_undone = match drains(done.op) {
                true => {
                    let is_begun = matches!(
                        done.outcome,
                        Outcome::Applied | Outcome::AlreadyInPlace | Outcome::Draining
                    );
                    is_begun && appeared.contains(&object)
                }
                false => {
                    let is_applied = matches!(done.outcome, Outcome::Applied);
                    is_applied && drift.contains(&object) && !draining.contains(&object)
                }
            };
            if is_undone {
                self.conflicts.undone(done.op, ended.contains(&object), &spec.desired, now);
            }
        }
    }

    /// Records the outcome of each step.
    fn record_report(
        &mut self,
        report: &Report,
        spec: &SpecText,
        drift: &BTreeSet<Object>,
        is_complete: bool,
    ) -> End {
        let now = self.schedule.clock.now();
        for done in report.iter() {
            let object = done.op.object();
            // A running drain is not an operation of this pass.
            if !matches!(done.outcome, Outcome::AlreadyInPlace | Outcome::Draining) {
                let (verb, outcome) = (done.op.verb().as_str(), done.outcome.as_str());
                self.outputs.metrics.operation(verb, outcome);
            }
            match done.outcome {
                Outcome::Failed(_) => {
                    let failure = done.failure().unwrap_or_default();
                    self.retries.failed(object, failure, now);
                }
                Outcome::Applied => {
                    self.retries.succeeded(&object);
                    if drift.contains(&object) {
                        self.outputs.metrics.drift(object.kind());
                    }
                }
                Outcome::AlreadyInPlace => self.retries.succeeded(&object),
                _ => {}
            }
        }
        for op in &report.mismatches {
            let error = "another program changed it while it was applied".to_owned();
            self.retries.failed(op.object(), error, now);
        }
        for warning in &report.warnings {
            warn!("{warning}");
        }
        for ((service, real_server), connections) in &report.cut {
            warn!(
                service = %spec.desired.label(service),
                %real_server,
                connections,
                "deleted at its drain limit with connections left"
            );
        }
        if let Some(error) = &report.error {
            warn!("{}", error_chain(error));
            self.host.disconnect();
        }
        let changes = report.count(Outcome::Applied.as_str());
        let skipped = report.count(Outcome::Skipped.as_str());
        let is_done = report.is_success() && is_complete;
        let is_draining = report.count(Outcome::Draining.as_str()) > 0;
        if is_done {
            self.report.succeeded(self.schedule.clock.steady());
        }
        if is_done && !is_draining {
            self.specs.set_reached();
            self.gate.end_grant();
        }
        let result = match (is_done, is_draining) {
            (false, _) => "failed",
            (true, true) => "draining",
            (true, false) => "changed",
        };
        // Steps that were skipped because another one failed can be done without it.
        let needs_follow_up = skipped > 0 && report.has_failed() && report.error.is_none();
        let steps = self.step_events(report, spec, drift);
        End { result, changes, needs_follow_up, is_reported: true, steps }
    }

    /// Returns the applied steps for subscribers, if there are any.
    fn step_events(
        &self,
        report: &Report,
        spec: &SpecText,
        drift: &BTreeSet<Object>,
    ) -> Vec<EventKind> {
        if !self.outputs.events.has_subscribers() {
            return Vec::new();
        }
        let labels = Labels::new(self.specs.names(spec));
        let applied = report.iter().filter(|done| matches!(done.outcome, Outcome::Applied));
        let event = |done: Done<'_>| EventKind::Step {
            step: Line { op: done.op, labels: &labels }.to_string(),
            repairs_drift: drift.contains(&done.op.object()),
        };
        applied.map(event).collect()
    }
}

/// Whether the step drains a real server that another program added, or whose drain it ended.
fn has_appeared(op: &Op, drains: &DrainRecords, drift: &BTreeSet<Object>) -> bool {
    let Op::DrainRealServer { service, key, before, .. } = op else { return false };
    match drains.0.contains_key(&(*service, *key)) {
        true => before.weight > 0,
        false => drift.contains(&op.object()),
    }
}

/// Whether a drain of it is on record.
fn is_draining(object: &Object, drains: &DrainRecords) -> bool {
    matches!(object, Object::RealServer(service, key) if drains.0.contains_key(&(*service, *key)))
}

/// Returns the steps that repair drift.
fn repairs(plan: &Plan) -> impl Iterator<Item = &Op> {
    let caused = plan.steps.iter().zip(&plan.causes);
    caused.filter(|(_, cause)| **cause == Cause::Drift).map(|(op, _)| op)
}
