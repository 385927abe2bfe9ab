//! VIPs: addresses on interfaces, bound and unbound.

use std::collections::BTreeSet;
use std::fmt;

use evenkeel_model::{Binding, Desired, Live, Names, Owner, Vip};
use serde_json::{Map, Value as Json, json};

use super::host_object::lose_with_vip;
use super::{Operation, Resource, Value};
use crate::cause::SpecPair;
use crate::foreign_vips::released_vips;
use crate::hold_back::OmittedSteps;
use crate::impact_analysis::AnalysisContext;
use crate::order::Phase;
use crate::render::Labels;
use crate::rollback_builder::{OpHistory, RollbackBuilder, TouchedObjects};
use crate::{Impact, Object, Op, PriorState, Verb, Warning};

pub(super) enum VipOp<'a> {
    Bind { binding: &'a Binding, label: &'a Option<Box<str>> },
    Unbind { binding: &'a Binding, label: &'a Option<Box<str>> },
}

pub(super) struct VipObject<'a>(pub(super) &'a Binding);

/// Compares the VIPs; `unchanged` counts those that are bound. An address that is on the interface
/// already is used as it is, unless evenkeel bound it with a prefix length that the spec no longer
/// has, or with another label. The kernel edits neither, so it is unbound and bound again, and with it the
/// secondary addresses of its subnet, which the kernel would delete.
/// One that another program had bound and released is left to that program.
pub(crate) fn diff(
    desired: &Desired,
    live: &Live,
    record: &PriorState,
    unchanged: &mut usize,
) -> Vec<Op> {
    let mut ops = Vec::new();
    let released = released_vips(desired, live, record);
    let listed = || desired.vips.iter().filter(|(binding, _)| !released.contains(binding));
    let is_relabelled = |binding: &Binding, vip: &Vip| {
        has_other_label(binding, vip, live) && live.addresses.get(binding) == Some(&Owner::Evenkeel)
    };
    // Not those that stay because the kernel would delete another secondary with them, too.
    let mut primaries = BTreeSet::new();
    if !live.secondaries.is_empty() {
        let is_ours = |it: &Binding| {
            live.addresses.get(it) == Some(&Owner::Evenkeel)
                && (desired.vips.contains_key(it) || desired.governs_vip(it))
        };
        let others = live.secondaries.iter().filter(|(secondary, _)| !is_ours(secondary));
        let staying: BTreeSet<&Binding> = others.map(|(_, primary)| primary).collect();
        let relabelled = listed().filter(|(binding, vip)| is_relabelled(binding, vip));
        let relabelled = relabelled.map(|(binding, _)| binding);
        primaries.extend(relabelled.filter(|binding| !staying.contains(binding)));
    }
    let goes_along = |binding: &Binding| {
        let primary = live.secondaries.get(binding);
        primary.is_some_and(|primary| primaries.contains(primary))
            && live.addresses.get(binding) == Some(&Owner::Evenkeel)
    };
    for (binding, vip) in listed() {
        if !is_bound(binding, live) {
            ops.push(Op::bind(binding, vip));
        } else if is_relabelled(binding, vip) || goes_along(binding) {
            ops.push(unbind(binding, live));
            ops.push(Op::bind(binding, vip));
        } else {
            *unchanged += 1;
        }
    }
    for (binding, owner) in &live.addresses {
        if *owner == Owner::Evenkeel
            && desired.governs_vip(binding)
            && !desired.vips.contains_key(binding)
        {
            ops.push(unbind(binding, live));
        }
    }
    ops
}

impl Op {
    /// Returns the operation that binds this VIP of a spec.
    pub fn bind(binding: &Binding, vip: &Vip) -> Self {
        let label = vip.label.clone().filter(|label| **label != *binding.interface);
        Self::Bind { binding: binding.clone(), label }
    }
}

fn unbind(binding: &Binding, live: &Live) -> Op {
    Op::Unbind { binding: binding.clone(), label: live.labels.get(binding).cloned() }
}

/// Whether a bound address has a label that the spec does not accept.
fn has_other_label(binding: &Binding, vip: &Vip, live: &Live) -> bool {
    vip.label.as_deref().is_some_and(|label| live.label(binding) != Some(label))
}

/// Warnings about labels that stay as they are, because another program bound the address.
pub(crate) fn foreign_labels<'a>(
    desired: &'a Desired,
    live: &'a Live,
) -> impl Iterator<Item = Warning> + 'a {
    let labelled = desired.vips.iter().filter_map(|(binding, vip)| {
        let (bound, _) = live.bound_at(binding).find(|(_, owner)| **owner == Owner::Other)?;
        has_other_label(bound, vip, live).then_some((bound, vip.label.as_deref()?))
    });
    labelled.map(|(bound, desired)| Warning::OtherLabel {
        bound: bound.clone(),
        label: live.label(bound).unwrap_or_default().into(),
        desired: desired.into(),
    })
}

/// Whether the interface has the address: with this very prefix length, or with any that someone
/// else chose.
fn is_bound(binding: &Binding, live: &Live) -> bool {
    live.addresses.contains_key(binding)
        || live.bound_at(binding).any(|(_, owner)| *owner == Owner::Other)
}

impl<'a> VipOp<'a> {
    fn binding(&self) -> &'a Binding {
        match self {
            Self::Bind { binding, .. } | Self::Unbind { binding, .. } => binding,
        }
    }

    fn label(&self) -> Option<&'a str> {
        match self {
            Self::Bind { label, .. } | Self::Unbind { label, .. } => label.as_deref(),
        }
    }

    fn value(&self) -> Option<Value> {
        Some(Value::Vip { label: self.label().map(Into::into) })
    }
}

impl<'a> Operation<'a> for VipOp<'a> {
    fn verb(&self) -> Verb {
        match self {
            Self::Bind { .. } => Verb::Bind,
            Self::Unbind { .. } => Verb::Unbind,
        }
    }

    fn object(&self) -> Object {
        Object::Vip(self.binding().clone())
    }

    fn phase(&self) -> Phase {
        match self {
            Self::Bind { .. } => Phase::Bind,
            Self::Unbind { .. } => Phase::Unbind,
        }
    }

    fn simulate(&self, state: &mut Live) {
        match self {
            Self::Bind { binding, label } => {
                state.addresses.insert((*binding).clone(), Owner::Evenkeel);
                state.labels.remove(binding);
                let label = label.as_ref().map(|label| ((*binding).clone(), label.clone()));
                state.labels.extend(label);
            }
            Self::Unbind { binding, .. } => {
                state.addresses.remove(binding);
                state.labels.remove(binding);
                state.secondaries.remove(binding);
                lose_with_vip(state, binding);
            }
        }
    }

    fn record(&self, touched: &mut TouchedObjects) {
        match self {
            Self::Bind { .. } => touched.note(self.object(), None, self.value()),
            Self::Unbind { .. } => touched.note(self.object(), self.value(), None),
        }
    }

    fn impact(&self, context: &AnalysisContext<'_>, _: Option<&Op>) -> Option<Impact> {
        match self {
            Self::Bind { .. } => None,
            Self::Unbind { binding, .. } => Some(context.unbinding(binding)),
        }
    }

    fn is_drift(&self, specs: &SpecPair<'_>) -> Option<bool> {
        Some(match self {
            Self::Bind { binding, .. } => {
                specs.last.vips.get(binding) == specs.desired.vips.get(binding)
            }
            // Only what evenkeel bound is unbound, so a spec asked for it once. Where the spec still
            // does, the address is bound again with its label.
            Self::Unbind { binding, .. } => {
                let asked = specs.desired.vips.get(binding);
                asked.is_some() && specs.last.vips.get(binding) == asked
            }
        })
    }

    fn note_omitted(&self, omitted: &mut OmittedSteps<'a>) {
        match self {
            Self::Bind { binding, .. } => {
                omitted.unbound.insert(binding.address);
            }
            Self::Unbind { binding, .. } => {
                omitted.bound.insert(binding);
            }
        }
    }

    fn is_blocked(&self, omitted: &OmittedSteps<'_>) -> bool {
        match self {
            Self::Bind { binding, .. } => omitted.blocks_bind(binding),
            Self::Unbind { binding, .. } => {
                omitted.unbound.contains(&binding.address)
                    || omitted.needed.contains(&binding.address)
                    || omitted.primaries.contains(binding)
            }
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, _: &Labels<'_>) -> fmt::Result {
        write!(f, "vip {}", self.binding())?;
        self.label().map_or(Ok(()), |label| write!(f, " label {label}"))
    }

    fn write_json(&self, step: &mut Map<String, Json>) {
        let Binding { address, interface, prefix } = self.binding();
        let mut vip = json!({ "address": address, "prefix": prefix, "interface": interface });
        if let (Some(label), Some(vip)) = (self.label(), vip.as_object_mut()) {
            vip.insert("label".to_owned(), json!(label));
        }
        step.insert("vip".to_owned(), vip);
    }
}

impl Resource for VipObject<'_> {
    fn kind(&self) -> &'static str {
        "vip"
    }

    fn write_name(&self, f: &mut fmt::Formatter<'_>, _: Option<Names<'_>>) -> fmt::Result {
        write!(f, " {}", self.0)
    }

    fn value_in(&self, live: &Live) -> Option<Value> {
        live.addresses.get(self.0)?;
        Some(Value::Vip { label: live.labels.get(self.0).cloned() })
    }

    fn restore(&self, history: &OpHistory, now: Option<Value>, rollback: &mut RollbackBuilder<'_>) {
        let binding = self.0;
        if let Some(Value::Vip { label }) = now {
            rollback.ops.push(Op::Unbind { binding: binding.clone(), label });
        }
        if let Some(Value::Vip { label }) = &history.before {
            rollback.ops.push(Op::Bind { binding: binding.clone(), label: label.clone() });
        }
    }
}
