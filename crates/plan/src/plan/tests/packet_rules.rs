//! Laws of packet rules.

use evenkeel_model::{
    HostObject, HostObjectKind, HostValue, LiveHostObjects, SourceNat, SourceNatValue,
};

use super::*;
use crate::test_fixtures::{at, on, weighing};

const TRACKING: &str = "net.ipv4.vs.conntrack";

fn under_full_nat() -> (HostObject, HostValue) {
    let source_nat = SourceNat { service: on(1), real_server: at(1) };
    (source_nat.into(), SourceNatValue::Masquerade.into())
}

fn service() -> Service {
    let real_servers = [(at(1), weighing(1))].into_iter().collect();
    Service { config: crate::test_fixtures::scheduled_by("rr"), real_servers }
}

/// A host whose only service is under full NAT, with the record that evenkeel made it so.
fn host() -> (Live, PriorState) {
    let mut live = Live {
        services: [(on(1), service())].into(),
        host_objects: LiveHostObjects::of_evenkeel([under_full_nat()].into()),
        ..Live::default()
    };
    live.sysctls.insert(TRACKING.into(), "1".into());
    let mut record = PriorState::for_snapshot();
    record.sysctls.insert(TRACKING.into(), "0".into());
    (live, record)
}

#[test]
fn the_last_services_that_leave_full_nat_lose_their_connections_with_a_warning() {
    let (live, record) = host();
    let warnings = |desired: &Desired| plan(Inputs::new(desired, &live, &record)).warnings;
    let staying = spec([(on(1), service())]);
    let warned = Warning::Untranslated(vec![staying.label(&on(1)).to_string()]);
    assert!(warnings(&staying).contains(&warned));
    // Connections of a service that is gone end with it.
    assert!(!warnings(&spec([])).contains(&warned));
    // Another service keeps the chain.
    let mut other = staying;
    let source_nat = SourceNat { service: on(2), real_server: at(1) };
    other.host_objects.insert(source_nat.into(), SourceNatValue::Masquerade.into());
    assert!(!warnings(&other).contains(&warned));
}

#[test]
fn rules_that_a_host_cannot_have_are_reported_before_the_first_change() {
    let mut desired = spec([(on(1), service())]);
    desired.host_objects.extend([under_full_nat()]);
    let mut live = Live::default();
    let unmet = |live: &Live| {
        plan(Inputs::new(&desired, live, &PriorState::for_snapshot())).unmet_preconditions
    };
    assert_eq!(unmet(&live), []);
    let (kind, why) = (HostObjectKind::SourceNat, "no nft");
    live.host_objects.unavailable.insert(kind, why.into());
    assert_eq!(unmet(&live), [UnmetPrecondition::Unavailable { kind, why: why.into() }]);
    // What is there already needs nothing.
    assert_eq!(unmet(&Live { services: [].into(), ..host().0 }), []);
}
