//! What the keeper tells of itself after each pass.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tracing::{info, warn};

use super::{Ground, Keeper, Trouble};
use crate::status::{DrainStatus, FORMAT, Mode, SpecStatus, State, Status};
use crate::{Options, hands};

/// Between two looks at which other programs run.
const HANDS: Duration = Duration::from_secs(60);

impl Status {
    /// Before the first pass.
    pub(crate) fn starting(options: &Options, now: u64) -> Self {
        Self {
            format: FORMAT,
            version: options.version.to_owned(),
            pid: std::process::id(),
            namespace: options.namespace.clone(),
            started: now,
            mode: options.mode,
            state: State::Starting,
            reasons: vec!["no pass has been made yet".to_owned()],
            spec: SpecStatus { sources: options.sources.clone(), ..SpecStatus::default() },
            paused: None,
            last_pass: None,
            last_success: None,
            draining: 0,
            drains: Vec::new(),
            to_do: Vec::new(),
            warnings: Vec::new(),
            failing: Vec::new(),
            fights: Vec::new(),
            other_hands: hands::of_this_host(),
            unmanaged: 0,
            services: 0,
            real_servers: 0,
            vips: 0,
        }
    }

    /// The state in a line.
    pub fn summary(&self) -> String {
        let mut text = self.state.word().to_owned();
        if let Some(reason) = self.reasons.first() {
            let reason = reason.lines().next().unwrap_or_default();
            text.push_str(&format!(": {reason}"));
        }
        if self.reasons.len() > 1 {
            text.push_str(&format!(" (and {} more)", self.reasons.len() - 1));
        }
        if self.draining > 0 {
            text.push_str(&format!("; {} draining", self.draining));
        }
        text
    }
}

impl<K: Ground> Keeper<K> {
    /// Publishes how it is.
    pub(super) fn tell(&mut self) {
        let before = Arc::clone(&self.surroundings.publish.borrow());
        let (state, reasons) = self.state();
        let desired = self.specs.desired();
        // To look for other hands takes a look at every process.
        let now = self.clock.now();
        let other_hands =
            if self.due.hands <= now || before.fights.is_empty() && !self.fights.is_empty() {
                self.due.hands = now + HANDS;
                hands::of_this_host()
            } else {
                before.other_hands.clone()
            };
        let (services, real_servers, vips) = match (self.specs.told(), &before.spec.in_force) {
            (told, known) if told == known.as_ref() => {
                (before.services, before.real_servers, before.vips)
            }
            _ => {
                let names = &self.surroundings.names;
                *names.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&desired);
                let all = desired.services.values();
                let real_servers = all.map(|named| named.service.real_servers.len()).sum();
                (desired.services.len(), real_servers, desired.vips.len())
            }
        };
        let drains = &self.journal.record.drains;
        let drains = match self.specs.in_force() {
            Some(spec) => DrainStatus::of(drains, self.specs.names(&spec)),
            None => DrainStatus::of(drains, &*desired),
        };
        let status = Status {
            state,
            reasons,
            spec: SpecStatus {
                sources: self.options.sources.clone(),
                in_force: self.specs.told().cloned(),
                problem: self.specs.problem().cloned(),
                held: self.held.clone(),
            },
            paused: self.pause(),
            last_pass: self.last_pass.clone(),
            last_success: self.last_success,
            draining: drains.len(),
            drains,
            to_do: self.to_do.clone(),
            warnings: self.warnings.clone(),
            failing: self.failing.status(&desired, &self.clock),
            fights: self.fights.status(&desired, &self.clock),
            other_hands,
            unmanaged: self.unmanaged,
            services,
            real_servers,
            vips,
            ..Status::clone(&before)
        };
        let status = Arc::new(status);
        self.surroundings.metrics.status(Arc::clone(&status));
        let summary = status.summary();
        if before.state != status.state {
            let (from, to) = (before.state.word(), status.state.word());
            match status.state {
                State::Degraded | State::Held => warn!(from, to, "state: {summary}"),
                _ => info!(from, to, "state: {summary}"),
            }
        }
        if before.summary() != summary {
            self.surroundings.notifier.status(&summary);
        }
        self.surroundings.publish.send_replace(status);
    }

    fn state(&self) -> (State, Vec<String>) {
        let mut reasons = Vec::new();
        let mut states = vec![State::Ok];
        if let Some(pause) = self.pause() {
            states.push(State::Paused);
            reasons.push(match pause.until {
                None => "paused until `evenkeel resume`".to_owned(),
                Some(until) => {
                    let left = until.saturating_sub(self.clock.wall());
                    format!("paused for {left} s more")
                }
            });
        }
        if let Some(held) = &self.held {
            states.push(State::Held);
            for (guard, message) in &held.guards {
                let id = &held.id;
                reasons.push(format!(
                    "guard {guard} holds plan {id}: {message}; `evenkeel approve {id}` lets it through"
                ));
            }
        }
        let mut worse = |words: String| {
            states.push(State::Degraded);
            reasons.push(words);
        };
        if let Some(problem) = self.specs.problem() {
            let kept = match self.specs.told() {
                Some(_) => "the last good one stays in force",
                None => "nothing is in force",
            };
            worse(format!("the spec is bad, and {kept}: {}", problem.text.trim()));
        }
        if let Some(words) = self.restlessness() {
            worse(words);
        }
        match &self.trouble {
            Some(Trouble::Other(words)) => worse(words.clone()),
            // An apply that drains may take its time.
            Some(Trouble::Locked(words)) if self.troubles > 1 => worse(words.clone()),
            _ => {}
        }
        for obstacle in &self.obstacles {
            worse(obstacle.clone());
        }
        let desired = self.specs.desired();
        for failing in self.failing.status(&desired, &self.clock) {
            worse(format!("{}: {}", failing.object, failing.error));
        }
        for fight in self.fights.status(&desired, &self.clock) {
            let (change, object) = (&fight.change, &fight.object);
            worse(format!(
                "someone else keeps changing {object}: {} is found {}, the spec says {}; undone {} times",
                change.field, change.found, change.wanted, fight.times
            ));
        }
        if !self.to_do.is_empty() && self.options.mode == Mode::Observe {
            states.push(State::Drifted);
            reasons.push(format!("{} to do; nothing is changed in observe mode", self.to_do.len()));
        }
        (states.into_iter().min().unwrap_or(State::Ok), reasons)
    }
}
