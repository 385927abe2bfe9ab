//! What the daemon may change: nothing while it is paused, and no plan that guards refuse until a user
//! approves it.

use evenkeel_control::{Held, Pause};
use evenkeel_engine::{FileError, StateDir, error_chain};
use evenkeel_plan::{ClockReading, Guard, GuardRefusal, Plan};
use tracing::{info, warn};

use super::pause::{self, StoredPause};

/// The pause, the held plan and what users approved.
#[derive(Debug, Default)]
pub(super) struct ChangeGate {
    paused: Option<StoredPause>,
    held: Option<Held>,
    /// The last held plan that was logged; the same plan is not logged twice.
    last_held: Option<Held>,
    /// The approved plan that the next pass may apply.
    approved: Option<String>,
    /// The guards that one spec may pass until it is reached.
    granted: Option<Grant>,
}

/// The guards that a spec may pass.
#[derive(Debug, PartialEq, Eq)]
struct Grant {
    /// The digest of the spec and of the values of its parameters.
    spec: String,
    guards: Vec<Guard>,
}

/// A plan to be admitted.
pub(super) struct Candidate<'a> {
    pub(super) plan: &'a Plan,
    /// The digest of its spec and of the values of its parameters.
    pub(super) spec: &'a str,
    /// The id that a user approves it by.
    pub(super) id: &'a dyn Fn() -> String,
    /// The time, in seconds since 1970.
    pub(super) now: u64,
}

impl ChangeGate {
    /// Continues a pause that an earlier daemon stored.
    pub(super) fn restore_pause(&mut self, state: &StateDir, now: &ClockReading) {
        self.paused = pause::read(state, now);
    }

    /// Begins a pause of so many seconds; without a number it lasts until it is ended.
    pub(super) fn pause(
        &mut self,
        state: &StateDir,
        seconds: Option<u64>,
        now: &ClockReading,
    ) -> Result<(), FileError> {
        let paused = StoredPause::begin(state, seconds, now);
        pause::write(state, &paused)?;
        self.paused = Some(paused);
        Ok(())
    }

    /// Ends the pause.
    pub(super) fn resume(&mut self, state: &StateDir) {
        self.paused = None;
        if let Err(error) = pause::remove(state) {
            warn!("{}; the daemon will be paused again after a restart", error_chain(&error));
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// Returns the pause in terms of the current wall clock. The clocks are read only if there is one.
    pub(super) fn paused(&self, now: impl FnOnce() -> ClockReading) -> Option<Pause> {
        self.paused.as_ref().map(|stored| stored.at(&now()))
    }

    pub(super) fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// Forgets the held plan before a pass, which decides about it again.
    pub(super) fn begin_pass(&mut self) {
        self.held = None;
    }

    /// Ends the approval, which was for one pass.
    pub(super) fn end_approval(&mut self) {
        self.approved = None;
    }

    /// Lets the next pass apply the held plan.
    ///
    /// # Errors
    /// Why there is nothing to approve, as a message.
    pub(super) fn approve(&mut self, id: &str) -> Result<(), String> {
        match &self.held {
            None => Err("no plan is held".to_owned()),
            Some(held) if held.id != id => {
                let other = &held.id;
                Err(format!("the held plan is {other}, not {id}; see `evenkeel status`"))
            }
            Some(_) => {
                self.approved = Some(id.to_owned());
                Ok(())
            }
        }
    }

    /// Lets the spec with this digest pass all guards until it is reached.
    pub(super) fn grant_all(&mut self, spec: String) {
        self.granted = Some(Grant { spec, guards: Guard::ALL.to_vec() });
    }

    /// Ends what was granted, because the spec is reached.
    pub(super) fn end_grant(&mut self) {
        self.granted = None;
    }

    /// Returns the plan to be held if guards refuse it and no user has approved it.
    pub(super) fn review(&mut self, candidate: &Candidate<'_>) -> Option<Held> {
        let Candidate { plan, spec, id, now } = candidate;
        let allowed: &[Guard] = match &self.granted {
            Some(grant) if grant.spec == **spec => &grant.guards,
            _ => &[],
        };
        let refusals: Vec<&GuardRefusal> = plan.refused(allowed).collect();
        if refusals.is_empty() {
            return None;
        }
        let id = id();
        if self.approved.as_ref() == Some(&id) {
            info!(id, "approved");
            let guards = plan.refusals.iter().map(|refusal| refusal.guard).collect();
            self.granted = Some(Grant { spec: (*spec).to_owned(), guards });
            return None;
        }
        let guards = refusals.iter();
        let guards = guards.map(|it| (it.guard.name().to_owned(), it.to_string())).collect();
        Some(Held { id, since: *now, guards, steps: plan.steps.len() })
    }

    /// Holds the plan, and logs it the first time; returns whether it is the first time.
    pub(super) fn hold(&mut self, held: Held) -> bool {
        let before = self.last_held.take().filter(|before| before.id == held.id);
        let since = before.as_ref().map_or(held.since, |before| before.since);
        if before.is_none() {
            for (guard, message) in &held.guards {
                let id = &held.id;
                warn!(guard, id, "held: {message}; to apply it anyway: `evenkeel approve {id}`");
            }
        }
        self.last_held = Some(Held { since, ..held });
        self.held.clone_from(&self.last_held);
        before.is_none()
    }
}

#[cfg(test)]
mod tests;
