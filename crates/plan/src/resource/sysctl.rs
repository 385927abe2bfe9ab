//! Sysctls: set, and restored to the value from before evenkeel set them.
//!
//! Some sysctls make the kernel rewrite others ([`crate::sysctl_side_effects`]). Within a phase they
//! come first; a sysctl whose value is then not the right one follows them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use evenkeel_model::{Desired, Live, Names, Owner};
use serde_json::{Map, Value as Json, json};

use super::{Operation, Resource, Value};
use crate::cause::SpecPair;
use crate::field::{FieldChange, FieldValue};
use crate::hold_back::OmittedSteps;
use crate::order::Phase;
use crate::render::{Labels, write_edit};
use crate::rollback_builder::{OpHistory, RollbackBuilder, TouchedObjects};
use crate::sysctl_side_effects::{MasterSysctl, recorded_key, value_of, write};
use crate::{Object, Op, PriorState, Verb};

/// Stands for the value of a sysctl that does not exist (yet), in operations and in the journal.
pub const UNSET: &str = "unset";

/// Values by key.
type Values = BTreeMap<Box<str>, Box<str>>;

pub(super) struct SysctlOp<'a> {
    pub(super) key: &'a str,
    pub(super) before: &'a str,
    pub(super) after: &'a str,
    pub(super) rewrites: &'a Values,
    /// Whether it is [`Op::RestoreSysctl`].
    pub(super) is_restored: bool,
}

pub(super) struct SysctlObject<'a>(pub(super) &'a str);

/// Compares the sysctls. A sysctl that the spec no longer names is restored to its recorded value,
/// with those that the kernel rewrote with it, unless it left the scope and stays.
pub(crate) fn diff(desired: &Desired, live: &Live, record: &PriorState) -> Vec<Op> {
    let mut changes = Changes { state: live.sysctls.clone(), ops: Vec::new() };
    let is_master = |key: &str| MasterSysctl::of(key).is_some();
    for masters in [true, false] {
        for (key, after) in desired.sysctls.iter().filter(|(key, _)| is_master(key) == masters) {
            changes.set(key, after, false);
        }
    }
    let named: BTreeSet<&str> = desired.sysctls.keys().map(|key| recorded_key(key)).collect();
    let is_announced = announces_vips(desired, live, record);
    let left = || {
        let recorded = record
            .sysctls
            .iter()
            .filter(|(key, _)| !named.contains(&***key) && !desired.kept.sysctls.contains(&**key))
            // The last owner that asks for it restores it.
            .filter(|(key, _)| !record.others.ask_for_sysctl(key));
        recorded.filter(|(key, _)| !(is_announced && is_arp(key)))
    };
    for (key, original) in left().filter(|(key, _)| is_master(key)) {
        changes.restore(key, original);
    }
    let set = masters_set(desired, record, &changes.ops);
    let originals = left().filter(|(key, _)| !is_master(key)).map(|(key, original)| {
        // While its master is set, it has the value that the kernel gives it.
        let rewritten = MasterSysctl::rewriting(key).and_then(|master| set.get(&master));
        let value = rewritten.map(|value| MasterSysctl::rewritten(key, value));
        (key.clone(), value.unwrap_or_else(|| original.clone()))
    });
    let mut originals: Values = originals.collect();
    for (master, values) in &record.side_effects {
        let is_shared = record.others.ask_for_sysctl(master);
        if !named.contains(&**master) && !desired.kept.sysctls.contains(&**master) && !is_shared {
            originals.extend(values.clone());
        }
    }
    // Those that the spec names were set above; the kernel may rewrite them again.
    let asked = desired.sysctls.iter().filter(|(key, _)| !is_master(key));
    originals.extend(asked.map(|(key, value)| (key.clone(), value.clone())));
    // What another owner asks for stays, or is set again if the kernel rewrote it just now.
    originals.retain(|key, _| named.contains(&**key) || !record.others.ask_for_sysctl(key));
    let asked = record.others.sysctls().filter(|(key, value)| {
        !is_master(key)
            && live.sysctls.get(*key).is_some_and(|it| **it == **value)
            && !named.contains(*key)
    });
    originals.extend(asked.map(|(key, value)| (key.into(), value.into())));
    for (key, original) in originals {
        changes.restore(&key, &original);
    }
    changes.ops
}

/// Whether a VIP that evenkeel bound stays on `lo`, because it is out of scope or was handed over: the sysctls
/// that keep the host from answering ARP for it stay with it.
fn announces_vips(desired: &Desired, live: &Live, record: &PriorState) -> bool {
    live.addresses.iter().any(|(binding, owner)| {
        let is_handed_over =
            record.handed_over.addresses.contains(binding) || record.others.have_vip(binding);
        &*binding.interface == "lo"
            && (is_handed_over || *owner == Owner::Evenkeel && !desired.governs_vip(binding))
    })
}

fn is_arp(key: &str) -> bool {
    ["all", "lo"].iter().any(|interface| {
        let of_interface =
            key.strip_prefix("net.ipv4.conf.").and_then(|it| it.strip_prefix(interface));
        matches!(of_interface, Some(".arp_ignore" | ".arp_announce"))
    })
}

/// Returns the values of the masters that the spec names and that evenkeel sets, or has set.
fn masters_set<'a>(
    desired: &'a Desired,
    record: &'a PriorState,
    ops: &[Op],
) -> BTreeMap<MasterSysctl, &'a str> {
    let masters = |(key, value): (&'a str, &'a str)| Some((MasterSysctl::of(key)?, value));
    let named = desired.sysctls.iter().map(|(key, value)| (&**key, &**value));
    let named = named.filter_map(masters).filter(|(it, _)| {
        record.sysctls.contains_key(it.key()) || ops.iter().any(|op| master(op) == Some(*it))
    });
    let others = record.others.sysctls().filter_map(masters);
    let others = others.filter(|(it, _)| record.others.former_sysctl(it.key()).is_some());
    others.chain(named).collect()
}

/// Operations in their order, with the values after them.
struct Changes {
    state: Values,
    ops: Vec<Op>,
}

impl Changes {
    /// Gives a sysctl that value if it has another one. An absent sysctl can be set, if an earlier step
    /// creates it, but not restored.
    fn set(&mut self, key: &str, after: &str, is_restored: bool) {
        let before = self.state.get(key).map_or(UNSET, |value| &**value);
        if before == after {
            return;
        }
        let rewrites = match MasterSysctl::of(key) {
            Some(master) => {
                let rewritten = self.state.iter().filter(|(other, _)| master.rewrites(other));
                rewritten.map(|(other, value)| (other.clone(), value.clone())).collect()
            }
            None => Values::new(),
        };
        let [before, key, after] = [before, key, after].map(Box::<str>::from);
        write(&mut self.state, &key, &after);
        self.ops.push(match is_restored {
            true => Op::RestoreSysctl { key, before, after, rewrites },
            false => Op::EditSysctl { key, before, after, rewrites },
        });
    }

    fn restore(&mut self, key: &str, original: &str) {
        if original != UNSET && self.state.contains_key(key) {
            self.set(key, original, true);
        }
    }
}

/// Completes the sysctls of a rollback: those that the kernel rewrites together with one that is rolled
/// back get the values that they should have after it: the value from before, or the one that another
/// program set.
pub(crate) fn keep_rewritten(ops: &mut Vec<Op>, touched: &TouchedObjects, live: &Live) {
    let is_sysctl = |op: &mut Op| matches!(op, Op::EditSysctl { .. } | Op::RestoreSysctl { .. });
    let (masters, others): (Vec<Op>, Vec<Op>) =
        ops.extract_if(.., is_sysctl).partition(|op| master(op).is_some());
    let mut changes = Changes { state: live.sysctls.clone(), ops: Vec::new() };
    let mut late = BTreeSet::new();
    let mut targets: BTreeMap<Box<str>, (Box<str>, bool)> = BTreeMap::new();
    for op in masters {
        if matches!(op, Op::RestoreSysctl { .. }) {
            late.extend(master(&op));
        }
        if let Some((key, after, is_restored)) = parts(op) {
            changes.set(&key, &after, is_restored);
        }
    }
    for key in live.sysctls.keys() {
        let is_touched = || touched.contains(&Object::Sysctl(key.clone()));
        if let Some(master) = MasterSysctl::rewriting(key).filter(|_| is_touched()) {
            targets.insert(key.clone(), (live.sysctls[key].clone(), late.contains(&master)));
        }
    }
    for (key, after, is_restored) in others.into_iter().filter_map(parts) {
        let is_late = MasterSysctl::rewriting(&key).is_some_and(|it| late.contains(&it));
        targets.insert(key, (after, is_restored || is_late));
    }
    for (key, (after, is_restored)) in targets {
        changes.set(&key, &after, is_restored);
    }
    ops.append(&mut changes.ops);
}

/// Returns the key and the new value of an operation on a sysctl, and whether it restores it.
fn parts(op: Op) -> Option<(Box<str>, Box<str>, bool)> {
    match op {
        Op::EditSysctl { key, after, .. } => Some((key, after, false)),
        Op::RestoreSysctl { key, after, .. } => Some((key, after, true)),
        _ => None,
    }
}

fn master(op: &Op) -> Option<MasterSysctl> {
    match op {
        Op::EditSysctl { key, .. } | Op::RestoreSysctl { key, .. } => MasterSysctl::of(key),
        _ => None,
    }
}

impl<'a> Operation<'a> for SysctlOp<'a> {
    fn verb(&self) -> Verb {
        Verb::Edit
    }

    fn object(&self) -> Object {
        Object::Sysctl(self.key.into())
    }

    fn phase(&self) -> Phase {
        match self.is_restored {
            true => Phase::RestoreSysctls,
            false => Phase::EditSysctls,
        }
    }

    fn changes(&self) -> Vec<FieldChange> {
        let value = |value: &str| FieldValue::Word(value.to_owned());
        vec![FieldChange { field: "value", before: value(self.before), after: value(self.after) }]
    }

    fn simulate(&self, state: &mut Live) {
        write(&mut state.sysctls, self.key, self.after);
    }

    fn record(&self, touched: &mut TouchedObjects) {
        let value = |value: &str| (value != UNSET).then(|| Value::Sysctl(value.into()));
        touched.note_sysctl(self.key, value(self.before), value(self.after), self.is_restored);
        for (key, before) in self.rewrites {
            let after = MasterSysctl::rewritten(key, self.after);
            touched.note_sysctl(key, value(before), value(&after), self.is_restored);
        }
    }

    fn is_drift(&self, specs: &SpecPair<'_>) -> Option<bool> {
        let is_same = |key: &str| specs.last.sysctls.get(key) == specs.desired.sysctls.get(key);
        let is_same_of = |master: MasterSysctl| {
            let value = |spec: &'_ Desired| value_of(&spec.sysctls, master.key()).cloned();
            value(specs.last) == value(specs.desired)
        };
        Some(is_same(self.key) && MasterSysctl::rewriting(self.key).is_none_or(is_same_of))
    }

    fn note_omitted(&self, omitted: &mut OmittedSteps<'a>) {
        match self.is_restored {
            true => omitted.sysctls_not_restored.insert(self.key),
            false => omitted.sysctls_not_set.insert(self.key),
        };
    }

    fn is_blocked(&self, omitted: &OmittedSteps<'_>) -> bool {
        self.is_restored && omitted.blocks_restore(self.key)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, _: &Labels<'_>) -> fmt::Result {
        let Self { key, before, after, .. } = self;
        write!(f, "sysctl {key}: {before} -> {after}")
    }

    fn write_json(&self, step: &mut Map<String, Json>) {
        step.insert("sysctl".to_owned(), json!(self.key));
        if self.is_restored {
            step.insert("restores".to_owned(), json!(true));
        }
        if !self.rewrites.is_empty() {
            step.insert("rewrites".to_owned(), json!(self.rewrites));
        }
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

    /// Rolls back what was set after VIPs are unbound, and what was restored before they are bound
    /// again. A value that did not exist before cannot be restored.
    fn restore(&self, history: &OpHistory, now: Option<Value>, rollback: &mut RollbackBuilder<'_>) {
        if let (Some(Value::Sysctl(before)), Some(Value::Sysctl(after))) = (now, &history.before) {
            let (key, after, rewrites) = (self.0.into(), after.clone(), Values::new());
            rollback.ops.push(match history.is_restored {
                true => Op::EditSysctl { key, before, after, rewrites },
                false => Op::RestoreSysctl { key, before, after, rewrites },
            });
        }
    }
}

#[cfg(test)]
mod tests;
