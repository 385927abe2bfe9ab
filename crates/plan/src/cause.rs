//! Why a step is needed: the spec changed, or the host did.

use std::collections::BTreeSet;

use evenkeel_model::{Desired, NamedService, RealServer, RealServerKey, ServiceKey};
use serde::{Deserialize, Serialize};

use crate::{DrainRecords, Inputs, Op, canonical, namespace_settings};

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
        (Op::AddModule { module }, None) => changed_needs(&|op| {
            namespace_settings::needed_modules(op).any(|needed| *needed == **module)
        }),
        (Op::AddDummy { interface }, None) => changed_needs(
            &|op| matches!(op, Op::Bind { binding } if binding.interface == *interface),
        ),
        (_, None) => Cause::SpecChanged,
    };
    steps.iter().zip(&own).map(cause).collect()
}

/// The last applied spec and this one, and what was begun since.
struct SpecPair<'a> {
    last: &'a Desired,
    desired: &'a Desired,
    drains: &'a DrainRecords,
    /// The services of which a real server drains.
    draining: BTreeSet<ServiceKey>,
    /// The services of which another order of real servers is asked for than before.
    reordered: BTreeSet<ServiceKey>,
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
        let Self { last, desired, drains, draining, reordered: _ } = self;
        let same = match op {
            Op::AddModule { .. } | Op::AddDummy { .. } => return None,
            Op::EditSysctl { key, .. } => last.sysctls.get(key) == desired.sysctls.get(key),
            Op::EditTimeouts { .. } => last.timeouts == desired.timeouts,
            Op::AddSync { state, .. } | Op::DeleteSync { state, .. } => {
                let daemon = |spec: &Desired| spec.sync.as_ref().map(|it| it.get(state).cloned());
                daemon(last) == daemon(desired)
            }
            Op::AddService { key, .. } | Op::EditService { key, .. } => self.same_service(key),
            // What we began to drain, some spec took out.
            Op::DeleteService { key, .. } => self.same_service(key) && !draining.contains(key),
            Op::AddRealServer { service, key, .. }
            | Op::EditRealServer { service, key, .. }
            | Op::DrainRealServer { service, key, .. }
            | Op::DeleteRealServer { service, key, .. } => {
                !drains.0.contains_key(&(*service, *key)) && self.same_real_server(op, service, key)
            }
            Op::Bind { binding } => last.vips.get(binding) == desired.vips.get(binding),
            // evenkeel creates them up.
            Op::EditDummy { .. } => true,
            // Only what evenkeel bound, or created, is taken away, so a spec asked for it once.
            Op::Unbind { .. } | Op::DeleteDummy { .. } => false,
        };
        Some(if same { Cause::Drift } else { Cause::SpecChanged })
    }

    fn both(&self, key: &ServiceKey) -> (Option<&'a NamedService>, Option<&'a NamedService>) {
        (self.last.services.get(key), self.desired.services.get(key))
    }

    fn same_service(&self, key: &ServiceKey) -> bool {
        let asked = |named: &'a NamedService| (named.ignore, &named.service.config);
        let (last, desired) = self.both(key);
        last.map(asked) == desired.map(asked) && self.was_in_scope(key)
    }

    /// Whether it was the last spec's business already.
    fn was_in_scope(&self, key: &ServiceKey) -> bool {
        self.last.scope.contains(key)
    }

    fn same_real_server(&self, op: &Op, service: &ServiceKey, key: &RealServerKey) -> bool {
        let (last, desired) = self.both(service);
        let value = |named: Option<&NamedService>| -> Option<RealServer> {
            let listed = named?.service.real_servers.get(key)?;
            Some(canonical::real_server(*listed))
        };
        let wanted = value(desired);
        if value(last) != wanted || !self.was_in_scope(service) {
            return false;
        }
        match op {
            // Which fields are left to someone else is a part of what is asked for.
            Op::EditRealServer { .. } => last.map(|it| it.ignore) == desired.map(|it| it.ignore),
            // One that is listed is deleted only to be added again, in another place.
            Op::DeleteRealServer { .. } | Op::AddRealServer { .. } => {
                wanted.is_none() || !self.reordered.contains(service)
            }
            _ => true,
        }
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
