//! The operators' overrides: as stored, and those in force at the last pass.

use std::time::Duration;

use evenkeel_control::{Answer, Mode, OverrideAction, Trigger};
use evenkeel_engine::{Kernel, NewOverride, StateDir, StoredOverrides, error_chain};
use evenkeel_model::{
    Desired, Live, OverlayEffect, Override, OverrideTarget, Span, printable_name,
};
use evenkeel_plan::ClockReading;
use evenkeel_plan::render::count;
use evenkeel_workflow::{StandingOverrides, begin_override, clear_overrides, standing_overrides};
use tracing::{info, warn};

use super::Reconciler;

/// The overrides.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    /// As in the file, or as last read from it.
    stored: StoredOverrides,
    /// Those of them that last.
    in_force: StoredOverrides,
    /// The same in terms of the wall clock at the last pass.
    active: Vec<Override>,
    /// Those of the active spec and its maintenance directory, as of the last reading.
    standing: StandingOverrides,
    /// Whether the file was read since the daemon started.
    is_read: bool,
    /// Why the file cannot be read; those that were known stay in force.
    problem: Option<String>,
}

/// A command that begins an override.
pub(super) struct NewCommand {
    pub(super) target: String,
    pub(super) action: OverrideAction,
    pub(super) seconds: Option<u64>,
    pub(super) by: String,
    pub(super) reason: String,
}

impl Overrides {
    /// Reads the overrides again, logs which began and which ended, and returns whether any did.
    pub(super) fn refresh(
        &mut self,
        state: &StateDir,
        desired: &Desired,
        now: &ClockReading,
    ) -> bool {
        match StoredOverrides::read(state) {
            Ok(stored) => {
                self.stored = stored;
                self.is_read = true;
                self.problem = None;
            }
            Err(error) => {
                self.problem = Some(format!(
                    "{}; {}",
                    error_chain(&error),
                    match self.is_read {
                        true => "the overrides that were read before stay in force",
                        false => "until it can be read, no real server is added or raised",
                    }
                ));
            }
        }
        if self.stored.needs_anchor(now) {
            // From here on they last as long as asked even if the wall clock is set.
            match StoredOverrides::update(state, now, |stored| stored.clone()) {
                Ok(stored) => self.stored = stored,
                Err(error) => warn!(
                    "{}; after a restart of the daemon the overrides follow the wall clock",
                    error_chain(&error)
                ),
            }
        }
        let in_force = self.stored.lasting(now);
        let ended = self.in_force.missing_from(&in_force, now);
        let begun = in_force.missing_from(&self.in_force, now);
        for it in &ended {
            info!(real_servers = %it.target, "override ended: {}", described(it));
        }
        for it in &begun {
            info!(real_servers = %it.target, "override began: {}", described(it));
        }
        self.active = in_force.active(now);
        self.in_force = in_force;
        let has_changed = self.read_standing(desired, now);
        has_changed || !ended.is_empty() || !begun.is_empty()
    }

    /// Reads those of a spec and its maintenance directory, logs which began and which ended, and returns whether
    /// any did.
    pub(super) fn read_standing(&mut self, desired: &Desired, now: &ClockReading) -> bool {
        let found = standing_overrides(desired, now.wall.as_secs(), &self.standing);
        let before = std::mem::replace(&mut self.standing, found);
        let StandingOverrides { overrides, warnings } = &self.standing;
        let is_new = |it: &&Override| !before.overrides.contains(*it);
        for it in overrides.iter().filter(is_new) {
            info!(real_servers = %it.target, "override began: {}", described(it));
        }
        for it in before.overrides.iter().filter(|it| !overrides.contains(it)) {
            info!(real_servers = %it.target, "override ended: {}", described(it));
        }
        for it in warnings.iter().filter(|it| !before.warnings.contains(it)) {
            warn!("{it}");
        }
        before.overrides != *overrides
    }

    /// Returns those in force, for a spec whose standing ones were read. A later one is above an earlier one.
    pub(super) fn active(&self) -> Vec<Override> {
        self.standing.overrides.iter().chain(&self.active).cloned().collect()
    }

    /// Returns what holds real servers as the kernel has them, where those of operators were never read: none that
    /// an operator may have taken out comes back.
    pub(super) fn unread(&self, desired: &Desired, live: &Live) -> Vec<Override> {
        if self.is_read || self.problem.is_none() {
            return Vec::new();
        }
        let mut held = Vec::new();
        for (service, named) in &desired.services {
            let Some(found) = live.services.get(service) else { continue };
            for (key, listed) in named.service.real_servers.iter().filter(|(_, it)| it.weight > 0) {
                let effect = match found.real_servers.get(key) {
                    None => OverlayEffect::Out,
                    Some(found) if found.weight < listed.weight => {
                        OverlayEffect::Weight(found.weight)
                    }
                    Some(_) => continue,
                };
                let service = Some(service.to_string().into());
                let target = OverrideTarget { service, address: key.address, port: Some(key.port) };
                let (by, reason) =
                    ("an operator (overrides.json cannot be read)".into(), "".into());
                held.push(Override { target, effect, since: 0, until: None, by, reason });
            }
        }
        held
    }

    /// What is wrong with those of the spec and the maintenance directory.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        self.standing.warnings.iter().map(ToString::to_string)
    }

    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Returns the time until the first of them ends.
    pub(super) fn next_end(&self, now: &ClockReading) -> Option<Duration> {
        let standing = self.standing.overrides.iter().filter_map(|it| it.until).min();
        let standing = standing.map(|until| Duration::from_secs(until).saturating_sub(now.wall));
        [self.stored.next_end(now), standing].into_iter().flatten().min()
    }
}

impl<K: Kernel> Reconciler<K> {
    /// Begins an override of the active spec's real servers, and puts it into force.
    pub(super) fn begin_override(&mut self, command: NewCommand) -> Answer {
        let NewCommand { target, action, seconds, by, reason } = command;
        let target = match target.parse::<OverrideTarget>() {
            Ok(target) => target,
            Err(error) => return Answer::Refused(error.to_string()),
        };
        let new = NewOverride {
            target: target.clone(),
            effect: effect(action),
            seconds,
            by: by.into(),
            reason: reason.into(),
        };
        let now = self.schedule.clock.both();
        let desired = self.specs.desired();
        let found = match begin_override(&self.options.state, &desired, new, &now) {
            Ok(found) => found,
            Err(error) => return Answer::Refused(error_chain(&error)),
        };
        self.pass(Trigger::Command);
        let end = match seconds {
            Some(seconds) => format!("for {}", Span(seconds)),
            None => "until `evenkeel clear`".to_owned(),
        };
        let found = count(found, "real server");
        Answer::Done(format!("Override of {target} {end} ({found}): {}", self.outcome()))
    }

    /// Ends overrides, and follows the spec again.
    pub(super) fn clear_overrides(&mut self, target: Option<&str>) -> Answer {
        let target = match target.map(str::parse::<OverrideTarget>).transpose() {
            Ok(target) => target,
            Err(error) => return Answer::Refused(error.to_string()),
        };
        let now = self.schedule.clock.both();
        match clear_overrides(&self.options.state, target.as_ref(), &now) {
            Ok(cleared) => {
                self.pass(Trigger::Command);
                let cleared = count(cleared, "override");
                Answer::Done(format!("Cleared {cleared}: {}", self.outcome()))
            }
            Err(error) => Answer::Refused(error_chain(&error)),
        }
    }

    fn outcome(&self) -> String {
        match (self.options.mode, self.gate.is_paused()) {
            (Mode::Observe, _) => "the daemon only observes and changes nothing".to_owned(),
            (_, true) => "the daemon is paused, and follows it after `evenkeel resume`".to_owned(),
            _ => self.outputs.publish.borrow().summary(),
        }
    }
}

fn effect(action: OverrideAction) -> OverlayEffect {
    match action {
        OverrideAction::Drain => OverlayEffect::Weight(0),
        OverrideAction::Weight(weight) => OverlayEffect::Weight(weight),
        OverrideAction::Disable => OverlayEffect::Out,
        OverrideAction::Enable => OverlayEffect::AsSpec,
    }
}

/// An override in words, for the log.
fn described(it: &Override) -> String {
    let reason = match &*it.reason {
        "" => String::new(),
        reason => format!(" ({})", printable_name(reason)),
    };
    let end = match it.until {
        // Of one in the spec, nothing says when it was written.
        Some(_) if it.since == 0 => "as long as the spec says".to_owned(),
        Some(until) => format!("for {}", Span(until.saturating_sub(it.since))),
        None => "until cleared".to_owned(),
    };
    format!("{} {} by {}{reason}, {end}", it.action(), it.target, printable_name(&it.by))
}
