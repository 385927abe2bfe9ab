//! Random reconfigurations, the same for the same seed.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngSeed, TestRunner};

use super::cluster::{Other, REAL_SERVERS, Setup};

const SCHEDULERS: [&str; 8] = ["rr", "wrr", "lc", "wlc", "sed", "nq", "sh", "mh"];
/// The largest number of services beside the loaded one.
const OTHERS: u8 = 6;
/// The number of the loaded service's real servers that have a weight at any time.
const READY: usize = 2;

/// One change of a spec.
#[derive(Clone, Debug)]
pub(super) enum Change {
    AddRealServer(u8, u32),
    RemoveRealServer(u8),
    Weight(u8, u32),
    Scheduler(&'static str),
    /// Adds a service or changes it.
    Service(u8, Other),
    RemoveService(u8),
}

/// Returns the seed: `EVENKEEL_LAB_SEED`, else a random one.
pub(super) fn seed() -> u64 {
    let seed = std::env::var("EVENKEEL_LAB_SEED").ok();
    let seed = seed.map(|text| text.parse().expect("EVENKEEL_LAB_SEED is a number"));
    seed.unwrap_or_else(|| RandomState::new().hash_one("load"))
}

/// Returns this many set-ups, one after the other, each with its change to the one before.
pub(super) fn setups(seed: u64, count: u32, schedulers: Schedulers) -> Vec<(Setup, Vec<Change>)> {
    let config = ProptestConfig { rng_seed: RngSeed::Fixed(seed), ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    let strategy = prop::collection::vec(change(schedulers), 1..=3);
    let mut setup = Setup::first();
    let mut all = Vec::new();
    while all.len() < count as usize {
        let mut changes = strategy.new_tree(&mut runner).expect("changes").current();
        changes.retain(|change| {
            let before = setup.clone();
            setup.make(change);
            setup != before
        });
        if !changes.is_empty() {
            all.push((setup.clone(), changes));
        }
    }
    all
}

/// Whether schedulers are changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Schedulers {
    Change,
    Stay,
}

fn change(schedulers: Schedulers) -> impl Strategy<Value = Change> {
    let number = || 1..=REAL_SERVERS;
    // 0 is a weight, too.
    let weight = || 0_u32..=5;
    let scheduler = || prop::sample::select(&SCHEDULERS[..]);
    let real_servers = || prop::collection::btree_set(number(), 1..=3);
    let kept = if schedulers == Schedulers::Change { 2 } else { 0 };
    let service = (0..OTHERS, scheduler(), real_servers());
    prop_oneof![
        4 => (number(), weight()).prop_map(|(number, weight)| Change::AddRealServer(number, weight)),
        4 => number().prop_map(Change::RemoveRealServer),
        3 => (number(), weight()).prop_map(|(number, weight)| Change::Weight(number, weight)),
        kept => scheduler().prop_map(Change::Scheduler),
        3 => service.prop_map(|(number, scheduler, real_servers)| {
            Change::Service(number, Other { scheduler, real_servers })
        }),
        2 => (0..OTHERS).prop_map(Change::RemoveService),
    ]
}

impl Setup {
    /// Makes a change, unless it changes nothing or leaves too few real servers ready.
    fn make(&mut self, change: &Change) {
        let ready: BTreeSet<u8> =
            self.real_servers.iter().filter(|(_, weight)| **weight > 0).map(|(n, _)| *n).collect();
        let is_spare = |number: &u8| !ready.contains(number) || ready.len() > READY;
        match change {
            Change::AddRealServer(number, weight) => {
                self.real_servers.entry(*number).or_insert(*weight);
            }
            Change::RemoveRealServer(number) => {
                if is_spare(number) {
                    self.real_servers.remove(number);
                }
            }
            Change::Weight(number, weight) => {
                if let Some(present) = self.real_servers.get_mut(number)
                    && (*weight > 0 || is_spare(number))
                {
                    *present = *weight;
                }
            }
            Change::Scheduler(name) => self.scheduler = name,
            Change::Service(number, other) => {
                self.others.insert(*number, other.clone());
            }
            Change::RemoveService(number) => {
                self.others.remove(number);
            }
        }
    }
}

#[test]
fn the_same_seed_makes_the_same_changes_and_enough_real_servers_stay_ready() {
    let all = setups(7, 300, Schedulers::Change);
    assert_eq!(format!("{all:?}"), format!("{:?}", setups(7, 300, Schedulers::Change)));
    assert_ne!(format!("{all:?}"), format!("{:?}", setups(8, 300, Schedulers::Change)));
    for (setup, changes) in &all {
        let ready = setup.real_servers.values().filter(|weight| **weight > 0).count();
        assert!(ready >= READY, "{setup:?} after {changes:?}");
    }
    let still = setups(7, 300, Schedulers::Stay);
    assert!(still.iter().all(|(setup, _)| setup.scheduler == Setup::first().scheduler));
    assert!(all.iter().any(|(setup, _)| setup.scheduler == "mh"));
}
