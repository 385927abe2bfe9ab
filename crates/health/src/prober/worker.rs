//! The loop of the thread.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use crate::batch::{Change, Counts, LastProbe, Report};
use crate::check_id::CheckId;
use crate::checker::{Checkers, Probed};
use crate::clock::Moment;
use crate::environment::Environment;
use crate::hysteresis::{Hysteresis, Pace, Transition};
use crate::job::Job;
use crate::outcome::{Fault, Outcome};
use crate::routes::Routes;
use crate::schedule::{PUNCTUAL, Schedule};
use crate::stored::{Retired, StoredVerdict};
use evenkeel_model::check::Check;
use evenkeel_model::check::Target;

use super::Sink;
use super::last_turn::LastTurn;
use super::outbox::Outbox;

/// The longest sleep of the loop, so that others see that it turns.
const IDLE: Duration = Duration::from_millis(500);

/// A request to the thread.
#[derive(Debug)]
pub(crate) enum Command {
    Set(HashMap<CheckId, Job>),
    Hurry(CheckId),
}

pub(crate) struct Worker {
    checkers: Arc<Checkers>,
    schedule: Schedule,
    entries: HashMap<CheckId, Entry>,
    /// When holds of flapping targets end.
    holds: BTreeSet<(Moment, CheckId)>,
    routes: Box<dyn Routes>,
    /// Verdicts of the process before, until there are checks.
    stored: Vec<StoredVerdict>,
    outbox: Outbox,
    running: JoinSet<Ended>,
}

struct Entry {
    target: Target,
    check: Arc<Check>,
    state: Hysteresis,
    last: Option<LastProbe>,
    counts: Counts,
}

struct Ended {
    id: CheckId,
    probed: Probed,
}

impl Worker {
    pub(crate) fn new(
        environment: Environment,
        limit: usize,
        (stored, routes): (Vec<StoredVerdict>, Box<dyn Routes>),
        sink: Sink,
    ) -> Self {
        Self {
            checkers: Checkers::new(environment),
            schedule: Schedule::new(limit),
            entries: HashMap::new(),
            holds: BTreeSet::new(),
            routes,
            stored,
            outbox: Outbox::new(sink),
            running: JoinSet::new(),
        }
    }

    /// Runs until the sender of commands is dropped.
    pub(crate) async fn run(
        mut self,
        mut commands: UnboundedReceiver<Command>,
        last_turn: LastTurn,
    ) {
        loop {
            let now = Moment::now();
            last_turn.set(now);
            self.serve(now);
            let sleep = self.wakes().map_or(IDLE, |it| it.since(Moment::now())).min(IDLE);
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.handle(command, Moment::now()),
                    None => return,
                },
                Some(ended) = self.running.join_next() => {
                    self.record(ended);
                    while let Some(ended) = self.running.try_join_next() {
                        self.record(ended);
                    }
                }
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// When something is due by the clock.
    fn wakes(&self) -> Option<Moment> {
        let hold = self.holds.first().map(|(moment, _)| *moment);
        [self.schedule.next(), hold, self.outbox.due()].into_iter().flatten().min()
    }

    fn serve(&mut self, now: Moment) {
        while self.holds.first().is_some_and(|(moment, _)| *moment <= now) {
            if let Some((_, id)) = self.holds.pop_first()
                && let Some(entry) = self.entries.get_mut(&id)
                && let Some(transition) = entry.state.release(&entry.check, now)
            {
                let change = entry.change(id, transition, Duration::ZERO);
                self.outbox.note_change(change, now);
            }
        }
        while let Some(due) = self.schedule.start(now) {
            let Some(entry) = self.entries.get_mut(&due.id) else {
                // Cannot be: checks are removed from both. It must not keep its place.
                self.schedule.remove(due.id);
                continue;
            };
            entry.counts.late += u64::from(due.late > PUNCTUAL);
            let checkers = self.checkers.clone();
            let (id, target, check) = (due.id, entry.target, entry.check.clone());
            self.running
                .spawn(async move { Ended { id, probed: checkers.probe(target, &check).await } });
        }
        let entries = &self.entries;
        self.outbox.flush(now, |id| entries.get(&id).map(|it| it.report(id)));
    }

    fn record(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        let Ended { id, mut probed } = match ended {
            Ok(ended) => ended,
            // A defect of a checker is one of the thread, whose end is noticed.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let now = Moment::now();
        let Some(entry) = self.entries.get_mut(&id) else {
            // Removed meanwhile; only its place becomes free.
            self.schedule.finished(id, Pace::Normal, now);
            return;
        };
        let address = entry.target.address;
        match &probed.outcome {
            Outcome::Failed(_) if self.routes.is_cut_off(address, now) => {
                probed.outcome = Fault::LinkDown.into();
            }
            Outcome::Passed => self.routes.learn(address, now),
            Outcome::Failed(_) | Outcome::Unknown(_) => {}
        }
        // Either the schedule was late with it or the programs before it were.
        entry.counts.late += u64::from(probed.waited > PUNCTUAL);
        match &probed.outcome {
            Outcome::Passed => entry.counts.passed += 1,
            Outcome::Failed(_) => entry.counts.failed += 1,
            Outcome::Unknown(_) => entry.counts.unknown += 1,
        }
        let transition = entry.state.record(&entry.check, now, &probed.outcome);
        entry.last =
            Some(LastProbe { outcome: probed.outcome, at: now, duration: probed.duration });
        if let Some(until) = entry.state.held_until() {
            self.holds.insert((until, id));
        }
        self.schedule.finished(id, entry.state.pace(), now);
        match transition {
            Some(transition) => {
                self.outbox.note_change(entry.change(id, transition, probed.duration), now);
            }
            None => self.outbox.note_result(id, now),
        }
    }

    fn handle(&mut self, command: Command, now: Moment) {
        match command {
            Command::Set(jobs) => self.set(jobs, now),
            Command::Hurry(id) => self.schedule.hurry(id, now),
        }
    }

    fn set(&mut self, wanted: HashMap<CheckId, Job>, now: Moment) {
        let gone: Vec<CheckId> =
            self.entries.keys().filter(|it| !wanted.contains_key(it)).copied().collect();
        // A first set without checks, as of a spec that is not read yet, uses none of them up.
        let mut verdicts =
            if wanted.is_empty() { Vec::new() } else { std::mem::take(&mut self.stored) };
        for id in gone {
            self.schedule.remove(id);
            self.outbox.note_removed(id, now);
            if let Some(entry) = self.entries.remove(&id) {
                verdicts.push(entry.report(id).to_stored());
            }
        }
        let mut retired = Retired::new(verdicts, &wanted.keys().copied().collect());
        for (id, job) in wanted {
            if self.entries.contains_key(&id) {
                continue;
            }
            let state = retired
                .take(id, job.target, job.check.kind.name())
                .unwrap_or_else(|| Hysteresis::assumed(job.first, now));
            if let Some(until) = state.held_until() {
                self.holds.insert((until, id));
            }
            self.schedule.add(id, &job.check, now);
            self.routes.learn(job.target.address, now);
            self.outbox.note_new(id, now);
            let (target, check) = (job.target, Arc::new(job.check));
            let entry = Entry { target, check, state, last: None, counts: Counts::default() };
            self.entries.insert(id, entry);
        }
    }
}

impl Entry {
    fn report(&self, id: CheckId) -> Report {
        Report {
            id,
            target: self.check.destination(self.target),
            kind: self.check.kind.name(),
            state: self.state.clone(),
            last: self.last.clone(),
            counts: self.counts,
        }
    }

    fn change(&self, id: CheckId, transition: Transition, duration: Duration) -> Change {
        let target = self.check.destination(self.target);
        Change { id, target, kind: self.check.kind.name(), transition, duration }
    }
}
