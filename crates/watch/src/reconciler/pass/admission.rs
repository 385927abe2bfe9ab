//! Decides whether a newer spec becomes active, and which drift is repaired. A plan that guards refuse
//! is held until a user approves it.

use std::collections::BTreeSet;

use evenkeel_control::{Held, Mode};
use evenkeel_engine::{Journal, JournalError, Kernel, LastApplied, error_chain};
use evenkeel_model::{Desired, Live};
use evenkeel_plan::render::{Labels, Line};
use evenkeel_plan::{
    Cause, Guard, Inputs, LaidOverlays, Object, Op, OverlayInputs, Plan, RealServerRecords, Verb,
    lay_overlays, plan, simulate,
};
use evenkeel_source::SpecText;
use evenkeel_workflow::SpecRecord;
use sha2::{Digest, Sha256};

use super::Planned;
use crate::metrics::Reload;
use crate::reconciler::Reconciler;
use crate::reconciler::active_spec::{digest, digest_with_parameters, is_stored_as};
use crate::reconciler::change_gate::Candidate;
use crate::reconciler::pass_error::PassError;

impl<K: Kernel> Reconciler<K> {
    /// Activates the newest spec if its guards accept its plan, or a user approved it.
    pub(super) fn admit_newest(&mut self, live: &Live) -> Result<(), PassError> {
        let Some(newest) = self.specs.newest() else { return Ok(()) };
        if let Some(overlap) = self.host.journal().record.others.overlap(&newest.desired) {
            let effect = match self.specs.active() {
                Some(_) => "the newest spec is not activated, and the last good one stays",
                None => "the spec is not activated",
            };
            self.report.prevented(format!("{effect}: {overlap}; {}", overlap.remedy()));
            return Ok(());
        }
        if self.options.mode == Mode::Observe {
            return Ok(());
        }
        let Planned { mut plan, desired, leaving, .. } = self.plan(&newest, live)?;
        if self.gate.is_paused() {
            self.report.set_pending(&plan, self.specs.names(&newest));
            for refusal in &plan.refusals {
                self.report
                    .prevented(format!("guard {} would hold this plan: {refusal}", refusal.guard));
            }
            return Ok(());
        }
        if self.was_applied(&newest) {
            // By `apply`, whose guards accepted the plan or were passed with `--allow`.
            self.specs.accept(self.schedule.clock.steady());
            self.gate.grant_all(digest_with_parameters(&newest));
            self.retries.clear();
            self.conflicts.clear();
            return Ok(());
        }
        if let Some(live_without_drift) = self.live_without_drift(live)? {
            // Damage by another program must not let a plan through that would cause the same damage,
            // nor change the id of the plan.
            let live_refusals = plan.refusals;
            plan = self.plan_on(&newest, &live_without_drift);
            let guards: Vec<Guard> = plan.refusals.iter().map(|refusal| refusal.guard).collect();
            plan.refusals
                .extend(live_refusals.into_iter().filter(|it| !guards.contains(&it.guard)));
        }
        if let Some(held) = self.refused(&plan, &newest) {
            self.hold(held, &plan, &newest);
            return Ok(());
        }
        // From now on this is the last valid spec, which is enforced again after a restart, even if a
        // later step fails. A journal that cannot be written is detected here, before the first
        // change, and the spec that is active stays so.
        if let Err(error) = self.record_spec(&newest, live, Some((leaving.records, &desired))) {
            self.report
                .prevented(format!("the newest spec is not activated: {}", error_chain(&error)));
            return Ok(());
        }
        self.specs.accept(self.schedule.clock.steady());
        self.retries.clear();
        self.conflicts.clear();
        Ok(())
    }

    /// Whether the journal records that `apply` has applied this spec here. A spec that was applied in
    /// an earlier namespace of this name still has to pass its guards.
    fn was_applied(&self, spec: &SpecText) -> bool {
        let Journal { record, spec: applied, .. } = self.host.journal();
        record.applied && applied.as_ref().is_some_and(|applied| is_stored_as(spec, applied))
    }

    /// Returns the live state with all drift from the active spec repaired; `None` without drift.
    fn live_without_drift(&mut self, live: &Live) -> Result<Option<Live>, PassError> {
        let Some(active) = self.specs.active() else { return Ok(None) };
        let Planned { plan, .. } = self.plan(&active, live)?;
        Ok((!plan.is_in_sync()).then(|| simulate(live, &plan.steps)))
    }

    /// Plans for a live state other than the kernel's.
    fn plan_on(&self, spec: &SpecText, live: &Live) -> Plan {
        let desired = self.with_left(spec, live);
        let leaving = self.leaving(&desired, live);
        let desired = leaving.desired(&desired);
        let LaidOverlays { overlays, with_quorum: _ } = lay_overlays(OverlayInputs {
            desired,
            overrides: &self.overrides.active(),
            health: self.health.facts(),
            live,
        });
        let inputs = Inputs::new(desired, live, &self.host.journal().record);
        let inputs = Inputs { overlays: &overlays, ..inputs };
        let judged = leaving.judged.as_ref();
        let steps = plan(Inputs { desired: judged.unwrap_or(desired), ..inputs }).steps;
        let LastApplied { last, cut_off, lost_files } = self.specs.history(spec, &steps);
        let (last, cut_off) = (last.as_ref(), cut_off.as_ref());
        plan(Inputs { judged, last, cut_off, lost_files: &lost_files, ..inputs })
    }

    /// Returns the plan to be held if guards refuse it and no user has approved it.
    fn refused(&mut self, plan: &Plan, spec: &SpecText) -> Option<Held> {
        self.gate.review(&Candidate {
            plan,
            spec: &digest_with_parameters(spec),
            id: &|| plan_id(&digest(spec), plan, spec),
            now: self.schedule.clock.steady(),
        })
    }

    /// Reports the held plan.
    fn hold(&mut self, held: Held, plan: &Plan, spec: &SpecText) {
        if self.gate.hold(held) {
            self.outputs.metrics.reload(Reload::Held);
        }
        self.report.set_pending(plan, self.specs.names(spec));
    }

    /// Returns the objects to leave alone because guards refuse to repair drift: those that a repair
    /// would remove something from. The rest is repaired.
    pub(super) fn held_by_drift(&mut self, plan: &Plan, spec: &SpecText) -> BTreeSet<Object> {
        let Some(held) = self.refused(plan, spec) else { return BTreeSet::new() };
        if self.gate.held().is_none() {
            self.hold(held, plan, spec);
        } else {
            // Only one plan is held at a time; this one follows later.
            for (guard, message) in held.guards {
                self.report
                    .prevented(format!("guard {guard} prevents the repair of drift: {message}"));
            }
        }
        removed_objects(plan)
    }

    /// Records the active spec again if the journal was lost, so that it stays the last valid spec.
    pub(super) fn restore_spec_record(&mut self, live: &Live) {
        let Some(active) = self.specs.active() else { return };
        if self.host.journal().spec.is_none()
            && let Err(error) = self.record_spec(&active, live, None)
        {
            self.report.prevented(error_chain(&error));
        }
    }

    /// Makes this spec the last applied one, on disk too, and adopts the objects that it lists and that
    /// exist already. After the loss of a journal these are all that it lists: which of them evenkeel
    /// created is no longer known, and a teardown deletes nothing that others may have created.
    ///
    /// `changed` is what it makes of this host as a real server, and what it asks for with what left its
    /// scope; `None` if that is recorded.
    fn record_spec(
        &mut self,
        spec: &SpecText,
        live: &Live,
        changed: Option<(RealServerRecords, &Desired)>,
    ) -> Result<(), JournalError> {
        let state = &self.options.state;
        let mut journal = self.host.journal().clone();
        let active = self.specs.active().filter(|_| journal.spec.is_some());
        let last = active.and_then(|active| {
            journal.active_partial_applies().over(Some(Desired::clone(&active.desired)))
        });
        let record = SpecRecord {
            texts: &spec.texts(),
            parameters: &spec.parameters,
            desired: &spec.desired,
            live,
            last: last.as_ref(),
        };
        record.record(state, &mut journal)?;
        journal.promote_next_spec();
        journal.inherit(&spec.desired);
        journal.record.governed_by(&spec.desired);
        if let Some((real_server, desired)) = changed {
            journal.record.real_server = real_server;
            journal.let_go(desired);
        }
        self.host.update_journal(state, journal)
    }
}

/// Returns the objects that a plan removes something from, but by an override, which an operator asked for, or
/// by health: guards have no say in that.
pub(super) fn removed_objects(plan: &Plan) -> BTreeSet<Object> {
    let steps = plan.steps.iter().enumerate();
    let is_asked =
        |place: usize| matches!(plan.causes.get(place), Some(Cause::Override | Cause::Health));
    let removing = steps.filter(|(place, op)| removes(op) && !is_asked(*place));
    removing.map(|(_, op)| op.object()).collect()
}

/// Whether the operation removes something that clients may be using.
fn removes(op: &Op) -> bool {
    match op {
        Op::EditRealServer { before, after, .. } => after.weight == 0 && before.weight > 0,
        _ => matches!(op.verb(), Verb::Drain | Verb::Delete | Verb::Unbind),
    }
}

/// Returns the id for `evenkeel approve`: a digest of the spec and its steps. Other differences of the
/// host, such as counters, do not change it.
fn plan_id(digest: &str, plan: &Plan, spec: &SpecText) -> String {
    let labels = Labels::new(&spec.desired);
    let mut hash = Sha256::new();
    hash.update(digest);
    for op in &plan.steps {
        hash.update(format!("\n{}", Line { op, labels: &labels }));
    }
    hash.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}
