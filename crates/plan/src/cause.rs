//! Why a step is needed: the spec changed, or the host did.

use std::collections::BTreeSet;

use evenkeel_model::{Desired, NamedService, RealServer, RealServerKey, ServiceKey};
use serde::{Deserialize, Serialize};

use crate::{DrainRecords, Inputs, Op, canonical};

/// Why a step is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The spec asks for something else than the last applied one did.
    SpecChanged,
    /// The spec asks for what it asked for before, and the host no longer has it.
    Drift,
}

impl Cause {
    /// The word in texts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SpecChanged => "spec changed",
            Self::Drift => "drift",
        }
    }
}

/// The cause of each step; none where no last applied spec is known.
pub(crate) fn causes(inputs: &Inputs<'_>, steps: &[Op]) -> Vec<Cause> {
    let Some(last) = inputs.last else {
        return Vec::new();
    };
    let specs = SpecPair::new(last, inputs.desired, &inputs.record.drains);
    let own: Vec<Option<Cause>> = steps.iter().map(|op| specs.own(op)).collect();
    let changed_needs = |needs: &dyn Fn(&Op) -> bool| {
        let needing = steps.iter().zip(&own).filter(|(op, _)| needs(op));
        let changed = needing.into_iter().any(|(_, cause)| *cause == Some(Cause::SpecChanged));
        if changed { Cause::SpecChanged } else { Cause::Drift }
    };
    let cause = |(op, own): (&Op, &Option<Cause>)| match (op, own) {
        (_, Some(own)) => *own,
        (Op::AddModule { module }, None) => {
            changed_needs(&|op| op.needed_modules().iter().any(|needed| **needed == **module))
        }
        (Op::AddDummy { interface }, None) => changed_needs(
            &|op| matches!(op, Op::Bind { binding, .. } if binding.interface == *interface),
        ),
        (_, None) => Cause::SpecChanged,
    };
    steps.iter().zip(&own).map(cause).collect()
}

/// The last applied spec and this one, and what was begun since.
pub(crate) struct SpecPair<'a> {
    pub(crate) last: &'a Desired,
    pub(crate) desired: &'a Desired,
    pub(crate) drains: &'a DrainRecords,
    /// The services of which a real server drains.
    pub(crate) draining: BTreeSet<ServiceKey>,
    /// The services of which another order of real servers is asked for than before.
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

    /// The cause that a step has by itself; `None` for one that is there for others.
    fn own(&self, op: &Op) -> Option<Cause> {
        let is_drift = op.is_drift(self)?;
        Some(if is_drift { Cause::Drift } else { Cause::SpecChanged })
    }

    fn both(&self, key: &ServiceKey) -> (Option<&'a NamedService>, Option<&'a NamedService>) {
        (self.last.services.get(key), self.desired.services.get(key))
    }

    /// Whether both ask for the same of a service.
    pub(crate) fn same_service(&self, key: &ServiceKey) -> bool {
        let asked = |named: &'a NamedService| (named.ignore, &named.service.config);
        let (last, desired) = self.both(key);
        last.map(asked) == desired.map(asked) && self.was_in_scope(key)
    }

    /// Whether it was the last spec's business already.
    fn was_in_scope(&self, key: &ServiceKey) -> bool {
        self.last.scope.contains(key)
    }

    /// Whether both ask for the same value of a real server, or neither lists it.
    pub(crate) fn same_real_server(&self, service: &ServiceKey, key: &RealServerKey) -> bool {
        let (last, desired) = self.both(service);
        let value = |named: Option<&NamedService>| -> Option<RealServer> {
            let listed = named?.service.real_servers.get(key)?;
            Some(canonical::real_server(*listed))
        };
        value(last) == value(desired) && self.was_in_scope(service)
    }

    /// Whether both leave the same fields of a service to someone else.
    pub(crate) fn same_ignore(&self, service: &ServiceKey) -> bool {
        let (last, desired) = self.both(service);
        last.map(|it| it.ignore) == desired.map(|it| it.ignore)
    }

    /// Whether the new spec lists a real server.
    pub(crate) fn lists(&self, service: &ServiceKey, key: &RealServerKey) -> bool {
        let named = self.desired.services.get(service);
        named.is_some_and(|named| named.service.real_servers.get(key).is_some())
    }
}

/// Whether both list the same real servers in the same order, and care.
fn same_order(last: &NamedService, desired: &NamedService) -> bool {
    let keys = |named: &'_ NamedService| -> Vec<RealServerKey> {
        named.service.real_servers.in_order().map(|(key, _)| *key).collect()
    };
    last.canonical_order == desired.canonical_order && keys(last) == keys(desired)
}

#[cfg(test)]
mod tests;
