//! Sysctls: set, and restored to the value from before evenkeel set them.

use std::collections::BTreeMap;
use std::fmt;

use evenkeel_model::{Desired, Live, Names};
use serde_json::{Map, Value as Json, json};

use super::{Operation, Resource, Value};
use crate::cause::SpecPair;
use crate::field::{FieldChange, FieldValue};
use crate::order::Phase;
use crate::render::{Labels, write_edit};
use crate::rollback_builder::{OpHistory, RollbackBuilder, TouchedObjects};
use crate::{Object, Op, Verb};

pub(super) struct SysctlOp<'a> {
    pub(super) key: &'a str,
    pub(super) before: &'a str,
    pub(super) after: &'a str,
}

pub(super) struct SysctlObject<'a>(pub(super) &'a str);

/// Compares the sysctls. `original` holds their values from before evenkeel set them: a sysctl that
/// the spec no longer names is restored.
pub(crate) fn diff(
    desired: &Desired,
    live: &Live,
    original: &BTreeMap<Box<str>, Box<str>>,
) -> Vec<Op> {
    let mut expected = original.clone();
    expected.extend(desired.sysctls.clone());
    expected
        .into_iter()
        .filter_map(|(key, after)| {
            // An absent sysctl can be desired, but not restored.
            let before = match live.sysctls.get(&key) {
                Some(before) => before.clone(),
                None if desired.sysctls.contains_key(&key) => "unset".into(),
                None => return None,
            };
            (before != after).then_some(Op::EditSysctl { key, before, after })
        })
        .collect()
}

impl<'a> Operation<'a> for SysctlOp<'a> {
    fn verb(&self) -> Verb {
        Verb::Edit
    }

    fn object(&self) -> Object {
        Object::Sysctl(self.key.into())
    }

    fn phase(&self) -> Phase {
        Phase::EditSysctls
    }

    fn changes(&self) -> Vec<FieldChange> {
        let value = |value: &str| FieldValue::Word(value.to_owned());
        vec![FieldChange { field: "value", before: value(self.before), after: value(self.after) }]
    }

    fn simulate(&self, state: &mut Live) {
        state.sysctls.insert(self.key.into(), self.after.into());
    }

    fn record(&self, touched: &mut TouchedObjects) {
        let value = |value: &str| Some(Value::Sysctl(value.into()));
        touched.note(self.object(), value(self.before), value(self.after));
    }

    fn is_drift(&self, specs: &SpecPair<'_>) -> Option<bool> {
        Some(specs.last.sysctls.get(self.key) == specs.desired.sysctls.get(self.key))
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, _: &Labels<'_>) -> fmt::Result {
        let Self { key, before, after } = self;
        write!(f, "sysctl {key}: {before} -> {after}")
    }

    fn write_json(&self, step: &mut Map<String, Json>) {
        step.insert("sysctl".to_owned(), json!(self.key));
        let value = |value: &str| [("value", FieldValue::Word(value.to_owned()))];
        write_edit(step, value(self.before), value(self.after), self.changes());
    }
}

impl Resource for SysctlObject<'_> {
    fn kind(&self) -> &'static str {
        "sysctl"
    }

    fn write_name(&self, f: &mut fmt::Formatter<'_>, _: Option<Names<'_>>) -> fmt::Result {
        write!(f, " {}", self.0)
    }

    fn value_in(&self, live: &Live) -> Option<Value> {
        Some(Value::Sysctl(live.sysctls.get(self.0)?.clone()))
    }

    fn restore(&self, history: &OpHistory, now: Option<Value>, rollback: &mut RollbackBuilder<'_>) {
        if let (Some(Value::Sysctl(before)), Some(Value::Sysctl(after))) = (now, &history.before) {
            let (key, after) = (self.0.into(), after.clone());
            rollback.ops.push(Op::EditSysctl { key, before, after });
        }
    }
}
