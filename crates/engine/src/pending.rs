//! An apply that waits for its confirmation, as the journal keeps it.
//!
//! It is written down before the first change, so that whatever becomes of the processes, the next
//! command knows that there is something to keep or to undo. Who waits and who undoes is
//! elsewhere; here is what the record means.

use std::fs;
use std::io;

use evenkeel_plan::Op;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Targeted;

/// An apply that was begun and is neither confirmed nor undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// Tells it from others of the same boot.
    pub id: Box<str>,
    /// When it was begun, in seconds since 1970.
    pub begun: u64,
    /// How long it may wait for its confirmation, in seconds.
    pub within: u32,
    /// Until when it may, in seconds since 1970; `None` as long as its steps are not done and
    /// verified.
    pub deadline: Option<u64>,
    /// The boot it belongs to.
    pub boot: Box<str>,
    /// The process that undoes it when the time has come; `None` before that is started.
    pub watchdog: Option<u32>,
    /// The steps to be undone, in the order of their execution.
    pub steps: Vec<Op>,
    /// What it asked of single services; nothing where it was a whole spec.
    #[serde(default, skip_serializing_if = "Targeted::is_empty")]
    pub targeted: Targeted,
}

/// Where an unconfirmed apply stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PendingState {
    /// It belongs to an earlier boot: what it did to the kernel is gone, and nothing is left to
    /// decide.
    Moot,
    /// Its steps are not done. As long as the process that applies lives it has the lock, so that
    /// who reads this with the lock in hand knows that it ended half-way.
    Unfinished,
    /// It may still be confirmed.
    Waiting {
        /// For how many seconds.
        left: u32,
    },
    /// Its time is over, and yet it was not undone.
    Overdue,
}

/// Nothing may be changed while an apply waits for its confirmation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Unconfirmed(pub String);

impl Pending {
    /// One that begins now, at that time in seconds since 1970, in this boot.
    ///
    /// # Errors
    /// The kernel does not tell which boot this is, as where `/proc` is not mounted.
    pub fn begin(now: u64, within: u32, steps: Vec<Op>) -> io::Result<Self> {
        Ok(Self {
            id: format!("{now}-{}", std::process::id()).into(),
            begun: now,
            within,
            deadline: None,
            boot: boot()?,
            watchdog: None,
            steps,
            targeted: Targeted::default(),
        })
    }

    /// Whether its steps are done, and only its confirmation is missing.
    pub fn is_done(&self) -> bool {
        self.deadline.is_some() && self.is_of_this_boot()
    }

    /// Where it stands at that time in seconds since 1970.
    pub fn state(&self, now: u64) -> PendingState {
        match self.deadline {
            _ if !self.is_of_this_boot() => PendingState::Moot,
            None => PendingState::Unfinished,
            Some(deadline) if deadline > now => {
                // A clock that was set back does not prolong it.
                let left = u32::try_from(deadline - now).unwrap_or(u32::MAX).min(self.within);
                PendingState::Waiting { left }
            }
            Some(_) => PendingState::Overdue,
        }
    }

    /// Whether it belongs to this boot; where that cannot be told it is taken to.
    pub fn is_of_this_boot(&self) -> bool {
        boot().is_ok_and(|boot| boot == self.boot) || boot().is_err()
    }

    /// Whether the process that undoes it when the time has come still runs. One of another pid
    /// namespace cannot be seen.
    pub fn is_watched(&self) -> bool {
        let Some(pid) = self.watchdog else { return false };
        // Numbers are used again: it must be one that was started to watch.
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == b"watchdog")
    }

    /// When it was begun, as people read it.
    pub fn begun_words(&self) -> String {
        moment(self.begun)
    }

    /// What whoever meets it should know, at that time in seconds since 1970.
    pub fn words(&self, now: u64) -> String {
        let begun = moment(self.begun);
        let either = "run `evenkeel confirm` to keep it, or `evenkeel confirm --abort` to undo it";
        match (self.state(now), self.deadline.unwrap_or_default(), self.watchdog) {
            (PendingState::Moot, ..) => self.moot(),
            (PendingState::Waiting { left }, deadline, _) => {
                let alone = match self.is_watched() {
                    true => "",
                    false => "; its watchdog is gone, so that nothing undoes it by itself",
                };
                format!(
                    "an apply of {begun} waits for confirmation until {}, {left} s from now{alone}: \
                     {either}",
                    moment(deadline)
                )
            }
            (PendingState::Unfinished, _, Some(pid)) if self.is_watched() => format!(
                "an apply of {begun} with --confirm ended half-way, and process {pid} is about to \
                 undo it: try again in a moment"
            ),
            (PendingState::Unfinished, ..) => format!(
                "an apply of {begun} with --confirm ended half-way, and nothing undoes it by \
                 itself: {either}"
            ),
            (PendingState::Overdue, deadline, Some(pid)) if self.is_watched() => format!(
                "an apply of {begun} was not confirmed by {}, and process {pid} is about to undo \
                 it: try again in a moment",
                moment(deadline)
            ),
            (PendingState::Overdue, deadline, _) => format!(
                "an apply of {begun} was not confirmed by {}, and its watchdog is gone, so that \
                 nothing undoes it by itself: {either}",
                moment(deadline)
            ),
        }
    }

    /// What became of one of an earlier boot, or of a network namespace that is no more.
    pub fn moot(&self) -> String {
        let end = match self.is_of_this_boot() {
            true => "its network namespace was deleted",
            false => "this host went down",
        };
        format!(
            "an apply of {} was not confirmed when {end}; what it had changed in the kernel went \
             with it, and there is nothing left to confirm or undo",
            moment(self.begun)
        )
    }
}

/// The kernel's name for the time from this boot to the next.
fn boot() -> io::Result<Box<str>> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(text.trim().into())
}

/// A time as people read it.
fn moment(seconds: u64) -> String {
    let found = i64::try_from(seconds).ok().and_then(|it| Timestamp::from_second(it).ok());
    // A clock that shows the year 10000 tells nothing.
    found.map_or_else(|| format!("{seconds} s"), |it| it.strftime("%F %T UTC").to_string())
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
        assert_eq!(pending.state(NOON + 100), PendingState::Waiting { left: 30 });
        assert_eq!(pending.state(NOON + 129), PendingState::Waiting { left: 1 });
        assert_eq!(pending.state(NOON + 130), PendingState::Overdue);
        assert_eq!(pending.state(u64::MAX), PendingState::Overdue);
        let unfinished = Pending { deadline: None, ..pending };
        assert_eq!(unfinished.state(NOON), PendingState::Unfinished);
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_it_no_more_than_it_had() {
        assert_eq!(waiting().state(0), PendingState::Waiting { left: 120 });
    }

    #[test]
    fn another_boot_leaves_nothing_to_decide() {
        let pending = Pending { boot: "another".into(), ..waiting() };
        assert_eq!(pending.state(NOON), PendingState::Moot);
        assert!(pending.words(NOON).contains("2026-01-01 12:00:03 UTC was not confirmed when"));
    }

    #[test]
    fn what_is_said_names_the_times_and_both_ways_out() {
        let words = waiting().words(NOON + 100);
        for word in [
            "an apply of 2026-01-01 12:00:03 UTC waits for confirmation until ",
            "until 2026-01-01 12:02:13 UTC, 30 s from now",
            "`evenkeel confirm` to keep it",
            "`evenkeel confirm --abort` to undo it",
        ] {
            assert!(words.contains(word), "{word}: {words}");
        }
        let overdue = waiting().words(NOON + 200);
        assert!(overdue.contains("was not confirmed by 2026-01-01 12:02:13 UTC"), "{overdue}");
        assert!(overdue.contains("confirm --abort"), "{overdue}");
    }

    #[test]
    fn only_a_process_that_was_started_to_watch_is_a_watchdog() {
        let own = Pending { watchdog: Some(std::process::id()), ..waiting() };
        assert!(!own.is_watched());
        assert!(own.words(NOON).contains("its watchdog is gone"));
        let mut child = std::process::Command::new("sleep");
        std::os::unix::process::CommandExt::arg0(&mut child, "watchdog");
        let mut child = child.arg("60").spawn().expect("sleep");
        let watched = Pending { watchdog: Some(child.id()), ..waiting() };
        let is_watched = (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            watched.is_watched()
        });
        assert!(is_watched);
        assert!(!watched.words(NOON).contains("gone"), "{}", watched.words(NOON));
        assert!(watched.words(NOON + 200).contains("is about to undo it"));
        child.kill().expect("it can be ended");
        child.wait().expect("it ends");
        assert!(!watched.is_watched());
    }

    #[test]
    fn a_time_beyond_all_calendars_is_still_shown() {
        assert_eq!(moment(u64::MAX), format!("{} s", u64::MAX));
    }
}
