//! A teardown leaves a host as it was before it had its role.

use std::time::Duration;

use super::cases::cases;
use super::state::State;
use crate::watch::within;

#[test]
fn a_teardown_of_each_role_leaves_the_host_as_it_was_before() {
    for case in cases() {
        let expected = case.left();
        case.unload_modules();
        let host = case.host();
        let before = State::read();
        host.apply(case.spec);
        let applied = State::read();
        for words in case.shows {
            let changes = applied.changes_since(&before);
            assert!(applied.contains(words), "{}: no {words}: {changes}", case.name);
        }
        let answer = host.evenkeel("teardown --yes");
        assert_eq!(answer.status, 0, "{}: {answer:?}", case.name);
        let mut left = State::default();
        let mut after = State::default();
        // The kernel removes some routes of IPv6 later.
        within(Duration::from_secs(2), || {
            after = State::read();
            left = after.take_devices(case.leaves);
            after == before && left == expected
        });
        assert!(after == before, "{}: {}", case.name, after.changes_since(&before));
        assert!(left == expected, "{}: {}", case.name, left.changes_since(&expected));
        assert_eq!(host.done("teardown --yes"), "Nothing to undo.\n", "{}", case.name);
    }
}
