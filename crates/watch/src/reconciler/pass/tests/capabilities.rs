//! The capabilities of the process, as the kernel in memory reports them.

use evenkeel_control::{State, Trigger};
use evenkeel_host::Capability;

use super::SPEC;
use super::fixture::Fixture;

#[test]
fn without_net_admin_nothing_is_changed_and_the_status_names_it() {
    let mut fixture = Fixture::new(SPEC);
    fixture.kernel.get().missing_capabilities = [Capability::NetAdmin].into();
    fixture.kernel.get().live.services.clear();
    let received = fixture.received();
    fixture.reconciler.pass(Trigger::Resync);
    assert_eq!(fixture.received(), received);
    fixture.assert_state(State::Degraded, "not permitted: CAP_NET_ADMIN is missing");
    fixture.kernel.get().missing_capabilities.clear();
    fixture.reconciler.pass(Trigger::Retry);
    fixture.assert_state(State::Ok, "");
    assert_eq!(fixture.live().services.len(), 2);
}

#[test]
fn without_net_raw_vips_are_bound_all_the_same() {
    let mut fixture = Fixture::new(SPEC);
    fixture.kernel.get().missing_capabilities = [Capability::NetRaw].into();
    fixture.kernel.get().live.addresses.clear();
    fixture.pass(Trigger::Resync);
    assert_eq!(fixture.live().addresses.len(), 1);
    fixture.assert_state(State::Ok, "");
}
