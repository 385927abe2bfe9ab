//! Tests which guards a plan without a journal leaves unjudged.

use std::collections::BTreeMap;

use evenkeel_model::SyncState;

use super::*;
use crate::PriorState;

const ALL: [Guard; 4] = [Guard::CutOff, Guard::TakeOver, Guard::WiderScope, Guard::MissingFile];

/// The guards that are left unjudged by a plan for this snapshot.
fn unjudged(desired: &Desired, live: &Live, is_complete: bool) -> Vec<Guard> {
    let record = PriorState::for_snapshot();
    let inputs = Inputs::new(desired, live, &record);
    guards_without_journal(&inputs, &plan(inputs).steps, is_complete)
}

#[test]
fn without_a_journal_every_guard_that_needs_it_is_unjudged_where_a_service_is_deleted() {
    let wanted = spec([(on(1), weighing(&[1]))], Drain::NONE);
    let live = host([(on(1), weighing(&[1])), (on(2), weighing(&[1]))]);
    assert_eq!(unjudged(&wanted, &live, false), ALL);
    // A file with the end mark is complete.
    assert_eq!(unjudged(&wanted, &live, true), ALL[1..]);
}

#[test]
fn without_a_journal_nothing_is_unjudged_where_nothing_live_changes() {
    let wanted = spec([(on(1), weighing(&[1]))], Drain::NONE);
    assert_eq!(unjudged(&wanted, &host([(on(1), weighing(&[1]))]), false), []);
    let other = host([(on(2), weighing(&[1]))]);
    let both = spec([(on(1), weighing(&[1])), (on(2), weighing(&[1]))], Drain::NONE);
    assert_eq!(unjudged(&both, &other, false), []);
}

#[test]
fn an_empty_host_leaves_nothing_unjudged() {
    let mut wanted = spec([(on(1), weighing(&[1]))], Drain::NONE);
    wanted.sysctls = BTreeMap::from([("net.ipv4.vs.conntrack".into(), "1".into())]);
    assert_eq!(unjudged(&wanted, &Live::default(), false), []);
}

#[test]
fn without_a_journal_an_edit_is_unjudged_by_what_may_refuse_edits() {
    let wanted = spec([(on(1), weighing(&[2]))], Drain::NONE);
    let live = host([(on(1), weighing(&[1]))]);
    let edits = [Guard::CutOff, Guard::WiderScope, Guard::MissingFile];
    assert_eq!(unjudged(&wanted, &live, false), edits);
    // A real server that is added to a live service changes a service of another program.
    let more = spec([(on(1), weighing(&[1, 1]))], Drain::NONE);
    assert_eq!(unjudged(&more, &live, false), [Guard::WiderScope]);
}

#[test]
fn without_a_journal_a_stopped_sync_daemon_and_an_unbound_vip_are_unjudged() {
    let mut wanted = spec([], Drain::NONE);
    wanted.sync = Some(BTreeMap::new());
    let live = Live { sync: [(SyncState::Backup, daemon())].into(), ..host([]) };
    assert_eq!(unjudged(&wanted, &live, false), ALL);
    let live = bound(host([]), [vip(1)]);
    let unbound = [Guard::CutOff, Guard::WiderScope, Guard::MissingFile];
    assert_eq!(unjudged(&spec([], Drain::NONE), &live, false), unbound);
}

#[test]
fn a_guard_that_the_journal_lets_refuse_is_unjudged_without_it() {
    let wanted = spec([(on(1), weighing(&[1]))], Drain::NONE);
    let live = host([(on(1), weighing(&[1])), (on(2), weighing(&[1]))]);
    let record = PriorState::default();
    let first = plan(Inputs::new(&wanted, &live, &record));
    let refusing: Vec<Guard> = first.refusals.iter().map(|refusal| refusal.guard).collect();
    assert_eq!(refusing, [Guard::TakeOver]);
    assert!(unjudged(&wanted, &live, true).contains(&Guard::TakeOver));
}
