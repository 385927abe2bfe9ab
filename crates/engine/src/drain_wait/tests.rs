//! Tests waiting for drains with a simulated clock.

use evenkeel_model::{Binding, Desired, Live, Owner, ServiceKey};
use evenkeel_plan::{ClockReading, Draining, Inputs, Object, plan};

use super::*;
use crate::execute::tests::{host_with, rs, web};
use crate::fake_kernel::FakeKernel;
use crate::{ApplyOptions, Pass, Report, execute};

/// A context with a simulated clock that records the progress of drains.
#[derive(Default)]
struct RecordingContext {
    now: Duration,
    interrupt_at: Option<Duration>,
    seen: Vec<Vec<DrainProgress>>,
}

impl ExecutionContext for RecordingContext {
    fn now(&self) -> ClockReading {
        ClockReading { wall: self.now, uptime: None }
    }

    fn pause(&mut self, time: Duration) {
        self.now += time;
    }

    fn is_interrupted(&self) -> bool {
        self.interrupt_at.is_some_and(|at| self.now >= at)
    }

    fn draining(&mut self, drains: &[DrainProgress]) {
        self.seen.push(drains.to_vec());
    }
}

const START: Duration = Duration::from_secs(1_000_000);

fn drain_one(
    kernel: &mut FakeKernel,
    limit: u32,
    record: PriorState,
    context: &mut RecordingContext,
) -> (ServiceKey, Report) {
    let (key, before) = web([(1, 5), (2, 5)], Drain(limit));
    let (_, wanted) = web([(2, 5)], Drain(limit));
    let mut service = before.service;
    if !record.drains.0.is_empty() {
        service.real_servers.get_mut(&rs(1)).expect("it is there").weight = 0;
    }
    kernel.live = Live { services: [(key, service)].into(), ..Live::default() };
    let desired = Desired { services: [(key, wanted)].into(), ..Desired::default() };
    let live = kernel.live.clone();
    let steps = plan(Inputs::new(&desired, &live, &record)).steps;
    let pass = Pass { record, ..Pass::new(&desired, live, steps) };
    (key, execute(kernel, pass, ApplyOptions::default(), context))
}

fn at_start() -> RecordingContext {
    RecordingContext { now: START, ..RecordingContext::default() }
}

#[test]
fn a_drain_without_any_connection_ends_at_the_first_check() {
    let (mut kernel, mut context) = (FakeKernel::default(), at_start());
    let (key, report) = drain_one(&mut kernel, 30, PriorState::default(), &mut context);
    assert!(report.is_success());
    assert_eq!(kernel.live.services[&key].real_servers.len(), 1);
    assert_eq!(context.now, START);
}

#[test]
fn a_drain_ends_when_its_connections_have() {
    let (mut kernel, mut context) = (FakeKernel::default(), at_start());
    kernel.connect(web([], Drain::NONE).0, 1, 100);
    kernel.ending = 10;
    let (_, report) = drain_one(&mut kernel, 30, PriorState::default(), &mut context);
    assert!(report.is_success() && report.cut.is_empty());
    assert_eq!(context.now, START + 10 * POLL);
    let connections: Vec<u64> = context.seen.iter().map(|seen| seen[0].connections).collect();
    assert_eq!(connections, [100, 90, 80, 70, 60, 50, 40, 30, 20, 10, 0]);
}

#[test]
fn a_drain_ends_at_its_deadline_and_the_report_has_the_remaining_connections() {
    let (mut kernel, mut context) = (FakeKernel::default(), at_start());
    let key = web([], Drain::NONE).0;
    kernel.connect(key, 1, 100);
    let (_, report) = drain_one(&mut kernel, 3, PriorState::default(), &mut context);
    assert!(report.is_success());
    assert_eq!(context.now, START + Duration::from_secs(3));
    assert_eq!(report.cut, [((key, rs(1)), 100)].into());
}

#[test]
fn a_drain_continues_from_the_start_on_record() {
    let (mut kernel, mut context) = (FakeKernel::default(), at_start());
    let key = web([], Drain::NONE).0;
    kernel.connect(key, 1, 100);
    let mut record = PriorState::default();
    let draining =
        Draining { since: START.as_secs() - 20, weight: 5, limit: Drain::default(), uptime: None };
    record.drains.0.insert((key, rs(1)), draining);
    let (_, report) = drain_one(&mut kernel, 30, record, &mut context);
    assert!(report.is_success());
    assert_eq!(context.now, START + Duration::from_secs(10));
    // Its weight was already 0; only the deletion was sent.
    assert_eq!(kernel.received.len(), 1);
}

#[test]
fn a_start_in_the_future_counts_as_now() {
    let (mut kernel, mut context) = (FakeKernel::default(), at_start());
    let key = web([], Drain::NONE).0;
    kernel.connect(key, 1, 100);
    let mut record = PriorState::default();
    let draining = Draining {
        since: START.as_secs() + 86_400,
        weight: 5,
        limit: Drain::default(),
        uptime: None,
    };
    record.drains.0.insert((key, rs(1)), draining);
    drain_one(&mut kernel, 30, record, &mut context);
    assert_eq!(context.now, START + Duration::from_secs(30));
}

#[test]
fn a_started_handshake_gets_time_to_become_a_connection() {
    let (mut kernel, mut context) = (FakeKernel::default(), at_start());
    let key = web([], Drain::NONE).0;
    kernel.connect(key, 1, 0);
    let counted = kernel.statistics.services.get_mut(&key).expect("it is counted");
    counted.real_servers.get_mut(&rs(1)).expect("it is counted").inactive_connections = 3;
    let (_, report) = drain_one(&mut kernel, 30, PriorState::default(), &mut context);
    assert!(report.is_success());
    assert_eq!(context.now, START + HANDSHAKE);
}

#[test]
fn an_interrupted_wait_leaves_the_real_server_without_weight_and_deletes_nothing() {
    let (mut kernel, mut context) = (FakeKernel::default(), at_start());
    let key = web([], Drain::NONE).0;
    kernel.connect(key, 1, 100);
    context.interrupt_at = Some(START + Duration::from_secs(2));
    let (_, report) = drain_one(&mut kernel, 30, PriorState::default(), &mut context);
    assert!(report.interrupted && !report.is_success() && report.rollback.is_none());
    let remaining = &kernel.live.services[&key].real_servers;
    assert_eq!(remaining.get(&rs(1)).map(|it| it.weight), Some(0));
    assert_eq!(context.now, START + Duration::from_secs(2));
}

#[test]
fn a_raised_weight_of_a_draining_real_server_is_set_to_0_again() {
    struct Raiser(RecordingContext, u32);
    impl ExecutionContext for Raiser {
        fn now(&self) -> ClockReading {
            self.0.now()
        }
        fn pause(&mut self, time: Duration) {
            self.0.pause(time);
        }
        fn is_interrupted(&self) -> bool {
            false
        }
        fn draining(&mut self, _: &[DrainProgress]) {
            self.1 += 1;
        }
    }
    let mut kernel = FakeKernel::default();
    let (key, before) = web([(1, 5), (2, 5)], Drain(30));
    kernel.live = Live { services: [(key, before.service)].into(), ..Live::default() };
    kernel.connect(key, 1, 1);
    let mut drains = DrainWaiter::default();
    let real_server = *kernel.live.services[&key].real_servers.get(&rs(1)).expect("it is there");
    let (service, before, limit) = (key, real_server.drained(), Drain(1));
    let drain = Op::DrainRealServer { service, key: rs(1), before, limit };
    drains.begin(&[drain], &PriorState::default(), START);
    let mut context = Raiser(at_start(), 0);
    drains.wait(&mut kernel, true, &mut context).expect("memory can be read");
    let now = kernel.live.services[&key].real_servers.get(&rs(1)).map(|it| it.weight);
    assert_eq!(now, Some(0));
    assert!(context.1 > 1);
}

#[test]
fn a_real_server_deleted_by_others_is_reported_with_its_connections() {
    let mut kernel = FakeKernel::default();
    let (key, before) = web([(1, 5)], Drain(30));
    kernel.live = Live { services: [(key, before.service)].into(), ..Live::default() };
    kernel.connect(key, 1, 4);
    let before = *kernel.live.services[&key].real_servers.get(&rs(1)).expect("it is there");
    let (service, limit) = (key, Drain(30));
    let drain = Op::DrainRealServer { service, key: rs(1), before, limit };
    let mut drains = DrainWaiter::default();
    drains.begin(&[drain], &PriorState::default(), START);
    drains.wait(&mut kernel, false, &mut at_start()).expect("memory can be read");
    kernel.live.services.clear();
    kernel.statistics = Default::default();
    drains.wait(&mut kernel, true, &mut at_start()).expect("memory can be read");
    assert_eq!(drains.gone, [((key, rs(1)), 4)].into());
    assert!(drains.over().is_empty());
}

/// Removes a service with its VIP, while another program changes it before the readings of those
/// numbers.
fn leave(
    connections: &[(u8, u32)],
    interference: impl Fn(ServiceKey) -> Vec<(usize, Op)>,
) -> (FakeKernel, RecordingContext, Report) {
    let (key, named) = web([(1, 5), (2, 5)], Drain(30));
    let vip = Binding::host(key.vip().expect("it has one"), "eth0");
    let mut kernel = host_with([(vip.clone(), Owner::Evenkeel)]);
    kernel.live.services.insert(key, named.service.clone());
    for (last, number) in connections {
        kernel.connect(key, *last, *number);
    }
    for (reading, op) in interference(key) {
        kernel.interference.entry(reading).or_default().push(op);
    }
    let last = Desired { services: [(key, named)].into(), ..Desired::default() };
    let (desired, record) = (Desired::default(), PriorState::for_snapshot());
    let live = kernel.live.clone();
    let inputs = Inputs { last: Some(&last), ..Inputs::new(&desired, &live, &record) };
    let steps = plan(inputs).steps;
    let pass = Pass { record, last: Some(&last), ..Pass::new(&desired, live, steps) };
    let mut context = at_start();
    let report = execute(&mut kernel, pass, ApplyOptions::default(), &mut context);
    (kernel, context, report)
}

fn added(service: ServiceKey, last: u8, weight: u32) -> Op {
    let after =
        *web([(last, weight)], Drain::NONE).1.service.real_servers.get(&rs(last)).expect("it");
    Op::AddRealServer { service, key: rs(last), after }
}

#[test]
fn a_real_server_that_joins_a_departing_service_drains_before_the_service_goes() {
    let (kernel, context, report) = leave(&[(1, 1), (9, 2)], |key| vec![(3, added(key, 9, 1))]);
    let key = web([], Drain::NONE).0;
    assert!(report.is_success(), "{report:?}");
    assert!(kernel.live.services.is_empty() && kernel.live.addresses.is_empty());
    assert_eq!(report.added_by_others, [(key, rs(9))].into());
    // It had the full drain time from the reading that found it, and the VIP stayed bound.
    assert_eq!(context.now, START + 2 * Duration::from_secs(30));
    assert_eq!(report.cut, [((key, rs(1)), 1), ((key, rs(9)), 2)].into());
    let last: Vec<&Object> = kernel.received.iter().rev().take(3).collect();
    assert!(
        matches!(last[..], [Object::Service(_), Object::Vip(_), Object::RealServer(..)]),
        "{last:?}"
    );
}

#[test]
fn an_added_real_server_without_connections_is_deleted_with_its_service() {
    let (kernel, context, report) = leave(&[(1, 1)], |key| vec![(3, added(key, 9, 0))]);
    assert!(report.is_success() && kernel.live.services.is_empty());
    assert_eq!(report.added_by_others, Default::default());
    assert_eq!(context.now, START + Duration::from_secs(30));
}

#[test]
fn a_service_that_others_keep_adding_to_is_kept() {
    let (kernel, _, report) = leave(&[(1, 1), (7, 1), (8, 1), (9, 1)], |key| {
        // A wait of 30 seconds makes about 150 readings.
        vec![(3, added(key, 7, 1)), (170, added(key, 8, 1)), (330, added(key, 9, 1))]
    });
    assert!(!report.is_success() && !report.has_failed(), "{report:?}");
    assert!(!report.mismatches.is_empty() && report.rollback.is_none());
    assert_eq!((kernel.live.services.len(), kernel.live.addresses.len()), (1, 1));
}

#[test]
fn a_drained_real_server_gets_no_clients_while_others_still_drain() {
    // The first drain ends at once; another program raises that weight while the second runs.
    let raise = |service| {
        let after = *web([(1, 5)], Drain::NONE).1.service.real_servers.get(&rs(1)).expect("it");
        Op::EditRealServer { service, key: rs(1), before: Box::new(after.drained()), after }
    };
    let (kernel, _, report) = leave(&[(2, 1)], |key| vec![(3, raise(key))]);
    assert!(report.is_success(), "{report:?}");
    assert!(kernel.live.services.is_empty());
    let lowered = |object: &&Object| matches!(object, Object::RealServer(_, key) if *key == rs(1));
    assert_eq!(kernel.received.iter().filter(lowered).count(), 2, "{:?}", kernel.received);
    assert_eq!(report.added_by_others, Default::default());
}
