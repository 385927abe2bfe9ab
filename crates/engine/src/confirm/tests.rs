//! Tests what the journal records after a rollback of a pending apply.

use std::net::IpAddr;

use evenkeel_model::{Binding, HostObjectKind, HostRoute, Link, Vip};
use evenkeel_plan::{Inputs, plan};

use super::*;
use crate::execute::tests::{host_with, pass};
use crate::fake_kernel::FakeKernel;
use crate::{ApplyOptions, NoopContext, Pass, Pending, StateDir, execute_journalled};

fn vip(address: IpAddr, interface: &str) -> Binding {
    Binding::host(address, interface)
}

/// A spec with a VIP of each family on this interface, with routes.
fn with_routes(interface: &str) -> Desired {
    let addresses: [IpAddr; 2] = ["192.0.2.1", "2001:db8::1"].map(|it| it.parse().expect("one"));
    let mut desired = Desired::default();
    for address in addresses {
        let route = HostRoute::of(&vip(address, interface));
        desired.vips.insert(vip(address, interface), Vip::default());
        desired.host_objects.insert(route.clone().into(), route.value());
    }
    desired
}

fn run(
    kernel: &mut FakeKernel,
    desired: &Desired,
    state: &StateDir,
    journal: &mut Journal,
) -> Vec<Op> {
    let live = kernel.live.clone();
    let steps = plan(Inputs::new(desired, &live, &journal.record)).steps;
    let pass = Pass { is_complete: false, ..pass(desired, live, steps) };
    let (options, context) = (ApplyOptions::default(), &mut NoopContext);
    let report = execute_journalled(kernel, pass, options, context, state, journal)
        .expect("the journal can be written");
    assert!(report.is_success(), "{report:?}");
    steps_to_roll_back(&report)
}

#[test]
fn what_a_rollback_adds_again_is_on_record_as_before_the_apply() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::new(folder.path(), "init");
    let mut journal = Journal::default();
    let mut kernel = host_with([]);
    let link = Link { up: true, dummy: false, owner: Owner::Other };
    kernel.live.links.get_or_insert_default().insert("eth1".into(), link);
    kernel.live.host_objects.read.extend(HostObjectKind::ALL);
    run(&mut kernel, &with_routes("eth0"), &state, &mut journal);
    let (before, of_host) = (journal.clone(), kernel.live.clone());
    assert_eq!((before.addresses.len(), before.host_objects.len()), (2, 2));
    // The routes move, or are deleted with their VIPs.
    for after in [with_routes("eth1"), Desired::default()] {
        let steps = run(&mut kernel, &after, &state, &mut journal);
        assert_ne!((&journal, &kernel.live), (&before, &of_host));
        journal.pending = Some(Pending::begin(1_000, 60, steps).expect("the boot id can be read"));
        let mut live = kernel.observe(&pending_request(&journal)).expect("it can be read");
        let rollback = roll_back_pending(&mut kernel, &mut journal, &mut live);
        assert_eq!(rollback.remaining, []);
        assert_eq!(kernel.live, of_host);
        assert_eq!(journal, before);
    }
}
