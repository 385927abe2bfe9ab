//! Lays overlays over the desired state of a spec.
//!
//! spec -> slow start and health -> override -> floors -> what is planned. Each stage is a pure function that
//! adds to [`Overlays`], which keep the cause of the highest precedence for each real server. Floors retain what
//! health took out, and nothing removes an overlay of an operator. Steps follow the result, guards judge the
//! spec alone.

mod floors;
mod health;
mod held;
mod records;
mod target;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeSet;

use evenkeel_model::{
    Desired, HealthFacts, HostObject, IgnoredField, Live, NamedService, Overlay, OverlayCause,
    OverlayEffect, Overlays, Override, RealServer, RealServerKey, RealServers, ServiceKey,
};

use crate::{Inputs, Object, Op, PriorState};

pub use health::next_overlay_change;
pub use held::HeldServer;
pub(crate) use held::held_servers;
pub use records::{OverlaidServer, OverlayOrigin, OverlayRecords};
pub use target::{UnknownTarget, overridden};

/// What decides about overlays.
#[derive(Debug, Clone, Copy)]
pub struct OverlayInputs<'a> {
    /// The desired state of the spec.
    pub desired: &'a Desired,
    /// The overrides that last, in the order of their commands.
    pub overrides: &'a [Override],
    /// What the health checks found.
    pub health: &'a HealthFacts,
    /// The live state.
    pub live: &'a Live,
}

/// Overlays, with what the next ones depend on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaidOverlays {
    /// The overlays.
    pub overlays: Overlays,
    /// The services with checks that have their quorum.
    pub with_quorum: BTreeSet<ServiceKey>,
}

/// Returns the overlays of a host.
pub fn lay_overlays(inputs: OverlayInputs<'_>) -> LaidOverlays {
    let OverlayInputs { desired, overrides, health, live } = inputs;
    let mut overlays = overrides_to_overlays(overrides, desired);
    health::add(&mut overlays, desired, health);
    let with_quorum = floors::add(&mut overlays, desired, health, live);
    LaidOverlays { overlays, with_quorum }
}

/// Returns the overlays of operators' overrides. A later override is above an earlier one.
pub fn overrides_to_overlays(overrides: &[Override], desired: &Desired) -> Overlays {
    let mut overlays = Overlays::default();
    for it in overrides {
        for (service, real_server) in target::matching(&it.target, desired) {
            let cause = OverlayCause::Override { by: it.by.clone() };
            let Override { effect, since, until, reason, .. } = it;
            let (effect, since, until) = (*effect, *since, *until);
            let overlay = Overlay { effect, cause, reason: reason.clone(), since, until };
            overlays.insert(service, real_server, overlay);
        }
    }
    overlays
}

/// Returns the real servers that a service shall have, copied only if an overlay concerns one.
pub(crate) fn effective<'a>(
    service: &ServiceKey,
    named: &'a NamedService,
    overlays: &Overlays,
) -> Cow<'a, RealServers> {
    let mut real_servers = Cow::Borrowed(&named.service.real_servers);
    if overlays.is_empty() {
        return real_servers;
    }
    for (key, overlay) in overlays.of_service(*service) {
        let Some(listed) = listed(named, key) else { continue };
        match resolved(named, listed, overlay).over(*listed) {
            Some(held) => drop(real_servers.to_mut().insert(*key, held)),
            None => drop(real_servers.to_mut().remove(key)),
        }
    }
    real_servers
}

/// Returns the effect of the overlay of a listed real server, as a weight or out; `None` without one.
pub(crate) fn effect_of(
    service: &ServiceKey,
    key: &RealServerKey,
    named: &NamedService,
    overlays: &Overlays,
) -> Option<OverlayEffect> {
    let overlay = overlays.get(service, key)?;
    Some(resolved(named, listed(named, key)?, overlay))
}

/// A real server of the spec, be it of the fallback pool.
fn listed<'a>(named: &'a NamedService, key: &RealServerKey) -> Option<&'a RealServer> {
    let fallback = || named.health.as_ref()?.fallback_server(key);
    named.service.real_servers.get(key).or_else(fallback)
}

/// Returns the desired state by which guards judge: with the live real servers of fallback pools, which are no
/// change of the spec, be they in use or no longer.
pub(crate) fn with_live_fallback<'a>(desired: &'a Desired, live: &Live) -> Cow<'a, Desired> {
    let mut judged = Cow::Borrowed(desired);
    for (service, named) in &desired.services {
        let Some(fallback) = named.health.as_ref().and_then(|it| it.fallback.as_ref()) else {
            continue;
        };
        let Some(found) = live.services.get(service) else { continue };
        let is_there = |key: &RealServerKey| found.real_servers.get(key).is_some();
        for (key, server) in fallback.real_servers.iter().filter(|(key, _)| is_there(key)) {
            if let Some(named) = judged.to_mut().services.get_mut(service) {
                named.service.real_servers.insert(*key, *server);
            }
        }
    }
    judged
}

/// Returns the desired state without the VIPs that are withheld and what depends on them.
pub(crate) fn without_withheld<'a>(desired: &'a Desired, overlays: &Overlays) -> Cow<'a, Desired> {
    let withheld = &overlays.withheld_vips;
    if withheld.is_empty() {
        return Cow::Borrowed(desired);
    }
    let mut reduced = desired.clone();
    reduced.vips.retain(|binding, _| !withheld.contains_key(&binding.address));
    reduced.host_objects.retain(|object, _| {
        let is_route = matches!(object, HostObject::Route(_));
        !(is_route && object.address().is_some_and(|it| withheld.contains_key(&it)))
    });
    Cow::Owned(reduced)
}

/// Where another program decides which real servers a service has, none is taken out: it gets no new
/// connections.
fn resolved(named: &NamedService, listed: &RealServer, overlay: &Overlay) -> OverlayEffect {
    let is_theirs = named.ignore.contains(IgnoredField::RealServers);
    match overlay.effect.weight(listed.weight) {
        Some(weight) => OverlayEffect::Weight(weight),
        None if is_theirs => OverlayEffect::Weight(0),
        None => OverlayEffect::Out,
    }
}

impl PriorState {
    /// Records the overlays of a desired state before they are put into force, with the live weights before
    /// them; before a drain, if one runs.
    pub fn begin_overlays(&mut self, desired: &Desired, overlays: &Overlays, live: &Live) {
        for ((service, key), overlay) in overlays.iter() {
            let Some(named) = desired.services.get(service) else { continue };
            let Some(effect) = effect_of(service, key, named, overlays) else { continue };
            let found = live.services.get(service).and_then(|it| it.real_servers.get(key));
            let drained = self.drains.0.get(&(*service, *key)).map(|it| it.weight);
            let weight = |found: &RealServer| match (found.weight, drained) {
                (0, Some(before)) => before,
                (weight, _) => weight,
            };
            let before = found.map(weight);
            let origin = OverlayOrigin::of(&overlay.cause);
            let entry = self.overlaid.0.entry((*service, *key));
            let it = entry.or_insert(OverlaidServer { effect, before, origin });
            (it.effect, it.origin) = (effect, origin);
        }
        self.withheld_vips.extend(overlays.withheld_vips.keys());
    }

    /// Records the overlays of a host that is in sync with a desired state, and forgets those that have ended.
    pub fn settle_overlays(&mut self, desired: &Desired, overlays: &Overlays, live: &Live) {
        self.begin_overlays(desired, overlays, live);
        self.overlaid.0.retain(|(service, key), _| {
            let named = desired.services.get(service);
            named.is_some_and(|named| effect_of(service, key, named, overlays).is_some())
        });
        self.withheld_vips.retain(|vip| overlays.withheld_vips.contains_key(vip));
    }
}

/// Who asked for an operation that is there because an overlay begins, changes or ends; `None` of all others.
pub(crate) fn changed_overlay(inputs: &Inputs<'_>, op: &Op) -> Option<OverlayOrigin> {
    let Inputs { desired, overlays, record, .. } = *inputs;
    let (service, key) = match op.object() {
        Object::RealServer(service, key) => (service, key),
        Object::Vip(binding) => {
            let is_withheld = overlays.withheld_vips.contains_key(&binding.address);
            let was_withheld = record.withheld_vips.contains(&binding.address);
            return (is_withheld || was_withheld).then_some(OverlayOrigin::Health);
        }
        _ => return None,
    };
    let named = desired.services.get(&service);
    let now = named.and_then(|named| effect_of(&service, &key, named, overlays));
    let recorded = record.overlaid.0.get(&(service, key));
    if now == recorded.map(|it| it.effect) {
        return None;
    }
    let origin = overlays.get(&service, &key).map(|it| OverlayOrigin::of(&it.cause));
    origin.or(recorded.map(|it| it.origin))
}

/// Whether an operation is there for what no spec lists now: a real server of a fallback pool that begins to serve or
/// no longer does, or a VIP that is given up.
pub(crate) fn is_beside_the_spec(inputs: &Inputs<'_>, op: &Op) -> bool {
    let Inputs { desired, overlays, .. } = *inputs;
    match op.object() {
        Object::RealServer(service, key) => {
            let health = desired.services.get(&service).and_then(|named| named.health.as_ref());
            health.is_some_and(|health| health.fallback_server(&key).is_some())
                && changed_overlay(inputs, op).is_some()
        }
        Object::Vip(binding) => overlays.withheld_vips.contains_key(&binding.address),
        _ => false,
    }
}
