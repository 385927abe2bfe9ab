//! The way back from steps that were carried out, in whole or in part, to what was there before.
//!
//! Every step knows its object before and after. What is found now decides: an object that is as
//! it was needs nothing, one that is as a step left it goes back, and one that is neither was
//! changed by someone else and is left alone. The way back is a plan like any other, in the order
//! of [`crate::order`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use evenkeel_model::{HostRoute, Live, Scheduler, ServiceConfig, ServiceKey};

use crate::order::order;
use crate::resource::Value;
use crate::resource::route::{anew, lost_sources, touches};
use crate::{Object, Op, canonical};

/// A way back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RollbackPlan {
    /// The operations, in the order of their execution.
    pub steps: Vec<Op>,
    /// Objects that are neither as before nor as the steps left them: someone else changed them,
    /// and they are left as they are.
    pub foreign: BTreeSet<Object>,
    /// The values of every object that is not as before.
    pub traces: BTreeMap<Object, ObjectTrace>,
}

/// The values of an object from before the first step on it until now. Its text form is theirs, one
/// behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectTrace {
    before: Option<Value>,
    /// What steps made of it, or would have.
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

/// A value in words, or that there is none.
struct ValueText<'a>(Option<&'a Value>);

impl fmt::Display for ValueText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("absent"),
            Some(value) => value.fmt(f),
        }
    }
}

/// Plans the way back from `done`, which may have been carried out or not, given what is found
/// now. Kernel modules stay loaded: nothing depends on their absence.
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
    let lost = lost_sources(&ops, live).filter(|route| !touches(&ops, route));
    let lost: Vec<HostRoute> = lost.collect();
    for route in &lost {
        ops.extend(anew(route));
        let object = Object::Route(route.clone());
        let there = || Some(Value::Present);
        let after = touched.0.get(&object).map_or_else(|| vec![there()], |it| it.after.clone());
        traces.insert(object, ObjectTrace { before: there(), after, now: there() });
    }
    RollbackPlan { steps: order(added, Vec::new(), ops), foreign, traces }
}

/// What an object was before the first step on it, and what steps may have made of it; `None` is
/// its absence.
#[derive(Debug, Default)]
pub(crate) struct OpHistory {
    pub(crate) before: Option<Value>,
    after: Vec<Option<Value>>,
    /// For a service that was there: its real servers in their order.
    pub(crate) real_servers: Vec<Object>,
}

/// The objects that steps touched, with their values.
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

    /// Records what a step may have made of an object.
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

    /// Whether a step touched that object.
    pub(crate) fn contains(&self, object: &Object) -> bool {
        self.0.contains_key(object)
    }

    /// The value of an object before the first step; `None` where it was absent.
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
    /// Objects that others changed, and that stay as they are.
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

    /// Whether the service was not there before, is now, and takes nobody else's real server along.
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

    /// Whether the service was there before, and is not now.
    pub(crate) fn is_restored(&self, key: &ServiceKey) -> bool {
        let was_present = |history: &OpHistory| history.before.is_some();
        let ours = self.touched.0.get(&Object::Service(*key)).is_some_and(was_present);
        ours && !self.live.services.contains_key(key)
    }

    /// Whether this is what a step leaves behind.
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

/// Whether what is found is that value. The kernel fills in what a sync daemon was not told.
fn is_same(now: Option<&Value>, value: Option<&Value>) -> bool {
    match (now, value) {
        (Some(Value::Sync(now)), Some(Value::Sync(asked))) => asked.is_met_by(now),
        (now, value) => now == value,
    }
}

/// Whether the kernel gives such an address to every interface by itself.
pub(crate) fn is_link_local(address: std::net::IpAddr) -> bool {
    matches!(address, std::net::IpAddr::V6(address) if address.is_unicast_link_local())
}

#[cfg(test)]
mod tests;
