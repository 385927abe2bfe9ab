mod admission;
mod adoption;
mod capabilities;
mod fixture;
mod leaving;
mod lost_vips;
mod overrides;
mod probe;
mod unwritable_journal;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_control::{Answer, Mode, Request, State, Trigger};
use evenkeel_engine::fake_kernel::Fault;
use evenkeel_model::Live;
use rustix::io::Errno;

use crate::reconciler::Message;
use fixture::{Fixture, set_weight};

const SPEC: &str = "version: 1
scope: all
vips: [ { address: 192.0.2.1, interface: eth0 } ]
services:
  - name: web
    vip: 192.0.2.1
    port: 80
    drain: 0s
    real_servers: [ { address: 10.0.0.1, weight: 3 }, { address: 10.0.0.2 } ]
  - { name: dns, vip: 192.0.2.1, port: 53, protocol: udp, drain: 0s, real_servers: [ { address: 10.0.0.3 } ] }
";

#[test]
fn a_host_is_brought_to_the_spec_and_then_not_changed() {
    let mut fixture = Fixture::new(SPEC);
    fixture.assert_state(State::Ok, "");
    let live = fixture.live();
    assert_eq!((live.services.len(), live.addresses.len()), (2, 1));
    let received = fixture.received();
    for trigger in [Trigger::Resync, Trigger::Address, Trigger::Spec, Trigger::Signal] {
        fixture.pass(trigger);
    }
    assert_eq!(fixture.received(), received);
    assert_eq!(fixture.status().last_pass.as_ref().map(|it| &*it.result), Some("in_sync"));
}

#[test]
fn drift_of_every_kind_is_repaired() {
    let mut fixture = Fixture::new(SPEC);
    let before = fixture.live();
    for change in [
        (|live: &mut Live| drop(live.services.pop_first())) as fn(&mut Live),
        |live| live.addresses.clear(),
        |live| set_weight(live, "10.0.0.1", 77),
    ] {
        change(&mut fixture.kernel.get().live);
        assert_ne!(fixture.live(), before);
        fixture.pass(Trigger::Resync);
        assert_eq!(fixture.live(), before);
        fixture.assert_state(State::Ok, "");
    }
}

#[test]
fn address_events_are_rate_limited_unless_a_vip_was_removed() {
    let mut fixture = Fixture::new(SPEC);
    let mut on_message = |gone: &[[u8; 4]]| {
        let gone = gone.iter().map(|address| (*address).into()).collect();
        fixture.reconciler.on_message(Message::Address { gone, rebound: Vec::new() });
        let schedule = &fixture.reconciler.schedule;
        (
            schedule.address.expect("a pass"),
            schedule.addresses_from,
            fixture.reconciler.schedule.clock.now(),
        )
    };
    for gone in [&[][..], &[[198, 51, 100, 9]]] {
        let (due, from, _) = on_message(gone);
        assert_eq!(due, from, "{gone:?}");
    }
    let (due, from, now) = on_message(&[[198, 51, 100, 9], [192, 0, 2, 1]]);
    assert!(due < from && due <= now);
    // A later event does not delay it.
    assert_eq!(on_message(&[]).0, due);
    // One pass covers all events before it, unless it could not be made.
    fixture.kernel.get().is_unreachable = true;
    fixture.reconciler.pass(Trigger::Signal);
    assert!(fixture.reconciler.schedule.address.is_some());
    fixture.kernel.get().is_unreachable = false;
    fixture.reconciler.pass(Trigger::Signal);
    assert_eq!(fixture.reconciler.schedule.address, None);
}

#[test]
fn an_own_device_that_was_set_down_is_set_up_and_its_vips_are_bound_again() {
    let mut fixture =
        Fixture::new(&SPEC.replace("interface: eth0", "interface: vips, dummy: true"));
    let before = fixture.live();
    let set_down = |live: &mut Live, name: &str| {
        let links = live.links.as_mut().expect("they are known");
        links.get_mut(name).expect("it is there").up = false;
    };
    set_down(&mut fixture.kernel.get().live, "vips");
    // The kernel removes those of IPv6.
    fixture.kernel.get().live.addresses.clear();
    let seen = fixture.received();
    fixture.pass(Trigger::Address);
    assert_eq!(fixture.live(), before);
    assert_eq!(fixture.received(), seen + 1 + before.addresses.len());
    fixture.assert_state(State::Ok, "");
    // Other interfaces are not evenkeel's.
    set_down(&mut fixture.kernel.get().live, "eth0");
    fixture.pass(Trigger::Address);
    assert!(fixture.live().links.is_some_and(|links| !links["eth0"].up));
}

#[test]
fn a_failed_vip_that_is_reported_as_unbound_is_retried_at_once() {
    let mut fixture = Fixture::new(SPEC);
    fixture.kernel.get().live.addresses.clear();
    let number = fixture.received();
    fixture.kernel.get().faults.insert(number, Fault::Refuse(Errno::NOMEM));
    fixture.pass(Trigger::Address);
    fixture.assert_state(State::Degraded, "vip 192.0.2.1/32 on eth0");
    let gone: BTreeSet<IpAddr> = [[192, 0, 2, 1].into()].into();
    fixture.pass(Trigger::Address);
    assert!(fixture.live().addresses.is_empty(), "its back-off has not ended");
    fixture.reconciler.on_message(Message::Address { gone, rebound: Vec::new() });
    fixture.pass(Trigger::Address);
    assert_eq!(fixture.live().addresses.len(), 1);
    fixture.assert_state(State::Ok, "");
}

#[test]
fn a_failed_object_is_retried_later_and_the_rest_is_applied() {
    let mut fixture = Fixture::new(SPEC);
    let number = fixture.received();
    // The first operation of the next plan: one of the two real servers that are added.
    fixture.kernel.get().faults.insert(number, Fault::Refuse(Errno::NOMEM));
    let spec = SPEC
        .replace("{ address: 10.0.0.2 }", "{ address: 10.0.0.4 }")
        .replace("address: 10.0.0.3", "address: 10.0.0.5");
    fixture.write(&spec);
    let status = fixture.status();
    assert_eq!(status.state, State::Degraded);
    assert_eq!((status.failing.len(), status.failing[0].attempts), (1, 1), "{status:?}");
    let weights = fixture.weights();
    // The other service was changed completely; in this one nothing is removed.
    let is_kept = |address: &str| weights.contains_key(address);
    let web = (is_kept("10.0.0.2"), is_kept("10.0.0.4"));
    let dns = (is_kept("10.0.0.3"), is_kept("10.0.0.5"));
    assert!(
        [((true, false), (false, true)), ((false, true), (true, false))].contains(&(web, dns)),
        "{weights:?}"
    );
    std::thread::sleep(Duration::from_millis(1_050));
    fixture.pass(Trigger::Retry);
    fixture.assert_state(State::Ok, "");
    let expected = [("10.0.0.1", 3), ("10.0.0.4", 1), ("10.0.0.5", 1)];
    assert_eq!(fixture.weights(), expected.map(|(it, weight)| (it.to_owned(), weight)).into());
}

#[test]
fn an_invalid_spec_changes_nothing_and_the_last_valid_one_is_enforced() {
    let mut fixture = Fixture::new(SPEC);
    let before = fixture.live();
    for bad in ["", "version: 1\nservices: [", "version: 1\nservises: []\n"] {
        fixture.write(bad);
        fixture
            .assert_state(State::Degraded, "the spec is invalid; the last valid one stays active");
        fixture.assert_state(State::Degraded, "spec.yaml");
        fixture.kernel.get().live.addresses.clear();
        fixture.pass(Trigger::Address);
        assert_eq!(fixture.live(), before);
        // Also by a daemon that never read another one.
        fixture.restart();
        fixture.assert_state(State::Degraded, "the last valid one stays active");
        fixture.kernel.get().live.services.pop_first();
        fixture.pass(Trigger::Resync);
        assert_eq!(fixture.live(), before);
    }
    fixture.write(SPEC);
    fixture.assert_state(State::Ok, "");
    assert_eq!(fixture.live(), before);
}

#[test]
fn a_lost_journal_is_written_again_with_the_last_valid_spec() {
    let mut fixture = Fixture::new(SPEC);
    let before = fixture.live();
    std::fs::remove_dir_all(fixture.folder.path().join("init")).expect("it is there");
    fixture.pass(Trigger::Resync);
    fixture.write("version: 1\nservices: [");
    fixture.restart();
    fixture.kernel.get().live.services.clear();
    fixture.pass(Trigger::Resync);
    assert_eq!(fixture.live(), before);
}

#[test]
fn a_conflict_on_one_object_delays_no_other() {
    let mut fixture = Fixture::new(&SPEC.replace(", { address: 10.0.0.2 }", ""));
    for _ in 0..6 {
        set_weight(&mut fixture.kernel.get().live, "10.0.0.1", 9);
        fixture.pass(Trigger::Resync);
    }
    assert_eq!(fixture.weights()["10.0.0.1"], 9, "it backs off");
    fixture.kernel.get().live.services.clear();
    fixture.pass(Trigger::Resync);
    assert_eq!(fixture.weights()["10.0.0.1"], 3);
    assert_eq!(fixture.live().services.len(), 2);
}

#[test]
fn a_pause_changes_nothing_and_outlives_the_daemon() {
    let mut fixture = Fixture::new(SPEC);
    let before = fixture.live();
    let answer = fixture.reconciler.handle(Request::Pause { seconds: None });
    assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
    fixture.kernel.get().live.services.pop_first();
    let broken = fixture.live();
    fixture.pass(Trigger::Resync);
    fixture.restart();
    fixture.pass(Trigger::Resync);
    assert_eq!(fixture.live(), broken);
    fixture.assert_state(State::Paused, "until `evenkeel resume`");
    assert!(!fixture.status().pending_steps.is_empty());
    let answer = fixture.reconciler.handle(Request::Resume);
    assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
    assert_eq!(fixture.live(), before);
    fixture.assert_state(State::Ok, "");
}

#[test]
fn observe_mode_reports_and_changes_nothing() {
    let mut fixture = Fixture::with(SPEC, Mode::Observe);
    fixture.assert_state(State::Drifted, "");
    assert!(
        fixture
            .status()
            .pending_steps
            .iter()
            .any(|line| line.contains("add service web/192.0.2.1:80/tcp"))
    );
    fixture.write(&SPEC.replace("weight: 3", "weight: 4"));
    assert!(fixture.status().pending_steps.iter().any(|line| line.contains("weight 4")));
    assert_eq!((fixture.received(), fixture.live().services.len()), (0, 0));
    assert_eq!(std::fs::read_dir(fixture.folder.path()).expect("a folder").count(), 0);
}

#[test]
fn a_change_that_keeps_coming_back_is_a_conflict_with_backoff() {
    let mut fixture = Fixture::new(SPEC);
    let spoil = |fixture: &Fixture| set_weight(&mut fixture.kernel.get().live, "10.0.0.1", 9);
    for _ in 0..5 {
        spoil(&fixture);
        fixture.pass(Trigger::Resync);
        assert_eq!(fixture.weights()["10.0.0.1"], 3);
    }
    fixture.assert_state(State::Degraded, "weight is 9, the spec says 3; undone 5 times");
    spoil(&fixture);
    fixture.kernel.get().live.addresses.clear();
    fixture.pass(Trigger::Resync);
    assert_eq!((fixture.weights()["10.0.0.1"], fixture.live().addresses.len()), (9, 1));
    // A new spec is applied at once.
    fixture.write(&SPEC.replace("weight: 3", "weight: 4"));
    assert_eq!(fixture.weights()["10.0.0.1"], 4);
    fixture.assert_state(State::Ok, "");
}

#[test]
fn a_missing_interface_stops_only_steps_that_need_it() {
    let mut fixture = Fixture::new(&SPEC.replace("interface: eth0", "interface: eth7"));
    fixture.assert_state(State::Degraded, "interface eth7 does not exist");
    assert_eq!((fixture.live().services.len(), fixture.live().addresses.len()), (2, 0));
    let links = fixture.live().links.expect("there are some");
    let eth0 = links["eth0"];
    fixture.kernel.get().live.links.as_mut().expect("some").insert("eth7".into(), eth0);
    fixture.pass(Trigger::Address);
    assert_eq!(fixture.live().addresses.len(), 1);
    fixture.assert_state(State::Ok, "");
}

#[test]
fn an_unreachable_kernel_is_reported_and_retried() {
    let mut fixture = Fixture::new(SPEC);
    fixture.kernel.get().is_unreachable = true;
    fixture.reconciler.pass(Trigger::Resync);
    fixture.assert_state(State::Degraded, "");
    assert!(fixture.reconciler.schedule.retry.is_some());
    fixture.kernel.get().is_unreachable = false;
    fixture.kernel.get().live.services.pop_first();
    fixture.pass(Trigger::Retry);
    fixture.assert_state(State::Ok, "");
    assert_eq!(fixture.live().services.len(), 2);
}

#[test]
fn only_the_daemons_own_spec_may_be_applied_beside_it() {
    let mut fixture = Fixture::new(SPEC);
    let mut may = |source: &str| {
        fixture.reconciler.handle(Request::MayApply { sources: vec![source.to_owned()] })
    };
    assert!(matches!(may("/etc/evenkeel"), Answer::Done(_)));
    let answer = may("/tmp/other.yaml");
    assert!(
        matches!(&answer, Answer::Refused(message) if message.contains("/etc/evenkeel")),
        "{answer:?}"
    );
}
