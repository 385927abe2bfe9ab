//! A real server that leaves a service keeps what it needs for it for a while.

use std::time::Duration;

use evenkeel_control::{Mode, State, Trigger};
use evenkeel_engine::{Journal, StateDir};
use evenkeel_model::{Binding, Drain, Owner, ServiceKey, Vip};
use evenkeel_plan::PartRecord;

use super::fixture::Fixture;

const SPEC: &str = "version: 1
scope: all
services:
  - { name: dns, vip: 192.0.2.1, port: 53, protocol: udp, real_servers: [ { address: 10.0.0.3 } ] }
";

fn vip() -> Binding {
    Binding::host([192, 0, 2, 9].into(), "lo")
}

fn state(fixture: &Fixture) -> StateDir {
    StateDir::new(fixture.folder.path(), "init")
}

fn edit_journal(fixture: &Fixture, edit: impl FnOnce(&mut Journal)) {
    let (mut journal, _) = state(fixture).read(false).expect("it can be read");
    edit(&mut journal);
    state(fixture).write(&journal).expect("it can be written");
}

/// Makes the host one that was a real server of a service until now.
fn was_real_server(fixture: &Fixture) {
    let key = ServiceKey::parse("192.0.2.9:80/tcp").expect("a service");
    let part = PartRecord {
        name: "web".into(),
        drain: Drain(60),
        vips: [(vip(), Vip::default())].into(),
        ..PartRecord::default()
    };
    edit_journal(fixture, |journal| {
        journal.addresses.insert(vip());
        journal.record.real_server.in_force.insert(key, part);
    });
    fixture.kernel.get().live.addresses.insert(vip(), Owner::Evenkeel);
}

/// Lets that time pass, for what stays.
fn let_pass(fixture: &Fixture, seconds: u64) {
    edit_journal(fixture, |journal| {
        for leaving in journal.record.real_server.leaving.values_mut() {
            leaving.since -= seconds;
            let uptime = leaving.uptime.as_mut();
            uptime.into_iter().for_each(|it| it.milliseconds -= seconds * 1_000);
        }
    });
}

fn is_bound(fixture: &Fixture) -> bool {
    fixture.live().addresses.contains_key(&vip())
}

#[test]
fn a_vip_stays_for_its_time_is_repaired_meanwhile_and_then_removed() {
    let mut fixture = Fixture::new(SPEC);
    was_real_server(&fixture);
    let received = fixture.received();
    fixture.pass(Trigger::Resync);
    assert!(is_bound(&fixture) && fixture.received() == received);
    fixture.assert_state(State::Ok, "");
    let status = fixture.status();
    let [staying] = &status.staying[..] else { panic!("{:?}", status.staying) };
    let named = (&*staying.object, &*staying.service);
    assert_eq!(named, ("vip 192.0.2.9/32 on lo", "web/192.0.2.9:80/tcp"));
    // The drain and one interval of the daemon.
    let left = staying.until - fixture.reconciler.schedule.clock.wall();
    assert!((88..=90).contains(&left), "{left}");
    // It is drift if it is lost.
    fixture.kernel.get().live.addresses.clear();
    fixture.pass(Trigger::Address);
    assert!(is_bound(&fixture));
    // A restart does not begin its time again.
    let_pass(&fixture, 60);
    fixture.restart();
    let left = fixture.status().staying[0].until - fixture.reconciler.schedule.clock.wall();
    assert!(is_bound(&fixture) && (28..=30).contains(&left), "{left}");
    let due = fixture.reconciler.schedule.wait(None);
    assert!(due <= Duration::from_secs(31));
    let_pass(&fixture, 31);
    fixture.pass(Trigger::Resync);
    assert!(!is_bound(&fixture) && fixture.status().staying.is_empty());
    fixture.assert_state(State::Ok, "");
    let (journal, _) = state(&fixture).read(false).expect("it can be read");
    assert!(journal.record.real_server.is_none() && journal.addresses.is_empty());
}

#[test]
fn the_next_pass_is_due_when_the_first_service_has_left() {
    let mut fixture = Fixture::new(SPEC);
    was_real_server(&fixture);
    fixture.pass(Trigger::Resync);
    let_pass(&fixture, 85);
    fixture.pass(Trigger::Resync);
    let schedule = &mut fixture.reconciler.schedule;
    let now = schedule.clock.now();
    let due = now + Duration::from_secs(7);
    assert_eq!(schedule.take_due(due).trigger(true), Some(Trigger::Drain));
}

#[test]
fn observe_mode_neither_removes_it_nor_records_it() {
    let mut fixture = Fixture::with(SPEC, Mode::Observe);
    was_real_server(&fixture);
    fixture.pass(Trigger::Resync);
    let (journal, _) = state(&fixture).read(false).expect("it can be read");
    assert!(is_bound(&fixture) && journal.record.real_server.leaving.is_empty());
}
