//! What is known of the real servers of a spec, from the states of their checks.

use std::collections::BTreeSet;

use evenkeel_health::{Basis, CheckId, Hysteresis, Moment, Outcome};
use evenkeel_model::{
    Desired, HealthFacts, Live, OverlayEffect, RealServerKey, ServerHealth, ServiceKey, Verdict,
};
use evenkeel_plan::OverlayRecords;

use super::CheckedServers;
use super::checked_servers::first_verdict;

/// The time by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct HealthClock {
    /// Since the boot.
    pub moment: Moment,
    /// Since 1970, in seconds.
    pub wall: u64,
}

/// What the facts follow from.
#[derive(Clone, Copy)]
pub struct FactInputs<'a> {
    /// The spec.
    pub desired: &'a Desired,
    /// Its checks.
    pub checked: &'a CheckedServers,
    /// The state of a check; `None`: nothing is known of it yet.
    pub state: &'a dyn Fn(&CheckId) -> Option<&'a Hysteresis>,
    /// What the last probe of a check found; `None`: nothing, or it is not known.
    pub last: &'a dyn Fn(&CheckId) -> Option<Outcome>,
    /// The live state.
    pub live: &'a Live,
    /// The overlays that the journal records.
    pub overlaid: &'a OverlayRecords,
    /// The real servers that were found to have connections or persistence entries.
    pub holding: &'a BTreeSet<(ServiceKey, RealServerKey)>,
    /// The time.
    pub now: HealthClock,
}

impl HealthClock {
    /// Reads both clocks.
    pub fn now() -> Self {
        Self { moment: Moment::now(), wall: crate::now() }
    }

    /// A moment in seconds since 1970.
    fn wall_at(&self, moment: Moment) -> u64 {
        self.wall.saturating_sub(self.moment.since(moment).as_secs())
    }
}

/// Returns what is known, without anything about services.
pub fn health_facts(inputs: FactInputs<'_>) -> HealthFacts {
    let servers = inputs.checked.iter();
    let servers =
        servers.map(|((service, key), ids)| ((*service, *key), server(inputs, service, key, ids)));
    HealthFacts { servers: servers.collect(), ..HealthFacts::default() }
}

fn server(
    inputs: FactInputs<'_>,
    service: &ServiceKey,
    key: &RealServerKey,
    ids: &[CheckId],
) -> ServerHealth {
    let FactInputs { desired, state, last, live, overlaid, holding, now, checked: _ } = inputs;
    let place = (*service, *key);
    let was_cut = overlaid.0.get(&place).is_some_and(|it| it.effect == OverlayEffect::Out);
    let is_there = || {
        let found = live.services.get(service);
        found.is_some_and(|found| found.real_servers.get(key).is_some())
    };
    // One that was removed because connections hung would come back without any.
    let holds_connections = holding.contains(&place) || was_cut && !is_there();
    let mut known: Vec<&Hysteresis> = ids.iter().filter_map(state).collect();
    let assumed = Hysteresis::assumed(first_verdict(desired, live, service, key), now.moment);
    if known.len() < ids.len() {
        known.push(&assumed);
    }
    // The failure that was first says since when, and why.
    let down = known.iter().filter(|it| it.verdict() == Verdict::Down);
    let deciding = down.min_by_key(|it| it.since());
    let deciding = deciding.or_else(|| known.iter().max_by_key(|it| it.since()));
    let deciding = deciding.copied().unwrap_or(&assumed);
    let is_assumed = deciding.basis() == Basis::Assumed;
    let reason = match (deciding.verdict(), deciding.last_failure()) {
        (Verdict::Up, _) => String::new(),
        (Verdict::Down, _) if deciding.held_until().is_some() => "flapping".to_owned(),
        (Verdict::Down, Some(failure)) => failure.to_string(),
        (Verdict::Down, None) => "no result yet".to_owned(),
    };
    // Why there is no result, whatever holds meanwhile.
    let unknown = ids.iter().filter_map(last).find(|it| matches!(it, Outcome::Unknown(_)));
    let reason = match unknown {
        Some(unknown) if is_assumed || reason.is_empty() => unknown.to_string(),
        _ => reason,
    };
    let risen = known.iter().filter_map(|it| it.risen()).max();
    ServerHealth {
        verdict: deciding.verdict(),
        age: now.moment.since(deciding.since()),
        since: now.wall_at(deciding.since()),
        risen: risen
            .filter(|_| deciding.verdict() == Verdict::Up)
            .map(|risen| now.moment.since(risen)),
        reason: reason.into(),
        is_assumed,
        holds_connections,
    }
}
