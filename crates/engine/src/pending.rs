//! A pending apply, as the journal records it.
//!
//! It is recorded before the first change, so that the next command knows, whatever happens to the
//! processes, that there is something to confirm or roll back. This file interprets the record;
//! the wait and the rollback are elsewhere.

use std::fs;
use std::io;

use evenkeel_control::PendingMarker;
use evenkeel_host::boot_id;
use evenkeel_model::{LeftScope, Span};
use evenkeel_plan::{ClockReading, Op, RealServerRecords, Uptime};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::PartialApplies;
use crate::notice::{Notice, utc};

/// An apply that was started and is neither confirmed nor rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// Identifies it among those of the same boot.
    pub id: Box<str>,
    /// When it was started, in seconds since 1970.
    pub begun: u64,
    /// The time within which it must be confirmed, in seconds.
    #[serde(rename = "within")]
    pub timeout_seconds: u32,
    /// The deadline for its confirmation, in seconds since 1970; `None` until its steps are done and
    /// verified.
    pub deadline: Option<u64>,
    /// The time since boot when its steps were done; `None` until then. With it, setting the clock neither
    /// shortens nor extends the time for the confirmation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<Uptime>,
    /// The boot in which it was started.
    pub boot: Box<str>,
    /// The process that rolls it back at the deadline; `None` until that is started.
    pub watchdog: Option<u32>,
    /// The steps to roll back, in the order of their execution.
    pub steps: Vec<Op>,
    /// What it asked for in single services; empty for a whole spec.
    #[serde(default, skip_serializing_if = "PartialApplies::is_empty")]
    pub targeted: PartialApplies,
    /// The host as a real server before it; after a rollback it is that again.
    #[serde(default, skip_serializing_if = "RealServerRecords::is_none")]
    pub real_server: RealServerRecords,
    /// What left the scope and stays once it is confirmed.
    #[serde(default, skip_serializing_if = "LeftScope::is_empty")]
    pub kept: LeftScope,
    /// What left the scope and is removed by it.
    #[serde(default, skip_serializing_if = "LeftScope::is_empty")]
    pub removed: LeftScope,
}

/// The state of a pending apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PendingState {
    /// It belongs to an earlier boot: its changes to the kernel are gone, and nothing is left to
    /// confirm or roll back.
    EarlierBoot,
    /// Its steps are not done. The applying process holds the lock while it runs, so a reader that
    /// holds the lock knows that the apply ended prematurely.
    Unfinished,
    /// It may still be confirmed.
    Waiting {
        /// The remaining time in seconds.
        remaining: u32,
    },
    /// Its deadline has passed, but it was not rolled back.
    Overdue,
}

/// The error that refuses changes while an apply is pending.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Unconfirmed(pub String);

impl Pending {
    /// Starts one at `now`, in seconds since 1970, in this boot.
    ///
    /// # Errors
    /// The boot id cannot be read, for example because `/proc` is not mounted.
    pub fn begin(now: u64, within: u32, steps: Vec<Op>) -> io::Result<Self> {
        Ok(Self {
            id: format!("{now}-{}", std::process::id()).into(),
            begun: now,
            timeout_seconds: within,
            deadline: None,
            done: None,
            boot: boot_id()?.into(),
            watchdog: None,
            steps,
            targeted: PartialApplies::default(),
            real_server: RealServerRecords::default(),
            kept: LeftScope::default(),
            removed: LeftScope::default(),
        })
    }

    /// Whether its steps are done and only the confirmation is missing.
    pub fn is_done(&self) -> bool {
        self.deadline.is_some() && self.is_of_this_boot()
    }

    /// Starts the time for its confirmation.
    pub fn set_done(&mut self, now: &ClockReading) {
        let done = now.wall.as_secs();
        self.deadline = Some(done + u64::from(self.timeout_seconds));
        self.done = now.uptime_at(done);
    }

    /// Converts the deadline to the present wall clock, whatever steps it has had since.
    pub fn rebase(&mut self, now: &ClockReading) {
        if let (Some(deadline), Some(done)) = (&mut self.deadline, self.done) {
            let timeout = u64::from(self.timeout_seconds);
            *deadline = now.wall_at(deadline.saturating_sub(timeout), Some(done)) + timeout;
        }
    }

    /// Whether it has to be rolled back now, in the eyes of a process that holds the lock: it was not
    /// confirmed in time, or ended prematurely.
    pub fn is_due(&self, now: u64) -> bool {
        matches!(self.state(now), PendingState::Unfinished | PendingState::Overdue)
    }

    /// Its state at `now`, in seconds since 1970.
    pub fn state(&self, now: u64) -> PendingState {
        match self.deadline {
            _ if !self.is_of_this_boot() => PendingState::EarlierBoot,
            None => PendingState::Unfinished,
            Some(deadline) if deadline > now => {
                // Setting the clock back does not extend the time.
                let remaining =
                    u32::try_from(deadline - now).unwrap_or(u32::MAX).min(self.timeout_seconds);
                PendingState::Waiting { remaining }
            }
            Some(_) => PendingState::Overdue,
        }
    }

    /// Whether it belongs to this boot; also true where the boot id cannot be read.
    pub fn is_of_this_boot(&self) -> bool {
        boot_id().map_or(true, |boot| boot == &*self.boot)
    }

    /// Whether its watchdog still runs. The service manager may have started it again as another process.
    pub fn is_watched(&self) -> bool {
        PendingMarker::is_held() || self.is_watchdog_running()
    }

    /// Whether the process that was started as watchdog runs. One in another pid namespace is not visible.
    fn is_watchdog_running(&self) -> bool {
        let Some(pid) = self.watchdog else { return false };
        // Process ids are reused: the process must have been started as a watchdog.
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == b"watchdog")
    }

    /// Describes it to users at `now`, in seconds since 1970, with what they can do.
    pub fn description(&self, now: u64) -> String {
        let begun = utc(self.begun);
        let either =
            "run `evenkeel confirm` to keep it, or `evenkeel confirm --abort` to roll it back";
        match (self.state(now), self.deadline.unwrap_or_default(), self.watchdog) {
            (PendingState::EarlierBoot, ..) => self.loss_notice().to_string(),
            (PendingState::Waiting { remaining }, deadline, _) => {
                let alone = match self.is_watched() {
                    true => "",
                    false => {
                        "; its watchdog is not running, so the daemon or the next command that \
                         changes something after that rolls it back"
                    }
                };
                format!(
                    "an apply of {begun} waits for confirmation until {}, {} from now{alone}: \
                     {either}",
                    utc(deadline),
                    Span(remaining.into())
                )
            }
            (PendingState::Unfinished, _, Some(pid)) if self.is_watched() => format!(
                "an apply of {begun} with --confirm did not finish, and process {pid} is about to \
                 roll it back: try again in a moment"
            ),
            (PendingState::Unfinished, ..) => format!(
                "an apply of {begun} with --confirm did not finish; its watchdog is not running, so the \
                 daemon or the next command that changes something rolls it back: {either}"
            ),
            (PendingState::Overdue, deadline, Some(pid)) if self.is_watched() => format!(
                "an apply of {begun} was not confirmed by {}, and process {pid} is about to roll \
                 it back: try again in a moment",
                utc(deadline)
            ),
            (PendingState::Overdue, deadline, _) => format!(
                "an apply of {begun} was not confirmed by {}; its watchdog is not running, so the daemon \
                 or the next command that changes something rolls it back: {either}",
                utc(deadline)
            ),
        }
    }

    /// The notice of an apply whose changes are lost with the kernel's state.
    pub fn loss_notice(&self) -> Notice {
        let begun = self.begun;
        match self.is_of_this_boot() {
            true => Notice::LostWithNamespace { begun },
            false => Notice::LostAtBoot { begun },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_767_268_803;

    fn waiting() -> Pending {
        let begun = Pending::begin(NOON, 120, Vec::new()).expect("this boot has a name");
        Pending { deadline: Some(NOON + 130), ..begun }
    }

    #[test]
    fn it_waits_until_its_deadline_and_is_overdue_from_there() {
        let pending = waiting();
        assert_eq!(pending.state(NOON + 100), PendingState::Waiting { remaining: 30 });
        assert_eq!(pending.state(NOON + 129), PendingState::Waiting { remaining: 1 });
        assert_eq!(pending.state(NOON + 130), PendingState::Overdue);
        assert_eq!(pending.state(u64::MAX), PendingState::Overdue);
        let unfinished = Pending { deadline: None, ..pending };
        assert_eq!(unfinished.state(NOON), PendingState::Unfinished);
    }

    #[test]
    fn setting_the_clock_back_does_not_extend_the_wait() {
        assert_eq!(waiting().state(0), PendingState::Waiting { remaining: 120 });
    }

    #[test]
    fn a_pending_apply_of_an_earlier_boot_needs_no_decision() {
        let pending = Pending { boot: "another".into(), ..waiting() };
        assert_eq!(pending.state(NOON), PendingState::EarlierBoot);
        assert!(
            pending.description(NOON).contains("2026-01-01 12:00:03 UTC was not confirmed when")
        );
    }

    #[test]
    fn the_description_names_the_times_and_both_commands() {
        let message = waiting().description(NOON + 100);
        for word in [
            "an apply of 2026-01-01 12:00:03 UTC waits for confirmation until ",
            "until 2026-01-01 12:02:13 UTC, 30s from now",
            "`evenkeel confirm` to keep it",
            "`evenkeel confirm --abort` to roll it back",
        ] {
            assert!(message.contains(word), "{word}: {message}");
        }
        let overdue = waiting().description(NOON + 200);
        assert!(overdue.contains("was not confirmed by 2026-01-01 12:02:13 UTC"), "{overdue}");
        assert!(overdue.contains("confirm --abort"), "{overdue}");
    }

    #[test]
    fn only_a_process_started_as_watchdog_counts_as_one() {
        let own = Pending { watchdog: Some(std::process::id()), ..waiting() };
        assert!(!own.is_watched());
        assert!(own.description(NOON).contains("its watchdog is not running"));
        let mut child = std::process::Command::new("sleep");
        std::os::unix::process::CommandExt::arg0(&mut child, "watchdog");
        let mut child = child.arg("60").spawn().expect("sleep");
        let watched = Pending { watchdog: Some(child.id()), ..waiting() };
        let is_watched = (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            watched.is_watched()
        });
        assert!(is_watched);
        let description = watched.description(NOON);
        assert!(!description.contains("not running"), "{description}");
        assert!(watched.description(NOON + 200).contains("is about to roll it back"));
        child.kill().expect("it can be ended");
        child.wait().expect("it ends");
        assert!(!watched.is_watched());
    }

    #[test]
    fn a_time_that_no_calendar_has_is_shown_in_seconds() {
        assert_eq!(utc(u64::MAX), format!("{} s", u64::MAX));
    }
}
