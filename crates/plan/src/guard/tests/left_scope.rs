//! Tests the guard `left-scope`.

use evenkeel_model::{LeftScope, Limits, WhenLeft};

use super::*;

fn network(network: &str) -> Scope {
    let vips = vec![network.parse().expect("a network")];
    Scope::Limited(Limits { vips, ..Limits::default() })
}

/// A spec whose scope no longer covers two objects.
fn narrowed(when_left: Option<WhenLeft>) -> Desired {
    Desired {
        scope: network("198.51.100.0/24"),
        when_left,
        kept: LeftScope { services: [on(1)].into(), vips: [vip(1)].into(), ..LeftScope::default() },
        ..spec([], Drain::NONE)
    }
}

#[test]
fn a_narrower_scope_is_refused_until_the_spec_says_what_becomes_of_what_left_it() {
    let live = bound(host([(on(1), weighing(&[1]))]), [vip(1)]);
    let last =
        Desired { scope: network("192.0.2.0/24"), ..spec([(on(1), weighing(&[1]))], Drain::NONE) };
    let mut record = PriorState::for_snapshot();
    record.governed_by(&last);
    let refusals = |desired: &Desired| {
        let plan = plan(Inputs { last: Some(&last), ..Inputs::new(desired, &live, &record) });
        let left = plan.refusals.into_iter().filter(|it| it.guard == Guard::LeftScope);
        left.map(|refusal| refusal.to_string()).collect::<Vec<_>>()
    };
    let message = "this spec does not govern 2 live objects that evenkeel manages (service \
                   web/192.0.2.1:80/tcp and vip 192.0.2.1/32 on eth0): its scope is vips \
                   198.51.100.0/24, and that of the spec in force is vips 192.0.2.0/24; write `left: \
                   remove` under `scope` to remove what left it, or `left: keep` to leave it to \
                   another program";
    assert_eq!(refusals(&narrowed(None)), [message]);
    for answer in [WhenLeft::Keep, WhenLeft::Remove] {
        assert_eq!(refusals(&narrowed(Some(answer))), [""; 0]);
    }
}
