//! The journal cannot be read or written: what need not be recorded before is done all the same.

use std::fs;

use evenkeel_control::{State, Trigger};
use evenkeel_engine::{Notice, StateDir};
use evenkeel_model::{Live, RealServerKey};

use super::SPEC;
use super::fixture::{Fixture, set_weight};

const DRAINS: &str = "version: 1
scope: all
services:
  - { name: web, vip: 192.0.2.1, port: 80, drain: 1h, real_servers: [ { address: 10.0.0.1 } ] }
";

fn state(fixture: &Fixture) -> StateDir {
    fixture.reconciler.options.state.clone()
}

/// Takes away some of each kind, which the journal knows.
fn disturb(live: &mut Live) {
    live.addresses.clear();
    live.services.pop_first();
    set_weight(live, "10.0.0.1", 77);
}

fn assert_repairs(fixture: &mut Fixture, why: &str) {
    let before = fixture.live();
    disturb(&mut fixture.kernel.get().live);
    assert_ne!(fixture.live(), before);
    fixture.pass(Trigger::Resync);
    assert_eq!(fixture.live(), before);
    fixture.assert_state(State::Degraded, why);
}

#[test]
fn a_notice_that_cannot_be_taken_from_the_journal_stops_no_repair() {
    let mut fixture = Fixture::new(SPEC);
    let state = state(&fixture);
    let (mut journal, _) = state.read(false).expect("it can be read");
    journal.notices.push(Notice::Message("something happened".into()));
    state.write(&journal).expect("it can be written");
    let obstruction = state.folder().join("journal.json.new");
    fs::create_dir(&obstruction).expect("a folder");
    for _ in 0..2 {
        assert_repairs(&mut fixture, "journal.json.new");
    }
    fs::remove_dir(&obstruction).expect("it is empty");
    fixture.pass(Trigger::Signal);
    fixture.assert_state(State::Ok, "");
    let (journal, _) = state.read(false).expect("it can be read");
    assert_eq!(journal.notices, []);
}

#[test]
fn a_directory_in_place_of_the_journal_stops_no_repair() {
    let mut fixture = Fixture::new(SPEC);
    let path = state(&fixture).folder().join("journal.json");
    fs::remove_file(&path).expect("it is there");
    fs::create_dir_all(path.join("inside")).expect("a folder");
    for _ in 0..2 {
        assert_repairs(&mut fixture, "not a regular file");
    }
    fs::remove_dir_all(&path).expect("it is there");
    fixture.pass(Trigger::Signal);
    fixture.pass(Trigger::Signal);
    fixture.assert_state(State::Ok, "");
    assert!(path.is_file());
}

#[test]
fn the_start_of_a_drain_is_kept_in_memory_while_it_cannot_be_written() {
    let mut fixture = Fixture::new(DRAINS);
    let state = state(&fixture);
    let obstruction = state.folder().join("journal.json.new");
    fs::create_dir(&obstruction).expect("a folder");
    // Another program adds a real server, and clients connect to it.
    let key = RealServerKey { address: "198.51.100.9".parse().expect("an address"), port: 80 };
    let mut kernel = fixture.kernel.get();
    let (service, found) = kernel.live.services.iter_mut().next().expect("the service");
    let (_, &listed) = found.real_servers.in_order().next().expect("the real server");
    found.real_servers.insert(key, listed);
    let service = *service;
    kernel.connect(service, 9, 1);
    drop(kernel);
    fixture.pass(Trigger::Resync);
    let drains = |fixture: &Fixture| fixture.reconciler.host.journal().record.drains.clone();
    let begun = drains(&fixture);
    assert_eq!(begun.0.len(), 1);
    fixture.pass(Trigger::Resync);
    assert_eq!(drains(&fixture), begun);
    assert_eq!(state.read(false).expect("it can be read").0.record.drains.0.len(), 0);
    fs::remove_dir(&obstruction).expect("it is empty");
    fixture.pass(Trigger::Resync);
    assert_eq!(state.read(false).expect("it can be read").0.record.drains, begun);
}
