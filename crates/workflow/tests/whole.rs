//! The whole of plan, apply with a drain, confirm and teardown, with no terminal and no output, on the
//! kernel in memory. `tests/lab/tests/workflow.rs` does the same on a real one.

use std::time::Duration;

use evenkeel_engine::fake_kernel::{FakeKernel, SharedKernel};
use evenkeel_engine::{
    Clock, DrainProgress, ExecutionContext, Kernel, OnFailure, Outcome, StateDir,
};
use evenkeel_model::{Link, Live, Names, Owner, ServiceKey};
use evenkeel_plan::{ClockReading, Guard, Op};
use evenkeel_spec::{Source, load};
use evenkeel_workflow::{
    Access, Applied, ApplyOptions, ApplyOutcome, ApplyRequest, Blocked, ConfirmOptions, DaemonUse,
    Event, Host, PendingUpdate, Progress, SnapshotOptions, TeardownOptions, TeardownOutcome,
    WorkflowError, abort, apply, keep, review_apply, review_teardown, snapshot, tear_down,
};

const VIP: &str = "  - { address: 192.0.2.1, interface: eth0 }\n";

/// A spec with these real servers.
fn spec(real_servers: &[u8]) -> String {
    let listed: Vec<String> =
        real_servers.iter().map(|last| format!("{{ address: 198.51.100.{last} }}")).collect();
    format!(
        "version: 1\nscope: all\nvips:\n{VIP}services:\n- name: web\n  vip: 192.0.2.1\n  port: 80\n  \
         drain: 30s\n  real_servers: [{}]\n...\n",
        listed.join(", ")
    )
}

fn request(text: &str) -> ApplyRequest<'static> {
    let texts = vec![Source::new("spec.yaml", text)];
    let loaded =
        load(&texts).unwrap_or_else(|problems| panic!("{}", problems.render(&texts, false)));
    ApplyRequest {
        parameters: loaded.parameters(),
        desired: loaded.desired,
        texts,
        selectors: Vec::new(),
        saved: None,
        daemon_use: DaemonUse::Spec(vec!["spec.yaml".to_owned()]),
    }
}

fn options<'a>(reviewed: Option<&'a [Op]>) -> ApplyOptions<'a> {
    ApplyOptions {
        allow: &[],
        reviewed,
        on_failure: OnFailure::Rollback,
        wait: true,
        confirm: None,
    }
}

/// Counts the progress of drains; its pauses end at once.
struct Follower {
    clock: Clock,
    drained: Vec<u64>,
    begun: usize,
}

impl Follower {
    fn new() -> Self {
        Self { clock: Clock::start(), drained: Vec::new(), begun: 0 }
    }
}

impl ExecutionContext for Follower {
    fn now(&self) -> ClockReading {
        self.clock.now()
    }

    fn pause(&mut self, _: Duration) {}

    fn is_interrupted(&self) -> bool {
        false
    }

    fn draining(&mut self, drains: &[DrainProgress]) {
        self.drained.extend(drains.iter().map(|drain| drain.connections));
    }
}

impl Progress for Follower {
    fn begin(&mut self, steps: &[Op], names: Names<'_>) {
        assert_eq!(names.name(&web()), Some("web"));
        self.begun += steps.len();
    }
}

fn web() -> ServiceKey {
    ServiceKey::parse("192.0.2.1:80/tcp").expect("a service")
}

/// A host in memory with one interface.
fn host(kernel: &SharedKernel, folder: &tempfile::TempDir) -> Host<'static, SharedKernel> {
    let kernel = kernel.clone();
    Host {
        state: StateDir::new(folder.path(), "test"),
        connect: Box::new(move |_| Ok(kernel.clone())),
        health: Default::default(),
    }
}

fn kernel() -> SharedKernel {
    let link = Link { up: true, dummy: false, owner: Owner::Other };
    let links = ["lo", "eth0"].map(|name| (name.into(), link)).into();
    SharedKernel::new(FakeKernel::new(Live { links: Some(links), ..Live::default() }))
}

fn real_servers(kernel: &SharedKernel) -> Vec<String> {
    let kernel = kernel.get();
    let found = kernel.live.services.get(&web()).map(|service| &service.real_servers);
    found
        .into_iter()
        .flat_map(|all| all.in_order().map(|(key, _)| key.address.to_string()))
        .collect()
}

fn applied(outcome: ApplyOutcome) -> Applied {
    match outcome {
        ApplyOutcome::Applied(applied) => *applied,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_spec_is_planned_applied_drained_confirmed_and_torn_down_without_a_terminal() {
    let (folder, kernel) = (tempfile::tempdir().expect("a folder"), kernel());
    let mut host = host(&kernel, &folder);
    let mut events: Vec<Event> = Vec::new();

    // Review, then apply exactly the reviewed steps.
    let first = request(&spec(&[1, 2]));
    let (planned, blocked) =
        review_apply(&mut host, &first, &[], &mut events).expect("it can be planned");
    assert_eq!((blocked, planned.plan.steps.len()), (None, 4));
    let steps = planned.plan.steps;
    let mut follower = Follower::new();
    let result = apply(&mut host, &first, options(Some(&steps)), &mut follower, &mut events)
        .expect("it can be applied");
    let report = applied(result.outcome).report;
    assert!(report.is_success() && report.count(Outcome::Applied.as_str()) == 4, "{report:?}");
    assert_eq!((follower.begun, real_servers(&kernel).len()), (4, 2));

    // A change with a drain, which waits for its confirmation.
    kernel.get().connect(web(), 2, 3);
    kernel.get().ending = 1;
    let second = request(&spec(&[1]));
    let mut watchdogs = Vec::new();
    let mut start_watchdog = |id: &str| {
        watchdogs.push(id.to_owned());
        Ok(std::process::id())
    };
    let mut follower = Follower::new();
    let confirm = ConfirmOptions { seconds: 60, start_watchdog: &mut start_watchdog };
    let with_timeout = ApplyOptions { confirm: Some(confirm), ..options(None) };
    let result = apply(&mut host, &second, with_timeout, &mut follower, &mut events)
        .expect("it can be applied");
    let Applied { report, pending, .. } = applied(result.outcome);
    assert!(report.is_success(), "{report:?}");
    assert!(matches!(pending, PendingUpdate::Waiting { seconds: 60, .. }), "{pending:?}");
    assert_eq!(follower.drained, [2, 1, 0], "the connections that were left");
    assert_eq!(watchdogs.len(), 1);
    assert_eq!(real_servers(&kernel), ["198.51.100.1"]);

    // Until it is confirmed, nothing else may be changed.
    let refused = apply(&mut host, &first, options(None), &mut Follower::new(), &mut events);
    assert!(matches!(refused, Err(WorkflowError::Unconfirmed(_))));
    let read = host.open(Access::Read, &mut events);
    assert!(read.is_ok() && matches!(events.pop(), Some(Event::Unconfirmed(_))));
    keep(&mut host, &mut events).expect("it is pending");
    assert!(matches!(keep(&mut host, &mut events), Err(WorkflowError::NothingPending)));

    // A snapshot describes what is there.
    let text =
        snapshot(&mut host, SnapshotOptions::default(), &mut events).expect("it can be read");
    let written = &request(&text).desired.services[&web()];
    assert_eq!(written.service.real_servers.len(), 1, "{text}");

    // A teardown leaves nothing.
    let teardown = TeardownOptions { adopted: false, allow: &[], reviewed: None, wait: true };
    let (planned, _) =
        review_teardown(&mut host, &teardown, &mut events).expect("it can be planned");
    let reviewed = TeardownOptions { reviewed: Some(&planned.plan.steps), ..teardown };
    let result = tear_down(&mut host, &reviewed, &mut Follower::new(), &mut events)
        .expect("it can be executed");
    let TeardownOutcome::Executed(report) = result.outcome else { panic!("{:?}", result.outcome) };
    assert!(report.is_success(), "{report:?}");
    assert!(kernel.get().live.services.is_empty() && kernel.get().live.addresses.is_empty());
    let result = tear_down(&mut host, &teardown, &mut Follower::new(), &mut events);
    assert!(matches!(result.expect("again").outcome, TeardownOutcome::NothingToUndo));
    assert!(events.is_empty(), "{events:?}");
}

#[test]
fn a_plan_that_changed_since_its_review_is_not_executed() {
    let (folder, kernel) = (tempfile::tempdir().expect("a folder"), kernel());
    let mut host = host(&kernel, &folder);
    let mut events: Vec<Event> = Vec::new();
    let request = request(&spec(&[1, 2]));
    let (planned, _) = review_apply(&mut host, &request, &[], &mut events).expect("a plan");
    // Another program adds the service meanwhile.
    let add = planned.plan.steps.first().expect("the service is added").clone();
    kernel.get().execute(&[add]).expect("it is reachable");
    let before = kernel.get().live.clone();
    let steps = planned.plan.steps;
    let result =
        apply(&mut host, &request, options(Some(&steps)), &mut Follower::new(), &mut events);
    let outcome = result.expect("it can be planned").outcome;
    let ApplyOutcome::Changed(difference) = outcome else { panic!("{outcome:?}") };
    assert!(difference.contains("-+ add service web/192.0.2.1:80/tcp"), "{difference}");
    assert_eq!(kernel.get().live, before);
}

#[test]
fn a_guard_blocks_an_apply_and_an_override_lets_it_pass() {
    let (folder, kernel) = (tempfile::tempdir().expect("a folder"), kernel());
    let mut host = host(&kernel, &folder);
    let mut events: Vec<Event> = Vec::new();
    let mut run = |text: &str, allow: &[Guard]| {
        let options = ApplyOptions { allow, ..options(None) };
        let result = apply(&mut host, &request(text), options, &mut Follower::new(), &mut events);
        result.expect("it can be planned").outcome
    };
    applied(run(&spec(&[1, 2]), &[]));
    let empty = spec(&[]);
    let outcome = run(&empty, &[]);
    let ApplyOutcome::Blocked(Blocked::Guards(refusals)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(refusals.iter().map(|it| it.guard).collect::<Vec<_>>(), [Guard::NoServer]);
    assert_eq!(real_servers(&kernel).len(), 2);
    applied(run(&empty, &[Guard::NoServer]));
    assert!(real_servers(&kernel).is_empty());
}

#[test]
fn an_aborted_apply_is_rolled_back() {
    let (folder, kernel) = (tempfile::tempdir().expect("a folder"), kernel());
    let mut host = host(&kernel, &folder);
    let mut events: Vec<Event> = Vec::new();
    let mut start_watchdog = |_: &str| Ok(std::process::id());
    let confirm = ConfirmOptions { seconds: 60, start_watchdog: &mut start_watchdog };
    let with_timeout = ApplyOptions { confirm: Some(confirm), ..options(None) };
    let before = kernel.get().live.clone();
    let request = request(&spec(&[1]));
    apply(&mut host, &request, with_timeout, &mut Follower::new(), &mut events).expect("applied");
    assert_eq!(real_servers(&kernel).len(), 1);
    let aborted = abort(&mut host, &mut events).expect("it is pending");
    assert!(aborted.rollback.is_clean(), "{aborted:?}");
    assert_eq!(aborted.names().name(&web()), Some("web"));
    assert_eq!(kernel.get().live.services, before.services);
}
