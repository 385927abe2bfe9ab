//! What a real server needs for selected services.
//!
//! A plan for them adds and repairs it. It removes nothing of it, except from a place that a VIP leaves
//! for another one: what a service no longer needs stays until the whole spec is applied, as directors
//! may still send packets for it. An object that another service needs or needed is left alone.

use std::collections::BTreeSet;
use std::net::IpAddr;

use evenkeel_model::{Binding, Desired, HostObject, RealServerPart, ServiceKey, bindings_of};

use crate::{PartRecord, RealServerRecords};

/// Objects that a real server needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) vips: BTreeSet<Binding>,
    pub(super) host_objects: BTreeSet<HostObject>,
    pub(super) sysctls: BTreeSet<Box<str>>,
}

/// What a real server needs for the selected services, and for the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SelectedParts {
    pub(super) selected: Parts,
    pub(super) others: Parts,
}

impl SelectedParts {
    /// What a spec needs.
    pub(super) fn of_spec(keys: &BTreeSet<ServiceKey>, desired: &Desired) -> Self {
        let mut parts = Self::default();
        for (key, RealServerPart { name: _, drain: _, vips, host_objects, sysctls }) in
            &desired.real_server
        {
            let parts = parts.of(keys.contains(key));
            parts.vips.extend(vips.iter().cloned());
            parts.host_objects.extend(host_objects.iter().cloned());
            parts.sysctls.extend(sysctls.iter().cloned());
        }
        parts
    }

    /// What earlier applies added, also for services that are being left.
    pub(super) fn of_records(keys: &BTreeSet<ServiceKey>, records: &RealServerRecords) -> Self {
        let mut parts = Self::default();
        let leaving = records.leaving.iter().map(|(key, leaving)| (key, &leaving.part));
        for (key, part) in records.in_force.iter().chain(leaving) {
            let PartRecord { name: _, drain: _, vips, host_objects, sysctls } = part;
            let parts = parts.of(keys.contains(key));
            parts.vips.extend(vips.keys().cloned());
            parts.host_objects.extend(host_objects.keys().cloned());
            parts.sysctls.extend(sysctls.keys().cloned());
        }
        parts
    }

    fn of(&mut self, is_selected: bool) -> &mut Parts {
        if is_selected { &mut self.selected } else { &mut self.others }
    }

    /// Whether a selected service needs the binding; `None` if the host needs it as no real server.
    pub(super) fn needs_vip(&self, binding: &Binding) -> Option<bool> {
        needs(binding, &self.selected.vips, &self.others.vips)
    }

    /// Whether a selected service needs the object; `None` if the host needs it as no real server.
    pub(super) fn needs_host_object(&self, object: &HostObject) -> Option<bool> {
        needs(object, &self.selected.host_objects, &self.others.host_objects)
    }

    /// Whether a plan for the selected services may change a binding of evenkeel; `None` if it is none
    /// of a real server. `recorded` is what earlier applies added.
    pub(super) fn keeps_vip(&self, recorded: &Self, binding: &Binding) -> Option<bool> {
        let is_moved = || self.binds(binding.address);
        self.needs_vip(binding).or_else(|| {
            let (selected, others) = (&recorded.selected, &recorded.others);
            may_leave(binding, &selected.vips, &others.vips, is_moved)
        })
    }

    /// As [`Self::keeps_vip`], for a host object. A route goes with the place that its VIP leaves.
    pub(super) fn keeps_host_object(&self, recorded: &Self, object: &HostObject) -> Option<bool> {
        let is_moved = || object.address().is_some_and(|it| self.binds(it));
        self.needs_host_object(object).or_else(|| {
            let (selected, others) = (&recorded.selected, &recorded.others);
            may_leave(object, &selected.host_objects, &others.host_objects, is_moved)
        })
    }

    /// Whether a selected service needs that address, on whatever interface.
    fn binds(&self, address: IpAddr) -> bool {
        bindings_of(&self.selected.vips, address).next().is_some()
    }
}

fn needs<T: Ord>(object: &T, selected: &BTreeSet<T>, others: &BTreeSet<T>) -> Option<bool> {
    match selected.contains(object) {
        true => Some(true),
        false => others.contains(object).then_some(false),
    }
}

/// Whether an object that the spec does not ask for may leave its place; `None` if it is not recorded.
fn may_leave<T: Ord>(
    object: &T,
    selected: &BTreeSet<T>,
    others: &BTreeSet<T>,
    is_moved: impl Fn() -> bool,
) -> Option<bool> {
    match others.contains(object) {
        true => Some(false),
        false => selected.contains(object).then(is_moved),
    }
}
