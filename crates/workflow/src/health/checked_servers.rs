//! The checks of each real server of a spec.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use evenkeel_health::{CheckId, Job};
use evenkeel_model::check::{Check, Target};
use evenkeel_model::{Desired, Initial, Live, RealServerKey, ServiceKey, Verdict};

/// The identities of the checks of each real server that has some, those of fallback pools among them.
#[derive(Debug, Clone, Default)]
pub struct CheckedServers(BTreeMap<(ServiceKey, RealServerKey), Arc<[CheckId]>>);

impl CheckedServers {
    /// Finds those of a spec.
    pub fn new(desired: &Desired) -> Self {
        // Many services share real servers, and many real servers a check: an identity takes a digest.
        let mut known: HashMap<(Target, *const Check), Arc<[CheckId]>> = HashMap::new();
        let mut all = BTreeMap::new();
        for (service, key, checks) in checked(desired) {
            let target = target(key);
            let ids = known.entry((target, checks.as_ptr()));
            let ids =
                ids.or_insert_with(|| checks.iter().map(|it| CheckId::of(target, it)).collect());
            all.insert((*service, *key), Arc::clone(ids));
        }
        Self(all)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns all of them with their checks.
    pub fn iter(&self) -> impl Iterator<Item = (&(ServiceKey, RealServerKey), &[CheckId])> {
        self.0.iter().map(|(place, ids)| (place, &**ids))
    }

    /// Returns the checks of a service.
    pub fn of_service(&self, service: ServiceKey) -> impl Iterator<Item = CheckId> {
        let of_service = self.0.iter().filter(move |((it, _), _)| *it == service);
        of_service.flat_map(|(_, ids)| ids.iter().copied())
    }
}

/// Returns the probes of a spec, with what holds of each before its first result.
pub fn jobs(desired: &Desired, live: &Live) -> Vec<Job> {
    let mut jobs = Vec::new();
    for (service, key, checks) in checked(desired) {
        let first = first_verdict(desired, live, service, key);
        let job = |check: &Check| Job { target: target(key), check: check.clone(), first };
        jobs.extend(checks.iter().map(job));
    }
    jobs
}

/// What holds of a real server before its first result.
pub(super) fn first_verdict(
    desired: &Desired,
    live: &Live,
    service: &ServiceKey,
    key: &RealServerKey,
) -> Verdict {
    let health = desired.services.get(service).and_then(|named| named.health.as_ref());
    let initial = health.map_or(Initial::AsLive, |health| health.policy.initial);
    let found = || live.services.get(service).and_then(|found| found.real_servers.get(key));
    match initial {
        Initial::Up => Verdict::Up,
        Initial::Down => Verdict::Down,
        Initial::AsLive if found().is_some_and(|found| found.weight > 0) => Verdict::Up,
        Initial::AsLive => Verdict::Down,
    }
}

fn target(key: &RealServerKey) -> Target {
    Target { address: key.address, port: key.port }
}

/// The real servers of a spec that have checks.
fn checked(
    desired: &Desired,
) -> impl Iterator<Item = (&ServiceKey, &RealServerKey, &Arc<[Check]>)> {
    desired.services.iter().flat_map(|(service, named)| {
        let health = named.health.as_deref();
        let own = health.into_iter().flat_map(|health| &health.checks);
        let fallback = health.and_then(|health| health.fallback.as_ref());
        let of_fallback = fallback.into_iter().flat_map(|fallback| &fallback.checks);
        own.chain(of_fallback).map(move |(key, checks)| (service, key, checks))
    })
}
