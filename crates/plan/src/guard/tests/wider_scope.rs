//! Tests the guard `wider-scope`.

use std::collections::BTreeMap;

use evenkeel_model::{Limits, SyncState};

use super::*;

/// Returns a spec of one service with the scope `after`, and the prior state of one with `before`.
fn widened(before: Scope, after: Scope) -> (Desired, PriorState) {
    let desired = Desired { scope: after, ..spec([(on(1), weighing(&[1]))], Drain::NONE) };
    (desired, PriorState { scope: Some(before), ..PriorState::for_snapshot() })
}

fn services(keys: impl IntoIterator<Item = ServiceKey>) -> Scope {
    Scope::Limited(Limits { services: keys.into_iter().collect(), ..Limits::default() })
}

#[test]
fn a_wider_scope_does_not_touch_what_it_newly_covers() {
    let live = host([(on(1), weighing(&[1])), (on(2), weighing(&[1]))]);
    let guards = |before: Scope, after: Scope, live: &Live| {
        let (desired, record) = widened(before, after);
        let plan = plan(Inputs::new(&desired, live, &record));
        let refused = refused(&plan).map(|(guard, _)| guard);
        (plan.wider_scope.map(|it| it.services), refused)
    };
    let refuses = Some(Guard::WiderScope);
    for whole in [Scope::Implied, Scope::All] {
        // The unlisted service on 192.0.2.2 would be deleted.
        assert_eq!(guards(services([on(1)]), whole.clone(), &live), (Some(1), refuses));
        assert_eq!(guards(whole.clone(), Scope::All, &live), (None, None), "as wide as before");
        // A written scope may not change newly covered objects; a missing one also covers later
        // objects.
        let own = host([(on(1), weighing(&[1]))]);
        let lost = (whole == Scope::Implied).then_some(Guard::WiderScope);
        assert_eq!(guards(services([on(1)]), whole.clone(), &own), (Some(0), lost));
        assert_eq!(guards(whole, services([on(1)]), &live), (None, None), "narrower");
    }
    // A listed service would be edited, or gets a real server.
    for weights in [&[5][..], &[]] {
        let live = host([(on(1), weighing(weights))]);
        assert_eq!(guards(services([]), services([on(1)]), &live), (Some(1), refuses));
    }
    // A service that matches the spec is covered without a change; an absent one is added.
    for live in [host([(on(1), weighing(&[1]))]), host([])] {
        assert_eq!(guards(services([]), services([on(1)]), &live).1, None);
    }
}

#[test]
fn a_wider_scope_is_reported_with_both_scopes_and_what_would_change() {
    let live = host([(on(1), weighing(&[1])), (on(2), weighing(&[1]))]);
    let (desired, record) = widened(services([on(1)]), Scope::Implied);
    let plan = plan(Inputs::new(&desired, &live, &record));
    let message = "the spec has no `scope`, so it governs the whole table; the one in force governs \
                   services 192.0.2.1:80/tcp; restore the `scope`, or write `scope: all` if the \
                   whole table is meant";
    assert_eq!(refused(&plan), Some((Guard::WiderScope, message.to_owned())));
    let (all, record) = widened(services([on(1)]), Scope::All);
    let message = "the spec in force does not govern 1 live object that this plan would change \
                   (192.0.2.2:80/tcp): its scope is services 192.0.2.1:80/tcp, and that of this \
                   spec is all";
    let written = crate::plan(Inputs::new(&all, &live, &record));
    assert_eq!(refused(&written), Some((Guard::WiderScope, message.to_owned())));
    let line = "~ edit scope: services 192.0.2.1:80/tcp -> the whole table, as no `scope` is \
                written, which newly covers 1 live service";
    assert_eq!(plan.wider_scope.as_ref().map(ToString::to_string).as_deref(), Some(line));
    assert_eq!(plan.counts().edit, 1);
}

#[test]
fn a_wider_scope_unbinds_no_vip_and_a_spec_that_newly_has_sync_stops_no_daemon() {
    let (desired, record) = widened(services([on(1)]), Scope::All);
    let live = bound(host([(on(1), weighing(&[1]))]), [vip(9)]);
    let plan_of = |desired: &Desired, live: &Live, last: Option<&Desired>| {
        let plan = plan(Inputs { last, ..Inputs::new(desired, live, &record) });
        refused(&plan).map(|(guard, _)| guard)
    };
    assert_eq!(plan_of(&desired, &live, None), Some(Guard::WiderScope));
    let sync = [(SyncState::Master, daemon())].into();
    let live = Live { sync, ..host([(on(1), weighing(&[1]))]) };
    let stops = Desired { sync: Some(BTreeMap::new()), ..desired.clone() };
    assert_eq!(plan_of(&stops, &live, Some(&desired)), Some(Guard::WiderScope));
    assert_eq!(plan_of(&stops, &live, Some(&stops)), None, "the last spec governed them too");
}
