//! Host objects: added, edited and deleted like any other object.
//!
//! Everything but the words and the fields is the same for all kinds ([`evenkeel_model::HostObject`]);
//! what else a kind needs is in a file of its own. An object of another program is used as it is.

mod default_route;
mod neighbour;
mod packet_rules;
mod route;
mod tunnel;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use evenkeel_model::{
    Binding, CONNECTION_TRACKING, Desired, FouPortValue, HostObject, HostObjectKind, HostValue,
    Live, LiveHostObject, MacAddress, Names, NeighbourValue, Owner, RouteValue, TunnelDeviceValue,
};
use serde_json::{Map, Value as Json, json};

use super::{Operation, Resource, Value};
use crate::cause::SpecPair;
use crate::field::{Field, FieldChange, FieldValue, changes};
use crate::foreign_vips::released_vips;
use crate::hold_back::OmittedSteps;
use crate::order::Phase;
use crate::render::{Labels, arrows, json_fields, write_edit, write_fields};
use crate::rollback_builder::{OpHistory, RollbackBuilder, TouchedObjects};
use crate::{Inputs, Object, Op, Verb, Warning};

pub(crate) use packet_rules::untranslated;
pub(crate) use tunnel::staying_devices;

pub(super) enum HostObjectOp<'a> {
    Add { object: &'a HostObject, after: &'a HostValue },
    Edit { object: &'a HostObject, before: &'a HostValue, after: &'a HostValue },
    Delete { object: &'a HostObject, before: &'a HostValue },
}

pub(super) struct HostObjectResource<'a>(pub(super) &'a HostObject);

/// Returns the fields of a value, as plans show them.
pub(crate) fn fields(value: &HostValue) -> Vec<Field> {
    match value {
        HostValue::Route(RouteValue { source }) => {
            let source = source.map(|source| FieldValue::Word(source.to_string()));
            vec![("source", source.unwrap_or(FieldValue::None))]
        }
        HostValue::Neighbour(NeighbourValue { mac }) => {
            let is_known = *mac != MacAddress::UNKNOWN;
            vec![(
                "mac",
                if is_known { FieldValue::Word(mac.to_string()) } else { FieldValue::Name("?") },
            )]
        }
        HostValue::DefaultRoute(value) => default_route::fields(value),
        HostValue::TunnelDevice(TunnelDeviceValue { mode }) => {
            vec![("mode", FieldValue::Name(mode.name()))]
        }
        HostValue::FouPort(FouPortValue { encapsulation }) => {
            vec![("encapsulation", FieldValue::Name(encapsulation.name()))]
        }
        HostValue::ArpRules(value) => packet_rules::arp_fields(*value),
        HostValue::SourceNat(value) => {
            vec![("source", FieldValue::Word(value.to_string()))]
        }
    }
}

/// Compares the host objects, given the other operations of the plan. None is added on an interface
/// that is down, where the kernel refuses it or it has no effect, unless evenkeel brings the interface
/// up.
pub(crate) fn diff(inputs: &Inputs<'_>, others: &[Op]) -> Vec<Op> {
    let Inputs { desired, live, record, .. } = *inputs;
    let brought_up: BTreeSet<&str> =
        desired.host_objects.keys().filter_map(HostObject::device).collect();
    let is_down = |object: &HostObject| {
        let Some(interface) = object.interface() else { return false };
        let link = live.links.as_ref().and_then(|links| links.get(interface));
        let is_down = link.is_some_and(|link| !link.up && link.owner == Owner::Other);
        is_down && !brought_up.contains(interface)
    };
    // The kernel accepts no source address that the host does not have.
    let released = released_vips(desired, live, record);
    let released: BTreeSet<(IpAddr, &str)> =
        released.into_iter().map(|it| (it.address, &*it.interface)).collect();
    let waits = |object: &HostObject| match object {
        HostObject::Route(it) => released.contains(&(it.destination, &*it.interface)),
        _ => false,
    };
    let (mut ops, _) = default_route::diff(desired, live, &record.replaced);
    let has_own_diff = |object: &HostObject| matches!(object, HostObject::DefaultRoute(_));
    let is_compared = |object: &HostObject| !has_own_diff(object) && !waits(object);
    for (object, after) in desired.host_objects.iter().filter(|(it, _)| is_compared(it)) {
        match live.host_objects.get(object) {
            None if is_down(object) => {}
            None => ops.push(add(object, after)),
            Some(LiveHostObject { owner: Owner::Evenkeel, value }) if value != after => {
                let (object, before) = (object.clone(), Box::new(value.clone()));
                ops.push(Op::EditHostObject { object, before, after: Box::new(after.clone()) });
            }
            Some(_) => {}
        }
    }
    for (object, before) in live.host_objects.owned().filter(|(it, _)| !has_own_diff(it)) {
        let is_left =
            desired.governs_host_object(object) && !desired.host_objects.contains_key(object);
        if is_left && tunnel::staying_address(object, others, live).is_none() {
            ops.push(delete(object, before));
        }
    }
    add_lost_again(&mut ops, others, live, |object| desired.host_objects.contains_key(object));
    ops
}

/// Adds the objects again that the kernel deletes with the VIPs that the operations unbind, if they
/// stay. Returns those that none of `ops` concerned before.
pub(crate) fn add_lost_again<'l>(
    ops: &mut Vec<Op>,
    others: &[Op],
    live: &'l Live,
    is_wanted: impl Fn(&HostObject) -> bool,
) -> Vec<(&'l HostObject, &'l HostValue)> {
    let touched = touched(ops);
    let mut lost: Vec<_> = route::added_again(others.iter().chain(&*ops), live)
        .filter(|(object, _)| is_wanted(object) && !touched.contains(object))
        .collect();
    ops.extend(lost.iter().flat_map(|(object, value)| again(object, value)));
    lost.extend(neighbour::add_lost_again(ops, others, live));
    lost
}

/// Changes the state as the kernel does when a VIP was unbound.
pub(super) fn lose_with_vip(state: &mut Live, unbound: &Binding) {
    route::lose_source(state, unbound.address);
    neighbour::lose_entries(state, unbound);
}

/// Warnings about default routes: those that cannot be restored, and those that NAT needs otherwise.
pub(crate) fn default_route_warnings(inputs: &Inputs<'_>) -> Vec<Warning> {
    let Inputs { desired, live, record, .. } = *inputs;
    let (_, mut warnings) = default_route::diff(desired, live, &record.replaced);
    warnings.extend(default_route::unexpected(desired, live));
    warnings
}

/// Warnings about objects that keep another value than the spec's, because another program added them.
pub(crate) fn foreign_values<'a>(
    desired: &'a Desired,
    live: &'a Live,
) -> impl Iterator<Item = Warning> + 'a {
    desired.host_objects.iter().filter_map(|(object, wanted)| {
        let LiveHostObject { owner, value } = live.host_objects.get(object)?;
        // A default route of another program is replaced, or leads to the same gateway.
        let stays = object.kind() != HostObjectKind::DefaultRoute;
        (stays && *owner == Owner::Other && value != wanted).then(|| Warning::OtherValue {
            object: object.clone(),
            changes: changes(fields(value), fields(wanted)),
        })
    })
}

fn add(object: &HostObject, after: &HostValue) -> Op {
    Op::AddHostObject { object: object.clone(), after: Box::new(after.clone()) }
}

fn delete(object: &HostObject, before: &HostValue) -> Op {
    Op::DeleteHostObject { object: object.clone(), before: Box::new(before.clone()) }
}

/// Deletes an object and adds it again.
fn again(object: &HostObject, value: &HostValue) -> [Op; 2] {
    [delete(object, value), add(object, value)]
}

/// Returns the host objects that the operations are on.
fn touched(ops: &[Op]) -> BTreeSet<HostObject> {
    let object = |op: &Op| match op.object() {
        Object::Host(object) => Some(object),
        _ => None,
    };
    ops.iter().filter_map(object).collect()
}

impl<'a> HostObjectOp<'a> {
    fn identity(&self) -> &'a HostObject {
        match self {
            Self::Add { object, .. } | Self::Edit { object, .. } | Self::Delete { object, .. } => {
                object
            }
        }
    }

    fn before(&self) -> Option<&'a HostValue> {
        match self {
            Self::Add { .. } => None,
            Self::Edit { before, .. } | Self::Delete { before, .. } => Some(before),
        }
    }

    fn after(&self) -> Option<&'a HostValue> {
        match self {
            Self::Add { after, .. } | Self::Edit { after, .. } => Some(after),
            Self::Delete { .. } => None,
        }
    }
}

impl<'a> Operation<'a> for HostObjectOp<'a> {
    fn verb(&self) -> Verb {
        match self {
            Self::Add { .. } => Verb::Add,
            Self::Edit { .. } => Verb::Edit,
            Self::Delete { .. } => Verb::Delete,
        }
    }

    fn object(&self) -> Object {
        Object::Host(self.identity().clone())
    }

    fn phase(&self) -> Phase {
        let object = self.identity();
        if self.after().is_some_and(HostValue::is_restored) {
            return Phase::DeleteHostObjects;
        }
        match self {
            Self::Edit { after, .. } if after.accepts_less() => Phase::DeleteTunnels,
            Self::Add { .. } | Self::Edit { .. } if object.carries_vips() => Phase::AddTunnels,
            Self::Add { .. } | Self::Edit { .. } if object.reaches_real_servers() => {
                Phase::AddHostObjectsOfRealServers
            }
            Self::Add { .. } | Self::Edit { .. } => Phase::AddHostObjects,
            Self::Delete { .. } if object.carries_vips() => Phase::DeleteTunnels,
            Self::Delete { .. } => Phase::DeleteHostObjects,
        }
    }

    fn changes(&self) -> Vec<FieldChange> {
        match self {
            Self::Edit { before, after, .. } => changes(fields(before), fields(after)),
            Self::Add { .. } | Self::Delete { .. } => Vec::new(),
        }
    }

    fn simulate(&self, state: &mut Live) {
        let objects = &mut state.host_objects.objects;
        match self.after() {
            Some(after) => {
                let live = LiveHostObject::set_to(after.clone());
                objects.insert(self.identity().clone(), live);
            }
            None => drop(objects.remove(self.identity())),
        }
        tunnel::set_link(state, self.identity(), self.after().is_some());
    }

    fn record(&self, touched: &mut TouchedObjects) {
        let value = |value: &HostValue| Value::Host(value.clone());
        touched.note(self.object(), self.before().map(value), self.after().map(value));
    }

    fn is_drift(&self, specs: &SpecPair<'_>) -> Option<bool> {
        // Only what evenkeel added is deleted. Where both specs ask for it, it is added again.
        let desired = specs.desired.host_objects.get(self.identity());
        let is_same = specs.last.host_objects.get(self.identity()) == desired;
        Some(desired.is_some() && is_same && !route::is_rebound_by_spec(self.identity(), specs))
    }

    fn note_omitted(&self, omitted: &mut OmittedSteps<'a>) {
        omitted.note_host_object(self.identity());
        if let Self::Add { .. } | Self::Edit { .. } = self {
            omitted.devices.extend(self.identity().device());
        }
    }

    fn is_blocked(&self, omitted: &OmittedSteps<'_>) -> bool {
        let object = self.identity();
        let replaces = object.exclusive_address().is_some() && omitted.lacks_host_object_at(object);
        let removes =
            matches!(self, Self::Delete { .. }) || self.after().is_some_and(HostValue::is_restored);
        // An object that makes room for another one goes together with it.
        replaces
            || match removes {
                // It accepts less from then on.
                false if self.after().is_some_and(HostValue::accepts_less) => {
                    omitted.bound.need(object)
                }
                false => {
                    object.address().is_some_and(|it| omitted.unbound.contains(&it))
                        || object.interface().is_some_and(|it| omitted.devices.contains(it))
                        || object.kind() == HostObjectKind::SourceNat
                            && omitted.sysctls_not_set.contains(CONNECTION_TRACKING)
                }
                true => {
                    // Another one of the same VIP may take its place.
                    omitted.lacks_host_object_at(object)
                        || omitted.bound.have(object)
                        || omitted.bound.need(object)
                        || (object.reaches_real_servers() && omitted.keeps_real_servers())
                        || (object.kind() == HostObjectKind::ArpRules && omitted.lacks_arp_sysctls)
                }
            }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, _: &Labels<'_>) -> fmt::Result {
        let object = self.identity();
        write!(f, "{} {object}", object.kind().name())?;
        match self {
            Self::Add { after: value, .. } | Self::Delete { before: value, .. } => {
                write_fields(f, fields(value))
            }
            Self::Edit { .. } => arrows(f, self.changes()),
        }
    }

    fn write_json(&self, step: &mut Map<String, Json>) {
        // The key is the name of the kind.
        if let Json::Object(identity) = json!(self.identity()) {
            step.extend(identity);
        }
        match self {
            Self::Add { after, .. } => {
                step.insert("after".to_owned(), json_fields(fields(after)));
            }
            Self::Edit { before, after, .. } => {
                write_edit(step, fields(before), fields(after), self.changes());
            }
            Self::Delete { before, .. } => {
                step.insert("before".to_owned(), json_fields(fields(before)));
            }
        }
    }
}

impl Resource for HostObjectResource<'_> {
    fn kind(&self) -> &'static str {
        self.0.kind().name()
    }

    fn write_name(&self, f: &mut fmt::Formatter<'_>, _: Option<Names<'_>>) -> fmt::Result {
        write!(f, " {}", self.0)
    }

    fn value_in(&self, live: &Live) -> Option<Value> {
        let found = live.host_objects.get(self.0)?;
        // One of another program that is replaced has a value to restore.
        (found.owner == Owner::Evenkeel || found.value.is_restored())
            .then(|| Value::Host(found.value.clone()))
    }

    fn restore(&self, history: &OpHistory, now: Option<Value>, rollback: &mut RollbackBuilder<'_>) {
        let object = self.0.clone();
        if matches!(&history.before, Some(Value::Host(before)) if !before.can_be_set()) {
            rollback.foreign.insert(Object::Host(object));
            return;
        }
        rollback.ops.extend(match (now, history.before.clone()) {
            (Some(Value::Host(before)), Some(Value::Host(after))) => Some(Op::EditHostObject {
                object,
                before: Box::new(before),
                after: Box::new(after),
            }),
            (_, Some(Value::Host(after))) => Some(add(self.0, &after)),
            (Some(Value::Host(before)), _) => Some(delete(self.0, &before)),
            _ => None,
        });
    }
}
