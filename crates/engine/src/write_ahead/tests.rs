//! Tests what the journal records before, during and after a pass.

mod sysctls;

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_model::{
    Binding, DefaultRoute, DefaultRouteValue, Drain, Family, HostObject, HostObjectKind, HostValue,
    Link, Live, LiveHostObject, MacAddress, Neighbour, NeighbourValue, Owner, RecordedRoute,
    RouteMessage, SyncDaemon, SyncState,
};
use evenkeel_plan::{ClockReading, GuardRefusal, Inputs, PriorState, Uptime, plan};
use rustix::io::Errno;

use super::*;
use crate::execute::tests::{empty_service, host_with, pass, plan_of, vip, web, with_vips};
use crate::fake_kernel::{FakeKernel, Fault};
use crate::{DrainProgress, NoopContext};

fn run(
    kernel: &mut FakeKernel,
    desired: &Desired,
    options: ApplyOptions,
    state: &StateDir,
    journal: &mut Journal,
) -> Report {
    let live = kernel.live.clone();
    let steps = plan(Inputs::new(desired, &live, &journal.record)).steps;
    let pass = pass(desired, live, steps);
    execute_journalled(kernel, pass, options, &mut NoopContext, state, journal)
        .expect("the journal can be written")
}

#[test]
fn a_journal_records_what_is_bound_and_that_a_spec_was_applied() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::new(folder.path(), "init");
    let mut journal = Journal::default();
    let mut kernel = host_with([]);
    let desired = with_vips([vip(1)]);
    let plan = plan(Inputs::new(&desired, &kernel.live, &PriorState::default()));
    assert_eq!(plan.refusals, Vec::<GuardRefusal>::new());
    run(&mut kernel, &desired, ApplyOptions::default(), &state, &mut journal);
    let (read, _) = state.read(false).expect("it can be read");
    assert!(read.record.applied);
    assert_eq!(read.addresses, BTreeSet::from([vip(1)]));
}

#[test]
fn what_was_rolled_back_is_not_in_the_journal() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::new(folder.path(), "init");
    let mut journal = Journal::default();
    let mut kernel = host_with([]);
    let sysctl = "net.ipv4.vs.expire_nodest_conn";
    kernel.live.sysctls.insert(sysctl.into(), "0".into());
    let mut desired = with_vips([vip(1), vip(2)]);
    desired.sysctls.insert(sysctl.into(), "1".into());
    kernel.faults.insert(2, Fault::Refuse(Errno::NOMEM));
    let before = kernel.live.clone();
    let report = run(&mut kernel, &desired, ApplyOptions::default(), &state, &mut journal);
    assert!(!report.is_success());
    assert_eq!(kernel.live, before);
    let (read, _) = state.read(false).expect("it can be read");
    assert_eq!((read.addresses, read.record), (BTreeSet::new(), PriorState::default()));
}

#[test]
fn the_interface_of_a_sync_daemon_is_recorded_when_the_daemon_was_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::new(folder.path(), "init");
    let recorded = |journal: &Journal| journal.record.sync_links.values().next().map(|it| it.index);
    let daemon = SyncDaemon {
        interface: "eth1".into(),
        id: 1,
        max_length: None,
        group: None,
        port: None,
        ttl: None,
    };
    let desired =
        Desired { sync: Some([(SyncState::Backup, daemon.clone())].into()), ..with_vips([]) };
    let mut kernel = host_with([]);
    let link = Link { up: true, dummy: false, owner: Owner::Other };
    kernel.live.links.get_or_insert_default().insert("eth1".into(), link);
    kernel.live.sync.insert(SyncState::Backup, daemon);
    kernel.live.sync_links.insert("eth1".into(), 3);
    let mut journal = Journal::default();
    journal.record.applied = true;
    run(&mut kernel, &desired, ApplyOptions::default(), &state, &mut journal);
    assert_eq!(recorded(&journal), Some(3), "first seen");

    kernel.live.sync_links.insert("eth1".into(), 9);
    let live = kernel.live.clone();
    let steps = plan(Inputs::new(&desired, &live, &journal.record)).steps;
    assert_eq!(steps.len(), 2, "{steps:?}");
    let mut killed = journal.clone();
    record_intent(&mut killed, &pass(&desired, live, steps), &NoopContext);
    assert_eq!(recorded(&killed), Some(3), "a process that is killed now leaves the old daemon");

    kernel.faults.insert(1, Fault::Refuse(Errno::NOMEM));
    let mut refused = journal.clone();
    run(&mut kernel, &desired, ApplyOptions::default(), &state, &mut refused);
    assert_eq!(recorded(&refused), Some(3));
    kernel.faults.clear();
    let report = run(&mut kernel, &desired, ApplyOptions::default(), &state, &mut journal);
    assert!(report.is_success(), "{report:?}");
    assert_eq!(recorded(&journal), Some(9));
}

#[test]
fn without_a_journal_only_what_it_lacks_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::new(folder.path(), "init");
    let mut kernel = host_with([]);
    let mut journal = Journal::default();
    let desired = with_vips([vip(1), vip(2)]);
    run(&mut kernel, &desired, ApplyOptions::default(), &state, &mut journal);
    std::fs::create_dir(state.folder().join("journal.json.new")).expect("a folder");
    let options = ApplyOptions { recording: Recording::WherePossible, ..ApplyOptions::default() };

    // The journal records both VIPs; what it is about to record otherwise is kept in memory.
    kernel.live.addresses.clear();
    journal.record.unfilled.insert(empty_service().0);
    let report = run(&mut kernel, &desired, options, &state, &mut journal);
    assert!(report.is_success());
    assert_eq!(kernel.live.addresses.len(), 2);

    // It lacks one.
    kernel.live.addresses.clear();
    journal.addresses.remove(&vip(2));
    let live = kernel.live.clone();
    let steps = plan(Inputs::new(&desired, &live, &journal.record)).steps;
    let lacking = pass(&desired, live, steps);
    let context = &mut NoopContext;
    execute_journalled(&mut kernel, lacking, options, context, &state, &mut journal)
        .expect_err("the VIP is not recorded");
    assert!(kernel.live.addresses.is_empty());
}

#[test]
fn a_journal_that_cannot_be_written_stops_the_pass_before_the_first_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let state = StateDir::new(&file, "init");
    // With a VIP to record beforehand, and with only the outcome to record.
    let service = Desired { services: [empty_service()].into(), ..Desired::default() };
    for desired in [with_vips([vip(1)]), service] {
        let mut kernel = host_with([]);
        let live = kernel.live.clone();
        let steps = plan_of(&desired, &live).steps;
        assert!(!steps.is_empty());
        let outcome = execute_journalled(
            &mut kernel,
            pass(&desired, live, steps),
            ApplyOptions::default(),
            &mut NoopContext,
            &state,
            &mut Journal::default(),
        );
        assert!(outcome.is_err());
        assert!(kernel.received.is_empty());
    }
}

#[test]
fn a_drain_that_is_not_waited_for_is_on_record_and_continues_in_the_next_pass() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::new(folder.path(), "init");
    let mut journal = Journal::default();
    let (key, named) = web([(1, 5), (2, 5)], Drain(3_600));
    let (_, wanted) = web([(2, 5)], Drain(3_600));
    let mut kernel =
        FakeKernel::new(Live { services: [(key, named.service)].into(), ..Live::default() });
    kernel.connect(key, 1, 7);
    let desired = Desired { services: [(key, wanted)].into(), ..Desired::default() };
    let start = ApplyOptions { wait: false, ..ApplyOptions::default() };
    let report = run(&mut kernel, &desired, start, &state, &mut journal);
    assert!(report.is_success());
    assert_eq!((report.count("applied"), report.count("draining")), (1, 1));
    let (read, _) = state.read(false).expect("it can be read");
    let (place, draining) = read.record.drains.0.first_key_value().expect("it drains");
    assert_eq!((place.0, draining.weight), (key, 5));
    // Nothing is sent for a running drain.
    let sent = kernel.received.len();
    let report = run(&mut kernel, &desired, start, &state, &mut journal);
    assert!(report.is_success());
    assert_eq!(kernel.received.len(), sent);
    assert_eq!(state.read(false).expect("it can be read").0.record.drains, read.record.drains);
    // Without connections it ends.
    kernel.connect(key, 1, 0);
    let report = run(&mut kernel, &desired, start, &state, &mut journal);
    assert!(report.is_success());
    assert_eq!(kernel.live.services[&key].real_servers.len(), 1);
    assert!(state.read(false).expect("it can be read").0.record.drains.0.is_empty());
}

#[test]
fn a_neighbour_stays_and_is_on_record_while_a_real_server_drains() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::new(folder.path(), "init");
    let mut journal = Journal::default();
    let (key, both) = web([(1, 5), (2, 5)], Drain(3_600));
    let (_, one) = web([(2, 5)], Drain(3_600));
    let mut kernel = host_with([]);
    kernel.live.host_objects.read.extend(HostObjectKind::ALL);
    let gateway = Neighbour { address: [10, 0, 0, 1].into(), interface: "eth0".into() };
    let gateway = HostObject::from(gateway);
    let value = NeighbourValue { mac: MacAddress([2, 0, 0, 0, 0, 1]) };
    let with = Desired {
        services: [(key, both)].into(),
        host_objects: [(gateway.clone(), HostValue::Neighbour(value))].into(),
        ..Desired::default()
    };
    let start = ApplyOptions { wait: false, ..ApplyOptions::default() };
    let report = run(&mut kernel, &with, start, &state, &mut journal);
    assert!(report.is_success(), "{report:?}");
    assert_eq!(journal.host_objects, [gateway.clone()].into());
    kernel.connect(key, 1, 7);
    let without = Desired { services: [(key, one)].into(), ..Desired::default() };
    for _ in 0..2 {
        assert!(run(&mut kernel, &without, start, &state, &mut journal).is_success());
        assert!(kernel.live.host_objects.objects.contains_key(&gateway));
        let (read, _) = state.read(false).expect("it can be read");
        assert_eq!(read.host_objects, [gateway.clone()].into());
    }
    kernel.connect(key, 1, 0);
    assert!(run(&mut kernel, &without, start, &state, &mut journal).is_success());
    assert!(kernel.live.host_objects.objects.is_empty());
    assert!(journal.host_objects.is_empty() && journal.record.drains.0.is_empty());
}

#[test]
fn a_real_server_that_is_listed_again_gets_its_weight_back_and_its_drain_is_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::new(folder.path(), "init");
    let mut journal = Journal::default();
    let (key, both) = web([(1, 5), (2, 5)], Drain(3_600));
    let (_, one) = web([(2, 5)], Drain(3_600));
    let mut kernel =
        FakeKernel::new(Live { services: [(key, both.service.clone())].into(), ..Live::default() });
    kernel.connect(key, 1, 7);
    let start = ApplyOptions { wait: false, ..ApplyOptions::default() };
    let without = Desired { services: [(key, one)].into(), ..Desired::default() };
    run(&mut kernel, &without, start, &state, &mut journal);
    let with = Desired { services: [(key, both.clone())].into(), ..Desired::default() };
    assert!(run(&mut kernel, &with, start, &state, &mut journal).is_success());
    assert_eq!(kernel.live.services[&key], both.service);
    assert!(journal.record.drains.0.is_empty());
}

#[test]
fn a_pass_for_single_services_keeps_the_drains_of_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::new(folder.path(), "init");
    let (service, _) = web([], Drain::NONE);
    let server = evenkeel_model::RealServerKey { address: [10, 0, 0, 9].into(), port: 80 };
    let draining = Draining { since: 5, weight: 3, limit: Drain(60), uptime: None };
    for (is_complete, remaining) in [(false, 1), (true, 0)] {
        let mut journal = Journal::default();
        journal.record.drains.0.insert((service, server), draining);
        let mut kernel = host_with([]);
        let desired = with_vips([vip(1)]);
        let live = kernel.live.clone();
        let steps = plan_of(&desired, &live).steps;
        let pass = Pass { is_complete, ..pass(&desired, live, steps) };
        let options = ApplyOptions::default();
        execute_journalled(&mut kernel, pass, options, &mut NoopContext, &state, &mut journal)
            .expect("the journal can be written");
        assert_eq!(journal.record.drains.0.len(), remaining);
    }
}

#[test]
fn an_address_that_another_program_bound_is_not_in_the_journal() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::new(folder.path(), "init");
    let mut journal = Journal::default();
    let mut kernel = host_with([]);
    // Another program binds it between the plan and the execution.
    let desired = with_vips([vip(1)]);
    let steps = plan_of(&desired, &kernel.live).steps;
    let seen = kernel.live.clone();
    kernel.live.addresses.insert(Binding::clone(&vip(1)), Owner::Other);
    let pass = pass(&desired, seen, steps);
    let options = ApplyOptions::default();
    let report =
        execute_journalled(&mut kernel, pass, options, &mut NoopContext, &state, &mut journal)
            .expect("it can be written");
    assert!(report.is_success());
    assert!(journal.addresses.is_empty());
}

#[test]
fn a_removed_service_keeps_the_drain_time_of_its_spec() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::new(folder.path(), "init");
    let mut journal = Journal::default();
    let (key, named) = web([(1, 5)], Drain(600));
    let last = Desired { services: [(key, named.clone())].into(), ..Desired::default() };
    let mut kernel =
        FakeKernel::new(Live { services: [(key, named.service)].into(), ..Live::default() });
    kernel.connect(key, 1, 7);
    let desired = Desired::default();
    let live = kernel.live.clone();
    let inputs = Inputs { last: Some(&last), ..Inputs::new(&desired, &live, &journal.record) };
    let steps = plan(inputs).steps;
    let pass = crate::Pass { last: Some(&last), ..pass(&desired, live, steps) };
    let options = ApplyOptions { wait: false, ..ApplyOptions::default() };
    execute_journalled(&mut kernel, pass, options, &mut NoopContext, &state, &mut journal)
        .expect("it can be written");
    // The last applied spec is now the new one, which does not have the service.
    let (read, _) = state.read(false).expect("it can be read");
    let again = plan(Inputs::new(&desired, &kernel.live, &read.record)).steps;
    assert!(matches!(again[0], Op::DrainRealServer { limit: Drain(600), .. }), "{again:?}");
}

/// A context with a wall clock and an uptime, both in seconds; passes in it do not wait.
struct Host(u64, u64);

impl ExecutionContext for Host {
    fn now(&self) -> ClockReading {
        let boot = "a".repeat(32).parse().expect("the name of a boot");
        let uptime = Uptime { boot, milliseconds: self.1 * 1_000 };
        ClockReading { wall: Duration::from_secs(self.0), uptime: Some(uptime) }
    }

    fn pause(&mut self, _: Duration) {}

    fn is_interrupted(&self) -> bool {
        false
    }

    fn draining(&mut self, _: &[DrainProgress]) {}
}

/// Runs a pass in which a real server with connections drains for up to a minute; returns whether
/// the real server is still there.
fn drains_on(kernel: &mut FakeKernel, journal: &mut Journal, mut host: Host) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::new(folder.path(), "init");
    let (key, named) = web([(1, 5), (2, 5)], Drain(60));
    let (_, wanted) = web([(2, 5)], Drain(60));
    if kernel.live.services.is_empty() {
        kernel.live.services.insert(key, named.service);
        kernel.connect(key, 1, 7);
    }
    let desired = Desired { services: [(key, wanted)].into(), ..Desired::default() };
    let live = kernel.live.clone();
    let steps = plan(Inputs::new(&desired, &live, &journal.record)).steps;
    let pass = pass(&desired, live, steps);
    let options = ApplyOptions { wait: false, ..ApplyOptions::default() };
    execute_journalled(kernel, pass, options, &mut host, &state, journal)
        .expect("it can be written");
    kernel.live.services[&key].real_servers.len() == 2
}

#[test]
fn steps_of_the_wall_clock_do_not_change_the_length_of_a_drain() {
    const HOUR: u64 = 3_600;
    for wall in [100_000, 100_000 - HOUR, 100_000 + HOUR] {
        let (mut kernel, mut journal) = (FakeKernel::default(), Journal::default());
        assert!(drains_on(&mut kernel, &mut journal, Host(100_000, 500)));
        assert!(drains_on(&mut kernel, &mut journal, Host(wall + 30, 530)));
        assert!(drains_on(&mut kernel, &mut journal, Host(wall + 60, 560)));
        assert!(!drains_on(&mut kernel, &mut journal, Host(wall + 62, 562)));
    }
}

#[test]
fn a_drain_of_an_earlier_boot_or_version_is_timed_by_the_wall_clock_until_the_next_pass() {
    let other = Uptime {
        boot: "b".repeat(32).parse().expect("the name of a boot"),
        milliseconds: 7_000_000,
    };
    for uptime in [None, Some(other)] {
        let (mut kernel, mut journal) = (FakeKernel::default(), Journal::default());
        assert!(drains_on(&mut kernel, &mut journal, Host(100_000, 500)));
        let begun = journal.record.drains.0.values_mut().next().expect("it drains");
        begun.uptime = uptime;
        let unchanged = journal.clone();
        // By a wall clock that was set back, it would last an hour longer at each pass.
        assert!(drains_on(&mut kernel, &mut journal, Host(96_400, 520)));
        assert!(drains_on(&mut kernel, &mut journal, Host(96_459, 579)));
        assert!(!drains_on(&mut kernel, &mut journal, Host(1_000, 582)));
        let mut journal = unchanged;
        let (mut kernel, mut another) = (FakeKernel::default(), Journal::default());
        assert!(drains_on(&mut kernel, &mut another, Host(100_000, 500)));
        assert!(!drains_on(&mut kernel, &mut journal, Host(100_062, 500)));
    }
}

fn found(last: u8) -> HostValue {
    DefaultRouteValue::Found(vec![RecordedRoute {
        gateway: Some([192, 0, 2, last].into()),
        interfaces: vec!["eth0".into()],
        metric: 100,
        protocol: 16,
        is_ours: false,
        message: RouteMessage([last].into()),
    }])
    .into()
}

#[test]
fn what_a_default_route_replaces_is_on_record_until_it_is_restored() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::new(folder.path(), "init");
    let mut journal = Journal::default();
    let object = HostObject::from(DefaultRoute { family: Family::Ipv4 });
    let ours = HostValue::from(DefaultRouteValue::Gateway([192, 0, 2, 2].into()));
    let wanted =
        Desired { host_objects: [(object.clone(), ours.clone())].into(), ..Desired::default() };
    let mut kernel = host_with([]);
    kernel.live.host_objects.read.insert(HostObjectKind::DefaultRoute);
    let on_host = LiveHostObject::set_to(found(254));
    kernel.live.host_objects.objects.insert(object.clone(), on_host.clone());
    let before = kernel.live.clone();
    let is_recorded = |journal: &Journal, value: Option<HostValue>| {
        let (read, _) = state.read(false).expect("it can be read");
        assert_eq!(read.host_objects, value.iter().map(|_| object.clone()).collect());
        assert_eq!(read.record.replaced.0.get(&object), value.as_ref());
        assert_eq!(journal.record.replaced, read.record.replaced);
    };
    let pass = |kernel: &mut FakeKernel, desired: &Desired, journal: &mut Journal| {
        run(kernel, desired, ApplyOptions::default(), &state, journal)
    };

    // Refused, unknown, done.
    kernel.faults.insert(0, Fault::Refuse(Errno::NETUNREACH));
    assert!(!pass(&mut kernel, &wanted, &mut journal).is_success());
    is_recorded(&journal, None);
    kernel.faults = [(1, Fault::Vanish)].into();
    pass(&mut kernel, &wanted, &mut journal);
    is_recorded(&journal, Some(found(254)));
    (kernel.faults, kernel.is_unreachable) = Default::default();
    assert!(pass(&mut kernel, &wanted, &mut journal).is_success());
    is_recorded(&journal, Some(found(254)));
    assert_eq!(kernel.live.host_objects.get(&object).map(|it| &it.value), Some(&ours));
    // Another program replaces it: its route is the one to restore.
    let other = LiveHostObject::set_to(found(253));
    kernel.live.host_objects.objects.insert(object.clone(), other);
    assert!(pass(&mut kernel, &wanted, &mut journal).is_success());
    is_recorded(&journal, Some(found(253)));
    kernel.live.host_objects.objects.remove(&object);
    assert!(pass(&mut kernel, &wanted, &mut journal).is_success());
    is_recorded(&journal, Some(found(253)));
    // It is restored, unless that fails.
    let count = kernel.received.len();
    kernel.faults.insert(count, Fault::Refuse(Errno::NOMEM));
    assert!(!pass(&mut kernel, &Desired::default(), &mut journal).is_success());
    is_recorded(&journal, Some(found(253)));
    assert!(pass(&mut kernel, &Desired::default(), &mut journal).is_success());
    is_recorded(&journal, None);
    kernel.live.host_objects.objects.insert(object.clone(), on_host);
    assert_eq!(kernel.live, before);
}
