//! One pass of the daemon: the same plan, guards, order and verification as `apply`.
//!
//! Where `apply` goes back after a failure, the daemon goes on: the object is left alone until its
//! time comes, with all that depends on it ([`evenkeel_plan::without`]), and the rest is done.

use std::collections::BTreeSet;
use std::error::Error;

use evenkeel_engine::{
    CONNECTION_SYSCTLS, History, Journal, JournalError, KernelError, LockError, NotPermitted,
    OnFailure, Outcome, Pass, Report, Sysctls, Terms, Unattended, execute_journalled, hidden,
    missing, prepare,
};
use evenkeel_model::Live;
use evenkeel_plan::render::{Labels, Line, count};
use evenkeel_plan::{
    Cause, Guard, Inputs, Object, Obstacle, Op, Plan, Refusal, Verb, carried_out, plan, without,
};
use sha2::{Digest, Sha256};
use tracing::{info, warn};

use super::{Ground, Keeper, Known, Trouble};
use crate::Reason;
use crate::metrics::Reload;
use crate::source::SpecText;
use crate::status::{Held, Mode};

/// Up to so many services a table is read as a whole each time: that costs little, and nothing is
/// hidden from it.
const SMALL: usize = 64;

/// How many lines of what is to be done are told.
const LINES: usize = 200;

/// How often the lock is found taken before its holder is asked for.
const PATIENCE: u32 = 10;

/// How a pass ended.
pub(super) struct End {
    /// A word for logs and metrics.
    pub(super) result: &'static str,
    /// How many operations were carried out.
    pub(super) changes: usize,
    /// Another pass at once does what this one left.
    pub(super) follows_up: bool,
    /// It read the whole kernel.
    pub(super) is_worth_telling: bool,
}

impl End {
    fn quiet(result: &'static str) -> Self {
        Self { result, changes: 0, follows_up: false, is_worth_telling: true }
    }
}

impl<K: Ground> Keeper<K> {
    pub(super) fn make_pass(&mut self, reason: Reason) -> End {
        if matches!(reason, Reason::Resync | Reason::Address) {
            match self.is_as_it_was() {
                Ok(true) => {
                    self.last_success = Some(self.clock.wall());
                    return End { is_worth_telling: false, ..End::quiet("unchanged") };
                }
                Ok(false) => {}
                Err(error) => return self.give_up(self.kernel_trouble(&error)),
            }
        }
        let end = self.full_pass();
        // It was for that pass, unless there was none.
        if !matches!(end, Err(Trouble::Locked(_))) {
            self.approved = None;
        }
        match end {
            Ok(end) => {
                if self.trouble.take().is_some() {
                    info!("able to work again");
                }
                self.troubles = 0;
                end
            }
            Err(trouble) => self.give_up(trouble),
        }
    }

    fn give_up(&mut self, trouble: Trouble) -> End {
        self.troubles = self.troubles.saturating_add(1);
        self.known = None;
        let result = match &trouble {
            Trouble::Locked(_) => "locked",
            Trouble::Other(words) => {
                self.kernel = None;
                if self.troubles.is_power_of_two() {
                    warn!(times = self.troubles, "{words}");
                }
                "failed"
            }
        };
        self.trouble = Some(trouble);
        End::quiet(result)
    }

    fn kernel_trouble(&self, error: &KernelError) -> Trouble {
        Trouble::Other(in_full(error))
    }

    /// Whether the host looks as it did when it was last in sync; not asked for where that is old,
    /// or not known.
    fn is_as_it_was(&mut self) -> Result<bool, KernelError> {
        let now = self.clock.now();
        let (Some(kernel), Some(known)) = (&mut self.kernel, &self.known) else { return Ok(false) };
        if known.until <= now || self.specs.newest().is_some() {
            return Ok(false);
        }
        kernel.is_unchanged(&known.glance, &known.live, &known.hidden, &known.sysctls)
    }

    fn full_pass(&mut self) -> Result<End, Trouble> {
        self.known = None;
        let is_hands_off = self.is_hands_off();
        let _lock = if is_hands_off { None } else { Some(self.lock()?) };
        self.read_journal(is_hands_off)?;
        let (live, glance, sysctls) = self.observe()?;
        (self.held, self.obstacles, self.to_do) = (None, Vec::new(), Vec::new());
        if !is_hands_off {
            self.keep_on_record();
        }
        self.judge_newest(&live)?;
        let spec = match self.options.mode {
            // Nothing comes into force; what is told is what would be done.
            Mode::Observe => self.specs.newest().or_else(|| self.specs.in_force()),
            Mode::Enforce => self.specs.in_force(),
        };
        let Some(spec) = spec else {
            return Ok(End::quiet(if self.held.is_some() { "held" } else { "no_spec" }));
        };
        let (plan, last) = self.plan(&spec, &live)?;
        self.unmanaged = plan.out_of_scope;
        self.note(&plan.warnings);
        self.forget(&plan);
        if plan.is_in_sync() {
            self.is_in_sync(&spec, is_hands_off)?;
            self.remember(live, glance, &spec, sysctls);
            return Ok(End::quiet("in_sync"));
        }
        if is_hands_off {
            // A newer spec that waits for the end of a pause is what will be done then.
            if self.to_do.is_empty() {
                self.to_do = lines(&plan, &spec);
            }
            return Ok(End::quiet("drifted"));
        }
        let taken = self.held_by_drift(&plan, &spec);
        self.carry_out(plan, &spec, last.as_ref(), (live, taken))
    }

    /// What the last good spec is must not be forgotten with a journal that was lost.
    fn keep_on_record(&mut self) {
        let Some(in_force) = self.specs.in_force() else { return };
        if self.journal.spec.is_none()
            && let Err(error) = self.record_spec(&in_force)
        {
            self.obstacles.push(in_full(&error));
        }
    }

    /// Makes that spec the last applied one, on disk too.
    fn record_spec(&mut self, spec: &SpecText) -> Result<(), JournalError> {
        let state = &self.options.state;
        let mut journal = self.journal.clone();
        state.store_spec(&mut journal, &spec.texts(), &spec.parameters)?;
        journal.spec_is_applied();
        journal.record.applied = true;
        if journal != self.journal {
            state.write(&journal)?;
            self.journal = journal;
        }
        Ok(())
    }

    /// What plans are worth a word for; logged when it is news.
    fn note(&mut self, warnings: &[String]) {
        for warning in warnings.iter().filter(|it| !self.warnings.contains(it)) {
            warn!("{warning}");
        }
        self.warnings = warnings.to_vec();
    }

    /// Where guards refuse to repair what someone else has changed, the objects that this would
    /// take something away from: those are left alone, and the rest is repaired.
    fn held_by_drift(&mut self, plan: &Plan, spec: &SpecText) -> BTreeSet<Object> {
        let Some(held) = self.refused(plan, spec) else { return BTreeSet::new() };
        if self.held.is_none() {
            self.hold(held, plan, spec);
        } else {
            // Only one plan is held at a time; the turn of this one comes next.
            let guards = held.guards.into_iter();
            self.obstacles.extend(guards.map(|(guard, message)| {
                format!("guard {guard} keeps drift from being undone: {message}")
            }));
        }
        plan.steps.iter().filter(|op| takes(op)).map(Op::object).collect()
    }

    fn lock(&mut self) -> Result<K::Right, Trouble> {
        match K::try_lock() {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) => {}
            Err(error) => return Err(Trouble::Other(in_full(&error))),
        }
        let who = match &self.trouble {
            Some(Trouble::Locked(who)) if self.troubles != PATIENCE => who.clone(),
            _ if self.troubles == PATIENCE => match K::lock() {
                Ok(lock) => return Ok(lock),
                Err(LockError::Held(holder)) => LockError::Held(holder).to_string(),
                Err(error) => return Err(Trouble::Other(in_full(&error))),
            },
            _ => "another process is changing this network namespace".to_owned(),
        };
        Err(Trouble::Locked(who))
    }

    fn read_journal(&mut self, is_hands_off: bool) -> Result<(), Trouble> {
        let (mut journal, warning) =
            self.options.state.read(!is_hands_off).map_err(|error| other(&error))?;
        if let Some(warning) = warning {
            warn!("{warning}");
        }
        journal.forget_moot();
        if !is_hands_off {
            journal.check_writable(self.clock.wall()).map_err(|error| other(&error))?;
            if let Some(notice) = journal.notice.take() {
                warn!("{notice}");
                self.options.state.write(&journal).map_err(|error| other(&error))?;
            }
        }
        self.journal = journal;
        Ok(())
    }

    /// Reads the kernel. For a large table a glance is taken first: what changes in between shows
    /// as a difference later.
    fn observe(&mut self) -> Result<(Live, Option<K::Glance>, Sysctls), Trouble> {
        let addresses = self.journal.addresses.clone();
        let kernel = match &mut self.kernel {
            Some(kernel) => {
                kernel.set_journalled(addresses);
                kernel
            }
            None => {
                let connected = (self.connect)(addresses).map_err(|error| other(&error))?;
                self.kernel.insert(connected)
            }
        };
        let specs = [self.specs.newest(), self.specs.in_force()];
        let desired = specs.iter().flatten().map(|spec| &spec.desired);
        let is_large = desired.clone().any(|desired| desired.services.len() > SMALL);
        let mut sysctls: Sysctls = CONNECTION_SYSCTLS.map(Into::into).into();
        sysctls.extend(desired.flat_map(|desired| desired.sysctls.keys().cloned()));
        sysctls.extend(self.journal.record.sysctls.keys().cloned());
        let read = || -> Result<(Live, Option<K::Glance>), KernelError> {
            let glance = if is_large { Some(kernel.glance()?) } else { None };
            Ok((kernel.observe(&sysctls)?, glance))
        };
        let (live, glance) = { read }().map_err(|error| other(&error))?;
        Ok((live, glance, sysctls))
    }

    /// What the next looks are compared with.
    fn remember(
        &mut self,
        live: Live,
        glance: Option<K::Glance>,
        spec: &SpecText,
        sysctls: Sysctls,
    ) {
        let Some(glance) = glance else { return };
        let hidden = hidden(&spec.desired, &live);
        let until = self.clock.now() + self.options.full_interval;
        self.known = Some(Known { glance, live, hidden, sysctls, until });
    }

    fn plan(
        &mut self,
        spec: &SpecText,
        live: &Live,
    ) -> Result<(Plan, Option<evenkeel_model::Desired>), Trouble> {
        let Self { kernel, specs, journal, .. } = self;
        let Some(kernel) = kernel else {
            return Err(Trouble::Other("the kernel is not connected".to_owned()));
        };
        let known = || specs.history(spec);
        let (plan, history) = prepare(kernel, &spec.desired, live, &journal.record, known)
            .map_err(|error| other(&error))?;
        Ok((plan, history.last))
    }

    /// Lets the newest spec come into force if its guards, or someone, let it.
    fn judge_newest(&mut self, live: &Live) -> Result<(), Trouble> {
        let Some(newest) = self.specs.newest() else { return Ok(()) };
        if self.options.mode == Mode::Observe {
            return Ok(());
        }
        let (mut plan, _) = self.plan(&newest, live)?;
        if self.paused.is_some() {
            self.to_do = lines(&plan, &newest);
            for Refusal { guard, message } in &plan.refusals {
                self.obstacles.push(format!("guard {guard} would hold this plan: {message}"));
            }
            return Ok(());
        }
        if self.was_applied(&newest) {
            // By `apply`, which has asked its guards, or was told to pass them.
            self.specs.accept(self.clock.wall());
            self.granted = Some((newest.digest(), Guard::ALL.to_vec()));
            self.failing.clear();
            self.fights.clear();
            return Ok(());
        }
        if let Some(undrifted) = self.undrifted(live)? {
            // What someone else has broken is no reason to let through what would break it, nor
            // to call it by another name.
            let on_live = plan.refusals;
            plan = self.plan_on(&newest, &undrifted);
            let known: Vec<Guard> = plan.refusals.iter().map(|refusal| refusal.guard).collect();
            plan.refusals.extend(on_live.into_iter().filter(|it| !known.contains(&it.guard)));
        }
        if let Some(held) = self.refused(&plan, &newest) {
            self.hold(held, &plan, &newest);
            return Ok(());
        }
        // Whatever follows, this is the last good spec from now on: it is enforced again after a
        // restart. A journal that cannot be written is found out before the first change, and
        // leaves the one in force that is.
        if let Err(error) = self.record_spec(&newest) {
            self.obstacles.push(format!("the newest spec is not taken: {}", in_full(&error)));
            return Ok(());
        }
        self.specs.accept(self.clock.wall());
        self.failing.clear();
        self.fights.clear();
        Ok(())
    }

    /// Whether the journal says that someone else has applied it.
    fn was_applied(&self, spec: &SpecText) -> bool {
        self.journal.spec.as_ref().is_some_and(|applied| spec.is_stored_as(applied))
    }

    /// The host as the spec in force wants it, where someone else has changed it.
    fn undrifted(&mut self, live: &Live) -> Result<Option<Live>, Trouble> {
        let Some(in_force) = self.specs.in_force() else { return Ok(None) };
        let (plan, _) = self.plan(&in_force, live)?;
        Ok((!plan.is_in_sync()).then(|| carried_out(live, &plan.steps)))
    }

    /// A plan for a host that is not this one.
    fn plan_on(&self, spec: &SpecText, live: &Live) -> Plan {
        let History { last, cut_off } = self.specs.history(spec);
        let inputs = Inputs::new(&spec.desired, live, &self.journal.record);
        plan(Inputs { last: last.as_ref(), cut_off: cut_off.as_ref(), ..inputs })
    }

    /// What is held where guards refuse a plan that nobody let through.
    fn refused(&mut self, plan: &Plan, spec: &SpecText) -> Option<Held> {
        let digest = spec.digest();
        let allowed: &[Guard] = match &self.granted {
            Some((granted, guards)) if *granted == digest => guards,
            _ => &[],
        };
        let refusals: Vec<&Refusal> = plan.refused(allowed).collect();
        if refusals.is_empty() {
            return None;
        }
        let id = plan_id(&digest, plan, spec);
        if self.approved.as_ref() == Some(&id) {
            info!(id, "approved");
            let guards = plan.refusals.iter().map(|refusal| refusal.guard).collect();
            self.granted = Some((digest, guards));
            return None;
        }
        let guards = refusals.iter();
        let guards = guards.map(|it| (it.guard.name().to_owned(), it.message.clone())).collect();
        Some(Held { id, since: self.clock.wall(), guards, steps: plan.steps.len() })
    }

    /// Tells of it, the first time also in the log.
    fn hold(&mut self, held: Held, plan: &Plan, spec: &SpecText) {
        let before = self.last_held.take().filter(|before| before.id == held.id);
        let since = before.as_ref().map_or(held.since, |before| before.since);
        if before.is_none() {
            for (guard, message) in &held.guards {
                let id = &held.id;
                warn!(guard, id, "held: {message}; `evenkeel approve {id}` lets it through");
            }
            self.surroundings.metrics.reload(Reload::Held);
        }
        self.to_do = lines(plan, spec);
        self.last_held = Some(Held { since, ..held });
        self.held.clone_from(&self.last_held);
    }

    fn forget(&mut self, plan: &Plan) {
        let planned: BTreeSet<Object> = match self.failing.is_empty() && self.fights.is_empty() {
            true => BTreeSet::new(),
            false => plan.steps.iter().map(Op::object).collect(),
        };
        self.failing.retain(&planned);
        self.fights.forget(&planned, self.clock.now());
    }

    fn is_in_sync(&mut self, spec: &SpecText, is_hands_off: bool) -> Result<(), Trouble> {
        self.last_success = Some(self.clock.wall());
        if is_hands_off {
            return Ok(());
        }
        self.specs.is_reached();
        self.granted = None;
        let mut journal = self.journal.clone();
        journal.is_in_force(&spec.desired);
        if journal != self.journal {
            self.options.state.write(&journal).map_err(|error| other(&error))?;
            self.journal = journal;
        }
        Ok(())
    }

    fn carry_out(
        &mut self,
        plan: Plan,
        spec: &SpecText,
        last: Option<&evenkeel_model::Desired>,
        (live, mut held_back): (Live, BTreeSet<Object>),
    ) -> Result<End, Trouble> {
        let lacking = missing(&plan.steps).map_err(|error| other(&error))?;
        if !lacking.is_empty() {
            return Err(other(&NotPermitted(lacking)));
        }
        let now = self.clock.now();
        held_back.extend(self.failing.waiting(now).cloned());
        let fought = plan.steps.iter().filter(|op| self.fights.puts_off(op, now));
        held_back.extend(fought.map(Op::object));
        for obstacle in &plan.obstacles {
            held_back.extend(behind(obstacle, &plan.steps));
            self.obstacles.push(obstacle.to_string());
        }
        let unrecorded = plan.steps.iter().filter(|op| is_unrecorded(op, &self.journal));
        let unrecorded: BTreeSet<Object> = unrecorded.map(Op::object).collect();
        if !unrecorded.is_empty()
            && let Err(error) = self.options.state.write(&self.journal)
        {
            // What is known of already is repaired all the same.
            held_back.extend(unrecorded);
            self.obstacles.push(in_full(&error));
        }
        let drift: BTreeSet<Object> = repairs(&plan).map(Op::object).collect();
        let steps = without(plan.steps, &live, &held_back);
        if steps.is_empty() {
            let is_failing = !self.failing.is_empty() || !self.obstacles.is_empty();
            return Ok(End::quiet(if is_failing { "failed" } else { "put_off" }));
        }
        let pass = Pass {
            desired: &spec.desired,
            last,
            is_whole: held_back.is_empty(),
            record: self.journal.record.clone(),
            live,
            steps,
        };
        let terms = Terms { on_failure: OnFailure::Keep, wait: false, always_record: false };
        let Some(kernel) = &mut self.kernel else {
            return Err(Trouble::Other("the kernel is not connected".to_owned()));
        };
        let (state, journal) = (&self.options.state, &mut self.journal);
        let report = execute_journalled(kernel, pass, terms, &mut Unattended, state, journal)
            .map_err(|error| other(&error))?;
        Ok(self.conclude(&report, spec, &drift, held_back.is_empty()))
    }

    /// What became of it.
    fn conclude(
        &mut self,
        report: &Report,
        spec: &SpecText,
        drift: &BTreeSet<Object>,
        is_whole: bool,
    ) -> End {
        let now = self.clock.now();
        for done in report.iter() {
            let object = done.op.object();
            self.surroundings.metrics.operation(done.op.verb().word(), done.outcome.word());
            match done.outcome {
                Outcome::Failed(_) => {
                    let failure = done.failure().unwrap_or_default();
                    self.failing.failed(object, failure, now);
                }
                Outcome::Applied => {
                    self.failing.mended(&object);
                    if drift.contains(&object) {
                        self.surroundings.metrics.drift(object.kind());
                        self.fights.undone(done.op, &spec.desired, now);
                    }
                }
                Outcome::AlreadyInPlace => self.failing.mended(&object),
                _ => {}
            }
        }
        for op in &report.mismatches {
            let why = "someone else keeps changing it while it is applied".to_owned();
            self.failing.failed(op.object(), why, now);
        }
        for warning in &report.warnings {
            warn!("{warning}");
        }
        for ((service, real_server), connections) in &report.cut {
            warn!(
                service = %spec.desired.label(service),
                %real_server,
                connections,
                "deleted at the end of its drain with connections left"
            );
        }
        if let Some(error) = &report.error {
            warn!("{}", in_full(error));
            self.kernel = None;
        }
        let changes = report.count(Outcome::Applied.word());
        let skipped = report.count(Outcome::Skipped.word());
        let is_done = report.is_success() && is_whole;
        let is_draining = report.count(Outcome::Draining.word()) > 0;
        if is_done {
            self.last_success = Some(self.clock.wall());
        }
        if is_done && !is_draining {
            self.specs.is_reached();
            self.granted = None;
        }
        let result = match (is_done, is_draining) {
            (false, _) => "failed",
            (true, true) => "draining",
            (true, false) => "changed",
        };
        // What was skipped for the sake of what failed can be done without it.
        let follows_up = skipped > 0 && report.has_failed() && report.error.is_none();
        End { result, changes, follows_up, is_worth_telling: true }
    }
}

/// Whether it takes away something that clients may be using.
fn takes(op: &Op) -> bool {
    match op {
        Op::EditRealServer { before, after, .. } => after.weight == 0 && before.weight > 0,
        _ => matches!(op.verb(), Verb::Drain | Verb::Delete | Verb::Unbind),
    }
}

/// Whether the journal must know of it beforehand, and does not.
fn is_unrecorded(op: &Op, journal: &Journal) -> bool {
    match op {
        Op::Bind { binding } => !journal.addresses.contains(binding),
        Op::AddDummy { interface } => !journal.dummies.contains(interface),
        Op::EditSysctl { key, .. } => !journal.record.sysctls.contains_key(key),
        Op::DrainRealServer { service, key, .. } => {
            !journal.record.drains.0.contains_key(&(*service, *key))
        }
        _ => false,
    }
}

/// The steps that mend what someone else changed.
fn repairs(plan: &Plan) -> impl Iterator<Item = &Op> {
    let caused = plan.steps.iter().zip(&plan.causes);
    caused.filter(|(_, cause)| **cause == Cause::Drift).map(|(op, _)| op)
}

/// The objects that cannot be brought about as long as that obstacle stands.
fn behind<'a>(obstacle: &'a Obstacle, steps: &'a [Op]) -> impl Iterator<Item = Object> + 'a {
    let stands_behind = move |op: &&Op| match (obstacle, op) {
        (Obstacle::NoInterface { interface }, Op::Bind { binding }) => {
            binding.interface == *interface
        }
        (Obstacle::NoInterface { interface }, Op::AddSync { after, .. }) => {
            after.interface == *interface
        }
        (Obstacle::NoSysctl { key: missing }, Op::EditSysctl { key, .. }) => key == missing,
        (Obstacle::LoopbackDown, Op::AddRealServer { .. }) => true,
        _ => false,
    };
    steps.iter().filter(stands_behind).map(Op::object)
}

/// The steps as a plan shows them.
fn lines(plan: &Plan, spec: &SpecText) -> Vec<String> {
    let labels = Labels::new(&spec.desired);
    let all = plan.steps.iter();
    let mut lines: Vec<String> =
        all.take(LINES).map(|op| Line { op, labels: &labels }.to_string()).collect();
    if plan.steps.len() > LINES {
        lines.push(format!("... and {} more", count(plan.steps.len() - LINES, "operation")));
    }
    lines
}

/// What `evenkeel approve` takes: the spec and all that would be done for it. What else is
/// different on the host, as counters are, makes no other plan of it.
fn plan_id(digest: &str, plan: &Plan, spec: &SpecText) -> String {
    let labels = Labels::new(&spec.desired);
    let mut hash = Sha256::new();
    hash.update(digest);
    for op in &plan.steps {
        hash.update(format!("\n{}", Line { op, labels: &labels }));
    }
    hash.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

fn other(error: &dyn Error) -> Trouble {
    Trouble::Other(in_full(error))
}

/// An error and what caused it.
fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
