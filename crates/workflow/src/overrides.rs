//! Begins and clears operators' overrides, for the daemon and for commands without one.

mod standing;

use evenkeel_engine::{Clock, FileError, JournalError, NewOverride, StateDir, StoredOverrides};
use evenkeel_model::{Desired, OverrideTarget};
use evenkeel_plan::{ClockReading, UnknownTarget, overridden};
use thiserror::Error;

use crate::error::WorkflowError;
use crate::last_applied::stored;

pub use standing::{StandingOverrides, standing_overrides};

/// Why an override was not begun or cleared; nothing was changed.
#[derive(Debug, Error)]
pub enum OverrideError {
    /// The target names no real server of the spec, or is ambiguous.
    #[error(transparent)]
    Unknown(#[from] UnknownTarget),
    /// No override of that target lasts.
    #[error("no override of `{target}` is in force{}", listed(.targets))]
    NotOverridden {
        /// The target.
        target: OverrideTarget,
        /// The targets of those that are.
        targets: Vec<OverrideTarget>,
    },
    /// The overrides cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Begins an override of real servers of this spec, and returns how many it concerns.
///
/// # Errors
/// The spec has none, or the override cannot be stored.
pub fn begin_override(
    state: &StateDir,
    desired: &Desired,
    new: NewOverride,
    now: &ClockReading,
) -> Result<usize, OverrideError> {
    let found = overridden(&new.target, desired)?;
    StoredOverrides::update(state, now, |overrides| overrides.begin(new, now))?;
    Ok(found.len())
}

/// Ends an override, or all of them without a target, and returns how many.
///
/// # Errors
/// There is none of that target, or the change cannot be stored.
pub fn clear_overrides(
    state: &StateDir,
    target: Option<&OverrideTarget>,
    now: &ClockReading,
) -> Result<usize, OverrideError> {
    let Some(target) = target else {
        let count = StoredOverrides::update(state, now, StoredOverrides::clear_all);
        // A damaged file is removed too.
        return match count {
            Ok(count) => Ok(count),
            Err(_) => StoredOverrides::remove(state).map(|()| 0).map_err(OverrideError::from),
        };
    };
    let cleared = StoredOverrides::update(state, now, |overrides| {
        let is_cleared = overrides.clear(target);
        (is_cleared, overrides.targets().cloned().collect())
    })?;
    match cleared {
        (true, _) => Ok(1),
        (false, targets) => Err(OverrideError::NotOverridden { target: target.clone(), targets }),
    }
}

/// What the last applied spec asks for, by which targets are resolved where no daemon runs.
///
/// # Errors
/// The journal cannot be read, or no spec was applied.
pub fn overridable_spec(state: &StateDir) -> Result<Desired, WorkflowError> {
    let (journal, _) = state.read(false)?;
    let last = stored(state, &journal);
    journal.active_partial_applies().over(last).ok_or(WorkflowError::NoSpec)
}

/// Reads the overrides that last, in terms of the current wall clock.
///
/// # Errors
/// They cannot be read: none may be taken for ended.
pub fn active_overrides(state: &StateDir) -> Result<Vec<evenkeel_model::Override>, WorkflowError> {
    let stored = StoredOverrides::read(state).map_err(JournalError::from)?;
    Ok(stored.active(&Clock::start().now()))
}

fn listed(targets: &[OverrideTarget]) -> String {
    let names: Vec<String> = targets.iter().map(|it| format!("`{it}`")).collect();
    match names.is_empty() {
        true => "; there is none".to_owned(),
        false => format!("; there is {}", names.join(", ")),
    }
}
