//! Builds and publishes the status after each pass.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use evenkeel_control::{Mode, SpecStatus, State, Status};
use evenkeel_engine::Kernel;
use evenkeel_model::Span;
use evenkeel_plan::render::count;
use tracing::{info, warn};

use super::events::PassEvents;
use super::{PassError, Reconciler};
use crate::known_writers;
use crate::status::list_drains;

/// Between two searches for other programs.
const KNOWN_WRITERS_INTERVAL: Duration = Duration::from_secs(60);

impl<K: Kernel> Reconciler<K> {
    /// Publishes the current status, and the events of the pass that led to it.
    pub(super) fn publish_status(&mut self, events: PassEvents) {
        let before = Arc::clone(&self.outputs.publish.borrow());
        let (state, reasons) = self.state();
        let desired = self.specs.desired();
        // The search for other writers reads every process, so it is not made each time.
        let now = self.clock.now();
        let known_writers = if self.schedule.known_writers_at <= now
            || before.conflicts.is_empty() && !self.conflicts.is_empty()
        {
            self.schedule.known_writers_at = now + KNOWN_WRITERS_INTERVAL;
            known_writers::of_this_host()
        } else {
            before.known_writers.clone()
        };
        let (services, real_servers, vips) = match (self.specs.active_status(), &before.spec.active)
        {
            (active, published) if active == published.as_ref() => {
                (before.services, before.real_servers, before.vips)
            }
            _ => {
                let names = &self.outputs.names;
                *names.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&desired);
                let all = desired.services.values();
                let real_servers = all.map(|named| named.service.real_servers.len()).sum();
                (desired.services.len(), real_servers, desired.vips.len())
            }
        };
        let drains = &self.journal.record.drains;
        let drains = match self.specs.active() {
            Some(spec) => list_drains(drains, self.specs.names(&spec)),
            None => list_drains(drains, &*desired),
        };
        let status = Status {
            state,
            reasons,
            spec: SpecStatus {
                sources: self.options.sources.clone(),
                active: self.specs.active_status().cloned(),
                problem: self.specs.problem().cloned(),
                held: self.held.clone(),
                parameters: self.specs.parameters(),
            },
            paused: self.pause(),
            last_pass: self.last_pass.clone(),
            last_success: self.last_success,
            draining: drains.len(),
            drains,
            pending_steps: self.pending_steps.clone(),
            warnings: self.warnings.iter().map(ToString::to_string).collect(),
            failing: self.failing.status(&desired, &self.clock),
            conflicts: self.conflicts.status(&desired, &self.clock),
            known_writers,
            unmanaged: self.unmanaged,
            services,
            real_servers,
            vips,
            ..Status::clone(&before)
        };
        let status = Arc::new(status);
        self.outputs.metrics.status(Arc::clone(&status));
        let summary = status.summary();
        if before.state != status.state {
            let (from, to) = (before.state.as_str(), status.state.as_str());
            match status.state {
                State::Degraded | State::Held => warn!(from, to, "state: {summary}"),
                _ => info!(from, to, "state: {summary}"),
            }
        }
        if before.summary() != summary {
            self.outputs.notifier.status(&summary);
        }
        self.outputs.publish.send_replace(Arc::clone(&status));
        self.publish_events(events, &before, &status);
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
                    format!("paused for another {}", Span(left))
                }
            });
        }
        if let Some(held) = &self.held {
            states.push(State::Held);
            for (guard, message) in &held.guards {
                let id = &held.id;
                reasons.push(format!(
                    "guard {guard} holds plan {id}: {message}; to apply it anyway: `evenkeel approve {id}`"
                ));
            }
        }
        let mut degraded = |sentence: String| {
            states.push(State::Degraded);
            reasons.push(sentence);
        };
        if let Some(problem) = self.specs.problem() {
            let effect = problem.effect(self.specs.active_status().is_some());
            degraded(format!("{effect}: {}", problem.text.trim()));
        }
        if let Some(sentence) = self.instability() {
            degraded(sentence);
        }
        match &self.pass_error {
            Some(PassError::Other(sentence)) => degraded(sentence.clone()),
            // An apply that waits for drains may hold the lock for long.
            Some(PassError::Locked(sentence)) if self.consecutive_failures > 1 => {
                degraded(sentence.clone())
            }
            _ => {}
        }
        for precondition in &self.unmet_preconditions {
            degraded(precondition.clone());
        }
        let desired = self.specs.desired();
        for failing in self.failing.status(&desired, &self.clock) {
            degraded(format!("{}: {}", failing.object, failing.error));
        }
        for conflict in self.conflicts.status(&desired, &self.clock) {
            let (change, object) = (&conflict.change, &conflict.object);
            degraded(format!(
                "another program keeps changing {object}: {} is {}, the spec says {}; undone {} times",
                change.field, change.found, change.expected, conflict.times
            ));
        }
        if !self.pending_steps.is_empty() && self.options.mode == Mode::Observe {
            states.push(State::Drifted);
            reasons.push(format!(
                "{} pending; observe mode changes nothing",
                count(self.pending_steps.len(), "step")
            ));
        }
        (states.into_iter().min().unwrap_or(State::Ok), reasons)
    }
}
