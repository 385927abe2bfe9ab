//! The health checks of the active spec: the prober, the states of its checks, and what follows for a pass.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel_engine::{Kernel, KernelError, StateDir, error_chain};
use evenkeel_health::{
    Basis, Batch, CheckId, Environment, Hysteresis, Job, Moment, Outcome, Prober, ProberOptions,
    Report, Retired, StoredVerdict,
};
use evenkeel_host::reserve_descriptors;
use evenkeel_model::{
    Desired, HealthFacts, Live, OnFailure, RealServerKey, ServiceKey, Span, Verdict,
};
use evenkeel_plan::{OverlayRecords, next_overlay_change};
use evenkeel_workflow::{
    CheckedServers, FactInputs, HealthClock, StoredHealth, health_facts, health_jobs,
    read_verdicts, write_verdicts,
};
use tracing::{error, warn};

use super::transitions::Transitions;
use crate::check_reports::Reports;
use crate::host_routes::HostRoutes;

/// The verdicts are stored again after this time, though none has changed: a restart within a minute takes them
/// over, with the failures that were counted.
const STORE: Duration = Duration::from_secs(10);

/// The same while a verdict is open, as after a first failure.
const STORE_OPEN: Duration = Duration::from_secs(1);

/// The loop of the prober turns at least every second.
const STALLED: Duration = Duration::from_secs(10);

/// How many probes run at once at most.
const MOST_PROBES: u64 = 4096;

/// Wakes the reconciler for a batch.
pub(crate) type Wake = Arc<dyn Fn() + Send + Sync>;

/// Results that the reconciler has not taken yet. One batch at most: later results are added to it by the prober.
pub(super) type Slot = Arc<Mutex<Option<Batch>>>;

/// The health checks of a host.
pub(super) struct Health {
    environment: Environment,
    wake: Wake,
    prober: Option<Prober>,
    /// Why there is none though the spec has checks.
    problem: Option<String>,
    slot: Slot,
    /// The spec whose checks are made.
    followed: Option<Arc<Desired>>,
    checked: CheckedServers,
    /// The states of checks as last reported; those of the daemon before until then.
    states: HashMap<CheckId, Hysteresis>,
    reports: Reports,
    /// Verdicts of the daemon before.
    stored: Vec<StoredVerdict>,
    with_quorum: BTreeSet<ServiceKey>,
    /// Until when first results of a service are awaited.
    starting: BTreeMap<ServiceKey, Moment>,
    /// As of the last pass.
    facts: HealthFacts,
    stored_at: Option<Moment>,
    is_store_failing: bool,
    pub(super) transitions: Transitions,
}

impl Health {
    pub(super) fn new(environment: Environment, wake: Wake, reports: Reports) -> Self {
        Self {
            environment,
            wake,
            prober: None,
            problem: None,
            slot: Slot::default(),
            followed: None,
            checked: CheckedServers::default(),
            states: HashMap::new(),
            reports,
            stored: Vec::new(),
            with_quorum: BTreeSet::new(),
            starting: BTreeMap::new(),
            facts: HealthFacts::default(),
            stored_at: None,
            is_store_failing: false,
            transitions: Transitions::default(),
        }
    }

    /// Takes over the verdicts of the daemon before, if they are of the last minute.
    pub(super) fn restore(&mut self, state: &StateDir) {
        match read_verdicts(state, Moment::now()) {
            Ok(StoredHealth { verdicts, with_quorum }) => {
                let known = verdicts.verdicts.iter().map(|it| (it.id, it.state.clone()));
                self.states = known.collect();
                self.stored = verdicts.verdicts;
                self.with_quorum = with_quorum.into_iter().collect();
            }
            Err(error) => {
                warn!("{}; the checks begin with what the kernel has in use", error_chain(&error))
            }
        }
    }

    /// Why checks are not made though the spec has some.
    pub(super) fn problem(&self) -> Option<String> {
        let prober = self.prober.as_ref();
        let stalled =
            prober.map(|it| Moment::now().since(it.last_turn())).filter(|it| *it >= STALLED);
        let stalled = stalled.map(|it| {
            format!("the health checks have made no progress for {}", Span(it.as_secs()))
        });
        self.problem.clone().or(stalled)
    }

    /// What was known at the last pass.
    pub(super) fn facts(&self) -> &HealthFacts {
        &self.facts
    }

    /// The checks whose last result is unknown, in words.
    pub(super) fn unknown(&self) -> Option<String> {
        let reports = self.reports.lock();
        let of_report = |it: &Report| match it.last.as_ref().map(|last| &last.outcome) {
            Some(unknown @ Outcome::Unknown(_)) => {
                Some(format!("the {} check of {} is {unknown}", it.kind, it.target))
            }
            _ => None,
        };
        let all: BTreeSet<String> = reports.values().filter_map(of_report).collect();
        let first = all.first()?;
        Some(match all.len() - 1 {
            0 => first.clone(),
            more => format!("{first}; and {more} more"),
        })
    }

    /// How many checks are made.
    pub(super) fn count(&self) -> usize {
        let checked: BTreeSet<CheckId> =
            self.checked.iter().flat_map(|(_, ids)| ids).copied().collect();
        checked.len()
    }

    /// Makes the checks of a spec from now on.
    pub(super) fn follow(&mut self, desired: &Arc<Desired>, live: &Live) {
        if self.followed.as_ref().is_some_and(|followed| Arc::ptr_eq(followed, desired)) {
            self.watch_prober();
            return;
        }
        let checked = CheckedServers::new(desired);
        let now = Moment::now();
        let of_services = desired.services.iter();
        let with_health = of_services.filter_map(|(key, it)| Some((*key, it.health.as_ref()?)));
        let starting = with_health.filter_map(|(key, health)| {
            let ends = self.starting.get(&key).copied();
            let is_known = self.facts.servers.keys().any(|(service, _)| *service == key);
            let begins = || (!is_known).then(|| now + health.policy.startup);
            Some((key, ends.or_else(begins)?))
        });
        self.starting = starting.collect();
        self.followed = Some(Arc::clone(desired));
        if checked.is_empty() && self.prober.is_none() {
            self.checked = checked;
            return;
        }
        let jobs = health_jobs(desired, live);
        self.carry_over(&jobs);
        self.checked = checked;
        if let Some(prober) = self.prober() {
            prober.set(jobs);
        }
    }

    /// Gives new checks the verdict of those that they replace, as the prober will: a pass comes before its report.
    fn carry_over(&mut self, jobs: &[Job]) {
        let wanted = jobs.iter().map(Job::id).collect();
        let known = if self.prober.is_some() { self.to_store() } else { self.stored.clone() };
        let mut retired = Retired::new(known, &wanted);
        for job in jobs {
            let id = job.id();
            if self.states.contains_key(&id) {
                continue;
            }
            let state = retired.take(id, job.target, job.check.kind.name());
            self.states.extend(state.map(|state| (id, state)));
        }
    }

    /// Starts the prober where there is none.
    fn prober(&mut self) -> Option<&Prober> {
        if self.prober.is_none() {
            let (slot, wake) = (Arc::clone(&self.slot), Arc::clone(&self.wake));
            let sink = Box::new(move |batch| {
                let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
                if slot.is_some() {
                    return Err(batch);
                }
                *slot = Some(batch);
                drop(slot);
                wake();
                Ok(())
            });
            let options = ProberOptions {
                environment: self.environment.clone(),
                limit: None,
                stored: std::mem::take(&mut self.stored),
                routes: Box::new(HostRoutes::default()),
            };
            // Half of the descriptors are for probes. With fewer than these, some start later.
            let _is_raised = reserve_descriptors(2 * MOST_PROBES);
            match Prober::start(options, sink) {
                Ok(prober) => {
                    self.problem = None;
                    self.prober = Some(prober);
                }
                Err(error) => {
                    self.problem = Some(format!("the health checks cannot be started: {error}"));
                    self.followed = None;
                }
            }
        }
        self.prober.as_ref()
    }

    /// Starts the prober again if it has ended, which only a defect does. The verdicts hold.
    fn watch_prober(&mut self) {
        if self.prober.as_ref().is_some_and(|it| !it.is_running()) {
            error!("the thread of the health checks ended unexpectedly; evenkeel starts it again");
            self.prober = None;
            self.stored = self.to_store();
            self.followed = None;
        }
    }

    /// Takes the results since the last call, and returns whether a pass should follow.
    pub(super) fn take_results(&mut self, state: &StateDir, now: Moment) -> bool {
        let taken = self.slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(batch) = taken else { return false };
        let Batch { reports, changes, left_out, removed } = batch;
        let mut known = self.reports.lock();
        let are_others =
            !removed.is_empty() || reports.iter().any(|it| !known.contains_key(&it.id));
        for id in removed {
            self.states.remove(&id);
            known.remove(&id);
        }
        for report in reports {
            self.states.insert(report.id, report.state.clone());
            known.insert(report.id, report);
        }
        drop(known);
        let has_changed = !changes.is_empty() || left_out > 0;
        self.transitions.note(changes, left_out, now);
        if has_changed || are_others {
            // Before a pass acts on it: the next process continues with it even if this one is killed.
            self.store(state, now);
        } else {
            let is_open =
                self.states.values().any(|it| it.failures() > 0 && it.verdict() == Verdict::Up);
            let after = if is_open { STORE_OPEN } else { STORE };
            if self.stored_at.is_none_or(|stored| now.since(stored) >= after) {
                self.store(state, now);
            }
        }
        has_changed || self.has_started(now)
    }

    /// Whether the first results of a service are in.
    fn has_started(&mut self, now: Moment) -> bool {
        let (states, checked) = (&self.states, &self.checked);
        let before = self.starting.len();
        let is_probed =
            |id: CheckId| states.get(&id).is_some_and(|state| state.basis() == Basis::Probed);
        self.starting
            .retain(|service, ends| now < *ends && !checked.of_service(*service).all(is_probed));
        self.starting.len() < before
    }

    /// Returns what is known, for a pass.
    ///
    /// # Errors
    /// The connections of real servers that are down cannot be read.
    pub(super) fn observe<K: Kernel>(
        &mut self,
        kernel: &mut K,
        desired: &Desired,
        live: &Live,
        overlaid: &OverlayRecords,
    ) -> Result<&HealthFacts, KernelError> {
        if self.checked.is_empty() {
            self.facts = HealthFacts::default();
            return Ok(&self.facts);
        }
        let now = HealthClock::now();
        self.has_started(now.moment);
        let holding = BTreeSet::new();
        let mut facts = self.facts_with(desired, live, overlaid, &holding, now);
        let due: BTreeSet<(ServiceKey, RealServerKey)> = facts
            .servers
            .iter()
            .filter(|((service, key), health)| {
                let policy = desired.services.get(service).and_then(|it| it.health.as_ref());
                policy.is_some_and(|it| {
                    let policy = &it.policy;
                    policy.on_failure == OnFailure::Weight0
                        && !health.is_up()
                        && !health.is_assumed
                        && health.age >= policy.cut_after
                }) && live
                    .services
                    .get(service)
                    .is_some_and(|it| it.real_servers.get(key).is_some())
            })
            .map(|(place, _)| *place)
            .collect();
        if !due.is_empty() {
            let services = due.iter().map(|(service, _)| *service).collect();
            let (_, statistics) = kernel.services_with_statistics(&services)?;
            let holds = |(service, key): &(ServiceKey, RealServerKey)| {
                let found = statistics.services.get(service);
                let found = found.and_then(|found| found.real_servers.get(key));
                found.is_some_and(|it| !it.is_idle() || it.persistent_connections > 0)
            };
            let holding = due.into_iter().filter(holds).collect();
            facts = self.facts_with(desired, live, overlaid, &holding, now);
        }
        facts.had_quorum.clone_from(&self.with_quorum);
        facts.starting = self.starting.keys().copied().collect();
        self.facts = facts;
        Ok(&self.facts)
    }

    fn facts_with(
        &self,
        desired: &Desired,
        live: &Live,
        overlaid: &OverlayRecords,
        holding: &BTreeSet<(ServiceKey, RealServerKey)>,
        now: HealthClock,
    ) -> HealthFacts {
        let state = |id: &CheckId| self.states.get(id);
        let reports = self.reports.lock();
        let last = |id: &CheckId| {
            reports.get(id).and_then(|it| it.last.as_ref()).map(|it| it.outcome.clone())
        };
        health_facts(FactInputs {
            desired,
            checked: &self.checked,
            state: &state,
            last: &last,
            live,
            overlaid,
            holding,
            now,
        })
    }

    /// Records which services have their quorum, as of a pass.
    pub(super) fn set_quorum(&mut self, with_quorum: BTreeSet<ServiceKey>) {
        self.with_quorum = with_quorum;
    }

    /// Whether a service with checks has its quorum.
    pub(super) fn has_quorum(&self, service: &ServiceKey) -> bool {
        self.with_quorum.contains(service)
    }

    /// The time until something changes without a result: a step of a slow start, the end of `cut_after` or of
    /// `startup`.
    pub(super) fn next_change(&self, desired: &Desired) -> Option<Duration> {
        let now = Moment::now();
        let startup = self.starting.values().map(|ends| ends.since(now)).min();
        let summary = self.transitions.is_pending().then_some(Duration::from_secs(1));
        let change = next_overlay_change(desired, &self.facts);
        [change, startup, summary].into_iter().flatten().min()
    }

    fn to_store(&self) -> Vec<StoredVerdict> {
        self.reports.lock().values().map(Report::to_stored).collect()
    }

    fn store(&mut self, state: &StateDir, now: Moment) {
        self.stored_at = Some(now);
        let with_quorum = self.with_quorum.iter().copied().collect();
        if let Err(error) = write_verdicts(state, self.to_store(), with_quorum) {
            if !self.is_store_failing {
                warn!(
                    "{}; a restart of the daemon begins with what the kernel has in use",
                    error_chain(&error)
                );
            }
            self.is_store_failing = true;
        } else {
            self.is_store_failing = false;
        }
    }
}
