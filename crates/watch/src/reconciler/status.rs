//! Builds and publishes the status after each pass.

use std::sync::{Arc, PoisonError};

use evenkeel_control::{HealthStatus, Mode, SpecStatus, State, Status};
use evenkeel_engine::Kernel;
use evenkeel_model::{Desired, Span};
use evenkeel_plan::render::count;
use evenkeel_plan::vip_manager_warning;
use tracing::{info, warn};

use super::Reconciler;
use super::events::PassEvents;
use crate::status::{
    descriptions, list_drains, list_health, list_overrides, list_services, list_staying,
};

impl<K: Kernel> Reconciler<K> {
    /// Publishes the current status, and the events of the pass that led to it.
    pub(super) fn publish_status(&mut self, events: PassEvents) {
        let before = Arc::clone(&self.outputs.publish.borrow());
        let (state, reasons) = self.state();
        let desired = self.specs.desired();
        let is_new_conflict = before.conflicts.is_empty() && !self.conflicts.is_empty();
        let is_reported = !self.report.known_writers().is_empty();
        if self.schedule.take_known_writers(is_reported, is_new_conflict) {
            self.report.set_known_writers(evenkeel_host::known_writers());
        }
        let known_writers = descriptions(self.report.known_writers());
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
        let drains = &self.host.journal().record.drains;
        let drains = match self.specs.active() {
            Some(spec) => list_drains(drains, self.specs.names(&spec)),
            None => list_drains(drains, &*desired),
        };
        let now = self.schedule.clock.both();
        let staying = self.host.journal().record.real_server.staying(&desired, &now);
        let status = Status {
            state,
            reasons,
            spec: SpecStatus {
                sources: self.options.sources.clone(),
                active: self.specs.active_status().cloned(),
                problem: self.specs.problem().cloned(),
                held: self.gate.held().cloned(),
                parameters: self.specs.parameters(),
            },
            paused: self.pause(),
            last_pass: self.report.last_pass().cloned(),
            last_success: self.report.last_success(),
            draining: drains.len(),
            drains,
            staying: list_staying(staying, &now),
            overrides: list_overrides(&self.overrides.active(), &desired),
            health: self.health_status(&desired),
            pending_steps: self.report.pending_steps().to_vec(),
            warnings: self.warnings(&desired),
            failing: self.retries.status(&desired, &self.schedule.clock),
            conflicts: self.conflicts.status(&desired, &self.schedule.clock),
            known_writers,
            unmanaged: self.report.unmanaged(),
            services_not_local: self.report.services_not_local(),
            services_without_servers: self.report.services_without_servers(),
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
            let logged = logged_summary(&status);
            match status.state {
                State::Degraded | State::Held => warn!(from, to, "state: {logged}"),
                _ => info!(from, to, "state: {logged}"),
            }
        }
        if before.summary() != summary {
            self.outputs.notifier.status(&summary);
        }
        self.outputs.publish.send_replace(Arc::clone(&status));
        self.publish_events(events, &before, &status);
    }

    fn health_status(&self, desired: &Desired) -> Option<HealthStatus> {
        let checks = self.health.count();
        (checks > 0).then(|| {
            let held = list_health(self.report.held_servers(), desired);
            let services = list_services(&held, desired, |key| self.health.has_quorum(key));
            HealthStatus { checks, held, services }
        })
    }

    /// The warnings of the plan, of programs that move VIPs, and that the HTTP endpoint is missing.
    fn warnings(&self, desired: &Desired) -> Vec<String> {
        let mut warnings = self.report.warnings();
        warnings.extend(self.overrides.warnings());
        warnings.extend(self.health.unknown());
        let managers = self.report.known_writers().iter().filter(|it| it.moves_vips());
        let managers = managers.map(|it| it.name());
        let managed = vip_manager_warning(desired, self.report.foreign_vips(), managers);
        warnings.extend(managed.map(|it| it.to_string()));
        warnings.extend(self.outputs.endpoint_problem.get());
        warnings
    }

    fn state(&self) -> (State, Vec<String>) {
        let mut reasons = Vec::new();
        let mut states = vec![State::Ok];
        if let Some(pause) = self.pause() {
            states.push(State::Paused);
            reasons.push(match pause.until {
                None => "paused until `evenkeel resume`".to_owned(),
                Some(until) => {
                    let left = until.saturating_sub(self.schedule.clock.wall());
                    format!("paused for another {}", Span(left))
                }
            });
        }
        if let Some(held) = self.gate.held() {
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
        if let Some(sentence) = self.source.instability() {
            degraded(sentence);
        }
        self.report.problems().for_each(|problem| degraded(problem.to_owned()));
        let desired = self.specs.desired();
        for failing in self.retries.status(&desired, &self.schedule.clock) {
            degraded(format!("{}: {}", failing.object, failing.error));
        }
        self.conflicts.reasons(&desired).into_iter().for_each(&mut degraded);
        if !self.report.pending_steps().is_empty() && self.options.mode == Mode::Observe {
            states.push(State::Drifted);
            reasons.push(format!(
                "{} pending; observe mode changes nothing",
                count(self.report.pending_steps().len(), "step")
            ));
        }
        (states.into_iter().min().unwrap_or(State::Ok), reasons)
    }
}

/// Returns the summary for the log without the text of an invalid spec, which is logged when it is read.
fn logged_summary(status: &Status) -> String {
    let summary = status.summary();
    let problem = status.spec.problem.as_ref();
    match problem.and_then(|problem| problem.text.trim().lines().next()) {
        Some(line) => summary.replacen(&format!(": {line}"), "", 1),
        None => summary,
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_control::SpecProblem;

    use super::*;
    use crate::test_fixtures;

    #[test]
    fn the_log_of_a_state_does_not_repeat_what_is_wrong_with_the_spec() {
        let mut status = test_fixtures::status();
        status.state = State::Degraded;
        status.reasons = vec!["a step failed".into(), "other".into()];
        assert_eq!(logged_summary(&status), "degraded: a step failed (and 1 more)");
        let text = "error: `version` is missing\n --> spec.yaml:1:1\n".to_owned();
        status.reasons = vec![format!("the spec is invalid: {}", text.trim()), "other".into()];
        status.spec.problem = Some(SpecProblem { since: 0, text, temporary: false });
        assert_eq!(logged_summary(&status), "degraded: the spec is invalid (and 1 more)");
    }
}
