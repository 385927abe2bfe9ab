//! What the spec places on another director.

use evenkeel_model::Elsewhere;

use super::unbind_in_use::connected;
use super::*;
use crate::{Op, simulate};

#[test]
fn what_the_spec_places_on_another_director_leaves_at_once_and_is_no_loss() {
    let keys = || (1..=10).map(on);
    let elsewhere = Elsewhere {
        services: keys().collect(),
        vips: keys().filter_map(|key| key.vip()).collect(),
    };
    let moved = Desired { elsewhere, ..spec([], Drain(60)) };
    let services = keys().map(|key| (key, weighing(&[1])));
    let live = bound(host(services), (1..=10).map(vip));
    let connections = connected(keys().map(|key| (key, 5)));
    let record = PriorState::for_snapshot();
    let inputs = Inputs { statistics: Some(&connections), ..Inputs::new(&moved, &live, &record) };
    let moving = plan(inputs);
    assert_eq!(refused(&moving), None);
    assert!(simulate(&live, &moving.steps).services.is_empty(), "no drain is waited for");
    assert!(moving.steps.iter().all(|op| !matches!(op, Op::DrainRealServer { .. })));
    // The same without another director.
    let lost = Desired { elsewhere: Elsewhere::default(), ..moved.clone() };
    let inputs = Inputs { desired: &lost, ..inputs };
    assert!(plan(inputs).refusals.iter().any(|it| it.guard == Guard::Empty));
    assert!(plan(inputs).refusals.iter().any(|it| it.guard == Guard::MassDelete));
}
