//! Fights: someone else keeps changing what the daemon keeps repairing.
//!
//! The same change of the same object, undone again and again, is not drift but another program
//! with another opinion. Undoing it at once each time would only make both of them work, and
//! connections suffer; so it is put off, longer each time, and told with both values. Changes that
//! differ from each other are no fight, however many there are.
//!
//! VIPs are repaired within milliseconds, and a host without its VIP serves nobody: there it takes
//! far more to call it a fight.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use evenkeel_model::Desired;
use evenkeel_plan::{Object, Op, Verb};
use tracing::warn;

use crate::backoff::{LONGEST, jittered};
use crate::clock::Clock;
use crate::known_writers;
use crate::status::{Conflict, ConflictChange};

/// How often the same change is undone before it is a fight.
const TIMES: usize = 5;

/// As many resync intervals are remembered, and at least a minute.
const INTERVALS: u32 = 20;

/// How often a VIP is brought back within [`VIP_SPAN`] before it is a fight.
const VIP_TIMES: usize = 100;
const VIP_SPAN: Duration = Duration::from_secs(60);

/// For how long the repair is put off at first.
const FIRST: Duration = Duration::from_secs(30);

/// What was undone of late, and what is put off.
#[derive(Debug)]
pub(crate) struct Conflicts {
    /// How long an undone change is remembered.
    span: Duration,
    undone: BTreeMap<(Object, Change), VecDeque<Duration>>,
    active: BTreeMap<(Object, Change), ConflictEntry>,
}

/// A change by someone else: a field, what was wanted and what was found.
type Change = (String, String, String);

#[derive(Debug)]
struct ConflictEntry {
    times: u32,
    delay: Duration,
    next: Duration,
}

impl Conflicts {
    /// For a daemon with that resync interval.
    pub(crate) fn new(interval: Duration) -> Self {
        let span = (interval * INTERVALS).max(Duration::from_secs(60));
        Self { span, undone: BTreeMap::new(), active: BTreeMap::new() }
    }

    /// That operation undid what someone else had changed.
    pub(crate) fn undone(&mut self, op: &Op, desired: &Desired, now: Duration) {
        let key = (op.object(), change(op));
        let (times, span) = match key.0 {
            Object::Vip(_) => (VIP_TIMES, VIP_SPAN),
            _ => (TIMES, self.span),
        };
        let seen = self.undone.entry(key.clone()).or_default();
        seen.push_back(now);
        seen.retain(|at| *at + span > now);
        let number = u32::try_from(seen.len()).unwrap_or(u32::MAX);
        let (times, delay) = match self.active.get(&key) {
            // It was undone after a delay, and is back.
            Some(entry) => (entry.times.saturating_add(1), (entry.delay * 2).min(LONGEST)),
            None if seen.len() >= times => (number, FIRST),
            None => return,
        };
        let (object, (field, expected, found)) = &key;
        warn!(
            object = object.named(desired).to_string(),
            field,
            expected,
            found,
            times,
            backoff_s = delay.as_secs(),
            likely = known_writers::of_this_host().join(", "),
            "someone else keeps changing this"
        );
        self.active.insert(key, ConflictEntry { times, delay, next: now + jittered(delay) });
    }

    /// Whether that operation is put off: it would undo that very change of that object again. What
    /// else happens to the object is repaired.
    pub(crate) fn backs_off(&self, op: &Op, now: Duration) -> bool {
        if self.active.is_empty() {
            return false;
        }
        let entry = self.active.get(&(op.object(), change(op)));
        entry.is_some_and(|entry| entry.next > now)
    }

    /// When the next one is to be repaired.
    pub(crate) fn next(&self, now: Duration) -> Option<Duration> {
        self.active.values().map(|entry| entry.next).filter(|next| *next > now).min()
    }

    /// Whether any is going on.
    pub(crate) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// Takes out what is over: fights about objects that are as they should be when their time has
    /// come (those that differ are in the plan), and changes that are not remembered any longer.
    pub(crate) fn forget(&mut self, planned: &BTreeSet<Object>, now: Duration) {
        self.active.retain(|(object, _), entry| planned.contains(object) || entry.next > now);
        let span = self.span.max(VIP_SPAN);
        self.undone.retain(|_, seen| seen.back().is_some_and(|last| *last + span > now));
    }

    /// Whoever asks for something else, or says so, has every repair made at once.
    pub(crate) fn clear(&mut self) {
        self.undone.clear();
        self.active.clear();
    }

    pub(crate) fn status(&self, desired: &Desired, clock: &Clock) -> Vec<Conflict> {
        let entries = self.active.iter().map(|((object, change), entry)| {
            let (field, expected, found) = change.clone();
            Conflict {
                object: object.named(desired).to_string(),
                change: ConflictChange { field, expected, found },
                times: entry.times,
                next: clock.wall_at(entry.next),
            }
        });
        entries.collect()
    }
}

/// What someone else had done, as the operation that undoes it shows.
fn change(op: &Op) -> Change {
    let absent = || "absent".to_owned();
    let present = || "present".to_owned();
    let kind = || op.object().kind().to_owned();
    if let Some(change) = op.changes().into_iter().next() {
        return (change.field.to_owned(), change.after.to_string(), change.before.to_string());
    }
    match op.verb() {
        Verb::Delete | Verb::Unbind => (kind(), absent(), present()),
        _ => (kind(), present(), absent()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);
    const BEGIN: Duration = Duration::from_secs(10_000);

    fn conflicts() -> Conflicts {
        Conflicts::new(INTERVAL)
    }

    fn edit(found: &str) -> Op {
        Op::EditSysctl { key: "a".into(), before: found.into(), after: "1".into() }
    }

    fn bind() -> Op {
        let binding = evenkeel_model::Binding {
            address: [192, 0, 2, 1].into(),
            prefix: 32,
            interface: "eth0".into(),
        };
        Op::Bind { binding, label: None }
    }

    fn undo(conflicts: &mut Conflicts, op: &Op, at: Duration) {
        conflicts.undone(op, &Desired::default(), at);
    }

    #[test]
    fn the_same_change_undone_five_times_is_a_conflict_with_both_values() {
        let mut conflicts = conflicts();
        for number in 0..4 {
            undo(&mut conflicts, &edit("0"), BEGIN + INTERVAL * number);
            assert!(conflicts.is_empty(), "{number}");
        }
        let now = BEGIN + INTERVAL * 4;
        undo(&mut conflicts, &edit("0"), now);
        let entries = conflicts.status(&Desired::default(), &Clock::new());
        let change =
            ConflictChange { field: "value".into(), expected: "1".into(), found: "0".into() };
        assert_eq!((entries.len(), &entries[0].change, entries[0].times), (1, &change, 5));
        assert!(conflicts.backs_off(&edit("0"), now));
        assert!(!conflicts.backs_off(&edit("7"), now), "another change of it is repaired");
        let next = conflicts.next(now).expect("it is put off");
        assert!(next <= now + FIRST && next > now + FIRST / 2);
        assert!(!conflicts.backs_off(&edit("0"), next));
    }

    #[test]
    fn changes_that_differ_or_are_far_apart_are_no_conflict() {
        let mut conflicts = conflicts();
        for number in 0..40 {
            undo(&mut conflicts, &edit(&number.to_string()), BEGIN);
            undo(&mut conflicts, &edit("rare"), BEGIN + INTERVAL * number * 5);
        }
        assert!(conflicts.is_empty());
    }

    #[test]
    fn a_continuing_conflict_backs_off_longer_each_time_up_to_a_limit() {
        let mut conflicts = conflicts();
        let mut now = BEGIN;
        for _ in 0..5 {
            undo(&mut conflicts, &edit("0"), now);
        }
        let mut waits = Vec::new();
        for _ in 0..6 {
            now = conflicts.next(now).expect("it is put off");
            undo(&mut conflicts, &edit("0"), now);
            waits.push(conflicts.next(now).expect("it is put off") - now);
        }
        assert!(waits[0] > FIRST, "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= LONGEST) && waits[5] > LONGEST / 2, "{waits:?}");
    }

    #[test]
    fn a_vip_is_brought_back_at_once_a_hundred_times_a_minute() {
        let mut conflicts = conflicts();
        for number in 0..99 {
            undo(&mut conflicts, &bind(), BEGIN + Duration::from_millis(600) * number);
        }
        assert!(conflicts.is_empty());
        undo(&mut conflicts, &bind(), BEGIN + Duration::from_millis(59_900));
        assert!(!conflicts.is_empty());
    }

    #[test]
    fn each_change_of_an_object_is_a_conflict_of_its_own() {
        let mut conflicts = conflicts();
        for (number, found) in ["0", "7"].into_iter().enumerate() {
            for _ in 0..5 {
                undo(&mut conflicts, &edit(found), BEGIN);
            }
            let entries = conflicts.status(&Desired::default(), &Clock::new());
            assert_eq!(entries.len(), number + 1);
            assert!(
                entries
                    .iter()
                    .any(|conflict| conflict.change.found == found && conflict.times == 5)
            );
            assert!(conflicts.backs_off(&edit(found), BEGIN), "{found}");
        }
        assert!(conflicts.backs_off(&edit("0"), BEGIN), "it is put off still");
    }

    #[test]
    fn what_stays_quiet_is_forgotten_and_begins_anew() {
        let mut conflicts = conflicts();
        for _ in 0..5 {
            undo(&mut conflicts, &edit("0"), BEGIN);
        }
        conflicts.forget(&BTreeSet::new(), BEGIN + Duration::from_secs(10));
        assert!(!conflicts.is_empty());
        conflicts.forget(&BTreeSet::from([edit("0").object()]), BEGIN + Duration::from_secs(9_000));
        assert!(!conflicts.is_empty(), "it still differs");
        conflicts.forget(&BTreeSet::new(), BEGIN + Duration::from_secs(9_000));
        assert!(conflicts.is_empty());
        undo(&mut conflicts, &edit("0"), BEGIN + Duration::from_secs(9_000));
        assert!(conflicts.is_empty());
    }
}
