mod site;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_engine::StateDir;
use evenkeel_engine::memory::Fault;
use evenkeel_model::statistics::Statistics;
use evenkeel_model::{Live, ServiceKey};
use rustix::io::Errno;

use crate::Reason;
use crate::control::{Answer, Request};
use crate::keeper::Message;
use crate::status::{Mode, State};
use site::{Site, set_weight, spec_text};

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
fn a_host_is_brought_to_the_spec_and_left_alone_then() {
    let mut site = Site::new(SPEC);
    site.assert_state(State::Ok, "");
    let live = site.live();
    assert_eq!((live.services.len(), live.addresses.len()), (2, 1));
    let received = site.received();
    for reason in [Reason::Resync, Reason::Address, Reason::Spec, Reason::Signal] {
        site.pass(reason);
    }
    assert_eq!(site.received(), received);
    assert_eq!(site.status().last_pass.as_ref().map(|it| &*it.result), Some("in_sync"));
}

#[test]
fn drift_is_repaired_whatever_it_is() {
    let mut site = Site::new(SPEC);
    let before = site.live();
    for change in [
        (|live: &mut Live| drop(live.services.pop_first())) as fn(&mut Live),
        |live| live.addresses.clear(),
        |live| set_weight(live, "10.0.0.1", 77),
    ] {
        change(&mut site.kernel.get().live);
        assert_ne!(site.live(), before);
        site.pass(Reason::Resync);
        assert_eq!(site.live(), before);
        site.assert_state(State::Ok, "");
    }
}

#[test]
fn addresses_wait_for_their_turn_unless_a_vip_went() {
    let mut site = Site::new(SPEC);
    let mut hear = |gone: &[[u8; 4]]| {
        let gone = gone.iter().map(|address| (*address).into()).collect();
        site.keeper.hear(Message::Address { gone });
        let due = &site.keeper.due;
        (due.address.expect("a pass"), due.addresses_from, site.keeper.clock.now())
    };
    for gone in [&[][..], &[[198, 51, 100, 9]]] {
        let (due, turn, _) = hear(gone);
        assert_eq!(due, turn, "{gone:?}");
    }
    let (due, turn, now) = hear(&[[198, 51, 100, 9], [192, 0, 2, 1]]);
    assert!(due < turn && due <= now);
    // What comes after it makes it wait no longer.
    assert_eq!(hear(&[]).0, due);
    // One pass is enough for all that was heard before it, unless none could be made.
    site.kernel.get().is_unreachable = true;
    site.keeper.pass(Reason::Signal);
    assert!(site.keeper.due.address.is_some());
    site.kernel.get().is_unreachable = false;
    site.keeper.pass(Reason::Signal);
    assert_eq!(site.keeper.due.address, None);
}

#[test]
fn a_device_of_our_own_that_someone_sets_down_is_brought_up_and_what_it_lost_bound_again() {
    let mut site = Site::new(&SPEC.replace("interface: eth0", "interface: vips, dummy: true"));
    let before = site.live();
    let set_down = |live: &mut Live, name: &str| {
        let links = live.links.as_mut().expect("they are known");
        links.get_mut(name).expect("it is there").up = false;
    };
    set_down(&mut site.kernel.get().live, "vips");
    // As the kernel does it to those of IPv6.
    site.kernel.get().live.addresses.clear();
    let seen = site.received();
    site.pass(Reason::Address);
    assert_eq!(site.live(), before);
    assert_eq!(site.received(), seen + 1 + before.addresses.len());
    site.assert_state(State::Ok, "");
    // Other interfaces are someone else's.
    set_down(&mut site.kernel.get().live, "eth0");
    site.pass(Reason::Address);
    assert!(site.live().links.is_some_and(|links| !links["eth0"].up));
}

#[test]
fn a_vip_that_failed_and_is_heard_to_have_gone_is_tried_again_at_once() {
    let mut site = Site::new(SPEC);
    site.kernel.get().live.addresses.clear();
    let number = site.received();
    site.kernel.get().faults.insert(number, Fault::Refuse(Errno::NOMEM));
    site.pass(Reason::Address);
    site.assert_state(State::Degraded, "vip 192.0.2.1/32 on eth0");
    let gone: BTreeSet<IpAddr> = [[192, 0, 2, 1].into()].into();
    site.pass(Reason::Address);
    assert!(site.live().addresses.is_empty(), "its time has not come");
    site.keeper.hear(Message::Address { gone });
    site.pass(Reason::Address);
    assert_eq!(site.live().addresses.len(), 1);
    site.assert_state(State::Ok, "");
}

#[test]
fn what_fails_is_left_for_later_and_the_rest_is_done() {
    let mut site = Site::new(SPEC);
    let number = site.received();
    // The first operation of the next plan: one of the two real servers that are added.
    site.kernel.get().faults.insert(number, Fault::Refuse(Errno::NOMEM));
    let spec = SPEC
        .replace("{ address: 10.0.0.2 }", "{ address: 10.0.0.4 }")
        .replace("address: 10.0.0.3", "address: 10.0.0.5");
    site.write(&spec);
    let status = site.status();
    assert_eq!(status.state, State::Degraded);
    assert_eq!((status.failing.len(), status.failing[0].attempts), (1, 1), "{status:?}");
    let weights = site.weights();
    // The other service was changed as a whole; in this one nothing is taken away.
    let is_kept = |address: &str| weights.contains_key(address);
    let web = (is_kept("10.0.0.2"), is_kept("10.0.0.4"));
    let dns = (is_kept("10.0.0.3"), is_kept("10.0.0.5"));
    assert!(
        [((true, false), (false, true)), ((false, true), (true, false))].contains(&(web, dns)),
        "{weights:?}"
    );
    std::thread::sleep(Duration::from_millis(1_050));
    site.pass(Reason::Retry);
    site.assert_state(State::Ok, "");
    let expected = [("10.0.0.1", 3), ("10.0.0.4", 1), ("10.0.0.5", 1)];
    assert_eq!(site.weights(), expected.map(|(it, weight)| (it.to_owned(), weight)).into());
}

#[test]
fn a_bad_spec_changes_nothing_and_the_last_good_one_is_enforced() {
    let mut site = Site::new(SPEC);
    let before = site.live();
    for bad in ["", "version: 1\nservices: [", "version: 1\nservises: []\n"] {
        site.write(bad);
        site.assert_state(State::Degraded, "the spec is bad, and the last good one stays in force");
        site.assert_state(State::Degraded, "spec.yaml");
        site.kernel.get().live.addresses.clear();
        site.pass(Reason::Address);
        assert_eq!(site.live(), before);
        // Also by a daemon that never saw another one.
        site.restart();
        site.assert_state(State::Degraded, "the last good one stays in force");
        site.kernel.get().live.services.pop_first();
        site.pass(Reason::Resync);
        assert_eq!(site.live(), before);
    }
    site.write(SPEC);
    site.assert_state(State::Ok, "");
    assert_eq!(site.live(), before);
}

#[test]
fn a_plan_that_a_guard_refuses_is_held_until_it_is_approved() {
    let mut site = Site::new(SPEC);
    let before = site.live();
    let smaller = SPEC.split("  - { name: dns").next().expect("a part").replace(
        "{ address: 10.0.0.1, weight: 3 }, { address: 10.0.0.2 }",
        "{ address: 10.0.0.1, weight: 0 }",
    );
    site.write(&smaller);
    site.assert_state(State::Held, "guard no-server holds plan");
    site.kernel.get().live.addresses.clear();
    site.pass(Reason::Address);
    assert_eq!(site.live(), before, "the last good one is enforced");
    let held = site.status().spec.held.clone().expect("it is held");
    let answer = site.keeper.obey(Request::Approve { id: "other".to_owned() });
    assert!(matches!(&answer, Answer::Refused(words) if words.contains(&held.id)), "{answer:?}");
    assert_eq!(site.live(), before);
    let answer = site.keeper.obey(Request::Approve { id: held.id.clone() });
    assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
    assert_eq!(site.weights(), [("10.0.0.1".to_owned(), 0)].into());
    site.assert_state(State::Ok, "");
    let answer = site.keeper.obey(Request::Approve { id: held.id });
    assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
}

#[test]
fn an_approval_for_which_no_pass_can_be_made_says_why() {
    let mut site = Site::new(SPEC);
    site.write(&SPEC.replace(", weight: 3 }, { address: 10.0.0.2", ", weight: 0"));
    let id = site.status().spec.held.clone().expect("it is held").id;
    site.kernel.get().is_unreachable = true;
    let answer = site.keeper.obey(Request::Approve { id: id.clone() });
    let reason = site.status().reasons.last().cloned().expect("there is one");
    assert!(
        matches!(&answer, Answer::Refused(words) if words.ends_with(&reason)),
        "{answer:?}, but {reason}"
    );
    site.kernel.get().is_unreachable = false;
    let answer = site.keeper.obey(Request::Approve { id });
    assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
}

#[test]
fn drift_lets_no_held_plan_through() {
    let mut site = Site::new(SPEC);
    let before = site.live();
    let quiet = SPEC.replace(", weight: 3 }, { address: 10.0.0.2", ", weight: 0");
    site.write(&quiet);
    let id = site.status().spec.held.clone().expect("it is held").id;
    site.kernel.get().live.services.clear();
    site.pass(Reason::Resync);
    assert_eq!(site.live(), before);
    assert_eq!(site.status().spec.held.as_ref().map(|held| &held.id), Some(&id));
    // Nor one that is new when the host has drifted.
    site.write(SPEC);
    site.assert_state(State::Ok, "");
    site.kernel.get().live.services.clear();
    site.write(&quiet);
    site.assert_state(State::Held, "guard no-server");
    assert_eq!(site.live(), before);
}

/// Someone else has added so many services that their deletion takes a guard's leave.
fn crowd(site: &Site) {
    let mut kernel = site.kernel.get();
    let (key, service) =
        kernel.live.services.iter().next().map(|(k, s)| (*k, s.clone())).expect("one");
    for port in 1_000..1_010 {
        let ServiceKey::Address { address, protocol, .. } = key else { continue };
        kernel
            .live
            .services
            .insert(ServiceKey::Address { address, port, protocol }, service.clone());
    }
}

#[test]
fn drift_that_a_guard_keeps_from_being_undone_stops_only_what_takes_away() {
    for is_newer_held in [false, true] {
        let mut site = Site::new(SPEC);
        if is_newer_held {
            site.write(&SPEC.replace(", weight: 3 }, { address: 10.0.0.2", ", weight: 0"));
        }
        crowd(&site);
        site.kernel.get().live.addresses.clear();
        set_weight(&mut site.kernel.get().live, "10.0.0.1", 9);
        site.pass(Reason::Resync);
        site.assert_state(State::Held, "guard mass-delete");
        let live = site.live();
        assert_eq!((live.services.len(), live.addresses.len()), (12, 1));
        assert_eq!(site.weights()["10.0.0.1"], 3);
    }
}

#[test]
fn what_apply_put_in_force_is_in_force() {
    let mut site = Site::new(SPEC);
    let quiet = SPEC.replace(", weight: 3 }, { address: 10.0.0.2", ", weight: 0");
    site.write(&quiet);
    site.assert_state(State::Held, "guard no-server");
    // `apply --allow no-server` of the same file.
    let spec = spec_text("spec.yaml", &quiet).expect("a good one");
    let state = StateDir::new(site.folder.path(), "init");
    let (mut journal, _) = state.read(false).expect("a journal");
    state.store_spec(&mut journal, &spec.texts(), &spec.parameters).expect("room");
    journal.spec_is_applied();
    state.write(&journal).expect("room");
    site.pass(Reason::Resync);
    site.assert_state(State::Ok, "");
    assert_eq!(site.weights()["10.0.0.1"], 0);
}

#[test]
fn a_journal_that_is_lost_is_written_anew_with_the_last_good_spec() {
    let mut site = Site::new(SPEC);
    let before = site.live();
    std::fs::remove_dir_all(site.folder.path().join("init")).expect("it is there");
    site.pass(Reason::Resync);
    site.write("version: 1\nservices: [");
    site.restart();
    site.kernel.get().live.services.clear();
    site.pass(Reason::Resync);
    assert_eq!(site.live(), before);
}

#[test]
fn a_fight_about_one_thing_puts_off_nothing_else() {
    let mut site = Site::new(&SPEC.replace(", { address: 10.0.0.2 }", ""));
    for _ in 0..6 {
        set_weight(&mut site.kernel.get().live, "10.0.0.1", 9);
        site.pass(Reason::Resync);
    }
    assert_eq!(site.weights()["10.0.0.1"], 9, "it is put off");
    site.kernel.get().live.services.clear();
    site.pass(Reason::Resync);
    assert_eq!(site.weights()["10.0.0.1"], 3);
    assert_eq!(site.live().services.len(), 2);
}

#[test]
fn what_was_approved_goes_on_through_its_drains() {
    let more = "{ address: 10.0.0.2 }, { address: 10.0.0.4 }, { address: 10.0.0.5 }";
    let text = SPEC.replace("drain: 0s", "drain: 1h").replace("{ address: 10.0.0.2 }", more);
    let text = text.replace("services:", "guards: { mass_delete_from: 2 }\nservices:");
    let mut site = Site::new(&text);
    for (service, value) in &site.live().services {
        let statistics = &mut site.kernel.get().statistics;
        let counted = &mut statistics.services.entry(*service).or_default().real_servers;
        for (key, _) in value.real_servers.in_order() {
            let real_server = counted.entry(*key).or_default();
            (real_server.active_connections, real_server.inactive_connections) = (1, 1);
        }
    }
    let smaller = text.split("services:").next().expect("a part").to_owned()
        + "services:\n  - { name: new, vip: 192.0.2.1, port: 8080, real_servers: [ { address: 10.0.0.9 } ] }\n";
    site.write(&smaller);
    site.assert_state(State::Held, "guard mass-delete");
    // What leaves keeps its name until it is gone.
    let to_do = site.status().to_do.join("\n");
    assert!(to_do.contains("delete service dns/192.0.2.1:53/udp"), "{to_do}");
    let id = site.status().spec.held.clone().expect("it is held").id;
    let answer = site.keeper.obey(Request::Approve { id });
    assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
    assert_eq!((site.status().state, site.status().draining), (State::Ok, 5));
    let status = site.status();
    let objects: Vec<&str> = status.drains.iter().map(|drain| &*drain.object).collect();
    assert!(objects.contains(&"real server 10.0.0.3:53 of dns/192.0.2.1:53/udp"), "{objects:?}");
    let left = status.drains[0].until - site.keeper.clock.wall();
    assert!((3_590..=3_601).contains(&left), "{left} s");
    site.pass(Reason::Drain);
    assert_eq!((site.status().state, site.status().draining), (State::Ok, 5));
    site.kernel.get().statistics = Statistics::default();
    site.pass(Reason::Drain);
    assert_eq!((site.status().state, site.status().draining), (State::Ok, 0));
    assert_eq!(site.live().services.len(), 1);
}

#[test]
fn a_pause_changes_nothing_and_outlives_the_daemon() {
    let mut site = Site::new(SPEC);
    let before = site.live();
    let answer = site.keeper.obey(Request::Pause { seconds: None });
    assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
    site.kernel.get().live.services.pop_first();
    let broken = site.live();
    site.pass(Reason::Resync);
    site.restart();
    site.pass(Reason::Resync);
    assert_eq!(site.live(), broken);
    site.assert_state(State::Paused, "until `evenkeel resume`");
    assert!(!site.status().to_do.is_empty());
    let answer = site.keeper.obey(Request::Resume);
    assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
    assert_eq!(site.live(), before);
    site.assert_state(State::Ok, "");
}

#[test]
fn who_only_observes_tells_and_changes_nothing() {
    let mut site = Site::with(SPEC, Mode::Observe);
    site.assert_state(State::Drifted, "");
    assert!(
        site.status().to_do.iter().any(|line| line.contains("add service web/192.0.2.1:80/tcp"))
    );
    site.write(&SPEC.replace("weight: 3", "weight: 4"));
    assert!(site.status().to_do.iter().any(|line| line.contains("weight 4")));
    assert_eq!((site.received(), site.live().services.len()), (0, 0));
    assert_eq!(std::fs::read_dir(site.folder.path()).expect("a folder").count(), 0);
}

#[test]
fn a_change_that_comes_back_again_and_again_is_a_fight_and_put_off() {
    let mut site = Site::new(SPEC);
    let spoil = |site: &Site| set_weight(&mut site.kernel.get().live, "10.0.0.1", 9);
    for _ in 0..5 {
        spoil(&site);
        site.pass(Reason::Resync);
        assert_eq!(site.weights()["10.0.0.1"], 3);
    }
    site.assert_state(State::Degraded, "weight is found 9, the spec says 3; undone 5 times");
    spoil(&site);
    site.kernel.get().live.addresses.clear();
    site.pass(Reason::Resync);
    assert_eq!((site.weights()["10.0.0.1"], site.live().addresses.len()), (9, 1));
    // Who asks for something else is heard at once.
    site.write(&SPEC.replace("weight: 3", "weight: 4"));
    assert_eq!(site.weights()["10.0.0.1"], 4);
    site.assert_state(State::Ok, "");
}

#[test]
fn an_interface_that_is_missing_stops_only_what_needs_it() {
    let mut site = Site::new(&SPEC.replace("interface: eth0", "interface: eth7"));
    site.assert_state(State::Degraded, "interface eth7 does not exist");
    assert_eq!((site.live().services.len(), site.live().addresses.len()), (2, 0));
    let links = site.live().links.expect("there are some");
    let eth0 = links["eth0"];
    site.kernel.get().live.links.as_mut().expect("some").insert("eth7".into(), eth0);
    site.pass(Reason::Address);
    assert_eq!(site.live().addresses.len(), 1);
    site.assert_state(State::Ok, "");
}

#[test]
fn a_kernel_that_cannot_be_reached_is_told_and_tried_again() {
    let mut site = Site::new(SPEC);
    site.kernel.get().is_unreachable = true;
    site.keeper.pass(Reason::Resync);
    site.assert_state(State::Degraded, "");
    assert!(site.keeper.due.retry.is_some());
    site.kernel.get().is_unreachable = false;
    site.kernel.get().live.services.pop_first();
    site.pass(Reason::Retry);
    site.assert_state(State::Ok, "");
    assert_eq!(site.live().services.len(), 2);
}

#[test]
fn only_the_spec_that_is_kept_may_be_applied_beside_it() {
    let mut site = Site::new(SPEC);
    let mut may =
        |source: &str| site.keeper.obey(Request::MayApply { sources: vec![source.to_owned()] });
    assert!(matches!(may("/etc/evenkeel"), Answer::Done(_)));
    let answer = may("/tmp/other.yaml");
    assert!(
        matches!(&answer, Answer::Refused(words) if words.contains("/etc/evenkeel")),
        "{answer:?}"
    );
}

#[test]
fn what_was_there_before_is_adopted_once_and_nothing_else_is() {
    let mut site = Site::new("");
    let by_hand = "services: [ { name: web, vip: 192.0.2.1, port: 80, scheduler: wrr, \
                   real_servers: [ { address: 10.0.0.1, weight: 7 } ] } ]";
    let by_hand = spec_text("spec.yaml", &format!("version: 1\n{by_hand}\n")).expect("it is good");
    let live = |named: &evenkeel_model::Named| named.service.clone();
    let found = by_hand.desired.services.iter().map(|(key, named)| (*key, live(named)));
    let found: std::collections::BTreeMap<_, _> = found.collect();
    site.kernel.get().live.services.clone_from(&found);
    site.write(SPEC);
    site.assert_state(State::Ok, "");
    assert_eq!((site.live().services.len(), site.weights()["10.0.0.1"]), (2, 3));
    assert_eq!(site.keeper.journal.adopted.services, found, "web, with one of two real servers");
    // Neither a daemon that begins anew nor a newer spec adopts what evenkeel made of it.
    site.restart();
    site.assert_state(State::Ok, "");
    site.write(&SPEC.replace("weight: 3", "weight: 5"));
    assert_eq!(site.weights()["10.0.0.1"], 5);
    assert_eq!(site.keeper.journal.adopted.services, found);
    // What is deleted on purpose, and comes back, is evenkeel's.
    let without = SPEC.replace("{ address: 10.0.0.1, weight: 3 }, ", "");
    site.write(&without);
    site.write(SPEC);
    let adopted = site.keeper.journal.adopted.services.values().next().expect("web stays adopted");
    assert!(adopted.real_servers.is_empty(), "{adopted:?}");
}

#[test]
fn with_a_journal_that_was_lost_nothing_is_known_to_be_evenkeels() {
    let mut site = Site::new(SPEC);
    assert!(site.keeper.journal.adopted.is_empty());
    std::fs::remove_dir_all(site.folder.path().join("init")).expect("it is there");
    site.pass(Reason::Resync);
    assert_eq!(site.keeper.journal.adopted.services, site.live().services);
}
