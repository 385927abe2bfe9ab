//! Overlays of health checks: what is down gets no connections, and what has come up gets them slowly.

use std::time::Duration;

use evenkeel_model::{
    Desired, HealthFacts, HealthPolicy, NamedService, OnFailure, Overlay, OverlayCause,
    OverlayEffect, Overlays, RealServerKey, ServerHealth, ServiceKey,
};

/// In how many steps a weight grows: each takes a pass and an edit of the real server.
const STEPS: u128 = 20;

/// Adds the overlays of real servers that are down, and of those that came up a short time ago.
pub(super) fn add(overlays: &mut Overlays, desired: &Desired, facts: &HealthFacts) {
    for ((service, key), health) in &facts.servers {
        let Some(named) = desired.services.get(service) else { continue };
        let overlay = overlay(named, key, health);
        if let Some(overlay) = overlay {
            overlays.insert(*service, *key, overlay);
        }
    }
}

fn overlay(named: &NamedService, key: &RealServerKey, health: &ServerHealth) -> Option<Overlay> {
    let policy = &named.health.as_ref()?.policy;
    // Those of the fallback pool are in use only if the floors ask for them.
    let listed = named.service.real_servers.get(key)?;
    if !health.is_up() {
        let effect = failed(policy, health);
        let (since, reason) = (health.since, health.reason.clone());
        return Some(Overlay { effect, cause: OverlayCause::Health, reason, since, until: None });
    }
    let risen = health.risen.filter(|risen| *risen < policy.slow_start)?;
    let weight = grown(listed.weight, risen, policy.slow_start);
    (weight < listed.weight).then(|| Overlay {
        effect: OverlayEffect::Weight(weight),
        cause: OverlayCause::SlowStart,
        reason: "".into(),
        since: health.since,
        until: Some(health.since.saturating_add(policy.slow_start.as_secs())),
    })
}

/// What a failure does. The kernel sends the packets of existing connections to a real server until it is
/// removed. One that has none stays, for a removal has a price: its place in the list, and the kernel's trash list.
fn failed(policy: &HealthPolicy, health: &ServerHealth) -> OverlayEffect {
    let is_cut = health.holds_connections && health.age >= policy.cut_after && !health.is_assumed;
    match policy.on_failure {
        OnFailure::Remove => OverlayEffect::Out,
        OnFailure::Weight0 if is_cut => OverlayEffect::Out,
        OnFailure::Weight0 => OverlayEffect::Weight(0),
    }
}

/// The share of a weight after this part of its slow start; at least 1.
fn grown(weight: u32, risen: Duration, slow_start: Duration) -> u32 {
    let step = risen.as_millis() * STEPS / slow_start.as_millis().max(1);
    let grown = u128::from(weight) * step.min(STEPS) / STEPS;
    u32::try_from(grown).unwrap_or(weight).max(1).min(weight)
}

/// The time until health changes an overlay by itself: the next step of a slow start, the end of `cut_after`.
/// `None` if none does.
pub fn next_overlay_change(desired: &Desired, facts: &HealthFacts) -> Option<Duration> {
    let of_server = |(service, key): &(ServiceKey, RealServerKey), health: &ServerHealth| {
        let named = desired.services.get(service)?;
        let policy = &named.health.as_ref()?.policy;
        named.service.real_servers.get(key)?;
        match health.is_up() {
            true => {
                let risen = health.risen.filter(|risen| *risen < policy.slow_start)?;
                let step = policy.slow_start.div_f64(STEPS as f64).max(Duration::from_millis(200));
                let next = (risen.as_millis() / step.as_millis().max(1) + 1) * step.as_millis();
                let next = Duration::from_millis(u64::try_from(next).unwrap_or(u64::MAX));
                Some(next.min(policy.slow_start).saturating_sub(risen))
            }
            false => {
                let left = policy.cut_after.checked_sub(health.age).filter(|it| !it.is_zero())?;
                (policy.on_failure == OnFailure::Weight0).then_some(left)
            }
        }
    };
    facts.servers.iter().filter_map(|(place, health)| of_server(place, health)).min()
}
