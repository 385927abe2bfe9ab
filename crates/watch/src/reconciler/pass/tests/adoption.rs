//! Objects that existed before a spec listed them.

use evenkeel_control::{State, Trigger};

use super::SPEC;
use super::fixture::{Fixture, spec_text};

#[test]
fn objects_from_before_the_first_spec_are_adopted_and_no_others() {
    let mut fixture = Fixture::new("");
    let by_hand = "services: [ { name: web, vip: 192.0.2.1, port: 80, scheduler: wrr, \
                   real_servers: [ { address: 10.0.0.1, weight: 7 } ] } ]";
    let by_hand = spec_text("spec.yaml", &format!("version: 1\n{by_hand}\n")).expect("it is good");
    let live = |named: &evenkeel_model::NamedService| named.service.clone();
    let found = by_hand.desired.services.iter().map(|(key, named)| (*key, live(named)));
    let found: std::collections::BTreeMap<_, _> = found.collect();
    fixture.kernel.get().live.services.clone_from(&found);
    fixture.write(SPEC);
    fixture.assert_state(State::Ok, "");
    assert_eq!((fixture.live().services.len(), fixture.weights()["10.0.0.1"]), (2, 3));
    assert_eq!(
        fixture.reconciler.host.journal().adopted.services,
        found,
        "web, with one of two real servers"
    );
    // Neither a restarted daemon nor a newer spec adopts what evenkeel changed of it.
    fixture.restart();
    fixture.assert_state(State::Ok, "");
    fixture.write(&SPEC.replace("weight: 3", "weight: 5"));
    assert_eq!(fixture.weights()["10.0.0.1"], 5);
    assert_eq!(fixture.reconciler.host.journal().adopted.services, found);
    // An object that a spec removes and a later one adds again is evenkeel's.
    let without = SPEC.replace("{ address: 10.0.0.1, weight: 3 }, ", "");
    fixture.write(&without);
    fixture.write(SPEC);
    let adopted = fixture
        .reconciler
        .host
        .journal()
        .adopted
        .services
        .values()
        .next()
        .expect("web stays adopted");
    assert!(adopted.real_servers.is_empty(), "{adopted:?}");
}

#[test]
fn after_the_loss_of_the_journal_all_existing_objects_are_adopted() {
    let mut fixture = Fixture::new(SPEC);
    assert!(fixture.reconciler.host.journal().adopted.is_empty());
    std::fs::remove_dir_all(fixture.folder.path().join("init")).expect("it is there");
    fixture.pass(Trigger::Resync);
    assert_eq!(fixture.reconciler.host.journal().adopted.services, fixture.live().services);
}

#[test]
fn what_an_apply_created_before_the_daemons_first_spec_is_not_adopted() {
    let mut fixture = Fixture::new("");
    fixture.assert_state(State::Degraded, "the spec is invalid");
    // As `apply` would.
    fixture.run_another_daemon(SPEC);
    assert_eq!(fixture.live().services.len(), 2);
    fixture.write(&SPEC.replace("weight: 3", "weight: 4"));
    fixture.assert_state(State::Ok, "");
    assert_eq!(fixture.weights()["10.0.0.1"], 4);
    assert!(fixture.reconciler.host.journal().adopted.is_empty());
}
