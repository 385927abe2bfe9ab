//! All that a plan depends on.

use evenkeel_model::statistics::Statistics;
use evenkeel_model::{Desired, Guards, Live, Scope};

use crate::{CutOff, LostFile, PriorState};

/// All that a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// What the spec asks for.
    pub desired: &'a Desired,
    /// What the kernel answered.
    pub live: &'a Live,
    /// What is on record of this namespace.
    pub record: &'a PriorState,
    /// What the last applied spec asked for; `None` where that is not known, and then neither are
    /// the causes of steps.
    pub last: Option<&'a Desired>,
    /// The text of the spec that may be incomplete ([`crate::cut_off`]).
    pub cut_off: Option<&'a CutOff>,
    /// The files of the last applied spec whose content is gone ([`crate::lost_files`]).
    pub lost_files: &'a [LostFile],
    /// The connections of the services that the plan touches, as far as they were counted; they
    /// tell the impact of steps and decide no step.
    pub statistics: Option<&'a Statistics>,
}

/// The thresholds that judge a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JudgingGuards {
    /// Each threshold as the stricter of the two below has it.
    pub(crate) judging: Guards,
    /// Those in force before the spec.
    pub(crate) in_force: Guards,
    /// Those of the spec itself.
    pub(crate) desired: Guards,
}

impl<'a> Inputs<'a> {
    /// With nothing known of the last applied spec and of connections.
    pub fn new(desired: &'a Desired, live: &'a Live, record: &'a PriorState) -> Self {
        Self { desired, live, record, last: None, cut_off: None, lost_files: &[], statistics: None }
    }

    /// What the spec in force governs; `None` where nothing was applied yet, or that is not known.
    pub(crate) fn scope_in_force(&self) -> Option<&'a Scope> {
        let Self { record, last, .. } = *self;
        let known = record.scope.as_ref().or(last.map(|last| &last.scope));
        known.filter(|_| record.applied)
    }

    /// The thresholds that judge this plan: a commit must not disarm its own judge. Before the
    /// first spec the usual ones are in force; where a spec was applied and its thresholds are not
    /// known, as offline, those of the new one judge alone.
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
    /// The spec's thresholds that count only from the next spec on, in words.
    pub(crate) fn postponed(&self) -> Option<String> {
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
        let looser = thresholds.iter().filter(|(_, judging, desired)| judging != desired);
        let parts: Vec<String> = looser
            .map(|(key, judging, desired)| {
                format!("`{key}: {desired}` ({judging} judges this plan)")
            })
            .collect();
        (!parts.is_empty()).then(|| {
            format!(
                "looser guards count from the next spec on, stricter ones at once: {}",
                parts.join(", ")
            )
        })
    }

    /// Which value of `mass_delete` judges, in words.
    pub(crate) fn mass_delete_text(&self) -> String {
        let Self { judging, in_force, desired } = *self;
        let value = judging.mass_delete_text();
        if judging.mass_delete == desired.mass_delete {
            return format!("mass_delete: {value}");
        }
        debug_assert_eq!(judging.mass_delete, in_force.mass_delete);
        let own = desired.mass_delete_text();
        format!(
            "mass_delete: {value}, in force before this spec, whose {own} counts from the next on"
        )
    }

    /// Which value of `unbind_in_use` judges, in words.
    pub(crate) fn unbind_in_use_text(&self) -> String {
        let Self { judging, in_force: _, desired } = *self;
        let value = judging.unbind_in_use;
        if value == desired.unbind_in_use {
            return format!("unbind_in_use: {value}");
        }
        let own = desired.unbind_in_use;
        format!(
            "unbind_in_use: {value}, in force before this spec, whose {own} counts from the next on"
        )
    }
}
