//! Records how long VIPs were missing, by the kernel's events about addresses.
//!
//! One thread receives the events and stamps them. It has a real-time priority, so that it runs as soon as the
//! system call that caused an event has returned, whatever else waits for the processor.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::Instant;

use evenkeel_lab_tests::route_socket::{AddressChange, AddressEvents, Received, Verb};
use evenkeel_lab_tests::run;

/// Who binds a VIP again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    Evenkeel,
    Floor,
}

/// The time that a VIP was missing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outage {
    pub(super) owner: Owner,
    pub(super) address: IpAddr,
    /// When the kernel reported that it was removed.
    pub(super) begin: Instant,
    /// When the kernel reported that it was added.
    pub(super) end: Instant,
}

/// An address of a link.
type OnLink = (u32, IpAddr);

/// What the events have shown.
#[derive(Debug, Default)]
struct Seen {
    present: BTreeSet<OnLink>,
    /// Taken by the test, and not yet reported as removed.
    taken: BTreeSet<OnLink>,
    missing: BTreeMap<OnLink, Instant>,
    outages: Vec<Outage>,
    /// What must not happen.
    faults: Vec<String>,
    events: usize,
}

/// The record.
#[derive(Debug)]
pub(super) struct Ledger {
    owners: BTreeMap<OnLink, Owner>,
    /// Addresses of other programs, which must stay.
    foreign: BTreeSet<OnLink>,
    seen: Mutex<Seen>,
    is_over: AtomicBool,
}

impl Ledger {
    /// Begins to record, in the namespace of the calling thread.
    pub(super) fn begin(
        owners: BTreeMap<OnLink, Owner>,
        foreign: BTreeSet<OnLink>,
    ) -> (Arc<Self>, Recorder) {
        let ledger = Arc::new(Self {
            owners,
            foreign,
            seen: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let mut events = AddressEvents::subscribe();
        let this = Arc::clone(&ledger);
        let thread = spawn(move || {
            let id = rustix::thread::gettid().as_raw_nonzero();
            run(&format!("chrt --fifo --pid 50 {id}"));
            while !this.is_over.load(Ordering::SeqCst) {
                let received = events.receive();
                this.note(received, Instant::now());
            }
        });
        (Arc::clone(&ledger), Recorder { ledger, thread: Some(thread) })
    }

    fn note(&self, received: Received, now: Instant) {
        let changes = match received {
            Received::Nothing => return,
            Received::Overrun => return self.fault("events about addresses were lost".to_owned()),
            Received::Changes(changes) => changes,
        };
        for AddressChange { verb, address, link } in changes {
            let key = (link, address);
            let owner = self.owners.get(&key).copied();
            if owner.is_none() && !self.foreign.contains(&key) {
                self.seen.lock().unwrap().events += 1;
                continue;
            }
            match (verb, owner) {
                (Verb::Add, Some(owner)) => self.added(key, owner, now),
                (Verb::Remove, Some(_)) => self.removed(key, now),
                (Verb::Remove, None) => {
                    self.fault(format!("{address}, a foreign one, was removed"))
                }
                (Verb::Add, None) => {}
            }
        }
    }

    fn added(&self, key: OnLink, owner: Owner, now: Instant) {
        let mut seen = self.seen.lock().unwrap();
        seen.present.insert(key);
        // Events about flags are of the same kind.
        if let Some(begin) = seen.missing.remove(&key) {
            seen.outages.push(Outage { owner, address: key.1, begin, end: now });
        }
    }

    fn removed(&self, key: OnLink, now: Instant) {
        let mut seen = self.seen.lock().unwrap();
        seen.present.remove(&key);
        seen.missing.insert(key, now);
        if !seen.taken.remove(&key) {
            drop(seen);
            self.fault(format!("{} was removed, and not by the test", key.1));
        }
    }

    fn fault(&self, text: String) {
        self.seen.lock().unwrap().faults.push(text);
    }

    /// Notes that the test is about to remove a VIP; false if it is missing.
    pub(super) fn take(&self, key: OnLink) -> bool {
        let mut seen = self.seen.lock().unwrap();
        seen.present.contains(&key) && seen.taken.insert(key)
    }

    /// Returns the VIPs that are not there.
    pub(super) fn absent(&self) -> Vec<IpAddr> {
        let seen = self.seen.lock().unwrap();
        self.owners.keys().filter(|key| !seen.present.contains(key)).map(|key| key.1).collect()
    }

    /// Returns all outages that have ended.
    pub(super) fn outages(&self) -> Vec<Outage> {
        self.seen.lock().unwrap().outages.clone()
    }

    /// Returns what must not happen and did.
    pub(super) fn faults(&self) -> Vec<String> {
        self.seen.lock().unwrap().faults.clone()
    }

    /// Returns the number of events about addresses that neither program binds.
    pub(super) fn other_events(&self) -> usize {
        self.seen.lock().unwrap().events
    }
}

/// The thread that records, until this is dropped.
pub(super) struct Recorder {
    ledger: Arc<Ledger>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.ledger.is_over.store(true, Ordering::SeqCst);
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the recording thread has panicked");
        }
    }
}

#[test]
fn an_outage_lasts_from_the_removal_to_the_next_addition() {
    let vip: OnLink = (2, [192, 0, 2, 1].into());
    let foreign: OnLink = (2, [192, 0, 2, 77].into());
    let ledger = Ledger {
        owners: [(vip, Owner::Floor)].into(),
        foreign: [foreign].into(),
        seen: Mutex::default(),
        is_over: AtomicBool::new(false),
    };
    let begin = Instant::now();
    let event = |verb, (link, address): OnLink, milliseconds| {
        let change = AddressChange { verb, address, link };
        let now = begin + std::time::Duration::from_millis(milliseconds);
        ledger.note(Received::Changes(vec![change]), now);
    };
    assert!(!ledger.take(vip), "it is not there yet");
    event(Verb::Add, vip, 0);
    assert!(ledger.absent().is_empty() && ledger.take(vip));
    event(Verb::Remove, vip, 10);
    assert_eq!(ledger.absent(), [vip.1]);
    event(Verb::Add, (3, vip.1), 11);
    event(Verb::Add, vip, 14);
    event(Verb::Add, vip, 15);
    let outages = ledger.outages();
    assert_eq!(outages.len(), 1);
    assert_eq!((outages[0].end - outages[0].begin).as_millis(), 4);
    assert!(ledger.faults().is_empty());
    event(Verb::Remove, vip, 20);
    event(Verb::Remove, foreign, 21);
    ledger.note(Received::Overrun, begin);
    assert_eq!(ledger.faults().len(), 3, "{:?}", ledger.faults());
}
