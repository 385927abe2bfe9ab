//! The connection timeouts of a network namespace: one object, edited with one message.

use std::fmt;

use evenkeel_model::{Desired, DesiredTimeouts, Live, Names, Timeouts};
use serde_json::{Map, Value as Json};

use super::{Operation, Resource, Value};
use crate::cause::SpecPair;
use crate::field::{FieldChange, changes, timeout_fields};
use crate::impact_analysis::AnalysisContext;
use crate::order::Phase;
use crate::render::{Labels, arrows, write_edit};
use crate::rollback_builder::{OpHistory, RollbackBuilder, TouchedObjects};
use crate::{Effect, Impact, Object, Op, Verb, Warning};

pub(super) struct TimeoutsOp<'a> {
    pub(super) before: &'a Timeouts,
    pub(super) after: &'a Timeouts,
}

pub(super) struct TimeoutsObject;

/// Compares the timeouts that the spec names, and restores those that left the scope to be removed.
pub(crate) fn diff(desired: &Desired, live: &Live) -> Option<Op> {
    let before = live.timeouts.unwrap_or(Timeouts::INITIAL);
    let after = desired.timeouts.or(desired.removed.timeouts).over(before);
    (after != before).then_some(Op::EditTimeouts { before, after })
}

/// Reports the timeouts that the last spec named and this one does not: they stay as they are, as
/// their earlier values are not recorded.
pub(crate) fn left_timeouts(desired: &Desired, live: &Live, last: DesiredTimeouts) -> Vec<Warning> {
    // A guard or the plan reports those that left the scope.
    let Desired { timeouts, kept, removed, .. } = desired;
    let now = timeouts.or(kept.timeouts).or(removed.timeouts);
    let Some(live) = live.timeouts else {
        return Vec::new();
    };
    let fields = [
        ("tcp", last.tcp, now.tcp, live.tcp),
        ("tcp_fin", last.tcp_fin, now.tcp_fin, live.tcp_fin),
        ("udp", last.udp, now.udp, live.udp),
    ];
    let left = fields.into_iter().filter(|(_, last, now, _)| last.is_some() && now.is_none());
    left.map(|(field, _, _, seconds)| Warning::TimeoutStays { field, seconds }).collect()
}

impl<'a> Operation<'a> for TimeoutsOp<'a> {
    fn verb(&self) -> Verb {
        Verb::Edit
    }

    fn object(&self) -> Object {
        Object::Timeouts
    }

    fn phase(&self) -> Phase {
        Phase::EditTimeouts
    }

    fn changes(&self) -> Vec<FieldChange> {
        changes(timeout_fields(self.before), timeout_fields(self.after))
    }

    fn simulate(&self, state: &mut Live) {
        state.timeouts = Some(*self.after);
    }

    fn record(&self, touched: &mut TouchedObjects) {
        let value = |timeouts: &Timeouts| Some(Value::Timeouts(*timeouts));
        touched.note(self.object(), value(self.before), value(self.after));
    }

    fn impact(&self, context: &AnalysisContext<'_>, _: Option<&Op>) -> Option<Impact> {
        Some(context.everywhere(Effect::Retimed))
    }

    fn is_drift(&self, specs: &SpecPair<'_>) -> Option<bool> {
        Some(specs.last.timeouts == specs.desired.timeouts)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, _: &Labels<'_>) -> fmt::Result {
        f.write_str("timeouts")?;
        arrows(f, self.changes())
    }

    fn write_json(&self, step: &mut Map<String, Json>) {
        let fields = timeout_fields;
        write_edit(step, fields(self.before), fields(self.after), self.changes());
    }
}

impl Resource for TimeoutsObject {
    fn kind(&self) -> &'static str {
        "timeouts"
    }

    fn write_name(&self, _: &mut fmt::Formatter<'_>, _: Option<Names<'_>>) -> fmt::Result {
        Ok(())
    }

    fn value_in(&self, live: &Live) -> Option<Value> {
        Some(Value::Timeouts(live.timeouts?))
    }

    fn restore(&self, history: &OpHistory, now: Option<Value>, rollback: &mut RollbackBuilder<'_>) {
        if let (Some(Value::Timeouts(before)), Some(Value::Timeouts(after))) =
            (now, &history.before)
        {
            rollback.ops.push(Op::EditTimeouts { before, after: *after });
        }
    }
}
