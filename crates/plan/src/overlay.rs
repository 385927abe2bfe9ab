//! Lays overlays over the desired state of a spec.
//!
//! spec -> (slow start -> health ->) override -> (floors ->) what is planned. Each stage is a pure function that
//! adds to [`Overlays`], which keep the cause of the highest precedence for each real server. Floors will
//! remove overlays of health; nothing removes one of an operator. Steps follow the result, guards judge the spec
//! alone.

mod records;
mod target;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use evenkeel_model::{
    Desired, IgnoredField, Live, NamedService, Overlay, OverlayCause, OverlayEffect, Overlays,
    Override, RealServer, RealServerKey, RealServers, ServiceKey, printable_name,
};
use jiff::Timestamp;

use crate::{Inputs, Object, Op, PriorState};

pub use records::{OverlaidServer, OverlayRecords};
pub use target::{UnknownTarget, overridden};

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
        let Some(listed) = named.service.real_servers.get(key) else { continue };
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
    let listed = named.service.real_servers.get(key)?;
    Some(resolved(named, listed, overlay))
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
        for ((service, key), _) in overlays.iter() {
            let Some(named) = desired.services.get(service) else { continue };
            let Some(effect) = effect_of(service, key, named, overlays) else { continue };
            let found = live.services.get(service).and_then(|it| it.real_servers.get(key));
            let drained = self.drains.0.get(&(*service, *key)).map(|it| it.weight);
            let weight = |found: &RealServer| match (found.weight, drained) {
                (0, Some(before)) => before,
                (weight, _) => weight,
            };
            let before = found.map(weight);
            let entry = self.overlaid.0.entry((*service, *key));
            entry.and_modify(|it| it.effect = effect).or_insert(OverlaidServer { effect, before });
        }
    }

    /// Records the overlays of a host that is in sync with a desired state, and forgets those that have ended.
    pub fn settle_overlays(&mut self, desired: &Desired, overlays: &Overlays, live: &Live) {
        self.begin_overlays(desired, overlays, live);
        self.overlaid.0.retain(|(service, key), _| {
            let named = desired.services.get(service);
            named.is_some_and(|named| effect_of(service, key, named, overlays).is_some())
        });
    }
}

/// Whether an operation is there because an overlay begins, changes or ends.
pub(crate) fn changed_overlay(inputs: &Inputs<'_>, op: &Op) -> bool {
    let Object::RealServer(service, key) = op.object() else { return false };
    let Inputs { desired, overlays, record, .. } = *inputs;
    let named = desired.services.get(&service);
    let now = named.and_then(|named| effect_of(&service, &key, named, overlays));
    let recorded = record.overlaid.0.get(&(service, key)).map(|it| it.effect);
    now != recorded
}

/// A real server of the spec that an overlay holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldServer {
    /// The service.
    pub service: ServiceKey,
    /// The real server.
    pub real_server: RealServerKey,
    /// The weight in the spec.
    pub spec_weight: u32,
    /// The overlay; its effect is a weight or out.
    pub overlay: Overlay,
}

/// Lists the real servers of the spec that overlays hold.
pub(crate) fn held_servers(inputs: &Inputs<'_>) -> Vec<HeldServer> {
    let Inputs { desired, overlays, .. } = *inputs;
    let held = overlays.iter().filter_map(|((service, key), overlay)| {
        let named = desired.services.get(service)?;
        let listed = named.service.real_servers.get(key)?;
        let overlay = Overlay { effect: resolved(named, listed, overlay), ..overlay.clone() };
        let (service, real_server, spec_weight) = (*service, *key, listed.weight);
        Some(HeldServer { service, real_server, spec_weight, overlay })
    });
    held.collect()
}

impl fmt::Display for HeldServer {
    /// `weight 0 (spec 5): override of root, maintenance, until 2026-01-01 14:00:00 UTC`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spec_weight, overlay, .. } = self;
        let Overlay { effect, cause, reason, since: _, until } = overlay;
        match effect.weight(*spec_weight) {
            Some(weight) if weight == *spec_weight => write!(f, "weight {weight}, as in the spec")?,
            Some(weight) => write!(f, "weight {weight} (spec {spec_weight})")?,
            None => write!(f, "out (spec: weight {spec_weight})")?,
        }
        let OverlayCause::Override { by } = cause;
        write!(f, ": override of {}", printable_name(by))?;
        if !reason.is_empty() {
            write!(f, ", {}", printable_name(reason))?;
        }
        match until {
            Some(until) => write!(f, ", until {}", utc(*until)),
            None => f.write_str(", until cleared"),
        }
    }
}

/// A time, in seconds since 1970, for people.
fn utc(seconds: u64) -> String {
    let time = Timestamp::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    // A time beyond the year 9999 cannot be formatted as a date.
    time.map_or_else(
        |_| format!("{seconds} s after 1970"),
        |time| time.strftime("%F %T UTC").to_string(),
    )
}
