//! Real servers of services: added, edited in place, drained and deleted.
//!
//! A real server that leaves drains first: a step of its own sets it to weight 0, and its deletion
//! has the value after that. A real server that is deleted only to be added again does not drain:
//! its connections resume at once.

use std::fmt;

use evenkeel_model::{
    Drain, Forward, Ignore, IgnoredField, Live, NamedService, Names, OverlayEffect, RealServer,
    RealServerKey, RealServers, ServiceKey,
};
use serde_json::{Map, Value as Json, json};

use super::{Operation, Resource, Value, write_service};
use crate::cause::SpecPair;
use crate::difference::Difference;
use crate::field::{FieldChange, changes, real_server_fields};
use crate::hold_back::{OmittedSteps, is_mixed};
use crate::impact_analysis::AnalysisContext;
use crate::order::Phase;
use crate::overlay::{effect_of, effective};
use crate::render::{Labels, arrows, json_fields, write_edit, write_fields};
use crate::rollback_builder::{OpHistory, RollbackBuilder, TouchedObjects};
use crate::{Effect, Impact, Inputs, Object, Op, OverlaidServer, Verb, canonical};

pub(super) enum RealServerOp<'a> {
    Add {
        service: &'a ServiceKey,
        key: &'a RealServerKey,
        after: &'a RealServer,
    },
    Edit {
        service: &'a ServiceKey,
        key: &'a RealServerKey,
        before: &'a RealServer,
        after: &'a RealServer,
    },
    Drain {
        service: &'a ServiceKey,
        key: &'a RealServerKey,
        before: &'a RealServer,
        limit: Drain,
    },
    Delete {
        service: &'a ServiceKey,
        key: &'a RealServerKey,
        before: &'a RealServer,
    },
}

pub(super) struct RealServerObject {
    pub(super) service: ServiceKey,
    pub(super) key: RealServerKey,
}

/// Compares the real servers of a service that stays. Those that are another program's are neither added
/// nor deleted, except that a new service gets all of the spec's, and a drain that began ends.
pub(super) fn diff(
    inputs: &Inputs<'_>,
    service: &ServiceKey,
    named: &NamedService,
    live: &RealServers,
    found: &mut Difference,
) {
    let Inputs { record, overlays, .. } = *inputs;
    let desired = effective(service, named, overlays);
    let (desired, drains) = (&*desired, &record.drains);
    let service = *service;
    let is_theirs = named.ignore.contains(IgnoredField::RealServers);
    let adds = !is_theirs || record.unfilled.contains(&service);
    let has_order = named.canonical_order && !is_theirs;
    let in_place = if has_order { kept_in_place(desired, live) } else { usize::MAX };
    for (place, (key, value)) in desired.in_order().enumerate() {
        let key = *key;
        let before = live.get(&key).copied().map(canonical::real_server);
        let drained = drains.0.get(&(service, key)).map(|it| it.weight);
        let overlay = effect_of(&service, &key, named, overlays);
        let overlaid = record.overlaid.0.get(&(service, key)).copied();
        let ignored = IgnoredFields { ignore: named.ignore, drained, overlay, overlaid };
        let desired = canonical::real_server(*value);
        let after = match before {
            Some(before) => ignored.over(desired, before),
            None => ignored.over_none(desired),
        };
        match before {
            // It is in the wrong position, or after one that is.
            _ if place >= in_place => {
                let deleted = before.map(|before| Op::DeleteRealServer { service, key, before });
                found.readded.extend(deleted);
                found.readded.push(Op::AddRealServer { service, key, after });
            }
            None if !adds => {}
            None => found.ops.push(Op::AddRealServer { service, key, after }),
            Some(before) if before == after => found.unchanged.real_servers += 1,
            Some(before) => {
                let before = Box::new(before);
                found.ops.push(Op::EditRealServer { service, key, before, after });
            }
        }
    }
    for (key, before) in live {
        let continues = || before.weight == 0 && drains.0.contains_key(&(service, *key));
        if desired.get(key).is_some() || is_theirs && !continues() {
            continue;
        }
        // An operator takes it out at once.
        let is_out = effect_of(&service, key, named, overlays).is_some();
        let limit = if is_out { Drain::NONE } else { named.drain };
        let (key, mut before) = (*key, *before);
        if limit > Drain::NONE {
            found.ops.push(Op::DrainRealServer { service, key, before, limit });
            before = before.drained();
        }
        found.ops.push(Op::DeleteRealServer { service, key, before });
    }
}

/// Returns how many real servers from the start of the spec's list can stay in place so that the
/// kernel's list ends up in the spec's order. The kernel inserts a new one before all others and
/// moves none, so all others have to be added again.
fn kept_in_place(desired: &RealServers, live: &RealServers) -> usize {
    let expected: Vec<_> = desired.in_order().map(|(key, _)| key).collect();
    let there = live.in_order().map(|(key, _)| key).filter(|key| desired.get(key).is_some());
    let mut in_place = 0;
    // Finds the longest prefix of the spec's list that the live list holds in that order, with any
    // others in between; those come later in the spec's list and move there.
    let mut passed = false;
    for key in there {
        if expected.get(in_place) == Some(&key) {
            in_place += 1;
        } else {
            passed = true;
        }
    }
    // No live real server follows them: the rest is only added, in its order.
    if passed { in_place } else { expected.len() }
}

/// The fields of a real server that are left to other programs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IgnoredFields {
    pub(crate) ignore: Ignore,
    /// The weight before its drain, if it was drained.
    pub(crate) drained: Option<u32>,
    /// The effect of the overlay that holds it: a weight or out.
    pub(crate) overlay: Option<OverlayEffect>,
    /// The record of an overlay that holds it, or held it.
    pub(crate) overlaid: Option<OverlaidServer>,
}

impl IgnoredFields {
    /// Returns the desired value of a real server that is not there: the one of the spec, but after an overlay
    /// that took it out, with an ignored weight as it was before.
    fn over_none(self, desired: RealServer) -> RealServer {
        let before = self.overlaid.and_then(|it| it.before);
        match (self.ignore.contains(IgnoredField::Weight), self.overlay, before) {
            (true, None, Some(weight)) => RealServer { weight, ..desired },
            _ => desired,
        }
    }

    /// Returns the desired value with the live values of the ignored fields. A weight of 0 from a
    /// drain of evenkeel is replaced by the weight before the drain.
    pub(crate) fn over(self, desired: RealServer, live: RealServer) -> RealServer {
        let mut after = desired;
        if self.ignore.contains(IgnoredField::Weight) {
            after.weight = match (self.overlay, self.overlaid, self.drained) {
                (Some(OverlayEffect::Weight(weight)), _, _) => weight,
                // What an overlay set is over; what another program set since stays.
                (_, Some(OverlaidServer { effect: OverlayEffect::Weight(set), before, .. }), _)
                    if live.weight == set =>
                {
                    before.unwrap_or(desired.weight)
                }
                (_, _, Some(before)) if live.weight == 0 => before,
                _ => live.weight,
            };
        }
        if self.ignore.contains(IgnoredField::UpperThreshold) {
            after.upper_threshold = live.upper_threshold;
        }
        if self.ignore.contains(IgnoredField::LowerThreshold) {
            after.lower_threshold = live.lower_threshold;
        }
        after
    }
}

/// Returns the value as rollbacks compare it.
pub(super) fn value(real_server: &RealServer) -> Value {
    Value::RealServer(canonical::real_server(*real_server))
}

/// Returns the operation that restores the value of a real server.
pub(super) fn restoring(
    object: &Object,
    before: Option<&Value>,
    now: Option<&Value>,
) -> Option<Op> {
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

impl<'a> RealServerOp<'a> {
    fn of(&self) -> &'a ServiceKey {
        match self {
            Self::Add { service, .. }
            | Self::Edit { service, .. }
            | Self::Drain { service, .. }
            | Self::Delete { service, .. } => service,
        }
    }

    fn key(&self) -> &'a RealServerKey {
        match self {
            Self::Add { key, .. }
            | Self::Edit { key, .. }
            | Self::Drain { key, .. }
            | Self::Delete { key, .. } => key,
        }
    }
}

impl<'a> Operation<'a> for RealServerOp<'a> {
    fn verb(&self) -> Verb {
        match self {
            Self::Add { .. } => Verb::Add,
            Self::Edit { .. } => Verb::Edit,
            Self::Drain { .. } => Verb::Drain,
            Self::Delete { .. } => Verb::Delete,
        }
    }

    fn object(&self) -> Object {
        Object::RealServer(*self.of(), *self.key())
    }

    fn service(&self) -> Option<ServiceKey> {
        Some(*self.of())
    }

    fn phase(&self) -> Phase {
        match self {
            Self::Add { .. } => Phase::AddRealServers,
            Self::Edit { before, after, .. } if after.weight < before.weight => {
                Phase::LowerRealServers
            }
            Self::Edit { .. } => Phase::RaiseRealServers,
            Self::Drain { .. } => Phase::DrainRealServers,
            Self::Delete { .. } => Phase::DeleteRealServers,
        }
    }

    fn changes(&self) -> Vec<FieldChange> {
        match self {
            Self::Edit { before, after, .. } => {
                changes(real_server_fields(before), real_server_fields(after))
            }
            Self::Drain { before, .. } => {
                changes(real_server_fields(before), real_server_fields(&before.drained()))
            }
            Self::Add { .. } | Self::Delete { .. } => Vec::new(),
        }
    }

    fn simulate(&self, state: &mut Live) {
        let Some(service) = state.services.get_mut(self.of()) else { return };
        let real_servers = &mut service.real_servers;
        match *self {
            Self::Add { key, after, .. } | Self::Edit { key, after, .. } => {
                real_servers.insert(*key, *after);
            }
            Self::Drain { key, .. } => {
                if let Some(real_server) = real_servers.get_mut(key) {
                    real_server.weight = 0;
                }
            }
            Self::Delete { key, .. } => {
                real_servers.remove(key);
            }
        }
    }

    fn record(&self, touched: &mut TouchedObjects) {
        let (before, after) = match self {
            Self::Add { after, .. } => (None, Some(value(after))),
            Self::Edit { before, after, .. } => (Some(value(before)), Some(value(after))),
            Self::Drain { before, .. } => (Some(value(before)), Some(value(&before.drained()))),
            Self::Delete { before, .. } => (Some(value(before)), None),
        };
        touched.note(self.object(), before, after);
    }

    fn impact(&self, context: &AnalysisContext<'_>, next: Option<&Op>) -> Option<Impact> {
        let id = (*self.of(), *self.key());
        let effect = match self {
            Self::Add { .. } => return None,
            Self::Edit { before, after, .. } => effect_of_edit(before, after),
            Self::Drain { limit, .. } => {
                let is_begun = context.drains.0.contains_key(&id);
                Effect::Drain { limit: *limit, is_begun, left: None }
            }
            Self::Delete { service, key, .. } => {
                let is_added_again = matches!(
                    next, Some(Op::AddRealServer { service: again, key: it, .. })
                        if again == *service && it == *key
                );
                if is_added_again {
                    Effect::Interrupted
                } else if context.draining.contains(&id) {
                    Effect::Drained
                } else {
                    Effect::Break { held_by: context.held_by(service) }
                }
            }
        };
        Some(context.impact_on(effect, self.of(), Some(self.key())))
    }

    fn is_drift(&self, specs: &SpecPair<'_>) -> Option<bool> {
        let (service, key) = (self.of(), self.key());
        let is_same =
            !specs.drains.0.contains_key(&(*service, *key)) && specs.same_real_server(service, key);
        Some(
            is_same
                && specs.same_membership(service)
                && match self {
                    // The ignored fields are a part of the desired state.
                    Self::Edit { .. } => specs.same_ignore(service),
                    // A listed real server is deleted only to be added again in another position.
                    Self::Add { .. } | Self::Delete { .. } => {
                        !specs.lists(service, key) || !specs.reordered.contains(service)
                    }
                    Self::Drain { .. } => true,
                },
        )
    }

    fn note_omitted(&self, omitted: &mut OmittedSteps<'a>) {
        let id = (*self.of(), *self.key());
        match self {
            Self::Add { .. } => {
                omitted.incomplete.insert(id.0);
                omitted.real_servers.insert(id);
            }
            Self::Edit { before, after, .. } => {
                if adds_capacity(before, after) {
                    omitted.incomplete.insert(id.0);
                }
            }
            // The deletion of the same real server or service follows, and records it.
            Self::Drain { .. } => {}
            Self::Delete { service, key, .. } => {
                omitted.is_mixed |= is_mixed(service, key);
                omitted.real_servers.insert(id);
            }
        }
    }

    fn is_blocked(&self, omitted: &OmittedSteps<'_>) -> bool {
        let (service, key) = (self.of(), self.key());
        let is_incomplete = || omitted.incomplete.contains(service);
        let is_omitted = || omitted.real_servers.contains(&(*service, *key));
        match self {
            Self::Add { .. } => {
                omitted.not_added.contains(service)
                    || is_omitted()
                    || omitted.lacks_source_nat(*service, *key)
                    || omitted.is_synced && is_mixed(service, key)
            }
            Self::Edit { before, after, .. } => {
                after.weight < before.weight && is_incomplete()
                    || before.forward != after.forward
                        && after.forward == Forward::Nat
                        && omitted.lacks_source_nat(*service, *key)
            }
            Self::Drain { .. } => is_incomplete() || omitted.not_deleted.contains(service),
            Self::Delete { .. } => is_incomplete() || is_omitted(),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, labels: &Labels<'_>) -> fmt::Result {
        let preposition = if matches!(self, Self::Add { .. }) { "to" } else { "of" };
        write!(f, "real server {} {preposition} ", self.key())?;
        labels.write(f, self.of())?;
        match self {
            Self::Add { after: value, .. } | Self::Delete { before: value, .. } => {
                write_fields(f, real_server_fields(value))
            }
            Self::Edit { .. } => arrows(f, self.changes()),
            Self::Drain { before, limit, .. } => {
                match before.weight {
                    0 => f.write_str(": weight 0")?,
                    weight => write!(f, ": weight {weight} -> 0")?,
                }
                write!(f, ", for {limit} at most")
            }
        }
    }

    fn write_json(&self, step: &mut Map<String, Json>) {
        let RealServerKey { address, port } = self.key();
        step.insert("real_server".to_owned(), json!({ "address": address, "port": port }));
        let fields = real_server_fields;
        match self {
            Self::Add { after, .. } => {
                step.insert("after".to_owned(), json_fields(fields(after)));
            }
            Self::Edit { before, after, .. } => {
                write_edit(step, fields(before), fields(after), self.changes());
            }
            Self::Drain { before, limit, .. } => {
                step.insert("limit".to_owned(), json!(limit));
                write_edit(step, fields(before), fields(&before.drained()), self.changes());
            }
            Self::Delete { before, .. } => {
                step.insert("before".to_owned(), json_fields(fields(before)));
            }
        }
    }
}

fn effect_of_edit(before: &RealServer, after: &RealServer) -> Effect {
    let forward = |it: &RealServer| canonical::real_server(*it).forward;
    match (forward(before), forward(after)) {
        (Forward::Tun(one), Forward::Tun(other)) if one != other => Effect::Rewrapped,
        (one, other) if one != other => Effect::KeepForward { to_direct: other == Forward::Dr },
        _ if after.weight == 0 && before.weight > 0 => Effect::Quiesced,
        _ => Effect::Stay,
    }
}

/// Whether an edit may replace capacity that another step takes: any edit except one that only
/// lowers.
fn adds_capacity(before: &RealServer, after: &RealServer) -> bool {
    let lowered = RealServer { weight: after.weight, ..*before };
    after.weight >= before.weight || *after != lowered
}

impl Resource for RealServerObject {
    fn kind(&self) -> &'static str {
        "real server"
    }

    fn write_name(&self, f: &mut fmt::Formatter<'_>, names: Option<Names<'_>>) -> fmt::Result {
        write!(f, " {} of ", self.key)?;
        write_service(f, names, &self.service)
    }

    fn value_in(&self, live: &Live) -> Option<Value> {
        let real_server = live.services.get(&self.service)?.real_servers.get(&self.key)?;
        Some(value(real_server))
    }

    fn restore(&self, history: &OpHistory, now: Option<Value>, rollback: &mut RollbackBuilder<'_>) {
        let Self { service, key } = *self;
        let object = Object::RealServer(service, key);
        // It is added or deleted with its service.
        let is_there = rollback.live.services.contains_key(&service);
        if is_there && !rollback.is_removed(&service) {
            rollback.ops.extend(restoring(&object, history.before.as_ref(), now.as_ref()));
        } else if !rollback.is_restored(&service) && !rollback.is_removed(&service) {
            rollback.foreign.insert(object);
        }
    }
}
