//! A round of checks, and what is known of real servers where no daemon checks them.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_engine::StateDir;
use evenkeel_health::{
    Attempts, CheckId, Environment, Hysteresis, Job, RoundReport, StoredVerdict, probe_limit,
    run_round,
};
use evenkeel_model::{Desired, HealthFacts, Live, RealServerKey, ServiceKey};
use evenkeel_plan::{OverlayOrigin, OverlayRecords};
use thiserror::Error;

use super::checked_servers::jobs;
use super::{CheckedServers, FactInputs, HealthClock, health_facts, read_verdicts};

/// What a plan does about health checks.
#[derive(Debug, Clone, Default)]
pub enum HealthMode {
    /// Follows the daemon's verdicts of the last minute; where there are none, checks what the plan would add, or
    /// raise from weight 0, once.
    Once(Box<Environment>),
    /// The same, but checks nothing: what the kernel has in use is up, all else is down.
    #[default]
    Live,
    /// Takes everything for up.
    Off,
}

/// Why nothing is known of health.
#[derive(Debug, Error)]
pub enum HealthProblem {
    /// The checks cannot be started.
    #[error("the health checks cannot be started: {0}")]
    Start(#[from] std::io::Error),
}

/// What a round follows from.
#[derive(Debug, Clone, Copy)]
pub struct RoundInputs<'a> {
    /// The spec.
    pub desired: &'a Desired,
    /// The live state.
    pub live: &'a Live,
    /// The overlays that the journal records.
    pub overlaid: &'a OverlayRecords,
    /// Where the daemon stores its verdicts.
    pub state: &'a StateDir,
}

/// Makes the checks of these jobs, each until it passes or as often as it takes to count as down.
///
/// # Errors
/// They cannot be started.
pub fn check_round(
    environment: &Environment,
    jobs: Vec<Job>,
) -> Result<Vec<RoundReport>, HealthProblem> {
    Ok(run_round(environment.clone(), jobs, probe_limit(), Attempts::UntilDown)?)
}

/// Returns what is known of the real servers of a spec, and the checks that could not be made.
///
/// # Errors
/// Checks cannot be started.
pub fn known_health(
    mode: &HealthMode,
    inputs: RoundInputs<'_>,
) -> Result<(HealthFacts, Vec<RoundReport>), HealthProblem> {
    let RoundInputs { desired, live, overlaid, state } = inputs;
    let checked = CheckedServers::new(desired);
    if matches!(mode, HealthMode::Off) || checked.is_empty() {
        return Ok((HealthFacts::default(), Vec::new()));
    }
    let now = HealthClock::now();
    // Verdicts that cannot be read are none.
    let stored = read_verdicts(state, now.moment).ok();
    let had_quorum = stored.iter().flat_map(|it| it.with_quorum.iter().copied()).collect();
    let stored = stored.map(|it| it.verdicts.verdicts).unwrap_or_default();
    let mut states: BTreeMap<CheckId, Hysteresis> =
        stored.into_iter().map(|StoredVerdict { id, state, .. }| (id, state)).collect();
    let mut unknown = Vec::new();
    if let HealthMode::Once(environment) = mode {
        let asked = unproven(inputs, &checked, &states);
        let jobs = jobs(desired, live).into_iter().filter(|it| asked.contains(&it.id())).collect();
        for report in check_round(environment, jobs)? {
            match Hysteresis::decided(now.moment, &report.outcome) {
                Some(state) => {
                    states.insert(report.id, state);
                }
                // What holds without a result holds here, too: one that is not in use stays so.
                None => unknown.push(report),
            }
        }
    }
    let holding = BTreeSet::new();
    let state = |id: &CheckId| states.get(id);
    let last = |id: &CheckId| {
        let found = unknown.iter().find(|it: &&RoundReport| it.id == *id);
        found.map(|it| it.outcome.clone())
    };
    let facts = health_facts(FactInputs {
        desired,
        checked: &checked,
        state: &state,
        last: &last,
        live,
        overlaid,
        holding: &holding,
        now,
    });
    Ok((HealthFacts { had_quorum, ..facts }, unknown))
}

/// The checks without a verdict of real servers that the kernel does not have in use, which a plan would add or
/// raise; and of those that an earlier apply kept in use though they were down.
fn unproven(
    RoundInputs { desired, live, overlaid, state: _ }: RoundInputs<'_>,
    checked: &CheckedServers,
    states: &BTreeMap<CheckId, Hysteresis>,
) -> BTreeSet<CheckId> {
    let is_in_use = |service: &ServiceKey, key: &RealServerKey| {
        let found = live.services.get(service).and_then(|found| found.real_servers.get(key));
        let is_kept =
            overlaid.0.get(&(*service, *key)).is_some_and(|it| it.origin == OverlayOrigin::Health);
        !is_kept && found.is_some_and(|found| found.weight > 0)
    };
    let weight = |service: &ServiceKey, key: &RealServerKey| {
        let named = desired.services.get(service);
        // Those of a fallback pool count too.
        named.and_then(|it| it.service.real_servers.get(key)).map_or(1, |it| it.weight)
    };
    let asked = checked
        .iter()
        .filter(|((service, key), _)| !is_in_use(service, key) && weight(service, key) > 0);
    asked.flat_map(|(_, ids)| ids).filter(|id| !states.contains_key(id)).copied().collect()
}
