//! Tests that a teardown restores what was there before, whatever was applied in between.

use evenkeel_model::arbitrary::{Pair, pair};
use evenkeel_model::{Drain, LeftScope, NamedService, RealServers};
use evenkeel_plan::{
    Inputs, PriorState, Remaining, Stays, TeardownInputs, plan, remaining, teardown,
};
use proptest::prelude::*;
use rustix::io::Errno;

use super::*;
use crate::execute::tests::{check_with, web};
use crate::fake_kernel::{FakeKernel, Fault};
use crate::{ApplyOptions, NoopContext, OnFailure, Pass, StateDir, execute, execute_journalled};

/// Adds everything live to that spec, so that it edits and adds, but deletes nothing.
fn with_all_of(mut desired: Desired, live: &Live, is_ordered: bool) -> Desired {
    for (key, service) in &live.services {
        match desired.services.get_mut(key) {
            None => {
                desired.services.insert(*key, NamedService::new("found", service.clone()));
            }
            Some(named) => {
                for (real_server, value) in service.real_servers.in_order() {
                    if named.service.real_servers.get(real_server).is_none() {
                        named.service.real_servers.insert(*real_server, *value);
                    }
                }
            }
        }
    }
    desired.services.values_mut().for_each(|named| named.canonical_order = is_ordered);
    desired
}

/// Applies a whole spec as the program does, with adoption.
fn apply(
    kernel: &mut FakeKernel,
    desired: &Desired,
    last: Option<&Desired>,
    options: ApplyOptions,
    (state, journal): (&StateDir, &mut Journal),
) {
    let live = kernel.live.clone();
    state
        .store_spec(journal, &[("spec.yaml", b"version: 1\n")], &Default::default())
        .expect("it can be stored");
    journal.adopt(desired, &live, EarlierSpecs { last, attempted: None });
    let inputs = Inputs { last, ..Inputs::new(desired, &live, &journal.record) };
    let steps = plan(inputs).steps;
    let pass = Pass { last, ..Pass::new(desired, live, steps) };
    execute_journalled(kernel, pass, options, &mut NoopContext, state, journal)
        .expect("the journal can be written");
}

/// Tears down what those specs created; returns what stays.
fn tear_down(
    kernel: &mut FakeKernel,
    last: Option<&Desired>,
    attempted: Option<&Desired>,
    journal: &Journal,
) -> Stays {
    let live = kernel.live.clone();
    let record = &journal.record;
    let (drains, adopted, removed) = (&record.drains, &journal.adopted, &LeftScope::default());
    let overlaid = &journal.record.overlaid;
    let inputs =
        TeardownInputs { last, attempted, live: &live, drains, overlaid, removed, adopted };
    let Remaining { desired, stays } = remaining(inputs);
    let plan = plan(Inputs { last, ..Inputs::new(&desired, &live, record) });
    let steps = teardown(plan, &live, record, &journal.dummies).steps;
    let pass = Pass { last, is_complete: false, ..Pass::new(&desired, live, steps) };
    let options = ApplyOptions { on_failure: OnFailure::Keep, ..ApplyOptions::default() };
    let report = execute(kernel, pass, options, &mut NoopContext);
    assert!(report.is_success(), "{report:?}");
    stays
}

fn state_dir() -> (tempfile::TempDir, StateDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::new(folder.path(), "init");
    (folder, state)
}

fn keys(real_servers: &RealServers) -> Vec<evenkeel_model::RealServerKey> {
    real_servers.in_order().map(|(key, _)| *key).collect()
}

#[test]
fn after_edits_and_additions_a_teardown_restores_the_table() {
    check_with(1_000, (pair(6), any::<bool>()), |(pair, is_ordered)| {
        let Pair { desired, live, .. } = pair;
        let desired = with_all_of(desired, &live, is_ordered);
        let (_folder, state) = state_dir();
        let (mut kernel, mut journal) = (FakeKernel::new(live.clone()), Journal::default());
        let place = (&state, &mut journal);
        apply(&mut kernel, &desired, None, ApplyOptions::default(), place);
        for (key, named) in &desired.services {
            prop_assert_eq!(kernel.live.services.get(key), Some(&named.service));
        }
        let (read, _) = state.read(false).expect("it can be read");
        let stays = tear_down(&mut kernel, Some(&desired), None, &read);
        prop_assert_eq!(&kernel.live.services, &live.services);
        for (key, service) in &live.services {
            let now = &kernel.live.services[key];
            prop_assert_eq!(keys(&now.real_servers), keys(&service.real_servers));
        }
        let all: Vec<ServiceKey> = stays.services.iter().map(|it| it.key).collect();
        prop_assert_eq!(all, live.services.keys().copied().collect::<Vec<_>>());
        prop_assert!(stays.changed.is_empty());
        let again = tear_down(&mut kernel, Some(&desired), None, &read);
        prop_assert_eq!(again, stays, "a second teardown finds nothing to do");
        Ok(())
    });
}

#[test]
fn an_attempt_that_fails_at_any_step_leaves_nothing_after_a_teardown_or_a_second_attempt() {
    check_with(1_000, (pair(4), 0..12_usize, any::<bool>()), |(pair, number, is_killed)| {
        let Pair { desired, live, .. } = pair;
        let desired = with_all_of(desired, &live, false);
        let (_folder, state) = state_dir();
        let (mut kernel, mut journal) = (FakeKernel::new(live.clone()), Journal::default());
        let fault = if is_killed { Fault::Vanish } else { Fault::Refuse(Errno::NOMEM) };
        kernel.faults.insert(number, fault);
        let options = ApplyOptions { on_failure: OnFailure::Keep, ..ApplyOptions::default() };
        apply(&mut kernel, &desired, None, options, (&state, &mut journal));
        kernel.faults.clear();
        kernel.is_unreachable = false;
        let (read, _) = state.read(false).expect("it can be read");
        let (last, attempted) = match read.spec {
            Some(_) => (Some(&desired), None),
            None => (None, Some(&desired)),
        };
        let mut other = FakeKernel::new(kernel.live.clone());
        tear_down(&mut other, last, attempted, &read);
        prop_assert_eq!(&other.live.services, &live.services);
        // A second attempt does not adopt what the first one added.
        let mut journal = read;
        journal.adopt(&desired, &kernel.live, EarlierSpecs { last, attempted });
        let steps = plan(Inputs::new(&desired, &kernel.live, &journal.record)).steps;
        let pass = Pass::new(&desired, kernel.live.clone(), steps);
        let options = ApplyOptions::default();
        execute_journalled(&mut kernel, pass, options, &mut NoopContext, &state, &mut journal)
            .expect("the journal can be written");
        tear_down(&mut kernel, Some(&desired), None, &journal);
        prop_assert_eq!(&kernel.live.services, &live.services);
        Ok(())
    });
}

#[test]
fn an_applied_spec_adopts_nothing_and_a_journal_keeps_what_is_adopted() {
    check_with(200, pair(6), |pair| {
        let Pair { desired, live, .. } = pair;
        let desired = with_all_of(desired, &live, false);
        let mut journal = Journal::default();
        journal.adopt(&desired, &live, EarlierSpecs { last: Some(&desired), attempted: None });
        prop_assert!(journal.adopted.is_empty());
        journal.adopt(&desired, &live, EarlierSpecs::default());
        prop_assert_eq!(&journal.adopted.services, &live.services);
        let (_folder, state) = state_dir();
        state.write(&journal).expect("it can be written");
        let (read, _) = state.read(false).expect("it can be read");
        prop_assert_eq!(&read, &journal);
        for (key, service) in &read.adopted.services {
            let found = &live.services[key];
            prop_assert_eq!(keys(&service.real_servers), keys(&found.real_servers));
        }
        // An adopted object keeps its first value on record for as long as a spec lists it.
        let edited = Live { services: desired_services(&desired), ..live.clone() };
        journal.adopt(&desired, &edited, EarlierSpecs { last: Some(&desired), attempted: None });
        prop_assert_eq!(journal.adopted, read.adopted);
        Ok(())
    });
}

fn desired_services(
    desired: &Desired,
) -> std::collections::BTreeMap<ServiceKey, evenkeel_model::Service> {
    desired.services.iter().map(|(key, named)| (*key, named.service.clone())).collect()
}

/// A host with an existing service, and a spec that asks for those real servers.
fn host<const N: usize, const M: usize>(
    live: [(u8, u32); N],
    asked: [(u8, u32); M],
) -> (FakeKernel, ServiceKey, Desired) {
    let (key, found) = web(live, Drain::NONE);
    let (_, named) = web(asked, Drain(3_600));
    let live = Live { services: [(key, found.service)].into(), ..Live::default() };
    let desired = Desired { services: [(key, named)].into(), ..Desired::default() };
    (FakeKernel::new(live), key, desired)
}

fn spec<const N: usize>(asked: [(u8, u32); N]) -> Desired {
    host([], asked).2
}

#[test]
fn an_object_that_a_spec_deletes_is_no_longer_adopted() {
    let (mut kernel, key, first) = host([(1, 1), (2, 2)], [(1, 1), (2, 2)]);
    let (_folder, state) = state_dir();
    let mut journal = Journal::default();
    apply(&mut kernel, &first, None, ApplyOptions::default(), (&state, &mut journal));
    let without = spec([(1, 1)]);
    apply(&mut kernel, &without, Some(&first), ApplyOptions::default(), (&state, &mut journal));
    assert_eq!(journal.adopted.services[&key].real_servers.len(), 1);
    let none = Desired { scope: evenkeel_model::Scope::All, ..Desired::default() };
    apply(&mut kernel, &none, Some(&without), ApplyOptions::default(), (&state, &mut journal));
    assert!(journal.adopted.is_empty(), "{:?}", journal.adopted);
}

#[test]
fn a_teardown_restores_the_weight_of_draining_real_servers_and_deletes_added_ones() {
    let (mut kernel, key, first) = host([(1, 1), (2, 2)], [(1, 1), (2, 7), (3, 3)]);
    let before = kernel.live.services.clone();
    let (_folder, state) = state_dir();
    let mut journal = Journal::default();
    apply(&mut kernel, &first, None, ApplyOptions::default(), (&state, &mut journal));
    (1..4).for_each(|last| kernel.connect(key, last, 5));
    let second = spec([(1, 1)]);
    let options = ApplyOptions { wait: false, ..ApplyOptions::default() };
    apply(&mut kernel, &second, Some(&first), options, (&state, &mut journal));
    let weight = |kernel: &FakeKernel, last: u8| {
        let all = kernel.live.services[&key].real_servers.in_order();
        let mut found =
            all.filter(|(key, _)| key.address.to_string().ends_with(&format!(".{last}")));
        found.next().map(|(_, value)| value.weight)
    };
    assert_eq!((weight(&kernel, 2), weight(&kernel, 3)), (Some(0), Some(0)));
    (1..4).for_each(|last| kernel.connect(key, last, 0));
    tear_down(&mut kernel, Some(&second), None, &journal);
    assert_eq!(kernel.live.services, before);
}

#[test]
fn a_teardown_restores_the_weights_of_a_draining_service() {
    let (mut kernel, key, first) = host([(1, 1), (2, 2)], [(1, 1), (2, 7)]);
    let before = kernel.live.services.clone();
    let (_folder, state) = state_dir();
    let mut journal = Journal::default();
    apply(&mut kernel, &first, None, ApplyOptions::default(), (&state, &mut journal));
    (1..3).for_each(|last| kernel.connect(key, last, 5));
    let none = Desired { scope: evenkeel_model::Scope::All, ..Desired::default() };
    let options = ApplyOptions { wait: false, ..ApplyOptions::default() };
    apply(&mut kernel, &none, Some(&first), options, (&state, &mut journal));
    let weights = |kernel: &FakeKernel| {
        kernel.live.services[&key].real_servers.iter().map(|(_, it)| it.weight).sum::<u32>()
    };
    assert_eq!(weights(&kernel), 0);
    let stays = tear_down(&mut kernel, Some(&none), None, &journal);
    assert_eq!((kernel.live.services, stays.services.len()), (before, 1));
}

#[test]
fn what_another_program_changed_since_is_kept_and_reported() {
    let (mut kernel, key, desired) = host([(1, 1), (2, 2)], [(1, 1), (2, 7)]);
    let (_folder, state) = state_dir();
    let mut journal = Journal::default();
    apply(&mut kernel, &desired, None, ApplyOptions::default(), (&state, &mut journal));
    let service = kernel.live.services.get_mut(&key).expect("it is there");
    service.real_servers.for_each_mut(|_, value| value.weight = 9);
    let changed = kernel.live.services.clone();
    let stays = tear_down(&mut kernel, Some(&desired), None, &journal);
    assert_eq!((&kernel.live.services, stays.changed.len()), (&changed, 2));
}

#[test]
fn a_targeted_attempt_is_on_record_until_it_is_done() {
    let (kernel, key, desired) = host([(1, 1)], [(1, 1), (2, 2)]);
    let mut journal = Journal { record: PriorState::for_snapshot(), ..Journal::default() };
    let services = BTreeSet::from([key]);
    let earlier = EarlierSpecs::default();
    journal.adopt_targeted(&services, &desired, &kernel.live, earlier);
    // It was killed after it had added the second one.
    let added = host([(1, 1), (2, 2)], []).0.live;
    journal.adopt_targeted(&services, &desired, &added, earlier);
    assert_eq!(journal.adopted.services[&key].real_servers.len(), 1);
    journal.targeted_is_applied(PartialApplies::new(&services, &desired));
    assert!(journal.attempted.is_empty() && !journal.targeted.is_empty());
}

#[test]
fn an_existing_sync_daemon_is_adopted_until_it_is_stopped() {
    use evenkeel_model::{SyncDaemon, SyncState};
    let daemon = |id| SyncDaemon {
        interface: "eth0".into(),
        id,
        max_length: Some(1472),
        group: Some([224, 0, 0, 81].into()),
        port: Some(8848),
        ttl: Some(1),
    };
    let found = [(SyncState::Master, daemon(1))];
    let live = Live { sync: found.clone().into(), ..Live::default() };
    let mut kernel = FakeKernel::new(live);
    let asked = [(SyncState::Master, daemon(9)), (SyncState::Backup, daemon(2))];
    let desired = Desired { sync: Some(asked.into()), ..Desired::default() };
    let (_folder, state) = state_dir();
    let mut journal = Journal::default();
    apply(&mut kernel, &desired, None, ApplyOptions::default(), (&state, &mut journal));
    assert_eq!(kernel.live.sync.len(), 2);
    let mut other = FakeKernel::new(kernel.live.clone());
    let stays = tear_down(&mut other, Some(&desired), None, &journal);
    assert_eq!(other.live.sync, found.into());
    assert_eq!(stays.sync, [SyncState::Master].into());
    let none = Desired { sync: Some(Default::default()), ..Desired::default() };
    apply(&mut kernel, &none, Some(&desired), ApplyOptions::default(), (&state, &mut journal));
    assert!(journal.adopted.is_empty());
}

#[test]
fn a_teardown_restores_the_weight_of_draining_objects_that_no_spec_listed() {
    let (mut kernel, key, first) = host([(1, 1), (2, 2), (3, 0)], [(1, 1)]);
    let (address, protocol) = ([192, 0, 2, 9].into(), evenkeel_model::Protocol::Sctp);
    let other = ServiceKey::Address { address, port: 80, protocol };
    let foreign = kernel.live.services[&key].clone();
    kernel.live.services.insert(other, foreign);
    let first = Desired { scope: evenkeel_model::Scope::All, drain: Drain(60), ..first };
    let before = kernel.live.services.clone();
    let (_folder, state) = state_dir();
    let mut journal = Journal::default();
    let all = [key, other];
    all.into_iter().for_each(|key| (1..4).for_each(|last| kernel.connect(key, last, 5)));
    let options = ApplyOptions { wait: false, ..ApplyOptions::default() };
    apply(&mut kernel, &first, None, options, (&state, &mut journal));
    assert_ne!(kernel.live.services, before);
    let mut undone = FakeKernel::new(kernel.live.clone());
    tear_down(&mut undone, Some(&first), None, &journal);
    assert_eq!(undone.live.services, before);
    // Where the drain ends, it is no longer on record.
    all.into_iter().for_each(|key| (1..4).for_each(|last| kernel.connect(key, last, 0)));
    apply(&mut kernel, &first, Some(&first), options, (&state, &mut journal));
    assert_eq!(kernel.live.services.len(), 1);
    assert_eq!(journal.adopted.services.len(), 1);
    assert_eq!(journal.adopted.services[&key].real_servers.len(), 1);
}
