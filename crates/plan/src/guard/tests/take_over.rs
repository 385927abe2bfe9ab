//! Tests the guard `take-over`.

use std::collections::BTreeMap;

use evenkeel_model::{Limits, SyncState};

use super::*;

#[test]
fn the_first_apply_refuses_to_delete_unlisted_objects_whatever_its_scope() {
    let mut wanted = spec([(on(1), weighing(&[1]))], Drain::NONE);
    wanted.guards.mass_delete = 0;
    let unlisted = |number: u8| host((2..2 + number).map(|last| (on(last), weighing(&[]))));
    let first = |desired: &Desired, live: &Live| -> Option<String> {
        // The thresholds are recorded already, as for a namespace that was created again.
        let record = PriorState { guards: Some(desired.guards), ..PriorState::default() };
        let plan = plan(Inputs::new(desired, live, &record));
        refused(&plan).map(|(guard, message)| {
            assert_eq!(guard, Guard::TakeOver);
            message.to_owned()
        })
    };
    let network = vec!["192.0.2.0/24".parse().expect("a net")];
    let limited = Scope::Limited(Limits { vips: network, ..Limits::default() });
    for (scope, governed) in [
        (Scope::Implied, "the spec has no `scope`, so it governs the whole table"),
        (Scope::All, "the spec's scope is the whole table"),
        (limited, "the spec's scope covers more than it lists"),
    ] {
        wanted.scope = scope;
        let message = |number: &str, which: &str| {
            Some(format!(
                "nothing was applied here before, and {governed}: this plan would delete {number} \
                 that it does not list ({which}); list them, or narrow `scope` to what is the \
                 spec's own"
            ))
        };
        let one = "service 192.0.2.2:80/tcp";
        assert_eq!(first(&wanted, &unlisted(1)), message("1 live object", one));
        let more = "service 192.0.2.2:80/tcp, service 192.0.2.3:80/tcp, service 192.0.2.4:80/tcp \
                    and 2 more";
        assert_eq!(first(&wanted, &unlisted(5)), message("5 live objects", more));
        assert_eq!(refused(&planned(&wanted, &unlisted(1))), None, "not the first apply");
        assert_eq!(first(&wanted, &Live::default()), None);
        // Listed objects are intended: that is how a host is adopted.
        assert_eq!(first(&wanted, &host([(on(1), weighing(&[5]))])), None);
    }
    wanted.scope = Scope::Limited(Limits { services: [on(1)].into(), ..Limits::default() });
    assert_eq!(first(&wanted, &unlisted(5)), None, "they are out of scope");
}

#[test]
fn the_first_apply_refuses_to_stop_a_sync_daemon_that_it_does_not_list() {
    let mut wanted = spec([(on(1), weighing(&[]))], Drain::NONE);
    let live = Live { sync: [(SyncState::Backup, daemon())].into(), ..host([]) };
    let first = |desired: &Desired| {
        let plan = plan(Inputs::new(desired, &live, &PriorState::default()));
        refused(&plan).map(|(guard, _)| guard)
    };
    assert_eq!(first(&wanted), None, "it belongs to another program");
    wanted.sync = Some(BTreeMap::new());
    assert_eq!(first(&wanted), Some(Guard::TakeOver));
    wanted.sync = Some([(SyncState::Backup, SyncDaemon { id: 9, ..daemon() })].into());
    assert_eq!(first(&wanted), None, "it is listed, and changed");
}
