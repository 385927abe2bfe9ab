//! Collects the operations of a rollback, object by object.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{Live, Scheduler, ServiceConfig, ServiceKey};

use crate::value::Value;
use crate::{Object, Op, canonical};

/// The values of an object from before the first step on it until now. Its text form lists them in
/// sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectTrace {
    pub(crate) before: Option<Value>,
    /// The values that steps set, or would have set.
    pub(crate) after: Vec<Option<Value>>,
    pub(crate) now: Option<Value>,
}

/// The value of an object before the first step on it, and the values that steps may have set;
/// `None` means absent.
#[derive(Debug, Default)]
pub(crate) struct OpHistory {
    pub(crate) before: Option<Value>,
    pub(crate) after: Vec<Option<Value>>,
    /// For a service that existed: its real servers in their order.
    pub(crate) real_servers: Vec<Object>,
    /// For a sysctl: whether the first step on it restored it.
    pub(crate) is_restored: bool,
}

/// The objects that steps changed, with their values.
#[derive(Debug, Default)]
pub(crate) struct TouchedObjects(pub(crate) BTreeMap<Object, OpHistory>);

impl TouchedObjects {
    pub(crate) fn of(done: &[Op]) -> Self {
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

    /// Records the value of a sysctl that a step may have set; `is_restored` if it restored it.
    pub(crate) fn note_sysctl(
        &mut self,
        key: &str,
        before: Option<Value>,
        after: Option<Value>,
        is_restored: bool,
    ) {
        let first = || OpHistory { before, is_restored, ..OpHistory::default() };
        self.0.entry(Object::Sysctl(key.into())).or_insert_with(first).after.push(after);
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
    pub(crate) traces: BTreeMap<Object, ObjectTrace>,
    /// The interfaces with addresses of other programs, once they were asked for.
    pub(crate) used: Option<BTreeSet<&'a str>>,
    /// Whether a service is removed ([`Self::is_removed`]), of those that were asked for.
    pub(crate) removed: BTreeMap<ServiceKey, bool>,
}

impl RollbackBuilder<'_> {
    /// Adds what restores an object, unless it has its value from before or another program changed it.
    pub(crate) fn restore(&mut self, object: &Object, history: &OpHistory) {
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
    pub(crate) fn is_removed(&mut self, key: &ServiceKey) -> bool {
        if let Some(known) = self.removed.get(key) {
            return *known;
        }
        let found = self.holds_no_others(key);
        self.removed.insert(*key, found);
        found
    }

    fn holds_no_others(&self, key: &ServiceKey) -> bool {
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
