//! The thresholds that judge a plan: those in force and those of its spec, whichever are stricter.

use evenkeel_model::Guards;

use crate::Inputs;
use crate::warning::{LooserGuard, Warning};

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

impl Inputs<'_> {
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
