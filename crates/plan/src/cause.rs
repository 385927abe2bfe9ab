//! Causes of steps: a change of the spec, or drift of the host.

use std::collections::BTreeSet;

use evenkeel_model::{Desired, IgnoredField, NamedService, RealServer, RealServerKey, ServiceKey};
use serde::{Deserialize, Serialize};

use crate::left_scope::members::contains;
use crate::overlay::{OverlayOrigin, changed_overlay, is_beside_the_spec};
use crate::{DrainRecords, Inputs, Op, canonical};

/// The cause of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The spec differs here from the last applied one.
    SpecChanged,
    /// The scope of the spec no longer covers the object, which is to be removed.
    LeftScope,
    /// An override begins, changes or ends.
    Override,
    /// The verdict of a health check, or what follows from it: slow start, a floor, a fallback pool.
    Health,
    /// The spec is unchanged here, and the host no longer matches it.
    Drift,
}

impl Cause {
    /// Returns the words for texts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SpecChanged => "spec changed",
            Self::LeftScope => "left the scope",
            Self::Override => "override",
            Self::Health => "health",
            Self::Drift => "drift",
        }
    }
}

/// Returns the cause of each step; empty if no last applied spec is known.
pub(crate) fn causes(inputs: &Inputs<'_>, steps: &[Op]) -> Vec<Cause> {
    let Some(last) = inputs.last else {
        return Vec::new();
    };
    let specs = SpecPair::new(last, inputs.desired, &inputs.record.drains);
    let own: Vec<Option<Cause>> = steps.iter().map(|op| specs.own(op)).collect();
    let changed = steps.iter().zip(&own).filter(|(_, own)| **own == Some(Cause::SpecChanged));
    let (mut changed_modules, mut changed_interfaces) = (BTreeSet::new(), BTreeSet::new());
    for (op, _) in changed {
        changed_modules.extend(op.needed_modules());
        if let Op::Bind { binding, .. } = op {
            changed_interfaces.insert(&*binding.interface);
        }
    }
    let of_needing =
        |has_changed: bool| if has_changed { Cause::SpecChanged } else { Cause::Drift };
    let has_left = |op: &Op| contains(&inputs.desired.removed, &op.object());
    let cause = |(op, own): (&Op, &Option<Cause>)| match (op, own) {
        (op, _) if has_left(op) => Cause::LeftScope,
        // What the spec changes is its own cause.
        (op, Some(Cause::Drift)) => match changed_overlay(inputs, op) {
            Some(OverlayOrigin::Operator) => Cause::Override,
            Some(OverlayOrigin::Health) => Cause::Health,
            None => Cause::Drift,
        },
        (op, _) if is_beside_the_spec(inputs, op) => Cause::Health,
        (_, Some(own)) => *own,
        (Op::AddModule { module }, None) => of_needing(changed_modules.contains(&**module)),
        (Op::AddDummy { interface }, None) => of_needing(changed_interfaces.contains(&**interface)),
        (_, None) => Cause::SpecChanged,
    };
    steps.iter().zip(&own).map(cause).collect()
}

/// The last applied spec, the new spec, and the drains that were started since.
pub(crate) struct SpecPair<'a> {
    pub(crate) last: &'a Desired,
    pub(crate) desired: &'a Desired,
    pub(crate) drains: &'a DrainRecords,
    /// The services with a real server that drains.
    pub(crate) draining: BTreeSet<ServiceKey>,
    /// The services whose real servers the new spec lists in another order.
    pub(crate) reordered: BTreeSet<ServiceKey>,
}

impl<'a> SpecPair<'a> {
    fn new(last: &'a Desired, desired: &'a Desired, drains: &'a DrainRecords) -> Self {
        let in_order = desired.services.iter().filter(|(_, named)| named.canonical_order);
        let moved = in_order.filter(|(key, named)| {
            last.services.get(key).is_some_and(|last| !same_order(last, named))
        });
        Self {
            last,
            desired,
            drains,
            draining: drains.0.keys().map(|(service, _)| *service).collect(),
            reordered: moved.map(|(key, _)| *key).collect(),
        }
    }

    /// Returns the cause of a step on its own; `None` if it only serves other steps.
    fn own(&self, op: &Op) -> Option<Cause> {
        let is_drift = op.is_drift(self)?;
        Some(if is_drift { Cause::Drift } else { Cause::SpecChanged })
    }

    fn both(&self, key: &ServiceKey) -> (Option<&'a NamedService>, Option<&'a NamedService>) {
        (self.last.services.get(key), self.desired.services.get(key))
    }

    /// Whether both specs ask for the same configuration of a service.
    pub(crate) fn same_service(&self, key: &ServiceKey) -> bool {
        let asked = |named: &'a NamedService| (named.ignore, &named.service.config);
        let (last, desired) = self.both(key);
        last.map(asked) == desired.map(asked) && self.was_in_scope(key)
    }

    /// Whether the service was in the scope of the last spec.
    fn was_in_scope(&self, key: &ServiceKey) -> bool {
        self.last.scope.contains(key)
    }

    /// Whether both specs ask for the same value of a real server, or neither lists it.
    pub(crate) fn same_real_server(&self, service: &ServiceKey, key: &RealServerKey) -> bool {
        let (last, desired) = self.both(service);
        let value = |named: Option<&NamedService>| -> Option<RealServer> {
            let listed = named?.service.real_servers.get(key)?;
            Some(canonical::real_server(*listed))
        };
        value(last) == value(desired) && self.was_in_scope(service)
    }

    /// Whether both specs leave the same fields of a service to other programs.
    pub(crate) fn same_ignore(&self, service: &ServiceKey) -> bool {
        let (last, desired) = self.both(service);
        last.map(|it| it.ignore) == desired.map(|it| it.ignore)
    }

    /// Whether both specs, or neither, leave to another program which real servers a service has.
    pub(crate) fn same_membership(&self, service: &ServiceKey) -> bool {
        let is_theirs = |named: &NamedService| named.ignore.contains(IgnoredField::RealServers);
        let (last, desired) = self.both(service);
        last.is_some_and(is_theirs) == desired.is_some_and(is_theirs)
    }

    /// Whether the new spec lists a real server.
    pub(crate) fn lists(&self, service: &ServiceKey, key: &RealServerKey) -> bool {
        let named = self.desired.services.get(service);
        named.is_some_and(|named| named.service.real_servers.get(key).is_some())
    }
}

/// Whether both specs list the same real servers in the same order, with the same
/// `canonical_order`.
fn same_order(last: &NamedService, desired: &NamedService) -> bool {
    let keys = |named: &'_ NamedService| -> Vec<RealServerKey> {
        named.service.real_servers.in_order().map(|(key, _)| *key).collect()
    };
    last.canonical_order == desired.canonical_order && keys(last) == keys(desired)
}

#[cfg(test)]
mod tests;
