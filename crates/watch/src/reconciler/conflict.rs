//! Detects conflicts: another program keeps changing what the daemon keeps repairing.
//!
//! If the same change of the same object is undone again and again, it is not drift but another
//! program that manages the same object. Undoing it at once each time would keep both programs busy
//! and disturb connections; so the daemon backs off, longer each time, and reports the conflict with
//! both values. Changes that differ from each other are no conflict, however many there are.
//!
//! A service that leaves weights to another program has a health checker. If another program deletes or adds
//! real servers of it, that is likely the checker, which may do so only once: it has taken out a dead
//! real server, and evenkeel has put it back. So the first time counts, and is reported until the spec
//! or a user says what is meant.
//!
//! VIPs are repaired within milliseconds, and a host without its VIP serves no clients: their
//! threshold is far higher.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use evenkeel_control::{Conflict, ConflictChange};
use evenkeel_model::{Desired, IgnoredField};
use evenkeel_plan::{Object, Op, Verb};
use tracing::warn;

use super::backoff::{LONGEST, jittered};
use crate::clock::DaemonClock;
use crate::status::known_writers;

/// How often the same change is undone before it counts as a conflict.
const TIMES: usize = 5;

/// For how many resync intervals an undone change is remembered; at least a minute.
const INTERVALS: u32 = 20;

/// How often a VIP is bound again within [`VIP_SPAN`] before it counts as a conflict.
const VIP_TIMES: usize = 100;
const VIP_SPAN: Duration = Duration::from_secs(60);

/// The first back-off.
const FIRST: Duration = Duration::from_secs(30);

/// The changes undone recently, and the conflicts.
#[derive(Debug)]
pub(crate) struct Conflicts {
    /// How long an undone change is remembered.
    span: Duration,
    undone: BTreeMap<(Object, Change), VecDeque<Duration>>,
    active: BTreeMap<(Object, Change), ConflictEntry>,
    /// Whether the host was in sync since the last command of a user: what is repaired before is no change
    /// against evenkeel.
    was_in_sync: bool,
}

/// A change by another program: the field, the expected value and the value found.
type Change = (String, String, String);

#[derive(Debug)]
struct ConflictEntry {
    times: u32,
    delay: Duration,
    next: Duration,
    /// Whether another program deletes or adds a real server.
    is_membership: bool,
    /// Whether it is reported until a user or a new spec ends it.
    lasts: bool,
}

impl Conflicts {
    /// Creates an empty record for a daemon with this resync interval.
    pub(crate) fn new(interval: Duration) -> Self {
        let span = (interval * INTERVALS).max(Duration::from_secs(60));
        Self { span, undone: BTreeMap::new(), active: BTreeMap::new(), was_in_sync: true }
    }

    /// Records that the host is in sync.
    pub(crate) fn in_sync(&mut self) {
        self.was_in_sync = true;
    }

    /// Records that this operation undid a change by another program. One that ended a drain of
    /// evenkeel (`is_end_of_drain`) has set a weight, and added nothing.
    pub(crate) fn undone(
        &mut self,
        op: &Op,
        is_end_of_drain: bool,
        desired: &Desired,
        now: Duration,
    ) {
        let key = (op.object(), change(op));
        let is_membership = is_membership(op) && !is_end_of_drain;
        let lasts = is_membership && has_checker(op, desired) && self.was_in_sync;
        let (times, span) = match key.0 {
            Object::Vip(_) => (VIP_TIMES, VIP_SPAN),
            _ if lasts => (1, self.span),
            _ => (TIMES, self.span),
        };
        let seen = self.undone.entry(key.clone()).or_default();
        seen.push_back(now);
        seen.retain(|at| *at + span > now);
        let number = u32::try_from(seen.len()).unwrap_or(u32::MAX);
        let (times, delay) = match self.active.get(&key) {
            // A conflict that lasts is reported long after the last change.
            Some(entry) if entry.next + span < now => (entry.times.saturating_add(1), FIRST),
            // It was undone after a back-off and has come back.
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
            likely = known_writers().join(", "),
            "another program keeps changing this"
        );
        let next = now + jittered(delay);
        self.active.insert(key, ConflictEntry { times, delay, next, is_membership, lasts });
    }

    /// Whether this operation has to wait: it would undo the same change of the same object again.
    /// Other changes of the object are repaired.
    pub(crate) fn backs_off(&self, op: &Op, now: Duration) -> bool {
        if self.active.is_empty() {
            return false;
        }
        let entry = self.active.get(&(op.object(), change(op)));
        entry.is_some_and(|entry| entry.next > now)
    }

    /// Returns when the next conflict is due for repair.
    pub(crate) fn next(&self, now: Duration) -> Option<Duration> {
        self.active.values().map(|entry| entry.next).filter(|next| *next > now).min()
    }

    /// Whether there are no conflicts.
    pub(crate) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// Removes what is over: conflicts whose back-off has ended and whose objects are as desired
    /// (those that differ are in the plan), and changes that are too old.
    pub(crate) fn forget(&mut self, planned: &BTreeSet<Object>, now: Duration) {
        self.active.retain(|(object, _), entry| {
            entry.lasts || planned.contains(object) || entry.next > now
        });
        let span = self.span.max(VIP_SPAN);
        self.undone.retain(|_, seen| seen.back().is_some_and(|last| *last + span > now));
    }

    /// Forgets everything: after a new spec or a command of a user every repair is made at once.
    pub(crate) fn clear(&mut self) {
        self.undone.clear();
        self.active.clear();
        self.was_in_sync = false;
    }

    /// Describes each conflict.
    pub(crate) fn reasons(&self, desired: &Desired) -> Vec<String> {
        let reasons = self.active.iter().map(|((object, change), entry)| {
            let ((field, expected, found), object) = (change, object.named(desired));
            let changes = if entry.times == 1 { "has changed" } else { "keeps changing" };
            let undone = if entry.times == 1 { "once".to_owned() } else { format!("{} times", entry.times) };
            let advice = match entry.is_membership {
                true => "; if it is a health checker, write `ignore: [weight, real_servers]`",
                false => "",
            };
            format!(
                "another program {changes} {object}: {field} is {found}, the spec says {expected}; undone \
                 {undone}{advice}"
            )
        });
        reasons.collect()
    }

    pub(crate) fn status(&self, desired: &Desired, clock: &DaemonClock) -> Vec<Conflict> {
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

/// Whether the operation undoes that another program deleted or added a real server.
fn is_membership(op: &Op) -> bool {
    let verb = op.verb();
    matches!(op.object(), Object::RealServer(..))
        && matches!(verb, Verb::Add | Verb::Drain | Verb::Delete)
}

/// Whether the spec leaves the weights of the operation's service to another program, and its real servers to
/// evenkeel.
fn has_checker(op: &Op, desired: &Desired) -> bool {
    let named = op.service().and_then(|key| desired.services.get(&key));
    let ignores = |field| named.is_some_and(|named| named.ignore.contains(field));
    ignores(IgnoredField::Weight) && !ignores(IgnoredField::RealServers)
}

/// Returns the other program's change, as the operation that undoes it shows it.
fn change(op: &Op) -> Change {
    let absent = || "absent".to_owned();
    let present = || "present".to_owned();
    let kind = || op.object().kind().to_owned();
    // A drain is the beginning of a deletion.
    if let Some(change) = op.changes().into_iter().next().filter(|_| op.verb() != Verb::Drain) {
        return (change.field.to_owned(), change.after.to_string(), change.before.to_string());
    }
    match op.verb() {
        Verb::Drain | Verb::Delete | Verb::Unbind => (kind(), absent(), present()),
        _ => (kind(), present(), absent()),
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_model::{
        Drain, Family, Forward, NamedService, RealServer, RealServerKey, RealServers, Scheduler,
        Service, ServiceConfig, ServiceKey,
    };

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);
    const BEGIN: Duration = Duration::from_secs(10_000);

    fn conflicts() -> Conflicts {
        Conflicts::new(INTERVAL)
    }

    fn edit(found: &str) -> Op {
        Op::EditSysctl {
            key: "a".into(),
            before: found.into(),
            after: "1".into(),
            rewrites: [].into(),
        }
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
        conflicts.undone(op, false, &Desired::default(), at);
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
        let entries = conflicts.status(&Desired::default(), &DaemonClock::new());
        let change =
            ConflictChange { field: "value".into(), expected: "1".into(), found: "0".into() };
        assert_eq!((entries.len(), &entries[0].change, entries[0].times), (1, &change, 5));
        assert!(conflicts.backs_off(&edit("0"), now));
        assert!(!conflicts.backs_off(&edit("7"), now), "another change of the object is repaired");
        let next = conflicts.next(now).expect("it backs off");
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
            now = conflicts.next(now).expect("it backs off");
            undo(&mut conflicts, &edit("0"), now);
            waits.push(conflicts.next(now).expect("it backs off") - now);
        }
        assert!(waits[0] > FIRST, "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= LONGEST) && waits[5] > LONGEST / 2, "{waits:?}");
    }

    const SERVICE: ServiceKey = ServiceKey::Fwmark { family: Family::Ipv4, fwmark: 7 };
    const SERVER: RealServerKey =
        RealServerKey { address: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port: 0 };

    /// Operations that delete a real server, drain it, and add it.
    fn membership() -> [Op; 3] {
        let value = RealServer::new(Forward::Dr, 1);
        let (service, key, limit) = (SERVICE, SERVER, Drain(60));
        [
            Op::DeleteRealServer { service, key, before: value },
            Op::DrainRealServer { service, key, before: value, limit },
            Op::AddRealServer { service, key, after: value },
        ]
    }

    fn ignoring(fields: &[IgnoredField]) -> Desired {
        let config = ServiceConfig::new(Scheduler::none());
        let service = Service { config, real_servers: RealServers::new() };
        let ignore = fields.iter().copied().collect();
        let named = NamedService { ignore, ..NamedService::new("web", service) };
        Desired { services: [(SERVICE, named)].into(), ..Desired::default() }
    }

    #[test]
    fn a_real_server_that_is_deleted_or_added_again_and_again_is_a_conflict() {
        let [delete, drain, add] = membership();
        let desired = ignoring(&[]);
        for (op, expected, found) in [
            (delete, "absent", "present"),
            (drain, "absent", "present"),
            (add, "present", "absent"),
        ] {
            let mut conflicts = conflicts();
            for _ in 0..4 {
                conflicts.undone(&op, false, &desired, BEGIN);
                assert!(conflicts.is_empty(), "{op:?}");
            }
            conflicts.undone(&op, false, &desired, BEGIN);
            let reasons = conflicts.reasons(&desired);
            let part = format!("real server is {found}, the spec says {expected}; undone 5 times");
            assert!(reasons[0].contains(&part), "{reasons:?}");
            assert!(conflicts.backs_off(&op, BEGIN));
        }
        // A drain and the deletion after it wait for the same.
        let mut conflicts = conflicts();
        let [delete, drain, _] = membership();
        for _ in 0..5 {
            conflicts.undone(&drain, false, &desired, BEGIN);
        }
        assert!(conflicts.backs_off(&delete, BEGIN));
    }

    #[test]
    fn beside_a_checker_the_first_one_is_a_conflict_until_a_user_ends_it() {
        let desired = ignoring(&[IgnoredField::Weight]);
        for op in membership() {
            let mut conflicts = conflicts();
            conflicts.undone(&op, false, &desired, BEGIN);
            conflicts.forget(&BTreeSet::new(), BEGIN + Duration::from_secs(9_000));
            let reasons = conflicts.reasons(&desired);
            for part in ["has changed", "undone once; ", "`ignore: [weight, real_servers]`"] {
                assert!(reasons[0].contains(part), "{reasons:?}");
            }
            conflicts.clear();
            assert!(conflicts.is_empty());
            // What was done by hand during a pause is repaired without a conflict.
            conflicts.undone(&op, false, &desired, BEGIN);
            assert!(conflicts.is_empty());
            conflicts.in_sync();
            conflicts.undone(&op, false, &desired, BEGIN);
            assert!(!conflicts.is_empty());
        }
        let all = ignoring(&[IgnoredField::Weight, IgnoredField::RealServers]);
        for op in membership() {
            let mut conflicts = conflicts();
            conflicts.undone(&op, false, &all, BEGIN);
            assert!(conflicts.is_empty(), "the spec leaves them to the checker");
        }
        let mut conflicts = conflicts();
        conflicts.undone(&edit("0"), false, &desired, BEGIN);
        assert!(conflicts.is_empty());
    }

    #[test]
    fn a_vip_is_bound_again_at_once_a_hundred_times_a_minute() {
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
            let entries = conflicts.status(&Desired::default(), &DaemonClock::new());
            assert_eq!(entries.len(), number + 1);
            assert!(
                entries
                    .iter()
                    .any(|conflict| conflict.change.found == found && conflict.times == 5)
            );
            assert!(conflicts.backs_off(&edit(found), BEGIN), "{found}");
        }
        assert!(conflicts.backs_off(&edit("0"), BEGIN), "the first one still backs off");
    }

    #[test]
    fn a_conflict_that_stays_quiet_is_forgotten_and_counts_from_zero_again() {
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
