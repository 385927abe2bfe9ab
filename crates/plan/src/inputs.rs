//! The inputs of a plan.

use evenkeel_model::statistics::Statistics;
use evenkeel_model::{Desired, Guards, Live, Scope};

use crate::warning::LooserGuard;
use crate::{CutOff, LostFile, PriorState, Warning};

/// All inputs that a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The desired state of the spec.
    pub desired: &'a Desired,
    /// The live state as read from the kernel.
    pub live: &'a Live,
    /// The recorded state of earlier applies to this network namespace.
    pub record: &'a PriorState,
    /// The desired state of the last applied spec; `None` if unknown, in which case the causes of
    /// steps are unknown too.
    pub last: Option<&'a Desired>,
    /// The spec file that may be incomplete ([`crate::cut_off`]).
    pub cut_off: Option<&'a CutOff>,
    /// The files of the last applied spec whose content is gone ([`crate::lost_files`]).
    pub lost_files: &'a [LostFile],
    /// The connections of the services that the plan touches, as far as they were counted; they
    /// affect only the reported impacts and the guards, never the steps.
    pub statistics: Option<&'a Statistics>,
}

/// The guard thresholds that apply to a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JudgingGuards {
    /// The stricter value of each threshold of the two below.
    pub(crate) judging: Guards,
    /// The thresholds in force before this spec.
    pub(crate) in_force: Guards,
    /// The thresholds of this spec.
    pub(crate) desired: Guards,
}

impl<'a> Inputs<'a> {
    /// Creates inputs without a last applied spec and without connection counts.
    pub fn new(desired: &'a Desired, live: &'a Live, record: &'a PriorState) -> Self {
        Self { desired, live, record, last: None, cut_off: None, lost_files: &[], statistics: None }
    }

    /// Returns the scope of the spec in force; `None` if nothing was applied yet or the scope is
    /// unknown.
    pub(crate) fn scope_in_force(&self) -> Option<&'a Scope> {
        let Self { record, last, .. } = *self;
        let known = record.scope.as_ref().or(last.map(|last| &last.scope));
        known.filter(|_| record.applied)
    }

    /// Returns the thresholds that apply to this plan: a commit must not loosen the guards that
    /// judge it. Before the first apply the default thresholds are in force. If a spec was applied
    /// and its thresholds are unknown, as offline, only those of the new spec apply.
    pub(crate) fn judging_guards(&self) -> JudgingGuards {
        let Self { desired, record, last, .. } = *self;
        let known = record.guards.or(last.map(|last| last.guards));
        let unknown = if record.applied { desired.guards } else { Guards::default() };
        let in_force = known.unwrap_or(unknown);
        let judging = in_force.stricter(desired.guards);
        JudgingGuards { judging, in_force, desired: desired.guards }
    }
}

impl JudgingGuards {
    /// Warns of the spec's looser thresholds, which apply only from the next spec on.
    pub(crate) fn postponed(&self) -> Option<Warning> {
        let Self { judging, in_force: _, desired } = *self;
        let thresholds = [
            ("mass_delete", judging.mass_delete_text(), desired.mass_delete_text()),
            (
                "mass_delete_from",
                judging.mass_delete_from.to_string(),
                desired.mass_delete_from.to_string(),
            ),
            ("unbind_in_use", judging.unbind_in_use.to_string(), desired.unbind_in_use.to_string()),
        ];
        let looser: Vec<LooserGuard> = thresholds
            .into_iter()
            .filter(|(_, judging, desired)| judging != desired)
            .map(|(key, judging, desired)| LooserGuard { key, judging, desired })
            .collect();
        (!looser.is_empty()).then_some(Warning::LooserGuards(looser))
    }

    /// Describes the value of `mass_delete` that applies.
    pub(crate) fn mass_delete_text(&self) -> String {
        let Self { judging, in_force, desired } = *self;
        let value = judging.mass_delete_text();
        if judging.mass_delete == desired.mass_delete {
            return format!("mass_delete: {value}");
        }
        debug_assert_eq!(judging.mass_delete, in_force.mass_delete);
        let own = desired.mass_delete_text();
        format!(
            "mass_delete: {value}, from the spec in force; {own}, from this spec, applies from the next one on"
        )
    }

    /// Describes the value of `unbind_in_use` that applies.
    pub(crate) fn unbind_in_use_text(&self) -> String {
        let Self { judging, in_force: _, desired } = *self;
        let value = judging.unbind_in_use;
        if value == desired.unbind_in_use {
            return format!("unbind_in_use: {value}");
        }
        let own = desired.unbind_in_use;
        format!(
            "unbind_in_use: {value}, from the spec in force; {own}, from this spec, applies from the next one on"
        )
    }
}
