//! VIPs: addresses on interfaces, bound and unbound.

use std::fmt;

use evenkeel_model::{Binding, Desired, Live, Names, Owner};
use serde_json::{Map, Value as Json, json};

use super::{Operation, Resource, Value};
use crate::cause::SpecPair;
use crate::hold_back::OmittedSteps;
use crate::impact_analysis::AnalysisContext;
use crate::order::Phase;
use crate::render::Labels;
use crate::rollback_plan::{OpHistory, RollbackBuilder, TouchedObjects};
use crate::{Impact, Object, Op, Verb};

pub(super) enum VipOp<'a> {
    Bind { binding: &'a Binding },
    Unbind { binding: &'a Binding },
}

pub(super) struct VipObject<'a>(pub(super) &'a Binding);

/// Compares the VIPs; `unchanged` counts those that are bound. An address that is on the interface
/// already is used as it is, unless evenkeel bound it with a prefix length that the spec no longer
/// has.
pub(crate) fn diff(desired: &Desired, live: &Live, unchanged: &mut usize) -> Vec<Op> {
    let mut ops = Vec::new();
    for binding in desired.vips.keys() {
        if is_bound(binding, live) {
            *unchanged += 1;
        } else {
            ops.push(Op::Bind { binding: binding.clone() });
        }
    }
    for (binding, owner) in &live.addresses {
        if *owner == Owner::Evenkeel
            && desired.scope.contains_address(binding.address)
            && !desired.vips.contains_key(binding)
        {
            ops.push(Op::Unbind { binding: binding.clone() });
        }
    }
    ops
}

/// Whether the interface has the address: with this very prefix length, or with any that someone
/// else chose.
fn is_bound(binding: &Binding, live: &Live) -> bool {
    live.addresses.contains_key(binding)
        || live
            .addresses
            .iter()
            .any(|(other, owner)| *owner == Owner::Other && other.same_place(binding))
}

impl<'a> VipOp<'a> {
    fn binding(&self) -> &'a Binding {
        match self {
            Self::Bind { binding } | Self::Unbind { binding } => binding,
        }
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
            Self::Bind { binding } => {
                state.addresses.insert((*binding).clone(), Owner::Evenkeel);
            }
            Self::Unbind { binding } => {
                state.addresses.remove(binding);
            }
        }
    }

    fn record(&self, touched: &mut TouchedObjects) {
        match self {
            Self::Bind { .. } => touched.note(self.object(), None, Some(Value::Present)),
            Self::Unbind { .. } => touched.note(self.object(), Some(Value::Present), None),
        }
    }

    fn impact(&self, context: &AnalysisContext<'_>, _: Option<&Op>) -> Option<Impact> {
        match self {
            Self::Bind { .. } => None,
            Self::Unbind { binding } => Some(context.unbinding(binding.address)),
        }
    }

    fn is_drift(&self, specs: &SpecPair<'_>) -> Option<bool> {
        Some(match self {
            Self::Bind { binding } => {
                specs.last.vips.get(binding) == specs.desired.vips.get(binding)
            }
            // Only what evenkeel bound is unbound, so a spec asked for it once.
            Self::Unbind { .. } => false,
        })
    }

    fn note_omitted(&self, omitted: &mut OmittedSteps<'a>) {
        match self {
            Self::Bind { binding } => {
                omitted.unbound.insert(binding.address);
            }
            Self::Unbind { binding } => {
                omitted.bound.insert(binding);
            }
        }
    }

    fn is_blocked(&self, omitted: &OmittedSteps<'_>) -> bool {
        match self {
            Self::Bind { binding } => omitted.blocks_bind(binding),
            Self::Unbind { binding } => {
                omitted.unbound.contains(&binding.address)
                    || omitted.needed.contains(&binding.address)
            }
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, _: &Labels<'_>) -> fmt::Result {
        write!(f, "vip {}", self.binding())
    }

    fn write_json(&self, step: &mut Map<String, Json>) {
        let Binding { address, interface, prefix } = self.binding();
        let vip = json!({ "address": address, "prefix": prefix, "interface": interface });
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
        live.addresses.get(self.0).map(|_| Value::Present)
    }

    fn restore(&self, history: &OpHistory, _: Option<Value>, rollback: &mut RollbackBuilder<'_>) {
        let binding = self.0.clone();
        rollback.ops.push(match history.before {
            Some(_) => Op::Bind { binding },
            None => Op::Unbind { binding },
        });
    }
}
