//! Plans the rollback of steps that were executed, in whole or in part.
//!
//! Every step holds its object's value before and after. The live value decides: an object with its
//! value from before needs nothing, an object with a value that a step set is rolled back, and any
//! other value was set by another program and is kept. A rollback is a plan like any other, in the
//! order of [`crate::order`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use evenkeel_model::{Live, Scheduler, ServiceConfig, ServiceKey};

use crate::order::order;
use crate::resource::host_object::{again, route, touches};
use crate::value::Value;
use crate::{Object, Op, canonical};

/// The plan of a rollback.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RollbackPlan {
    /// The operations, in the order of their execution.
    pub steps: Vec<Op>,
    /// Objects that have neither their value from before nor one that a step set: another program
    /// changed them, and they are left alone.
    pub foreign: BTreeSet<Object>,
    /// The values of every object that differs from before.
    pub traces: BTreeMap<Object, ObjectTrace>,
}

/// The values of an object from before the first step on it until now. Its text form lists them in
/// sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectTrace {
    before: Option<Value>,
    /// The values that steps set, or would have set.
    after: Vec<Option<Value>>,
    now: Option<Value>,
}

impl fmt::Display for ObjectTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, after, now } = self;
        write!(f, "before {}; the plan made it ", ValueText(before.as_ref()))?;
        for (number, value) in after.iter().enumerate() {
            write!(f, "{}{}", if number == 0 { "" } else { ", then " }, ValueText(value.as_ref()))?;
        }
        write!(f, "; now {}", ValueText(now.as_ref()))
    }
}

/// Writes a value, or that the object is absent.
struct ValueText<'a>(Option<&'a Value>);

impl fmt::Display for ValueText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("absent"),
            Some(value) => value.fmt(f),
        }
    }
}

/// Plans the rollback of `done`, steps that may or may not have been executed, from the live state.
/// Kernel modules stay loaded: nothing depends on their absence.
pub fn rollback_plan(done: &[Op], live: &Live) -> RollbackPlan {
    let touched = TouchedObjects::of(done);
    let mut builder = RollbackBuilder {
        touched: &touched,
        live,
        added: Vec::new(),
        ops: Vec::new(),
        foreign: BTreeSet::new(),
        traces: BTreeMap::new(),
    };
    for (object, history) in &touched.0 {
        builder.restore(object, history);
    }
    let RollbackBuilder { added, mut ops, foreign, mut traces, .. } = builder;
    let lost: Vec<_> =
        route::added_again(&ops, live).filter(|(object, _)| !touches(&ops, object)).collect();
    for (object, value) in lost {
        ops.extend(again(object, value));
        let object = Object::Host(object.clone());
        let now = || Some(Value::Host(value.clone()));
        let after = touched.0.get(&object).map_or_else(|| vec![now()], |it| it.after.clone());
        traces.insert(object, ObjectTrace { before: now(), after, now: now() });
    }
    RollbackPlan { steps: order(added, Vec::new(), ops), foreign, traces }
}

/// The value of an object before the first step on it, and the values that steps may have set;
/// `None` means absent.
#[derive(Debug, Default)]
pub(crate) struct OpHistory {
    pub(crate) before: Option<Value>,
    after: Vec<Option<Value>>,
    /// For a service that existed: its real servers in their order.
    pub(crate) real_servers: Vec<Object>,
}

/// The objects that steps changed, with their values.
#[derive(Debug, Default)]
pub(crate) struct TouchedObjects(BTreeMap<Object, OpHistory>);

impl TouchedObjects {
    fn of(done: &[Op]) -> Self {
        let mut touched = Self::default();
        for op in done {
            op.record(&mut touched);
        }
        touched
    }

    /// Records the value that a step may have set.
    pub(crate) fn note(&mut self, object: Object, before: Option<Value>, after: Option<Value>) {
        let first = || OpHistory { before, ..OpHistory::default() };
        self.0.entry(object).or_insert_with(first).after.push(after);
    }

    /// Records the real servers that were deleted with their service, in their order.
    pub(crate) fn set_real_servers(&mut self, service: Object, real_servers: Vec<Object>) {
        if let Some(history) = self.0.get_mut(&service) {
            history.real_servers = real_servers;
        }
    }

    /// Whether a step changed that object.
    pub(crate) fn contains(&self, object: &Object) -> bool {
        self.0.contains_key(object)
    }

    /// Returns the value of an object before the first step; `None` if it was absent.
    pub(crate) fn before(&self, object: &Object) -> Option<&Value> {
        self.0.get(object)?.before.as_ref()
    }
}

/// Collects the operations of a rollback.
pub(crate) struct RollbackBuilder<'a> {
    pub(crate) touched: &'a TouchedObjects,
    pub(crate) live: &'a Live,
    /// Services that are added, each followed by its real servers.
    pub(crate) added: Vec<Op>,
    /// All other operations.
    pub(crate) ops: Vec<Op>,
    /// Objects that other programs changed, which are left alone.
    pub(crate) foreign: BTreeSet<Object>,
    traces: BTreeMap<Object, ObjectTrace>,
}

impl RollbackBuilder<'_> {
    fn restore(&mut self, object: &Object, history: &OpHistory) {
        let now = object.value_in(self.live);
        if is_same(now.as_ref(), history.before.as_ref()) {
            return;
        }
        let (before, after) = (history.before.clone(), history.after.clone());
        self.traces.insert(object.clone(), ObjectTrace { before, after, now: now.clone() });
        if !self.is_ours(history, now.as_ref()) {
            self.foreign.insert(object.clone());
            return;
        }
        object.restore(history, now, self);
    }

    /// Whether the service was absent before, exists now, and holds no real server of another
    /// program.
    pub(crate) fn is_removed(&self, key: &ServiceKey) -> bool {
        let was_absent = |history: &OpHistory| history.before.is_none();
        let ours = self.touched.0.get(&Object::Service(*key)).is_some_and(was_absent);
        let Some(service) = self.live.services.get(key) else {
            return false;
        };
        ours && service.real_servers.iter().all(|(real_server, value)| {
            let history = self.touched.0.get(&Object::RealServer(*key, *real_server));
            let now = Value::RealServer(canonical::real_server(*value));
            history.is_some_and(|it| it.before.is_none() && self.is_ours(it, Some(&now)))
        })
    }

    /// Whether the service existed before and is absent now.
    pub(crate) fn is_restored(&self, key: &ServiceKey) -> bool {
        let was_present = |history: &OpHistory| history.before.is_some();
        let ours = self.touched.0.get(&Object::Service(*key)).is_some_and(was_present);
        ours && !self.live.services.contains_key(key)
    }

    /// Whether a step left this value behind.
    fn is_ours(&self, history: &OpHistory, now: Option<&Value>) -> bool {
        history.after.iter().any(|after| is_same(now, after.as_ref()))
            || history.after.iter().chain([&history.before]).flatten().any(|value| {
                // A scheduler that cannot be bound leaves the service without any: the old one is
                // unbound first (`ip_vs_edit_service`).
                match (value, now) {
                    (Value::Service(value), Some(Value::Service(now))) => {
                        now.scheduler == Scheduler::none()
                            && *now == ServiceConfig { scheduler: now.scheduler, ..value.clone() }
                    }
                    _ => false,
                }
            })
    }
}

/// Whether the live value matches. The kernel fills in fields of a sync daemon that were not set.
fn is_same(now: Option<&Value>, value: Option<&Value>) -> bool {
    match (now, value) {
        (Some(Value::Sync(now)), Some(Value::Sync(asked))) => asked.is_met_by(now),
        (now, value) => now == value,
    }
}

/// Whether the kernel assigns such an address to every interface.
pub(crate) fn is_link_local(address: std::net::IpAddr) -> bool {
    matches!(address, std::net::IpAddr::V6(address) if address.is_unicast_link_local())
}

#[cfg(test)]
mod tests;
