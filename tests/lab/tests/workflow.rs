//! The use cases on a real kernel, with no terminal and no output: the same as
//! `crates/workflow/tests/whole.rs` does on the kernel in memory.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use evenkeel_control::PendingMarker;
use evenkeel_engine::{
    Clock, DrainProgress, ExecutionContext, HostKernel, Journal, Kernel, Notice, OnFailure,
    StateDir,
};
use evenkeel_host::Namespace;
use evenkeel_lab_tests::{fresh_namespace, ipvsadm, run};
use evenkeel_model::Names;
use evenkeel_plan::{ClockReading, Guard, Op};
use evenkeel_spec::{Source, load};
use evenkeel_workflow::{
    Applied, ApplyOptions, ApplyOutcome, ApplyRequest, ConfirmOptions, DaemonUse, Event, Host,
    PendingUpdate, Progress, SnapshotOptions, TeardownOptions, TeardownOutcome, TimeoutEnd, apply,
    keep, review_apply, roll_back_at_timeout, snapshot, tear_down,
};

mod default_route;

/// A spec with these real servers.
fn request(real_servers: &str) -> ApplyRequest<'static> {
    let text = format!(
        "version: 1\nscope: all\nsysctls: {{ net.ipv4.vs.expire_nodest_conn: 1 }}\n\
         vips: [ {{ address: 192.0.2.1, interface: eth0 }} ]\nservices:\n  - {{ name: web, vip: \
         192.0.2.1, port: 80, drain: 30s, real_servers: [ {real_servers} ] }}\n...\n"
    );
    let texts = vec![Source::new("spec.yaml", text)];
    let loaded = load(&texts).unwrap();
    ApplyRequest {
        parameters: loaded.parameters(),
        desired: loaded.desired,
        texts,
        selectors: Vec::new(),
        saved: None,
        daemon_use: DaemonUse::Nothing("a test"),
    }
}

/// Ends a connection when its drain has begun.
struct Client {
    clock: Clock,
    connection: Option<TcpStream>,
    waited_for: u64,
}

impl ExecutionContext for Client {
    fn now(&self) -> ClockReading {
        self.clock.now()
    }

    fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn is_interrupted(&self) -> bool {
        false
    }

    fn draining(&mut self, drains: &[DrainProgress]) {
        let connections: u64 = drains.iter().map(|drain| drain.connections).sum();
        self.waited_for = self.waited_for.max(connections);
        if connections > 0 {
            self.connection = None;
        }
    }
}

impl Progress for Client {
    fn begin(&mut self, _: &[Op], _: Names<'_>) {}
}

#[test]
fn a_spec_is_planned_applied_drained_confirmed_and_torn_down_without_a_terminal() {
    fresh_namespace();
    run("ip link add eth0 up type dummy");
    run("ip addr add 127.0.0.2/8 dev lo");
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::of(folder.path(), Namespace::current().unwrap());
    let mut host =
        Host { state, connect: Box::new(HostKernel::connect), health: Default::default() };
    let mut events: Vec<Event> = Vec::new();
    let client = |connection| Client { clock: Clock::start(), connection, waited_for: 0 };
    let options = |reviewed| ApplyOptions {
        allow: &[],
        reviewed,
        on_failure: OnFailure::Rollback,
        wait: true,
        confirm: None,
    };

    let first = request("{ address: 127.0.0.2 }");
    let (planned, blocked) = review_apply(&mut host, &first, &[], &mut events).unwrap();
    assert_eq!(blocked, None);
    assert!(ipvsadm::save().is_empty());
    let steps = planned.plan.steps;
    let result =
        apply(&mut host, &first, options(Some(&steps)), &mut client(None), &mut events).unwrap();
    assert!(matches!(result.outcome, ApplyOutcome::Applied(_)));
    assert_eq!(ipvsadm::save().len(), 2);

    // The real server with an open connection is replaced.
    let _server = TcpListener::bind("0.0.0.0:80").unwrap();
    let connection = TcpStream::connect("192.0.2.1:80").unwrap();
    rustix::net::sockopt::set_socket_linger(&connection, Some(Duration::ZERO)).unwrap();
    let second = request("{ address: 127.0.0.1 }");
    let mut start_watchdog = |_: &str| Ok(std::process::id());
    let confirm = ConfirmOptions { seconds: 60, start_watchdog: &mut start_watchdog };
    let with_timeout = ApplyOptions { confirm: Some(confirm), ..options(None) };
    let mut draining = client(Some(connection));
    let result = apply(&mut host, &second, with_timeout, &mut draining, &mut events).unwrap();
    let ApplyOutcome::Applied(applied) = result.outcome else { panic!("{:?}", result.outcome) };
    let Applied { report, pending, .. } = *applied;
    assert!(report.is_success() && draining.waited_for == 1, "{report:?}");
    assert!(matches!(pending, PendingUpdate::Waiting { seconds: 60, .. }));
    let table = run("ipvsadm -Sn");
    assert!(table.contains("-r 127.0.0.1:80") && !table.contains("127.0.0.2"), "{table}");
    keep(&mut host, &mut events).unwrap();

    // What is not confirmed in time is rolled back.
    let before = run("ipvsadm -Sn");
    let mut id = String::new();
    let mut start_watchdog = |begun: &str| {
        id = begun.to_owned();
        Ok(std::process::id())
    };
    let confirm = ConfirmOptions { seconds: 1, start_watchdog: &mut start_watchdog };
    let with_timeout = ApplyOptions { confirm: Some(confirm), ..options(None) };
    let third = request("{ address: 127.0.0.1, weight: 5 }");
    let result = apply(&mut host, &third, with_timeout, &mut client(None), &mut events).unwrap();
    assert!(matches!(result.outcome, ApplyOutcome::Applied(_)));
    assert_ne!(run("ipvsadm -Sn"), before);
    let state = StateDir::of(folder.path(), Namespace::current().unwrap());
    let connect = |journal: &Journal| HostKernel::connect(journal.into());
    let marker = PendingMarker::begin().unwrap();
    let end = roll_back_at_timeout(state, &id, marker, connect, |_| {});
    assert_eq!(end, TimeoutEnd::RolledBack { is_complete: true });
    assert_eq!(run("ipvsadm -Sn"), before);
    let rolled_back = |event: &Event| matches!(event, Event::Notice(Notice::RolledBack { .. }));

    let text = snapshot(&mut host, SnapshotOptions::default(), &mut events).unwrap();
    assert!(text.contains("address: 127.0.0.1"), "{text}");

    let teardown = TeardownOptions { adopted: false, allow: &[], reviewed: None, wait: true };
    let result = tear_down(&mut host, &teardown, &mut client(None), &mut events).unwrap();
    let TeardownOutcome::Executed(report) = result.outcome else { panic!("{:?}", result.outcome) };
    assert!(report.is_success(), "{report:?}");
    assert!(ipvsadm::save().is_empty());
    assert!(!run("ip addr show dev eth0").contains("192.0.2.1"));
    // Each command reports the rollback until one has changed something.
    assert!(events.len() == 2 && events.iter().all(rolled_back), "{events:?}");
}
