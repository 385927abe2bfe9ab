//! Verdicts as they are stored, and what a restart or a change of the checks takes over of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::check_id::CheckId;
use crate::clock::Moment;
use crate::hysteresis::Hysteresis;
use evenkeel_model::Verdict;
use evenkeel_model::check::KindName;
use evenkeel_model::check::Target;

/// How old stored verdicts may be.
pub const FRESH: Duration = Duration::from_secs(60);

/// A verdict as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredVerdict {
    /// The check of the target.
    pub id: CheckId,
    /// What was probed.
    pub target: Target,
    /// How.
    pub kind: KindName,
    /// The verdict, with its counters: a failure in progress continues.
    pub state: Hysteresis,
}

/// All verdicts of a process, as they were at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredVerdicts {
    /// The boot (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    /// When they were stored. A daemon stores them again from time to time, though nothing changes.
    pub saved: Moment,
    /// The verdicts.
    pub verdicts: Vec<StoredVerdict>,
}

impl StoredVerdicts {
    /// Those that a process of this boot may take over now: all if they were stored within [`FRESH`].
    pub fn fresh(self, boot: &str, now: Moment) -> Vec<StoredVerdict> {
        // One from the future is of another boot, whatever it says.
        let usable = self.boot == boot && self.saved <= now && now.since(self.saved) <= FRESH;
        if usable { self.verdicts } else { Vec::new() }
    }
}

/// What a new check takes over of those that are no longer made.
#[derive(Debug, Default)]
pub struct Retired {
    same: BTreeMap<CheckId, Hysteresis>,
    rest: Vec<StoredVerdict>,
}

impl Retired {
    /// Sorts verdicts of before by the checks there are now. Those of checks that continue without a
    /// change are not among them, except after a restart.
    pub fn new(verdicts: Vec<StoredVerdict>, wanted: &BTreeSet<CheckId>) -> Self {
        let (same, rest): (Vec<_>, _) =
            verdicts.into_iter().partition(|it| wanted.contains(&it.id));
        Self { same: same.into_iter().map(|it| (it.id, it.state)).collect(), rest }
    }

    /// The state with which a check begins; `None`: nothing is known of its target.
    ///
    /// The same check continues. A changed one has the verdict of a check of its target that is no
    /// longer made: of the same port and kind if there is one, else of the same kind, else of the same
    /// port; of several, of the one that is down.
    pub fn take(&mut self, id: CheckId, target: Target, kind: KindName) -> Option<Hysteresis> {
        if let Some(state) = self.same.remove(&id) {
            return Some(state);
        }
        self.rest
            .iter()
            .filter(|it| it.target.address == target.address)
            .filter(|it| it.kind == kind || it.target.port == target.port)
            .min_by_key(|it| {
                (it.kind != kind, it.target.port != target.port, it.state.verdict() == Verdict::Up)
            })
            .map(|it| it.state.carried())
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::hysteresis::Basis;
    use crate::outcome::Failure;
    use evenkeel_model::check::{Check, Kind};

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    fn stored(number: u64, target: &str, kind: KindName, verdict: Verdict) -> StoredVerdict {
        StoredVerdict {
            id: CheckId::made(number),
            target: target.parse::<SocketAddr>().unwrap().into(),
            kind,
            state: Hysteresis::assumed(verdict, at(5)),
        }
    }

    fn all() -> StoredVerdicts {
        let verdicts = vec![stored(1, "10.0.0.1:80", KindName::Http, Verdict::Down)];
        StoredVerdicts { boot: "a".to_owned(), saved: at(100), verdicts }
    }

    #[test]
    fn verdicts_of_this_boot_hold_for_a_minute() {
        assert_eq!(all().fresh("a", at(160)).len(), 1);
        assert_eq!(all().fresh("a", at(161)).len(), 0);
        assert_eq!(all().fresh("b", at(101)).len(), 0);
        assert_eq!(all().fresh("a", at(99)).len(), 0);
    }

    #[test]
    fn the_same_check_continues_with_its_counters() {
        let mut one = stored(1, "10.0.0.1:80", KindName::Tcp, Verdict::Up);
        let check = Check::new(Kind::Icmp);
        one.state.record(&check, at(6), &Failure::Refused.into());
        one.state.record(&check, at(7), &Failure::Refused.into());
        let target = one.target;
        let mut retired = Retired::new(vec![one], &[CheckId::made(1)].into());
        let mut state = retired.take(CheckId::made(1), target, KindName::Tcp).unwrap();
        assert_eq!(state.failures(), 2);
        assert!(state.record(&check, at(8), &Failure::Refused.into()).is_some());
    }

    #[test]
    fn a_changed_check_takes_the_verdict_of_the_one_most_like_it() {
        let gone = vec![
            stored(1, "10.0.0.1:80", KindName::Tcp, Verdict::Up),
            stored(2, "10.0.0.1:80", KindName::Http, Verdict::Up),
            stored(3, "10.0.0.1:80", KindName::Http, Verdict::Down),
            stored(4, "10.0.0.1:81", KindName::Icmp, Verdict::Down),
            stored(5, "10.0.0.2:80", KindName::Dns, Verdict::Down),
        ];
        let mut retired = Retired::new(gone, &BTreeSet::new());
        let mut take = |target: &str, kind| {
            let target = target.parse::<SocketAddr>().unwrap().into();
            retired.take(CheckId::made(9), target, kind).map(|it| (it.verdict(), it.basis()))
        };
        let (up, down) = ((Verdict::Up, Basis::Carried), (Verdict::Down, Basis::Carried));
        assert_eq!(take("10.0.0.1:80", KindName::Tcp), Some(up));
        assert_eq!(take("10.0.0.1:80", KindName::Http), Some(down));
        assert_eq!(take("10.0.0.1:8080", KindName::Tcp), Some(up));
        assert_eq!(take("10.0.0.1:81", KindName::Grpc), Some(down));
        assert_eq!(take("10.0.0.1:82", KindName::Grpc), None);
        assert_eq!(take("10.0.0.3:80", KindName::Tcp), None);
    }

    #[test]
    fn what_is_stored_is_read_again() {
        let text = serde_json::to_string(&all()).unwrap();
        assert_eq!(serde_json::from_str::<StoredVerdicts>(&text).unwrap(), all());
    }
}
