//! When each probe starts. Pure: its clock is what it is given.
//!
//! A check has a grid of starts: its phase, a number made of its identity, plus whole intervals. The grid is
//! fixed in time, so that probes are spread evenly, stay so, and have the same phase after a restart. While a
//! verdict is open, starts follow each other by the fast interval instead.
//!
//! Jitter moves starts, not the grid, and only makes times shorter: the interval is the longest time between
//! two starts, so that a failure is found within it. With a jitter of 10 % they are 90 to 100 % of the
//! interval apart: the grid has steps of 95 %, and each start is up to 5 % of the interval after its place.
//!
//! The number of probes that run at once is bounded. What is due beyond that waits, the longest first, and is
//! counted as late; as is what an event loop serves late. A check never runs twice at once: starts that pass
//! meanwhile are skipped.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::check_id::CheckId;
use crate::clock::Moment;
use crate::hysteresis::Pace;
use evenkeel_model::check::Check;

/// How late a start may be without being counted.
pub const PUNCTUAL: Duration = Duration::from_millis(20);

/// Within which time new checks start, if their interval is not shorter.
const FIRST: Duration = Duration::from_secs(1);

/// The timers of all checks.
#[derive(Debug)]
pub struct Schedule {
    slots: HashMap<CheckId, Slot>,
    due: BTreeSet<(Moment, CheckId)>,
    running: usize,
    limit: usize,
}

/// A check whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Which one.
    pub id: CheckId,
    /// How late it starts.
    pub late: Duration,
}

#[derive(Debug)]
struct Slot {
    interval: Duration,
    fast: Duration,
    jitter: u8,
    /// The time for which it is or was scheduled.
    scheduled: Moment,
    /// When it began to run; `None`: it waits for its time.
    started: Option<Moment>,
    /// It runs and is wanted no more.
    removed: bool,
}

impl Schedule {
    /// A schedule that lets so many probes run at once; at least one.
    pub fn new(limit: usize) -> Self {
        Self { slots: HashMap::new(), due: BTreeSet::new(), running: 0, limit: limit.max(1) }
    }

    /// Adds a check, to run within its interval and a second; one that is there keeps its times.
    pub fn add(&mut self, id: CheckId, check: &Check, now: Moment) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.removed = false;
            return;
        }
        let scheduled = now + part(id, 0, check.interval.min(FIRST));
        let slot = Slot {
            interval: check.interval,
            fast: check.fast,
            jitter: check.jitter,
            scheduled,
            started: None,
            removed: false,
        };
        self.slots.insert(id, slot);
        self.due.insert((scheduled, id));
    }

    /// Removes a check. One that runs takes up its place until it has [finished](Self::finished).
    pub fn remove(&mut self, id: CheckId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.removed = true;
            if slot.started.is_none() {
                self.due.remove(&(slot.scheduled, id));
                self.slots.remove(&id);
            }
        }
    }

    /// Starts the check that has been due the longest, if one is and fewer than the limit run.
    pub fn start(&mut self, now: Moment) -> Option<Due> {
        let &(scheduled, id) = self.due.first()?;
        if scheduled > now || self.running >= self.limit {
            return None;
        }
        self.due.pop_first();
        self.running += 1;
        let slot = self.slots.get_mut(&id).expect("what is due is there");
        slot.started = Some(now);
        Some(Due { id, late: now.since(scheduled) })
    }

    /// Notes that a probe has ended, and schedules the next one. False if the check was removed
    /// meanwhile: its result counts no more.
    pub fn finished(&mut self, id: CheckId, pace: Pace, now: Moment) -> bool {
        let Some(slot) = self.slots.get_mut(&id) else { return false };
        let Some(started) = slot.started.take() else { return false };
        self.running -= 1;
        if slot.removed {
            self.slots.remove(&id);
            return false;
        }
        slot.scheduled = match pace {
            Pace::Fast => (started + slot.fast).max(now),
            Pace::Normal => slot.after(id, slot.scheduled.max(now)),
        };
        self.due.insert((slot.scheduled, id));
        true
    }

    /// Brings the next start forward to now, as after a hint that the target has changed. Of one that
    /// runs, nothing changes.
    pub fn hurry(&mut self, id: CheckId, now: Moment) {
        if let Some(slot) = self.slots.get_mut(&id)
            && slot.started.is_none()
            && slot.scheduled > now
        {
            self.due.remove(&(slot.scheduled, id));
            slot.scheduled = now;
            self.due.insert((now, id));
        }
    }

    /// When [`start`](Self::start) is to be called next; `None`: not before a probe has finished or a
    /// check is added.
    pub fn next(&self) -> Option<Moment> {
        if self.running >= self.limit {
            return None;
        }
        self.due.first().map(|(moment, _)| *moment)
    }

    /// How many probes run.
    pub fn running(&self) -> usize {
        self.running
    }

    /// Whether a check waits for its time or runs.
    pub fn contains(&self, id: CheckId) -> bool {
        self.slots.get(&id).is_some_and(|it| !it.removed)
    }
}

impl Slot {
    /// The first start on the grid after a moment.
    fn after(&self, id: CheckId, moment: Moment) -> Moment {
        let jitter = self.interval * u32::from(self.jitter) / 200;
        let step = self.interval.saturating_sub(jitter).max(Duration::from_nanos(1));
        let phase = part(id, 0, step).as_nanos();
        let mut number = moment.0.as_nanos().saturating_sub(phase) / step.as_nanos();
        loop {
            let moved = part(id, u64::try_from(number).unwrap_or(u64::MAX), jitter).as_nanos();
            let nanos = phase + number * step.as_nanos() + moved;
            let start = Moment(Duration::new(
                u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX),
                u32::try_from(nanos % 1_000_000_000).unwrap_or_default(),
            ));
            if start > moment {
                return start;
            }
            number += 1;
        }
    }
}

/// A part of a time, evenly spread over checks and numbers.
fn part(id: CheckId, number: u64, of: Duration) -> Duration {
    // The finalizer of SplitMix64, which turns neighbouring numbers into unrelated ones.
    let mut mixed = id.spread() ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let nanos = (of.as_nanos() * u128::from(mixed)) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
