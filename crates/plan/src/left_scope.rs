//! Finds what evenkeel made and the scope of a spec no longer covers.
//!
//! A scope becomes narrower because another program takes something over, or because it is removed: only
//! `scope.left` says which. Services, VIPs and host objects have a place in the scope. Sysctls, sync
//! daemons, timeouts and host objects without an address belong to the whole namespace: those that
//! the spec no longer asks for left with the scope if that became narrower in the same change.
//!
//! What is to be removed is recorded until it is gone, because a drain outlasts the apply.

pub(crate) mod members;

use std::collections::BTreeSet;

use evenkeel_model::{
    Binding, Desired, DesiredTimeouts, HostObject, LeftScope, Live, Owner, Scope, ServiceKey,
    SyncState, WhenLeft,
};

use crate::resource::UNSET;
use crate::resource::dummy::is_link_local;
use crate::sysctl_side_effects::value_of;
use crate::{Adopted, Object, Op, PriorState};

use self::members::{contains, forget_left};

/// What the objects that left the scope depend on.
#[derive(Debug, Clone, Copy)]
pub struct LeftScopeInputs<'a> {
    /// The desired state of the spec.
    pub desired: &'a Desired,
    /// The live state.
    pub live: &'a Live,
    /// The record of earlier applies.
    pub record: &'a PriorState,
    /// What the journal lists as made by evenkeel.
    pub made: MadeObjects<'a>,
    /// The last applied spec; needed only if [`narrows`].
    pub last: LastSpec<'a>,
    /// The spec of an unfinished apply, of which anything may have been done.
    pub attempted: Option<&'a Desired>,
    /// Services that were applied one by one since the last spec (`--target`): the scope of that need not
    /// cover them.
    pub targeted: &'a BTreeSet<ServiceKey>,
    /// Those of an unfinished apply.
    pub attempted_targets: &'a BTreeSet<ServiceKey>,
}

/// The last applied spec.
#[derive(Debug, Clone, Copy)]
pub enum LastSpec<'a> {
    /// There is none, or it is not needed.
    None,
    /// It is on record and cannot be read: everything in its scope may be of it.
    Unreadable,
    /// It was read.
    Read(&'a Desired),
}

impl<'a> From<Option<&'a Desired>> for LastSpec<'a> {
    fn from(spec: Option<&'a Desired>) -> Self {
        spec.map_or(Self::None, Self::Read)
    }
}

/// The objects that the journal lists as made by evenkeel.
#[derive(Debug, Clone, Copy)]
pub struct MadeObjects<'a> {
    /// The addresses that it bound.
    pub addresses: &'a BTreeSet<Binding>,
    /// The host objects that it added.
    pub host_objects: &'a BTreeSet<HostObject>,
    /// The dummy devices that it created.
    pub dummies: &'a BTreeSet<Box<str>>,
    /// What existed before.
    pub adopted: &'a Adopted,
}

/// The objects that left the scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftObjects {
    /// What stays.
    pub kept: LeftScope,
    /// What is removed.
    pub removed: LeftScope,
}

impl LeftObjects {
    /// Whether nothing left the scope.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.removed.is_empty()
    }

    /// Sets them in the desired state of the spec.
    pub fn add_to(self, desired: &mut Desired) {
        desired.kept = self.kept;
        desired.removed = self.removed;
    }
}

/// Whether the spec governs less than the spec in force, or than that may have governed.
pub fn narrows(desired: &Desired, record: &PriorState) -> bool {
    record.applied && record.scope.as_ref().is_none_or(|before| !desired.scope.covers(before))
}

/// Determines what left the scope of a spec.
pub fn left_scope(inputs: &LeftScopeInputs<'_>) -> LeftObjects {
    let seen = inputs.record.others.disown(inputs.live, inputs.desired);
    let inputs = &LeftScopeInputs { live: &seen, ..*inputs };
    let mut removed = inputs.still_to_remove();
    let mut left = inputs.left();
    let is_known = |object: &Object| contains(&removed, object);
    let known: Vec<Object> = left_objects(&left).filter(is_known).collect();
    known.iter().for_each(|object| forget_left(&mut left, object));
    match inputs.desired.when_left {
        Some(WhenLeft::Remove) => removed.extend(left),
        Some(WhenLeft::Keep) | None => return LeftObjects { kept: left, removed },
    }
    LeftObjects { kept: LeftScope::default(), removed }
}

impl<'a> LeftScopeInputs<'a> {
    /// Returns the last applied spec of this namespace.
    fn last(&self) -> Option<&'a Desired> {
        match self.last {
            LastSpec::Read(last) if self.record.applied => Some(last),
            LastSpec::Read(_) | LastSpec::Unreadable | LastSpec::None => None,
        }
    }

    /// Returns the scopes that were in force.
    fn before(&self) -> Vec<&'a Scope> {
        let record = self.record.scope.as_ref().filter(|_| self.record.applied);
        let specs = self.last().into_iter().chain(self.attempted);
        record.into_iter().chain(specs.map(|spec| &spec.scope)).collect()
    }

    fn left(&self) -> LeftScope {
        let Self { desired, live, .. } = *self;
        let before = self.before();
        let is_narrower = before.iter().any(|before| !desired.scope.covers(before));
        let mut left = LeftScope { vips: self.vips(&before), ..LeftScope::default() };
        left.host_objects = self.host_objects(&before, is_narrower);
        left.dummies = self.dummies(&left.vips);
        left.services = self.services();
        if !is_narrower {
            return left;
        }
        left.sysctls = self.sysctls();
        left.sync = self.sync();
        let former = self.record.former_timeouts.only(desired.timeouts, false);
        left.timeouts = changing(former, live);
        left
    }

    fn services(&self) -> BTreeSet<ServiceKey> {
        let Self { desired, live, record, made, .. } = *self;
        let of = |spec: &'a Desired| spec.services.keys().filter(|key| spec.scope.contains(key));
        let attempted = self.attempted.into_iter().flat_map(of).chain(self.attempted_targets);
        // What an unfinished apply found was not made by it.
        let attempted = attempted.filter(|key| !made.adopted.services.contains_key(key));
        let draining = record.drains.0.keys().map(|(service, _)| service);
        let managed = self.last().into_iter().flat_map(of).chain(self.targeted);
        let managed = managed.chain(draining).chain(attempted).chain(self.unreadable());
        let is_left =
            |key: &&ServiceKey| live.services.contains_key(key) && !desired.scope.contains(key);
        managed.filter(is_left).copied().collect()
    }

    /// Returns what a spec that cannot be read may have listed.
    fn unreadable(&self) -> impl Iterator<Item = &'a ServiceKey> {
        let Self { live, record, .. } = *self;
        let is_unreadable = matches!(self.last, LastSpec::Unreadable) && record.applied;
        let scope = record.scope.as_ref().filter(|_| is_unreadable);
        let keys = scope.into_iter().flat_map(|_| live.services.keys());
        keys.filter(move |key| scope.is_some_and(|scope| scope.contains(key)))
    }

    fn vips(&self, before: &[&Scope]) -> BTreeSet<Binding> {
        let Self { desired, live, made, .. } = *self;
        if let Scope::Implied | Scope::All = desired.scope {
            return BTreeSet::new();
        }
        let is_made = |vip: &Binding| {
            made.addresses.contains(vip) || before.iter().any(|it| it.contains_address(vip.address))
        };
        let owned = live.addresses.iter().filter(|(_, owner)| **owner == Owner::Evenkeel);
        let owned = owned.map(|(vip, _)| vip).filter(|vip| !desired.vips.contains_key(vip));
        let left = owned.filter(|vip| !desired.scope.contains_address(vip.address) && is_made(vip));
        left.cloned().collect()
    }

    fn host_objects(&self, before: &[&Scope], is_narrower: bool) -> BTreeSet<HostObject> {
        let Self { desired, live, made, .. } = *self;
        let is_left = |object: &HostObject| match is_of_namespace(object) {
            true => is_narrower,
            false => {
                !object.is_in(&desired.scope)
                    && (made.host_objects.contains(object)
                        || before.iter().any(|before| object.is_in(before)))
            }
        };
        let owned = live.host_objects.owned().map(|(object, _)| object);
        let unlisted = owned.filter(|object| !desired.host_objects.contains_key(object));
        unlisted.filter(|object| is_left(object)).cloned().collect()
    }

    /// Returns the devices on which only such VIPs are left.
    fn dummies(&self, vips: &BTreeSet<Binding>) -> BTreeSet<Box<str>> {
        let Self { live, made, .. } = *self;
        let left: BTreeSet<&str> = vips.iter().map(|vip| &*vip.interface).collect();
        let used = self.used(vips);
        let is_left = |name: &str| left.contains(name) && !used.contains(name);
        let there = made.dummies.iter().filter(|name| is_owned_dummy(live, name));
        there.filter(|name| is_left(name)).cloned().collect()
    }

    /// Returns the interfaces on which the spec or another program has an address, other than those VIPs.
    fn used(&self, left: &BTreeSet<Binding>) -> BTreeSet<&'a str> {
        let Self { desired, live, .. } = *self;
        let others = live.addresses.iter().filter(|(vip, owner)| {
            **owner == Owner::Other && !left.contains(*vip) && !is_link_local(vip.address)
        });
        let all = others.map(|(vip, _)| vip).chain(desired.vips.keys());
        all.map(|vip| &*vip.interface).collect()
    }

    fn sysctls(&self) -> BTreeSet<Box<str>> {
        let Self { live, record, .. } = *self;
        let changed = record.sysctls.iter().filter(|(key, original)| {
            ***original != *UNSET && live.sysctls.get(*key).is_some_and(|value| value != *original)
        });
        let left = changed.map(|(key, _)| key.clone()).filter(|key| !self.names_sysctl(key));
        left.filter(|key| !record.others.ask_for_sysctl(key)).collect()
    }

    fn names_sysctl(&self, key: &str) -> bool {
        value_of(&self.desired.sysctls, key).is_some()
    }

    fn sync(&self) -> BTreeSet<SyncState> {
        let Self { desired, live, made, .. } = *self;
        if desired.sync.is_some() {
            return BTreeSet::new();
        }
        let of = |spec: &'a Desired| spec.sync.iter().flatten();
        // What an unfinished apply found was not made by it.
        let attempted = self.attempted.into_iter().flat_map(of);
        let attempted = attempted.filter(|(state, _)| !made.adopted.sync.contains_key(state));
        let asked = self.last().into_iter().flat_map(of).chain(attempted);
        let running = asked
            .filter(|(state, asked)| live.sync.get(state).is_some_and(|it| asked.is_met_by(it)));
        running.map(|(state, _)| *state).collect()
    }

    /// Returns what an earlier apply was to remove and is not gone.
    fn still_to_remove(&self) -> LeftScope {
        let Self { desired, live, record, .. } = *self;
        let LeftScope { services, vips, host_objects, dummies, sysctls, sync, timeouts } =
            record.left.clone();
        let mut left = LeftScope { services, vips, host_objects, dummies, sysctls, sync, timeouts };
        left.services.retain(|key| live.services.contains_key(key) && !desired.scope.contains(key));
        left.vips.retain(|vip| {
            live.addresses.get(vip) == Some(&Owner::Evenkeel)
                && !desired.scope.contains_address(vip.address)
        });
        left.host_objects.retain(|object| {
            let is_governed = !is_of_namespace(object) && object.is_in(&desired.scope);
            live.host_objects.get(object).is_some_and(|it| it.owner == Owner::Evenkeel)
                && !is_governed
                && !desired.host_objects.contains_key(object)
        });
        let used = self.used(&record.left.vips);
        left.dummies.retain(|name| is_owned_dummy(live, name) && !used.contains(&**name));
        left.sysctls.retain(|key| {
            record.sysctls.contains_key(key)
                && !self.names_sysctl(key)
                && !record.others.ask_for_sysctl(key)
        });
        left.sync.retain(|state| live.sync.contains_key(state) && desired.sync.is_none());
        left.timeouts = changing(left.timeouts.only(desired.timeouts, false), live);
        left
    }
}

/// Whether a scope does not decide about it: it has no address.
fn is_of_namespace(object: &HostObject) -> bool {
    object.address().is_none() && object.service().is_none()
}

fn is_owned_dummy(live: &Live, name: &str) -> bool {
    let link = live.links.as_ref().and_then(|links| links.get(name));
    link.is_some_and(|link| link.dummy && link.owner == Owner::Evenkeel)
}

/// Returns those of the timeouts that differ from the live ones.
fn changing(timeouts: DesiredTimeouts, live: &Live) -> DesiredTimeouts {
    let Some(live) = live.timeouts else { return DesiredTimeouts::default() };
    DesiredTimeouts {
        tcp: timeouts.tcp.filter(|it| *it != live.tcp),
        tcp_fin: timeouts.tcp_fin.filter(|it| *it != live.tcp_fin),
        udp: timeouts.udp.filter(|it| *it != live.udp),
    }
}

/// Lists the objects that left the scope.
pub fn left_objects(left: &LeftScope) -> impl Iterator<Item = Object> + '_ {
    let LeftScope { services, vips, host_objects, dummies, sysctls, sync, timeouts } = left;
    let services = services.iter().map(|key| Object::Service(*key));
    services
        .chain(vips.iter().cloned().map(Object::Vip))
        .chain(host_objects.iter().cloned().map(Object::Host))
        .chain(dummies.iter().cloned().map(Object::Dummy))
        .chain(sysctls.iter().cloned().map(Object::Sysctl))
        .chain(sync.iter().copied().map(Object::Sync))
        .chain((!timeouts.is_empty()).then_some(Object::Timeouts))
}

/// Removes the object of an operation that was executed from those that are to be removed.
pub fn forget_removed(left: &mut LeftScope, done: &Op) {
    let is_gone = matches!(
        done,
        Op::DeleteService { .. }
            | Op::Unbind { .. }
            | Op::DeleteHostObject { .. }
            | Op::DeleteDummy { .. }
            | Op::RestoreSysctl { .. }
            | Op::DeleteSync { .. }
            | Op::EditTimeouts { .. }
    );
    // What takes the place of a default route is restored.
    let is_restored = matches!(done, Op::EditHostObject { after, .. } if after.is_restored());
    if is_gone || is_restored {
        forget_left(left, &done.object());
    }
}

#[cfg(test)]
mod tests;
