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
use crate::hands;
use crate::status::{Action, Fight};

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
pub(crate) struct Fights {
    /// How long an undone change is remembered.
    span: Duration,
    undone: BTreeMap<(Object, Change), VecDeque<Duration>>,
    fought: BTreeMap<(Object, Change), Fought>,
}

/// A change by someone else: a field, what was wanted and what was found.
type Change = (String, String, String);

#[derive(Debug)]
struct Fought {
    times: u32,
    delay: Duration,
    next: Duration,
}

impl Fights {
    /// For a daemon with that resync interval.
    pub(crate) fn new(interval: Duration) -> Self {
        let span = (interval * INTERVALS).max(Duration::from_secs(60));
        Self { span, undone: BTreeMap::new(), fought: BTreeMap::new() }
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
        let (times, delay) = match self.fought.get(&key) {
            // It was undone after a delay, and is back.
            Some(fought) => (fought.times.saturating_add(1), (fought.delay * 2).min(LONGEST)),
            None if seen.len() >= times => (number, FIRST),
            None => return,
        };
        let (object, (field, wanted, found)) = &key;
        warn!(
            object = object.named(desired).to_string(),
            field,
            wanted,
            found,
            times,
            put_off_s = delay.as_secs(),
            likely = hands::of_this_host().join(", "),
            "someone else keeps changing this"
        );
        self.fought.insert(key, Fought { times, delay, next: now + jittered(delay) });
    }

    /// Whether that operation is put off: it would undo that very change of that object again. What
    /// else happens to the object is repaired.
    pub(crate) fn puts_off(&self, op: &Op, now: Duration) -> bool {
        if self.fought.is_empty() {
            return false;
        }
        let fought = self.fought.get(&(op.object(), change(op)));
        fought.is_some_and(|fought| fought.next > now)
    }

    /// When the next one is to be repaired.
    pub(crate) fn next(&self, now: Duration) -> Option<Duration> {
        self.fought.values().map(|fought| fought.next).filter(|next| *next > now).min()
    }

    /// Whether any is going on.
    pub(crate) fn is_empty(&self) -> bool {
        self.fought.is_empty()
    }

    /// Takes out what is over: fights about objects that are as they should be when their time has
    /// come (those that differ are in the plan), and changes that are not remembered any longer.
    pub(crate) fn forget(&mut self, planned: &BTreeSet<Object>, now: Duration) {
        self.fought.retain(|(object, _), fought| planned.contains(object) || fought.next > now);
        let span = self.span.max(VIP_SPAN);
        self.undone.retain(|_, seen| seen.back().is_some_and(|last| *last + span > now));
    }

    /// Whoever asks for something else, or says so, has every repair made at once.
    pub(crate) fn clear(&mut self) {
        self.undone.clear();
        self.fought.clear();
    }

    pub(crate) fn status(&self, desired: &Desired, clock: &Clock) -> Vec<Fight> {
        let told = self.fought.iter().map(|((object, change), fought)| {
            let (field, wanted, found) = change.clone();
            Fight {
                object: object.named(desired).to_string(),
                change: Action { field, wanted, found },
                times: fought.times,
                next: clock.wall_at(fought.next),
            }
        });
        told.collect()
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

    fn fights() -> Fights {
        Fights::new(INTERVAL)
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
        Op::Bind { binding }
    }

    fn undo(fights: &mut Fights, op: &Op, at: Duration) {
        fights.undone(op, &Desired::default(), at);
    }

    #[test]
    fn the_same_change_undone_five_times_is_a_fight_that_names_both_values() {
        let mut fights = fights();
        for number in 0..4 {
            undo(&mut fights, &edit("0"), BEGIN + INTERVAL * number);
            assert!(fights.is_empty(), "{number}");
        }
        let now = BEGIN + INTERVAL * 4;
        undo(&mut fights, &edit("0"), now);
        let told = fights.status(&Desired::default(), &Clock::new());
        let change = Action { field: "value".into(), wanted: "1".into(), found: "0".into() };
        assert_eq!((told.len(), &told[0].change, told[0].times), (1, &change, 5));
        assert!(fights.puts_off(&edit("0"), now));
        assert!(!fights.puts_off(&edit("7"), now), "another change of it is repaired");
        let next = fights.next(now).expect("it is put off");
        assert!(next <= now + FIRST && next > now + FIRST / 2);
        assert!(!fights.puts_off(&edit("0"), next));
    }

    #[test]
    fn changes_that_differ_or_are_far_apart_are_no_fight() {
        let mut fights = fights();
        for number in 0..40 {
            undo(&mut fights, &edit(&number.to_string()), BEGIN);
            undo(&mut fights, &edit("rare"), BEGIN + INTERVAL * number * 5);
        }
        assert!(fights.is_empty());
    }

    #[test]
    fn a_fight_that_goes_on_is_put_off_longer_each_time_but_never_for_ever() {
        let mut fights = fights();
        let mut now = BEGIN;
        for _ in 0..5 {
            undo(&mut fights, &edit("0"), now);
        }
        let mut waits = Vec::new();
        for _ in 0..6 {
            now = fights.next(now).expect("it is put off");
            undo(&mut fights, &edit("0"), now);
            waits.push(fights.next(now).expect("it is put off") - now);
        }
        assert!(waits[0] > FIRST, "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= LONGEST) && waits[5] > LONGEST / 2, "{waits:?}");
    }

    #[test]
    fn a_vip_is_brought_back_at_once_a_hundred_times_a_minute() {
        let mut fights = fights();
        for number in 0..99 {
            undo(&mut fights, &bind(), BEGIN + Duration::from_millis(600) * number);
        }
        assert!(fights.is_empty());
        undo(&mut fights, &bind(), BEGIN + Duration::from_millis(59_900));
        assert!(!fights.is_empty());
    }

    #[test]
    fn each_change_of_an_object_is_a_fight_of_its_own() {
        let mut fights = fights();
        for (number, found) in ["0", "7"].into_iter().enumerate() {
            for _ in 0..5 {
                undo(&mut fights, &edit(found), BEGIN);
            }
            let told = fights.status(&Desired::default(), &Clock::new());
            assert_eq!(told.len(), number + 1);
            assert!(told.iter().any(|fight| fight.change.found == found && fight.times == 5));
            assert!(fights.puts_off(&edit(found), BEGIN), "{found}");
        }
        assert!(fights.puts_off(&edit("0"), BEGIN), "it is put off still");
    }

    #[test]
    fn what_stays_quiet_is_forgotten_and_begins_anew() {
        let mut fights = fights();
        for _ in 0..5 {
            undo(&mut fights, &edit("0"), BEGIN);
        }
        fights.forget(&BTreeSet::new(), BEGIN + Duration::from_secs(10));
        assert!(!fights.is_empty());
        fights.forget(&BTreeSet::from([edit("0").object()]), BEGIN + Duration::from_secs(9_000));
        assert!(!fights.is_empty(), "it still differs");
        fights.forget(&BTreeSet::new(), BEGIN + Duration::from_secs(9_000));
        assert!(fights.is_empty());
        undo(&mut fights, &edit("0"), BEGIN + Duration::from_secs(9_000));
        assert!(fights.is_empty());
    }
}
