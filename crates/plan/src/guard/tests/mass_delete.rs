//! Tests the guard `mass-delete`.

use evenkeel_model::{Guards, Limits, Vip};

use super::*;
use crate::{DrainRecords, Draining};

#[test]
fn a_mass_deletion_leaves_less_than_the_configured_share_of_the_configured_minimum() {
    let many = |number: u8| (0..number).map(|last| (on(last), weighing(&[])));
    let falls = |guards: Guards, from: u8, to: u8| -> Option<String> {
        let wanted = Desired { guards, ..spec(many(to), Drain::NONE) };
        let plan = planned(&wanted, &host(many(from)));
        refused(&plan).map(|(guard, message)| {
            assert_eq!(guard, Guard::MassDelete);
            message
        })
    };
    let usual = Guards::default();
    assert_eq!(falls(usual, 3, 1), None);
    assert_eq!(falls(usual, 4, 2), None);
    assert_eq!(
        falls(usual, 4, 1),
        Some("1 of 4 live services would be left (mass_delete: 50%)".to_owned())
    );
    assert_eq!(
        falls(usual, 5, 2),
        Some("2 of 5 live services would be left (mass_delete: 50%)".to_owned())
    );
    let strict = Guards { mass_delete: 90, mass_delete_from: 10, ..usual };
    assert_eq!(falls(strict, 9, 1), None);
    assert_eq!(falls(strict, 10, 9), None);
    assert_eq!(
        falls(strict, 10, 8),
        Some("8 of 10 live services would be left (mass_delete: 90%)".to_owned())
    );
    let off = Guards { mass_delete: 0, mass_delete_from: 1, ..usual };
    assert_eq!(falls(off, 100, 1), None);
    let every = Guards { mass_delete: 100, mass_delete_from: 1, ..usual };
    assert_eq!(falls(every, 2, 2), None);
    assert!(falls(every, 2, 1).is_some());
}

#[test]
fn deleting_real_servers_of_one_service_can_be_a_mass_deletion() {
    let found = host([(on(1), weighing(&[1, 1, 1, 1]))]);
    let plan = planned(&spec([(on(1), weighing(&[1]))], Drain::NONE), &found);
    let message = "1 of 4 real servers of web/192.0.2.1:80/tcp would be left (mass_delete: 50%)";
    assert_eq!(refused(&plan), Some((Guard::MassDelete, message.to_owned())));
    // A pool can be replaced by one of the same size.
    let others = (5..=8).map(|last| (at(last), test_fixtures::weighing(1))).collect();
    let pool = Service { real_servers: others, ..weighing(&[]) };
    assert_eq!(refused(&planned(&spec([(on(1), pool)], Drain::NONE), &found)), None);
}

#[test]
fn replacements_are_not_survivors() {
    let many = |first: u8| (first..first + 6).map(|last| (on(last), weighing(&[])));
    let plan = planned(&spec(many(11), Drain::NONE), &host(many(1)));
    let message = "0 of 6 live services would be left (mass_delete: 50%)";
    assert_eq!(refused(&plan), Some((Guard::MassDelete, message.to_owned())));
    // Half of them survive, and the others are new.
    assert_eq!(refused(&planned(&spec(many(4), Drain::NONE), &host(many(1)))), None);
}

#[test]
fn vips_that_move_to_another_interface_survive_a_mass_deletion() {
    let found = bound(host([(on(1), weighing(&[]))]), (1..=4).map(vip));
    let wanted = |vips: Vec<Binding>| Desired {
        vips: vips.into_iter().map(|vip| (vip, Vip::default())).collect(),
        ..spec([(on(1), weighing(&[]))], Drain::NONE)
    };
    let plan = planned(&wanted(vec![vip(1), vip(7), vip(8), vip(9)]), &found);
    let message = "1 of 4 live VIPs would be left (mass_delete: 50%)";
    assert_eq!(refused(&plan), Some((Guard::MassDelete, message.to_owned())));
    let on_lo = |last| Binding::host([192, 0, 2, last].into(), "lo");
    assert_eq!(refused(&planned(&wanted((1..=4).map(on_lo).collect()), &found)), None);
}

#[test]
fn a_spec_cannot_loosen_the_guards_that_judge_it() {
    let many = |number: u8| (0..number).map(|last| (on(last), weighing(&[1])));
    let loose = Guards { mass_delete: 0, ..Guards::default() };
    let judged = |before: Option<Guards>, after: Guards, applied| {
        let wanted = Desired { guards: after, ..spec(many(1), Drain::NONE) };
        let record = PriorState { guards: before, applied, ..PriorState::for_snapshot() };
        let plan = plan(Inputs::new(&wanted, &host(many(4)), &record));
        let refusal = plan.refusals.iter().find(|it| it.guard == Guard::MassDelete);
        (refusal.map(|it| it.to_string()), warnings(&plan))
    };
    let (refusal, warnings) = judged(Some(Guards::default()), loose, true);
    let message = "1 of 4 live services would be left (mass_delete: 50%, from the spec in \
                   force; off, from this spec, applies from the next one on)";
    assert_eq!(refusal.as_deref(), Some(message));
    let warning = "looser guards apply from the next spec on, stricter ones at once: \
                   `mass_delete: off` (50% judges this plan)";
    assert_eq!(warnings, [warning]);
    // It applies from the next spec on.
    assert_eq!(judged(Some(loose), loose, true), (None, vec![]));
    // A stricter one applies at once.
    assert!(judged(Some(loose), Guards::default(), true).0.is_some());
    // Before the first spec the default thresholds are in force.
    assert!(judged(None, loose, false).0.is_some());
    // Offline only the spec is known.
    assert_eq!(judged(None, loose, true), (None, vec![]));
}

#[test]
fn objects_out_of_scope_do_not_count_as_a_mass_deletion() {
    let mut wanted = spec([(on(1), weighing(&[]))], Drain::NONE);
    wanted.scope = Scope::Limited(Limits {
        vips: vec!["192.0.2.1/32".parse().expect("a net")],
        ..Limits::default()
    });
    let found = host((1..=5).map(|last| (on(last), weighing(&[]))));
    assert_eq!(refused(&planned(&wanted, &found)), None);
}

#[test]
fn a_drain_that_has_started_does_not_count_again() {
    let found = host((1..=5).map(|last| (on(last), weighing(&[0]))));
    let wanted = spec([(on(1), weighing(&[0]))], Drain(30));
    assert!(refused(&planned(&wanted, &found)).is_some());
    let draining = Draining { since: 1, weight: 1, limit: Drain::default(), uptime: None };
    let drains = (2..=5).map(|last| ((on(last), at(1)), draining)).collect();
    let record = PriorState { drains: DrainRecords(drains), ..PriorState::for_snapshot() };
    let plan = plan(Inputs::new(&wanted, &found, &record));
    assert_eq!((refused(&plan), plan.steps.len()), (None, 8));
}
