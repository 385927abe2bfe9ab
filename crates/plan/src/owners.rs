//! The other owners of a network namespace, as their journals record them: where they overlap with a spec,
//! and what of theirs a plan leaves alone.
//!
//! Services and VIPs have one owner: scopes do not overlap. Sysctls, dummy devices and host objects without an
//! address belong to the whole namespace: several owners may ask for one with the same value. Whoever
//! leaves it does nothing to it while another owner asks for it, and each owner records the value from
//! before, so that the last one restores it.

mod overlap;

use std::borrow::Cow;
use std::collections::BTreeSet;

use evenkeel_model::{
    Binding, Claims, Desired, HostObject, Live, Owner, OwnerName, Scope, ServiceKey,
};

use crate::sysctl_side_effects::value_of;
use crate::{MasterSysctl, Object, PriorState, recorded_key};

pub use overlap::{Overlap, SharedObject};

/// The other owners of a network namespace. They are no part of the journal: they are read with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OtherOwners(pub Vec<OtherOwner>);

/// Another owner, as its journal records it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OtherOwner {
    /// Its name.
    pub name: OwnerName,
    /// The record of its applies.
    pub record: PriorState,
    /// The addresses that it bound.
    pub addresses: BTreeSet<Binding>,
    /// The host objects that it added.
    pub host_objects: BTreeSet<HostObject>,
    /// The dummy devices that it created.
    pub dummies: BTreeSet<Box<str>>,
    /// The services that it applied one by one (`--target`), whatever its scope is.
    pub targeted: BTreeSet<ServiceKey>,
    /// The objects that an apply of it touched which is not confirmed yet; `None` without one.
    pub pending: Option<BTreeSet<Object>>,
}

impl OtherOwner {
    /// What its spec in force asks for, and one whose apply has begun.
    fn claims(&self) -> impl Iterator<Item = &Claims> {
        let attempted = self.record.attempted_claims.as_ref().map(|attempt| &attempt.claims);
        [&self.record.claims].into_iter().chain(attempted)
    }

    /// The scopes of these specs.
    fn scopes(&self) -> impl Iterator<Item = &Scope> {
        let attempted = self.record.attempted_claims.as_ref().map(|attempt| &attempt.scope);
        self.record.scope.iter().chain(attempted)
    }

    /// Whether it binds that address, or bound it.
    fn has_vip(&self, binding: &Binding) -> bool {
        self.claims().any(|claims| claims.vips.contains(binding))
            || self.addresses.contains(binding)
    }

    fn has_host_object(&self, object: &HostObject) -> bool {
        self.claims().any(|claims| claims.host_objects.contains_key(object))
            || self.host_objects.contains(object)
    }

    fn has_dummy(&self, interface: &str) -> bool {
        self.claims().any(|claims| claims.dummies.contains(interface))
            || self.dummies.contains(interface)
    }

    /// Whether it needs the value that a sysctl has: its spec asks for it, or a service that leaves this real
    /// server.
    fn needs_sysctl(&self, key: &str) -> bool {
        let is_asked = |claims: &Claims| value_of(&claims.sysctls, recorded_key(key)).is_some();
        self.claims().any(is_asked) || self.record.real_server.keeps_sysctl(recorded_key(key))
    }
}

impl OtherOwners {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An owner whose apply is not confirmed yet.
    pub fn pending(&self) -> Option<&OtherOwner> {
        self.0.iter().find(|other| other.pending.is_some())
    }

    /// Whether another owner binds that address, or bound it.
    pub fn have_vip(&self, binding: &Binding) -> bool {
        self.0.iter().any(|other| other.has_vip(binding))
    }

    /// Whether another owner asks for that host object, or added it.
    pub fn have_host_object(&self, object: &HostObject) -> bool {
        self.0.iter().any(|other| other.has_host_object(object))
    }

    /// Whether another owner asks for that dummy device, or created it.
    pub fn have_dummy(&self, interface: &str) -> bool {
        self.0.iter().any(|other| other.has_dummy(interface))
    }

    /// Whether another owner asks for that sysctl, or keeps it for a while.
    pub fn ask_for_sysctl(&self, key: &str) -> bool {
        self.0.iter().any(|other| other.needs_sysctl(key))
    }

    /// The sysctls that other owners ask for, with their values.
    pub(crate) fn sysctls(&self) -> impl Iterator<Item = (&str, &str)> {
        let named = self.0.iter().flat_map(OtherOwner::claims).flat_map(|claims| &claims.sysctls);
        named.map(|(key, value)| (&**key, &**value))
    }

    /// The value that a sysctl had before another owner set it, by the key of its record.
    pub fn former_sysctl(&self, key: &str) -> Option<&str> {
        self.0.iter().find_map(|other| other.record.sysctls.get(key)).map(|value| &**value)
    }

    /// Shows as other programs' in a live state what other owners have and the spec does not ask for.
    pub(crate) fn disown<'a>(&self, live: &'a Live, desired: &Desired) -> Cow<'a, Live> {
        if self.is_empty() {
            return Cow::Borrowed(live);
        }
        let vips: Vec<&Binding> = live
            .addresses
            .iter()
            .filter(|(binding, owner)| {
                **owner == Owner::Evenkeel
                    && !desired.vips.contains_key(*binding)
                    && self.have_vip(binding)
            })
            .map(|(binding, _)| binding)
            .collect();
        let objects: Vec<&HostObject> = live
            .host_objects
            .owned()
            .map(|(object, _)| object)
            .filter(|object| {
                !desired.host_objects.contains_key(*object) && self.have_host_object(object)
            })
            .collect();
        let asked = desired.vips.iter().filter(|(_, vip)| vip.dummy);
        let asked: BTreeSet<&str> = asked.map(|(binding, _)| &*binding.interface).collect();
        let dummies: Vec<&Box<str>> = live
            .links
            .iter()
            .flatten()
            .filter(|(name, link)| {
                link.owner == Owner::Evenkeel && !asked.contains(&***name) && self.have_dummy(name)
            })
            .map(|(name, _)| name)
            .collect();
        if vips.is_empty() && objects.is_empty() && dummies.is_empty() {
            return Cow::Borrowed(live);
        }
        let mut seen = live.clone();
        for binding in vips {
            seen.addresses.insert(binding.clone(), Owner::Other);
        }
        for object in objects {
            if let Some(found) = seen.host_objects.objects.get_mut(object) {
                found.owner = Owner::Other;
            }
        }
        for name in dummies {
            if let Some(link) = seen.links.as_mut().and_then(|links| links.get_mut(name)) {
                link.owner = Owner::Other;
            }
        }
        Cow::Owned(seen)
    }
}

impl PriorState {
    /// Records what other owners recorded of what a spec asks for too: the values from before they set it.
    pub fn inherit(&mut self, desired: &Desired) {
        let Self { others, sysctls, side_effects, replaced, .. } = self;
        for OtherOwner { record, host_objects, .. } in &others.0 {
            for key in desired.sysctls.keys().map(|key| recorded_key(key)) {
                let Some(former) = record.sysctls.get(key) else { continue };
                if sysctls.contains_key(key) {
                    continue;
                }
                sysctls.insert(key.into(), former.clone());
                if MasterSysctl::of(key).is_some()
                    && let Some(values) = record.side_effects.get(key)
                {
                    side_effects.insert(key.into(), values.clone());
                }
            }
            for object in desired.host_objects.keys().filter(|it| host_objects.contains(*it)) {
                if let Some(value) = record.replaced.0.get(object) {
                    replaced.0.entry(object.clone()).or_insert_with(|| value.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
