//! Dummy devices: created for VIPs, brought up, and deleted at a teardown or when they left the
//! scope.

use std::collections::BTreeSet;
use std::fmt;

use evenkeel_model::{Binding, Desired, Link, Live, Names, Owner};
use serde_json::{Map, Value as Json, json};

use super::{Operation, Resource, Value};
use crate::cause::SpecPair;
use crate::field::{FieldChange, FieldValue};
use crate::hold_back::OmittedSteps;
use crate::order::Phase;
use crate::render::{Labels, arrows, write_edit};
use crate::rollback_builder::{OpHistory, RollbackBuilder, TouchedObjects};
use crate::{Object, Op, Verb};

pub(super) enum DeviceOp<'a> {
    Add {
        interface: &'a str,
    },
    /// Brings it up.
    Edit {
        interface: &'a str,
    },
    Delete {
        interface: &'a str,
    },
}

pub(super) struct DeviceObject<'a>(pub(super) &'a str);

/// Creates the missing devices that VIPs ask for, brings up those that evenkeel created, and deletes those
/// that left the scope to be removed.
pub(crate) fn diff(desired: &Desired, live: &Live) -> Vec<Op> {
    // If the interfaces are unknown, those with an address exist.
    let with_address = || live.addresses.keys().map(|binding| &*binding.interface);
    let with_address: BTreeSet<&str> =
        live.links.is_none().then(with_address).into_iter().flatten().collect();
    let exists = |interface: &str| match &live.links {
        Some(links) => links.contains_key(interface),
        None => with_address.contains(interface),
    };
    let is_down = |interface: &str| {
        let link = live.links.as_ref().and_then(|links| links.get(interface));
        link.is_some_and(|link| link.owner == Owner::Evenkeel && !link.up)
    };
    let mut seen = BTreeSet::new();
    let mut ops = Vec::new();
    for (binding, vip) in &desired.vips {
        let interface = &binding.interface;
        if vip.dummy && !exists(interface) && seen.insert(interface) {
            ops.push(Op::AddDummy { interface: interface.clone() });
        }
        if is_down(interface) && seen.insert(interface) {
            ops.push(Op::EditDummy { interface: interface.clone() });
        }
    }
    let exists = |interface: &str| {
        live.links.as_ref().is_some_and(|links| links.get(interface).is_some_and(|it| it.dummy))
    };
    for interface in desired.removed.dummies.iter().filter(|name| exists(name)) {
        ops.push(Op::DeleteDummy { interface: interface.clone() });
    }
    ops
}

impl<'a> DeviceOp<'a> {
    fn interface(&self) -> &'a str {
        match self {
            Self::Add { interface } | Self::Edit { interface } | Self::Delete { interface } => {
                interface
            }
        }
    }
}

impl<'a> Operation<'a> for DeviceOp<'a> {
    fn verb(&self) -> Verb {
        match self {
            Self::Add { .. } => Verb::Add,
            Self::Edit { .. } => Verb::Edit,
            Self::Delete { .. } => Verb::Delete,
        }
    }

    fn object(&self) -> Object {
        Object::Dummy(self.interface().into())
    }

    fn phase(&self) -> Phase {
        match self {
            Self::Add { .. } => Phase::AddDummies,
            Self::Edit { .. } => Phase::EditDummies,
            Self::Delete { .. } => Phase::DeleteDummies,
        }
    }

    fn changes(&self) -> Vec<FieldChange> {
        match self {
            Self::Edit { .. } => {
                let [before, after] = ["no", "yes"].map(FieldValue::Name);
                vec![FieldChange { field: "up", before, after }]
            }
            Self::Add { .. } | Self::Delete { .. } => Vec::new(),
        }
    }

    fn simulate(&self, state: &mut Live) {
        let Some(links) = &mut state.links else { return };
        match self {
            Self::Add { interface } => {
                let link = Link { up: true, dummy: true, owner: Owner::Evenkeel };
                links.insert((*interface).into(), link);
            }
            Self::Edit { interface } => {
                if let Some(link) = links.get_mut(*interface) {
                    link.up = true;
                }
            }
            Self::Delete { interface } => {
                links.remove(*interface);
            }
        }
    }

    fn record(&self, touched: &mut TouchedObjects) {
        match self {
            Self::Add { .. } => touched.note(self.object(), None, Some(Value::Present)),
            // A device that was brought up stays up: that does no harm.
            Self::Edit { .. } => {}
            Self::Delete { .. } => touched.note(self.object(), Some(Value::Present), None),
        }
    }

    fn is_drift(&self, _: &SpecPair<'_>) -> Option<bool> {
        match self {
            Self::Add { .. } => None,
            // evenkeel creates devices up, so another program set it down.
            Self::Edit { .. } => Some(true),
            // Only a device that evenkeel created is deleted, so an earlier spec asked for it.
            Self::Delete { .. } => Some(false),
        }
    }

    fn note_omitted(&self, omitted: &mut OmittedSteps<'a>) {
        match self {
            Self::Add { interface } | Self::Edit { interface } => {
                omitted.devices.insert(interface);
            }
            Self::Delete { .. } => {}
        }
    }

    fn is_blocked(&self, omitted: &OmittedSteps<'_>) -> bool {
        match self {
            Self::Add { .. } | Self::Edit { .. } => false,
            Self::Delete { interface } => omitted.bound.on(interface).next().is_some(),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, _: &Labels<'_>) -> fmt::Result {
        write!(f, "dummy device {}", self.interface())?;
        arrows(f, self.changes())
    }

    fn write_json(&self, step: &mut Map<String, Json>) {
        step.insert("interface".to_owned(), json!(self.interface()));
        if let Self::Edit { .. } = self {
            let up = |word| [("up", FieldValue::Name(word))];
            write_edit(step, up("no"), up("yes"), self.changes());
        }
    }
}

impl Resource for DeviceObject<'_> {
    fn kind(&self) -> &'static str {
        "dummy device"
    }

    fn write_name(&self, f: &mut fmt::Formatter<'_>, _: Option<Names<'_>>) -> fmt::Result {
        write!(f, " {}", self.0)
    }

    fn value_in(&self, live: &Live) -> Option<Value> {
        live.links.as_ref()?.get(self.0).map(|_| Value::Present)
    }

    fn restore(&self, history: &OpHistory, _: Option<Value>, rollback: &mut RollbackBuilder<'_>) {
        let interface = self.0;
        if history.before.is_some() {
            rollback.ops.push(Op::AddDummy { interface: interface.into() });
            return;
        }
        // A deletion would remove addresses of other programs. Addresses that the kernel assigns
        // itself do not count.
        let is_foreign = |binding: &&Binding| {
            !rollback.touched.contains(&Object::Vip((*binding).clone()))
                && !is_link_local(binding.address)
        };
        let live = rollback.live;
        let foreign = rollback.used.get_or_insert_with(|| {
            let foreign = live.addresses.keys().filter(is_foreign);
            foreign.map(|binding| &*binding.interface).collect()
        });
        if foreign.contains(interface) {
            rollback.foreign.insert(Object::Dummy(interface.into()));
        } else {
            rollback.ops.push(Op::DeleteDummy { interface: interface.into() });
        }
    }
}

/// Whether the kernel assigns such an address to every interface.
pub(crate) fn is_link_local(address: std::net::IpAddr) -> bool {
    matches!(address, std::net::IpAddr::V6(address) if address.is_unicast_link_local())
}
