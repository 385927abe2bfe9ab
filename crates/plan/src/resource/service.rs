//! Virtual services: added, followed by their real servers; edited in place; deleted with their
//! real servers.

use std::fmt;

use evenkeel_model::{
    Drain, Ignore, IgnoredField, Live, NamedService, Names, Overlays, RealServers, Scheduler,
    Service, ServiceConfig, ServiceKey,
};
use serde_json::{Map, Value as Json, json};

use super::{Operation, Resource, Value, module, real_server, write_service};
use crate::cause::SpecPair;
use crate::clients::{is_reached_by_any, may_share_with_any};
use crate::difference::Difference;
use crate::field::{FieldChange, changes, real_server_fields, service_fields};
use crate::hold_back::{OmittedSteps, is_mixed};
use crate::impact_analysis::AnalysisContext;
use crate::order::Phase;
use crate::overlay::effective;
use crate::render::{Labels, arrows, count, json_fields, write_edit, write_fields};
use crate::rollback_builder::{OpHistory, RollbackBuilder, TouchedObjects};
use crate::{DrainRecords, Effect, Impact, Inputs, Object, Op, Verb, canonical};

pub(super) enum ServiceOp<'a> {
    Add { key: &'a ServiceKey, after: &'a ServiceConfig },
    Edit { key: &'a ServiceKey, before: &'a ServiceConfig, after: &'a ServiceConfig },
    Delete { key: &'a ServiceKey, before: &'a Service },
}

pub(super) struct ServiceObject(pub(super) ServiceKey);

/// Compares the services and their real servers, in the order of their keys; within a service,
/// first the real servers of the spec in its order.
pub(crate) fn diff(inputs: &Inputs<'_>, found: &mut Difference) {
    let Inputs { desired, live, record, last, overlays, .. } = *inputs;
    // Reserves the whole capacity: a growing vector would be copied again and again.
    let is_added = |(key, _): &(&ServiceKey, &NamedService)| !live.services.contains_key(key);
    let operations = |(_, named): (_, &NamedService)| 1 + named.service.real_servers.len();
    found.added.reserve_exact(desired.services.iter().filter(is_added).map(operations).sum());
    for (key, named) in &desired.services {
        match live.services.get(key) {
            None => add(key, named, overlays, found),
            Some(live) => compare(inputs, key, live, found),
        }
    }
    for (key, service) in &live.services {
        if !desired.governs(key) {
            found.out_of_scope += 1;
        } else if desired.elsewhere.services.contains(key) {
            delete(key, service, Drain::NONE, found);
        } else if !desired.services.contains_key(key) {
            // From the last spec that listed it; else from the record of its drain; else the
            // default for services.
            let known = last.and_then(|last| last.services.get(key)).map(|known| known.drain);
            let limit = known.or_else(|| started_drain(key, &record.drains));
            delete(key, service, limit.unwrap_or(desired.drain), found);
        }
    }
}

/// Returns the maximum duration of the drain that the real servers of a service have started.
fn started_drain(service: &ServiceKey, drains: &DrainRecords) -> Option<Drain> {
    drains.of_service(*service).map(|draining| draining.limit).max()
}

fn add(key: &ServiceKey, named: &NamedService, overlays: &Overlays, found: &mut Difference) {
    let real_servers = effective(key, named, overlays);
    let config = Box::new(named.service.config.clone());
    found.added.push(Op::AddService { key: *key, after: config });
    found.added.extend(real_servers.in_order().map(|(real_server, value)| Op::AddRealServer {
        service: *key,
        key: *real_server,
        after: canonical::real_server(*value),
    }));
}

fn compare(inputs: &Inputs<'_>, key: &ServiceKey, live: &Service, found: &mut Difference) {
    let Some(named) = inputs.desired.services.get(key) else { return };
    let after = leave_config(named.ignore, named.service.config.clone(), &live.config);
    if after == live.config {
        found.unchanged.services += 1;
    } else {
        let before = Box::new(live.config.clone());
        found.ops.push(Op::EditService { key: *key, before, after: Box::new(after) });
    }
    real_server::diff(inputs, key, named, &live.real_servers, found);
}

fn delete(key: &ServiceKey, live: &Service, limit: Drain, found: &mut Difference) {
    let mut before = Box::new(live.clone());
    if limit > Drain::NONE {
        for (real_server, value) in &live.real_servers {
            let (service, key, before) = (*key, *real_server, *value);
            found.ops.push(Op::DrainRealServer { service, key, before, limit });
        }
        before.real_servers.for_each_mut(|_, value| *value = value.drained());
    }
    found.ops.push(Op::DeleteService { key: *key, before });
}

/// Returns the desired configuration with the live values of the ignored fields.
pub(crate) fn leave_config(
    ignore: Ignore,
    desired: ServiceConfig,
    live: &ServiceConfig,
) -> ServiceConfig {
    let mut after = desired;
    if ignore.contains(IgnoredField::Scheduler) {
        after.scheduler = live.scheduler;
        after.scheduler_flags = live.scheduler_flags;
    }
    if ignore.contains(IgnoredField::Persistence) {
        after.persistence = live.persistence;
        after.engine.clone_from(&live.engine);
    }
    after
}

impl<'a> ServiceOp<'a> {
    fn key(&self) -> &'a ServiceKey {
        match self {
            Self::Add { key, .. } | Self::Edit { key, .. } | Self::Delete { key, .. } => key,
        }
    }
}

impl<'a> Operation<'a> for ServiceOp<'a> {
    fn verb(&self) -> Verb {
        match self {
            Self::Add { .. } => Verb::Add,
            Self::Edit { .. } => Verb::Edit,
            Self::Delete { .. } => Verb::Delete,
        }
    }

    fn object(&self) -> Object {
        Object::Service(*self.key())
    }

    fn service(&self) -> Option<ServiceKey> {
        Some(*self.key())
    }

    fn phase(&self) -> Phase {
        match self {
            Self::Add { .. } => Phase::AddRealServers,
            Self::Edit { .. } => Phase::EditServices,
            Self::Delete { .. } => Phase::DeleteServices,
        }
    }

    fn changes(&self) -> Vec<FieldChange> {
        match self {
            Self::Edit { before, after, .. } => {
                changes(service_fields(before), service_fields(after))
            }
            Self::Add { .. } | Self::Delete { .. } => Vec::new(),
        }
    }

    fn needed_modules(&self) -> Vec<String> {
        match self {
            Self::Add { after, .. } | Self::Edit { after, .. } => module::of_config(after),
            Self::Delete { .. } => Vec::new(),
        }
    }

    fn simulate(&self, state: &mut Live) {
        let services = &mut state.services;
        match *self {
            Self::Add { key, after } => {
                let (config, real_servers) = (after.clone(), RealServers::new());
                services.insert(*key, Service { config, real_servers });
            }
            Self::Edit { key, after, .. } => {
                if let Some(service) = services.get_mut(key) {
                    service.config = after.clone();
                }
            }
            Self::Delete { key, .. } => {
                services.remove(key);
            }
        }
    }

    fn record(&self, touched: &mut TouchedObjects) {
        let value = |config: &ServiceConfig| Some(Value::Service(config.clone()));
        match *self {
            Self::Add { after, .. } => touched.note(self.object(), None, value(after)),
            Self::Edit { before, after, .. } => {
                touched.note(self.object(), value(before), value(after));
            }
            Self::Delete { key, before } => {
                // The kernel deletes them with their service; a rollback adds them after it, in
                // order.
                let mut all = Vec::with_capacity(before.real_servers.len());
                for (real_server, config) in before.real_servers.in_order() {
                    let object = Object::RealServer(*key, *real_server);
                    touched.note(object.clone(), Some(real_server::value(config)), None);
                    all.push(object);
                }
                touched.note(self.object(), value(&before.config), None);
                touched.set_real_servers(self.object(), all);
            }
        }
    }

    fn impact(&self, context: &AnalysisContext<'_>, _: Option<&Op>) -> Option<Impact> {
        let effect = match *self {
            Self::Add { .. } => return None,
            Self::Edit { before, after, .. } => effect_of_edit(before, after),
            Self::Delete { key, before } => {
                if before.real_servers.is_empty() {
                    Effect::Stay
                } else if context.drained.contains(key) {
                    Effect::Drained
                } else {
                    Effect::Break { held_by: context.held_by(key) }
                }
            }
        };
        Some(context.impact_on(effect, self.key(), None))
    }

    fn is_drift(&self, specs: &SpecPair<'_>) -> Option<bool> {
        let key = self.key();
        Some(match self {
            Self::Add { .. } | Self::Edit { .. } => specs.same_service(key),
            // A service that has started to drain was removed by some spec.
            Self::Delete { .. } => specs.same_service(key) && !specs.draining.contains(key),
        })
    }

    fn note_omitted(&self, omitted: &mut OmittedSteps<'a>) {
        match *self {
            Self::Add { key, .. } => {
                omitted.not_added.insert(*key);
            }
            Self::Edit { key, .. } => {
                omitted.incomplete.insert(*key);
            }
            Self::Delete { key, before } => {
                let mut real_servers = before.real_servers.iter();
                omitted.is_mixed |= real_servers.any(|(real_server, _)| is_mixed(key, real_server));
                omitted.not_deleted.insert(*key);
            }
        }
    }

    fn is_blocked(&self, omitted: &OmittedSteps<'_>) -> bool {
        let is_missing_module =
            || self.needed_modules().iter().any(|module| omitted.modules.contains(&**module));
        match self {
            Self::Add { key, .. } => omitted.not_ready.contains(key) || is_missing_module(),
            Self::Edit { .. } => is_missing_module(),
            Self::Delete { key, .. } => {
                is_reached_by_any(key, &omitted.staying)
                    || may_share_with_any(key, &omitted.not_added)
            }
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, labels: &Labels<'_>) -> fmt::Result {
        f.write_str("service ")?;
        labels.write(f, self.key())?;
        match self {
            Self::Add { after, .. } => write_fields(f, service_fields(after)),
            Self::Edit { .. } => arrows(f, self.changes()),
            Self::Delete { before, .. } => {
                write!(f, " with {}", count(before.real_servers.len(), "real server"))
            }
        }
    }

    fn write_json(&self, step: &mut Map<String, Json>) {
        match self {
            Self::Add { after, .. } => {
                step.insert("after".to_owned(), json_fields(service_fields(after)));
            }
            Self::Edit { before, after, .. } => {
                write_edit(step, service_fields(before), service_fields(after), self.changes());
            }
            Self::Delete { before, .. } => {
                let mut value = json_fields(service_fields(&before.config));
                let all = before.real_servers.in_order();
                value["real_servers"] = all
                    .map(|(key, real_server)| {
                        let mut value = json_fields(real_server_fields(real_server));
                        value["address"] = json!(key.address);
                        value["port"] = json!(key.port);
                        value
                    })
                    .collect();
                step.insert("before".to_owned(), value);
            }
        }
    }
}

fn effect_of_edit(before: &ServiceConfig, after: &ServiceConfig) -> Effect {
    // A service without a scheduler has none to lose.
    let gap = before.scheduler != after.scheduler && before.scheduler != Scheduler::none();
    // The kernel looks up entries by the masked address, or by the data that the engine extracts
    // from a packet.
    let netmask = |config: &ServiceConfig| config.persistence.map(|it| it.netmask);
    let same_entries = netmask(before) == netmask(after) && before.engine == after.engine;
    let forgets = before.persistence.is_some() && !same_entries;
    if gap || forgets { Effect::Rescheduled { gap, forgets } } else { Effect::Stay }
}

impl Resource for ServiceObject {
    fn kind(&self) -> &'static str {
        "service"
    }

    fn write_name(&self, f: &mut fmt::Formatter<'_>, names: Option<Names<'_>>) -> fmt::Result {
        f.write_str(" ")?;
        write_service(f, names, &self.0)
    }

    fn value_in(&self, live: &Live) -> Option<Value> {
        Some(Value::Service(live.services.get(&self.0)?.config.clone()))
    }

    fn restore(&self, history: &OpHistory, now: Option<Value>, rollback: &mut RollbackBuilder<'_>) {
        let key = self.0;
        match (&history.before, now) {
            (Some(Value::Service(after)), None) => {
                rollback.added.push(Op::AddService { key, after: Box::new(after.clone()) });
                for object in &history.real_servers {
                    let before = rollback.touched.before(object);
                    rollback.added.extend(real_server::restoring(object, before, None));
                }
            }
            (Some(Value::Service(after)), Some(Value::Service(before))) => {
                let (before, after) = (Box::new(before), Box::new(after.clone()));
                rollback.ops.push(Op::EditService { key, before, after });
            }
            (None, Some(_)) => match rollback.live.services.get(&key) {
                Some(before) if rollback.is_removed(&key) => {
                    let before = Box::new(before.clone());
                    rollback.ops.push(Op::DeleteService { key, before });
                }
                // A deletion would remove real servers of other programs.
                _ => {
                    rollback.foreign.insert(Object::Service(key));
                }
            },
            _ => {}
        }
    }
}
