use std::collections::BTreeMap;

use evenkeel_model::{Drain, RealServer, RealServerKey, Service};

use super::*;
use crate::test_fixtures::{at, on, scheduled_by, spec, weighing};
use crate::{Cause, DrainRecords, Draining, Inputs, Verb, plan};

fn service(real_servers: &[(u8, u32)]) -> Service {
    let all = real_servers.iter().map(|(last, weight)| (at(*last), weighing(*weight)));
    Service { config: scheduled_by("rr"), real_servers: all.collect() }
}

/// A spec that leaves these fields of a service to another program, with drains of a minute.
fn leaving(fields: &[IgnoredField], real_servers: &[(u8, u32)]) -> Desired {
    let mut desired = spec([(on(1), service(real_servers))]);
    for named in desired.services.values_mut() {
        (named.ignore, named.drain) = (fields.iter().copied().collect(), Drain(60));
    }
    desired
}

fn live(real_servers: &[(u8, u32)]) -> Live {
    Live { services: [(on(1), service(real_servers))].into(), ..Live::default() }
}

fn steps(desired: &Desired, live: &Live, record: &PriorState) -> Vec<Op> {
    plan(Inputs::new(desired, live, record)).steps
}

const MEMBERS: &[IgnoredField] = &[IgnoredField::RealServers];
const BOTH: &[IgnoredField] = &[IgnoredField::Weight, IgnoredField::RealServers];

#[test]
fn a_new_service_gets_the_specs_real_servers_and_a_live_one_keeps_its_own() {
    let record = PriorState::for_snapshot();
    let desired = leaving(MEMBERS, &[(1, 1), (2, 1)]);
    let verbs: Vec<Verb> =
        steps(&desired, &Live::default(), &record).iter().map(Op::verb).collect();
    assert_eq!(verbs, [Verb::Add; 3]);
    for found in [&[(1, 1)][..], &[(1, 1), (2, 1), (9, 5)], &[(9, 1)], &[]] {
        assert_eq!(steps(&desired, &live(found), &record), [], "{found:?}");
    }
}

#[test]
fn fields_of_listed_real_servers_are_compared_unless_they_are_ignored_too() {
    let record = PriorState::for_snapshot();
    let found = live(&[(1, 7), (9, 5)]);
    let edits = steps(&leaving(MEMBERS, &[(1, 1), (2, 1)]), &found, &record);
    assert!(matches!(&*edits, [Op::EditRealServer { key, .. }] if *key == at(1)), "{edits:?}");
    assert_eq!(steps(&leaving(BOTH, &[(1, 1), (2, 1)]), &found, &record), []);
}

#[test]
fn a_service_that_leaves_drains_what_it_has() {
    let record = PriorState::for_snapshot();
    let last = leaving(BOTH, &[(1, 1)]);
    let desired = Desired { services: BTreeMap::new(), ..last.clone() };
    let found = live(&[(9, 1), (8, 1)]);
    let inputs = Inputs { last: Some(&last), ..Inputs::new(&desired, &found, &record) };
    let verbs: Vec<Verb> = plan(inputs).steps.iter().map(Op::verb).collect();
    assert_eq!(verbs, [Verb::Drain, Verb::Drain, Verb::Delete]);
}

#[test]
fn whose_they_are_is_a_change_of_the_spec() {
    let record = PriorState::for_snapshot();
    let last = leaving(BOTH, &[(1, 1), (2, 1)]);
    let desired = leaving(&[IgnoredField::Weight], &[(1, 1), (2, 1)]);
    let found = live(&[(1, 1), (9, 1)]);
    let inputs = Inputs { last: Some(&last), ..Inputs::new(&desired, &found, &record) };
    let found = plan(inputs);
    assert_eq!(found.causes, [Cause::SpecChanged; 3], "{:?}", found.steps);
}

#[test]
fn the_guard_counts_none_of_them() {
    let record = PriorState::for_snapshot();
    let all: Vec<(u8, u32)> = (1..=8).map(|last| (last, 1)).collect();
    let found = live(&all);
    let refusals =
        |fields| plan(Inputs::new(&leaving(fields, &[(1, 1)]), &found, &record)).refusals;
    assert_eq!(refusals(MEMBERS), []);
    assert_eq!(refusals(&[]).len(), 1);
}

fn drains(weight: u32) -> DrainRecords {
    let draining = Draining { since: 1, weight, limit: Drain(60), uptime: None };
    DrainRecords([((on(1), at(9)), draining)].into())
}

#[test]
fn a_drain_that_began_ends_unless_another_program_ended_it() {
    let desired = leaving(BOTH, &[(1, 1)]);
    let mut record = PriorState { drains: drains(5), ..PriorState::for_snapshot() };
    let verbs: Vec<Verb> =
        steps(&desired, &live(&[(1, 1), (9, 0)]), &record).iter().map(Op::verb).collect();
    assert_eq!(verbs, [Verb::Drain, Verb::Delete]);
    assert!(!record.forget_filled(&desired, &live(&[(1, 1), (9, 0)])));
    assert_eq!(steps(&desired, &live(&[(1, 1), (9, 5)]), &record), []);
    assert!(record.forget_filled(&desired, &live(&[(1, 1), (9, 5)])));
    assert_eq!(steps(&desired, &live(&[(1, 1), (9, 0)]), &record), []);
}

#[test]
fn a_new_service_is_filled_even_if_its_apply_was_interrupted() {
    let desired = leaving(BOTH, &[(1, 1), (2, 1)]);
    let mut record = PriorState::for_snapshot();
    let all = steps(&desired, &Live::default(), &record);
    record.note_new_services(&desired, &all);
    let add = |key: RealServerKey| {
        let after: RealServer = weighing(1);
        Op::AddRealServer { service: on(1), key, after }
    };
    assert_eq!(steps(&desired, &live(&[]), &record), [add(at(1)), add(at(2))]);
    // What another program added meanwhile stays.
    assert_eq!(steps(&desired, &live(&[(1, 1), (9, 1)]), &record), [add(at(2))]);
    assert!(!record.forget_filled(&desired, &live(&[(1, 1)])));
    assert!(record.forget_filled(&desired, &live(&[(1, 1), (2, 1)])));
    assert_eq!(steps(&desired, &live(&[(1, 1)]), &record), []);
    // A service that is gone is new again, and one of another kind is never recorded.
    record.unfilled.insert(on(1));
    assert!(record.forget_filled(&desired, &Live::default()));
    record.note_new_services(&leaving(&[], &[]), &all);
    assert!(record.unfilled.is_empty());
}
