//! The way back from steps that were carried out, in whole or in part, to what was there before.
//!
//! Every step knows its object before and after. What is found now decides: an object that is as
//! it was needs nothing, one that is as a step left it goes back, and one that is neither was
//! changed by someone else and is left alone. The way back is a plan like any other, in the order
//! of [`crate::order`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use evenkeel_model::{
    Live, RealServer, Scheduler, ServiceConfig, ServiceKey, SyncDaemon, Timeouts,
};

use crate::field::{real_server_fields, service_fields, timeout_fields};
use crate::order::order;
use crate::render::list;
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
            Some(Value::Present) => f.write_str("there"),
            Some(Value::Sysctl(value)) => f.write_str(value),
            Some(Value::Timeouts(timeouts)) => list(f, timeout_fields(timeouts)),
            Some(Value::Sync(daemon)) => write!(f, "{daemon}"),
            Some(Value::Service(config)) => list(f, service_fields(config)),
            Some(Value::RealServer(real_server)) => list(f, real_server_fields(real_server)),
        }
    }
}

/// Plans the way back from `done`, which may have been carried out or not, given what is found
/// now. Kernel modules stay loaded: nothing depends on their absence.
pub fn rollback_plan(done: &[Op], live: &Live) -> RollbackPlan {
    let touched = touched(done);
    let mut builder = RollbackBuilder {
        touched: &touched,
        live,
        added: Vec::new(),
        ops: Vec::new(),
        foreign: BTreeSet::new(),
        traces: BTreeMap::new(),
    };
    for (object, history) in &touched {
        builder.restore(object, history);
    }
    let RollbackBuilder { added, ops, foreign, traces, .. } = builder;
    RollbackPlan { steps: order(added, Vec::new(), ops), foreign, traces }
}

/// What an object was before the first step on it, and what steps may have made of it; `None` is
/// its absence.
#[derive(Debug, Default)]
struct OpHistory {
    before: Option<Value>,
    after: Vec<Option<Value>>,
    /// For a service that was there: its real servers in their order.
    real_servers: Vec<Object>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Sysctl(Box<str>),
    Timeouts(Timeouts),
    Sync(SyncDaemon),
    Service(ServiceConfig),
    RealServer(RealServer),
    /// All there is to say of an address or a dummy device.
    Present,
}

fn touched(done: &[Op]) -> BTreeMap<Object, OpHistory> {
    let mut touched = BTreeMap::new();
    let mut note = |object: Object, before: Option<Value>, after: Option<Value>| {
        let first = || OpHistory { before, ..OpHistory::default() };
        touched.entry(object).or_insert_with(first).after.push(after);
    };
    for op in done {
        let object = op.object();
        let real_server = |value: &RealServer| Value::RealServer(canonical::real_server(*value));
        match op {
            // What was loaded or brought up stays so: it takes nothing from anyone.
            Op::AddModule { .. } | Op::EditDummy { .. } => {}
            Op::EditSysctl { before, after, .. } => {
                let value = |value: &str| Some(Value::Sysctl(value.into()));
                note(object, value(before), value(after));
            }
            Op::EditTimeouts { before, after } => {
                note(object, Some(Value::Timeouts(*before)), Some(Value::Timeouts(*after)));
            }
            Op::AddSync { after, .. } => note(object, None, Some(Value::Sync((**after).clone()))),
            Op::DeleteSync { before, .. } => {
                note(object, Some(Value::Sync((**before).clone())), None);
            }
            Op::AddDummy { .. } | Op::Bind { .. } => note(object, None, Some(Value::Present)),
            Op::DeleteDummy { .. } | Op::Unbind { .. } => note(object, Some(Value::Present), None),
            Op::AddService { after, .. } => {
                note(object, None, Some(Value::Service((**after).clone())));
            }
            Op::EditService { before, after, .. } => {
                let value = |config: &ServiceConfig| Some(Value::Service(config.clone()));
                note(object, value(before), value(after));
            }
            Op::DeleteService { key, before } => {
                for (real_server_key, value) in before.real_servers.in_order() {
                    let object = Object::RealServer(*key, *real_server_key);
                    note(object, Some(real_server(value)), None);
                }
                note(object, Some(Value::Service(before.config.clone())), None);
            }
            Op::AddRealServer { after, .. } => note(object, None, Some(real_server(after))),
            Op::EditRealServer { before, after, .. } => {
                note(object, Some(real_server(before)), Some(real_server(after)));
            }
            Op::DrainRealServer { before, .. } => {
                note(object, Some(real_server(before)), Some(real_server(&before.drained())));
            }
            Op::DeleteRealServer { before, .. } => note(object, Some(real_server(before)), None),
        }
    }
    // The kernel deleted them with their service; they come back behind it, in their order.
    for op in done {
        if let Op::DeleteService { key, before } = op {
            let all = before.real_servers.in_order();
            let all = all.map(|(real_server, _)| Object::RealServer(*key, *real_server)).collect();
            if let Some(history) = touched.get_mut(&Object::Service(*key)) {
                history.real_servers = all;
            }
        }
    }
    touched
}

struct RollbackBuilder<'a> {
    touched: &'a BTreeMap<Object, OpHistory>,
    live: &'a Live,
    added: Vec<Op>,
    ops: Vec<Op>,
    foreign: BTreeSet<Object>,
    traces: BTreeMap<Object, ObjectTrace>,
}

impl RollbackBuilder<'_> {
    fn restore(&mut self, object: &Object, history: &OpHistory) {
        let now = self.now(object);
        if is_same(now.as_ref(), history.before.as_ref()) {
            return;
        }
        let (before, after) = (history.before.clone(), history.after.clone());
        self.traces.insert(object.clone(), ObjectTrace { before, after, now: now.clone() });
        if !self.is_ours(history, now.as_ref()) {
            self.foreign.insert(object.clone());
            return;
        }
        match object {
            Object::Module(_) => {}
            Object::Service(key) => self.service(key, history, now),
            Object::RealServer(service, _) => {
                // With a service that comes or goes, its real servers do.
                if self.now(&Object::Service(*service)).is_some() && !self.is_removed(service) {
                    let op = real_server(object, history.before.as_ref(), now.as_ref());
                    self.ops.extend(op);
                } else if !self.is_restored(service) && !self.is_removed(service) {
                    self.foreign.insert(object.clone());
                }
            }
            Object::Sysctl(key) => {
                if let (Some(Value::Sysctl(before)), Some(Value::Sysctl(after))) =
                    (now, &history.before)
                {
                    let (key, after) = (key.clone(), after.clone());
                    self.ops.push(Op::EditSysctl { key, before, after });
                }
            }
            Object::Timeouts => {
                if let (Some(Value::Timeouts(before)), Some(Value::Timeouts(after))) =
                    (now, &history.before)
                {
                    self.ops.push(Op::EditTimeouts { before, after: *after });
                }
            }
            Object::Sync(state) => {
                if let Some(Value::Sync(before)) = now {
                    self.ops.push(Op::DeleteSync { state: *state, before: Box::new(before) });
                }
                if let Some(Value::Sync(after)) = &history.before {
                    let after = Box::new(after.clone());
                    self.ops.push(Op::AddSync { state: *state, after });
                }
            }
            Object::Dummy(interface) => self.dummy(interface, history),
            Object::Vip(binding) => {
                let binding = binding.clone();
                self.ops.push(match history.before {
                    Some(_) => Op::Bind { binding },
                    None => Op::Unbind { binding },
                });
            }
        }
    }

    fn service(&mut self, key: &ServiceKey, history: &OpHistory, now: Option<Value>) {
        let key = *key;
        match (&history.before, now) {
            (Some(Value::Service(after)), None) => {
                self.added.push(Op::AddService { key, after: Box::new(after.clone()) });
                for object in &history.real_servers {
                    let before = self.touched.get(object).and_then(|it| it.before.as_ref());
                    self.added.extend(real_server(object, before, None));
                }
            }
            (Some(Value::Service(after)), Some(Value::Service(before))) => {
                let (before, after) = (Box::new(before), Box::new(after.clone()));
                self.ops.push(Op::EditService { key, before, after });
            }
            (None, Some(_)) => match self.live.services.get(&key) {
                Some(before) if self.is_removed(&key) => {
                    let before = Box::new(before.clone());
                    self.ops.push(Op::DeleteService { key, before });
                }
                // Someone else's real servers would go with it.
                _ => {
                    self.foreign.insert(Object::Service(key));
                }
            },
            _ => {}
        }
    }

    fn dummy(&mut self, interface: &str, history: &OpHistory) {
        if history.before.is_some() {
            self.ops.push(Op::AddDummy { interface: interface.into() });
            return;
        }
        // Someone else's addresses would go with it. Those of the kernel's own making do.
        let bound = self.live.addresses.keys().filter(|binding| *binding.interface == *interface);
        let mut foreign = bound.filter(|binding| {
            !self.touched.contains_key(&Object::Vip((*binding).clone()))
                && !is_link_local(binding.address)
        });
        if foreign.next().is_some() {
            self.foreign.insert(Object::Dummy(interface.into()));
        } else {
            self.ops.push(Op::DeleteDummy { interface: interface.into() });
        }
    }

    /// Whether the service was not there before, is now, and takes nobody else's real server along.
    fn is_removed(&self, key: &ServiceKey) -> bool {
        let was_absent = |history: &OpHistory| history.before.is_none();
        let ours = self.touched.get(&Object::Service(*key)).is_some_and(was_absent);
        let Some(service) = self.live.services.get(key) else {
            return false;
        };
        ours && service.real_servers.iter().all(|(real_server, value)| {
            let history = self.touched.get(&Object::RealServer(*key, *real_server));
            let now = Value::RealServer(canonical::real_server(*value));
            history.is_some_and(|it| it.before.is_none() && self.is_ours(it, Some(&now)))
        })
    }

    /// Whether the service was there before, and is not now.
    fn is_restored(&self, key: &ServiceKey) -> bool {
        let was_present = |history: &OpHistory| history.before.is_some();
        let ours = self.touched.get(&Object::Service(*key)).is_some_and(was_present);
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

    fn now(&self, object: &Object) -> Option<Value> {
        let Live { services, addresses, links, timeouts, sync, sysctls, modules: _ } = self.live;
        Some(match object {
            Object::Module(_) => return None,
            Object::Sysctl(key) => Value::Sysctl(sysctls.get(key)?.clone()),
            Object::Timeouts => Value::Timeouts((*timeouts)?),
            Object::Sync(state) => Value::Sync(sync.get(state)?.clone()),
            Object::Dummy(interface) => links.as_ref()?.get(interface).map(|_| Value::Present)?,
            Object::Service(key) => Value::Service(services.get(key)?.config.clone()),
            Object::RealServer(service, key) => {
                let real_server = services.get(service)?.real_servers.get(key)?;
                Value::RealServer(canonical::real_server(*real_server))
            }
            Object::Vip(binding) => addresses.get(binding).map(|_| Value::Present)?,
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

fn is_link_local(address: std::net::IpAddr) -> bool {
    matches!(address, std::net::IpAddr::V6(address) if address.is_unicast_link_local())
}

/// The operation that gives a real server its value back.
fn real_server(object: &Object, before: Option<&Value>, now: Option<&Value>) -> Option<Op> {
    let Object::RealServer(service, key) = *object else {
        return None;
    };
    match (before, now) {
        (Some(Value::RealServer(after)), None) => {
            Some(Op::AddRealServer { service, key, after: *after })
        }
        (Some(Value::RealServer(after)), Some(Value::RealServer(now))) => {
            Some(Op::EditRealServer { service, key, before: Box::new(*now), after: *after })
        }
        (None, Some(Value::RealServer(now))) => {
            Some(Op::DeleteRealServer { service, key, before: *now })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
