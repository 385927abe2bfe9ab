//! Default routes through a director: applied, repaired, replaced, restored.

use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};

use evenkeel_engine::{KernelError, Outcome, Replies, Report};
use evenkeel_model::{DefaultRoute, DefaultRouteValue, Family, HostObjectKind};

use super::*;
use crate::hooked_kernel::{HookedKernel, Hooks};

const DIRECTORS: [&str; 2] = ["192.0.2.2", "2001:db8::2"];

fn fresh_real_server() {
    fresh_namespace();
    run("ip link add eth0 up type dummy");
    run("ip addr add 192.0.2.11/24 dev eth0");
    run("ip addr add 2001:db8::11/64 dev eth0 nodad");
}

/// The default routes of both families with all details.
fn routes() -> String {
    run("ip -d route show default") + &run("ip -d -6 route show default")
}

/// A spec whose default routes lead through these addresses.
fn through(gateways: &[&str]) -> ApplyRequest<'static> {
    let text = "version: 1\nscope: all\nservices: []\n...\n";
    let texts = vec![Source::new("spec.yaml", text)];
    let mut loaded = load(&texts).unwrap();
    for gateway in gateways {
        let gateway: IpAddr = gateway.parse().unwrap();
        let route = DefaultRoute { family: Family::from(gateway) };
        let value = DefaultRouteValue::Gateway(gateway);
        loaded.desired.host_objects.insert(route.into(), value.into());
    }
    ApplyRequest {
        parameters: loaded.parameters(),
        desired: loaded.desired,
        texts,
        selectors: Vec::new(),
        saved: None,
        daemon_use: DaemonUse::Nothing("a test"),
    }
}

fn host(folder: &Path) -> Host<'static, HostKernel> {
    let state = StateDir::of(folder, Namespace::current().unwrap());
    Host { state, connect: Box::new(HostKernel::connect), health: Default::default() }
}

fn client() -> Client {
    Client { clock: Clock::start(), connection: None, waited_for: 0 }
}

fn options() -> ApplyOptions<'static> {
    let on_failure = OnFailure::Rollback;
    ApplyOptions { allow: &[Guard::Empty], reviewed: None, on_failure, wait: true, confirm: None }
}

/// Applies and returns the report; `None` if the host was in sync.
fn applied<K: Kernel>(host: &mut Host<'_, K>, request: &ApplyRequest<'_>) -> Option<Report> {
    let result = apply(host, request, options(), &mut client(), &mut Vec::new()).unwrap();
    match result.outcome {
        ApplyOutcome::Applied(applied) => Some(applied.report),
        ApplyOutcome::InSync => None,
        other => panic!("{other:?}"),
    }
}

fn torn_down(host: &mut Host<'_, HostKernel>) -> Option<Report> {
    let options = TeardownOptions { adopted: false, allow: &[], reviewed: None, wait: true };
    match tear_down(host, &options, &mut client(), &mut Vec::new()).unwrap().outcome {
        TeardownOutcome::Executed(report) => Some(*report),
        TeardownOutcome::NothingToUndo => None,
        other => panic!("{other:?}"),
    }
}

fn journal(folder: &Path) -> Journal {
    let state = StateDir::of(folder, Namespace::current().unwrap());
    state.read(false).unwrap().0
}

/// The default routes of other programs that are replaced and restored, by their family.
const FORMER: [(&str, &[&str]); 12] = [
    ("-4", &[]),
    ("-4", &["default via 192.0.2.254 dev eth0"]),
    (
        "-4",
        &[
            "default via 192.0.2.254 dev eth0 proto dhcp src 192.0.2.11 metric 100 mtu 1400 advmss 1300",
        ],
    ),
    (
        "-4",
        &["default via 203.0.113.1 dev eth0 proto static onlink", "default via 192.0.2.9 metric 9"],
    ),
    (
        "-4",
        &[
            "default proto bird metric 5 nexthop via 192.0.2.253 weight 3 nexthop via 203.0.113.1 dev eth0 onlink",
        ],
    ),
    ("-4", &["default dev eth0 scope link"]),
    ("-4", &["blackhole default metric 7"]),
    ("-6", &[]),
    ("-6", &["default via fe80::1 dev eth0 proto ra metric 1024 pref high mtu 1400 hoplimit 50"]),
    (
        "-6",
        &[
            "default via 2001:db8::fe dev eth0 proto static src 2001:db8::11 metric 20",
            "default via fe80::9 dev eth0 metric 99",
        ],
    ),
    ("-6", &["default dev eth0 metric 256"]),
    ("-6", &["unreachable default metric 3000"]),
];

#[test]
fn a_former_default_route_is_replaced_repaired_and_restored_exactly() {
    for (family, former) in FORMER {
        fresh_real_server();
        let folder = tempfile::tempdir().unwrap();
        for route in former {
            run(&format!("ip {family} route add {route}"));
        }
        let before = routes();
        let (director, other) = match family {
            "-4" => (DIRECTORS[0], "192.0.2.3"),
            _ => (DIRECTORS[1], "2001:db8::3"),
        };
        let request = through(&[director]);
        let is_ours = |text: &str, gateway: &str| {
            let words = format!("default via {gateway} dev eth0 proto 101 ");
            text.lines().filter(|line| line.contains(&words)).count() == 1
        };
        let report = applied(&mut host(folder.path()), &request).unwrap();
        assert!(report.is_success() && report.warnings.is_empty(), "{report:?}");
        let first = routes();
        assert!(is_ours(&first, director), "{first}");
        assert_eq!(first.lines().count(), former.len().max(1), "{before} -> {first}");
        let metric = |text: &str| {
            let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            words.iter().position(|it| it == "metric").map(|place| words[place + 1].clone())
        };
        if !former.is_empty() {
            assert_eq!(
                metric(first.lines().next().unwrap()),
                metric(before.lines().next().unwrap())
            );
        }
        assert!(applied(&mut host(folder.path()), &request).is_none());
        assert_eq!(journal(folder.path()).record.replaced.is_empty(), former.is_empty());

        // Another gateway, then drift.
        applied(&mut host(folder.path()), &through(&[other])).unwrap();
        assert!(is_ours(&routes(), other), "{}", routes());
        applied(&mut host(folder.path()), &request).unwrap();
        assert_eq!(routes(), first);
        run(&format!("ip {family} route del default proto 101"));
        let report = applied(&mut host(folder.path()), &request);
        // Behind one of another program that then leads everywhere, evenkeel's replaces that.
        assert!(report.unwrap().is_success());
        assert!(is_ours(routes().lines().next().unwrap(), director), "{}", routes());

        let report = torn_down(&mut host(folder.path())).unwrap();
        assert!(report.is_success() && report.warnings.is_empty(), "{report:?}");
        // What was deleted by hand with the route of evenkeel is not lost.
        assert_eq!(routes(), before, "{first}");
        let journal = journal(folder.path());
        assert!(journal.record.replaced.is_empty() && journal.host_objects.is_empty());
    }
}

#[test]
fn the_host_is_never_without_a_default_route() {
    fresh_real_server();
    let folder = tempfile::tempdir().unwrap();
    run("ip route add default via 192.0.2.254 dev eth0 metric 100");
    run("ip -6 route add default via 2001:db8::fe dev eth0 proto ra metric 1024");
    let mut monitor =
        Command::new("ip").args(["monitor", "route"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = BufReader::new(monitor.stdout.take().unwrap()).lines().map(Result::unwrap);
    std::thread::sleep(Duration::from_millis(500));
    run("ip route add 198.51.100.1 dev eth0");
    assert!(shown.next().unwrap().starts_with("198.51.100.1 "));
    applied(&mut host(folder.path()), &through(&DIRECTORS)).unwrap();
    applied(&mut host(folder.path()), &through(&["192.0.2.3", "2001:db8::3"])).unwrap();
    torn_down(&mut host(folder.path())).unwrap();
    run("ip route del 198.51.100.1 dev eth0");
    let seen: Vec<String> =
        shown.take_while(|line| !line.starts_with("Deleted 198.51.100.1 ")).collect();
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    assert_eq!(seen.iter().filter(|line| line.contains("default")).count(), 6, "{seen:?}");
    assert!(!seen.iter().any(|line| line.starts_with("Deleted ")), "{seen:?}");
}

#[test]
fn a_route_of_another_program_to_the_gateway_is_used_and_stays() {
    fresh_real_server();
    let folder = tempfile::tempdir().unwrap();
    run("ip route add default via 192.0.2.2 dev eth0 proto dhcp metric 100");
    run("ip -6 route add default via 2001:db8::2 dev eth0 proto ra metric 1024");
    let before = routes();
    assert!(applied(&mut host(folder.path()), &through(&DIRECTORS)).is_none());
    torn_down(&mut host(folder.path()));
    assert_eq!(routes(), before);
}

#[test]
fn what_another_program_set_in_the_place_of_the_route_stays() {
    fresh_real_server();
    let folder = tempfile::tempdir().unwrap();
    run("ip route add default via 192.0.2.254 dev eth0 metric 100");
    run("ip -6 route add default via 2001:db8::fe dev eth0");
    applied(&mut host(folder.path()), &through(&DIRECTORS)).unwrap();
    run("ip route replace default via 192.0.2.77 dev eth0 proto dhcp metric 100");
    run("ip -6 route replace default via 2001:db8::77 dev eth0 metric 1024");
    let theirs = routes();
    assert!(!theirs.contains("101"), "{theirs}");
    assert!(torn_down(&mut host(folder.path())).is_none());
    assert_eq!(routes(), theirs);
    assert!(journal(folder.path()).host_objects.is_empty());

    // It is replaced while the spec asks for the route, and then it is the former one.
    applied(&mut host(folder.path()), &through(&DIRECTORS)).unwrap();
    run("ip route add default via 192.0.2.78 dev eth0 proto dhcp metric 50");
    run("ip -6 route add default via 2001:db8::78 dev eth0 metric 50");
    let report = applied(&mut host(folder.path()), &through(&DIRECTORS)).unwrap();
    assert!(report.is_success(), "{report:?}");
    torn_down(&mut host(folder.path())).unwrap();
    let lines: Vec<String> = routes().lines().map(str::to_owned).collect();
    let gateways: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').nth(3)).collect();
    assert_eq!(gateways, ["192.0.2.78", "192.0.2.77", "2001:db8::78", "2001:db8::77"], "{lines:?}");
}

#[test]
fn an_impossible_gateway_is_one_clear_error_and_changes_nothing() {
    fresh_real_server();
    let folder = tempfile::tempdir().unwrap();
    run("ip route add default via 192.0.2.254 dev eth0");
    run("ip -6 route add default via 2001:db8::fe dev eth0");
    let before = routes();
    for gateway in ["203.0.113.1", "192.0.2.11", "2001:db8:1::1", "2001:db8::11", "fe80::1"] {
        let report = applied(&mut host(folder.path()), &through(&[gateway])).unwrap();
        let failures: Vec<String> = report.iter().filter_map(|done| done.failure()).collect();
        let [failure] = &failures[..] else { panic!("{report:?}") };
        assert!(failure.contains(&format!("{gateway} is ")), "{failure}");
        assert!(failure.contains("choose a gateway on a network of this host"), "{failure}");
        assert_eq!(routes(), before);
    }
    let journal = journal(folder.path());
    assert!(journal.host_objects.is_empty() && journal.record.replaced.is_empty(), "{journal:?}");
}

#[test]
fn several_ipv6_routes_of_one_metric_are_not_replaced() {
    fresh_real_server();
    let folder = tempfile::tempdir().unwrap();
    run("ip -6 route add default via 2001:db8::fd dev eth0");
    run("ip -6 route append default via 2001:db8::fe dev eth0");
    let before = routes();
    let request = through(&[DIRECTORS[1]]);
    let mut host = host(folder.path());
    let result = apply(&mut host, &request, options(), &mut client(), &mut Vec::new()).unwrap();
    assert!(matches!(result.outcome, ApplyOutcome::Blocked(_)), "{:?}", result.outcome);
    assert_eq!(routes(), before);
}

#[test]
fn a_teardown_without_the_former_interface_reports_it() {
    fresh_real_server();
    let folder = tempfile::tempdir().unwrap();
    run("ip link add eth1 up type dummy");
    run("ip addr add 198.51.100.11/24 dev eth1");
    run("ip route add default via 198.51.100.1 dev eth1");
    run("ip -6 route add default via fe80::1 dev eth1");
    applied(&mut host(folder.path()), &through(&DIRECTORS)).unwrap();
    run("ip link del eth1");
    let options = TeardownOptions { adopted: false, allow: &[], reviewed: None, wait: true };
    let result =
        tear_down(&mut host(folder.path()), &options, &mut client(), &mut Vec::new()).unwrap();
    assert_eq!(result.planned.plan.warnings.len(), 2, "{:?}", result.planned.plan.warnings);
    assert!(matches!(result.outcome, TeardownOutcome::Executed(report) if report.is_success()));
    assert_eq!(routes(), "");

    // The kernel no longer accepts the former gateway.
    run("ip addr add 198.51.100.11/24 dev eth0");
    run("ip route add default via 198.51.100.1 dev eth0");
    applied(&mut host(folder.path()), &through(&DIRECTORS)).unwrap();
    run("ip addr del 198.51.100.11/24 dev eth0");
    let report = torn_down(&mut host(folder.path())).unwrap();
    assert!(report.is_success() && report.warnings.len() == 1, "{report:?}");
    assert_eq!(routes(), "");
}

/// Ends a pass by a panic at a call to the kernel.
struct Interrupt {
    before: bool,
}

impl Hooks for Interrupt {
    fn execute(&mut self, kernel: &mut HostKernel, ops: &[Op]) -> Result<Replies, KernelError> {
        if !self.before {
            kernel.execute(ops)?;
        }
        panic!("interrupted");
    }
}

#[test]
fn an_apply_that_ends_between_journal_and_route_is_undone_or_finished() {
    for before in [true, false] {
        for finishes in [true, false] {
            fresh_real_server();
            let folder = tempfile::tempdir().unwrap();
            run("ip route add default via 192.0.2.254 dev eth0 proto dhcp metric 100 mtu 1400");
            run("ip -6 route add default via fe80::1 dev eth0 proto ra metric 1024 pref low");
            let former = routes();
            let state = StateDir::of(folder.path(), Namespace::current().unwrap());
            let connect = move |journalled| {
                let kernel = HostKernel::connect(journalled)?;
                Ok(HookedKernel { kernel, hooks: Interrupt { before } })
            };
            let mut hooked = Host { state, connect: Box::new(connect), health: Default::default() };
            let pass = || applied(&mut hooked, &through(&DIRECTORS));
            assert!(catch_unwind(AssertUnwindSafe(pass)).is_err());
            assert_eq!(routes() == former, before);
            assert_eq!(journal(folder.path()).record.replaced.0.len(), 2);
            if finishes {
                applied(&mut host(folder.path()), &through(&DIRECTORS));
                assert_eq!(routes().matches(" proto 101 ").count(), 2, "{}", routes());
            }
            torn_down(&mut host(folder.path()));
            assert_eq!(routes(), former);
        }
    }
}

#[test]
fn an_unconfirmed_apply_brings_the_former_route_back() {
    fresh_real_server();
    let folder = tempfile::tempdir().unwrap();
    run("ip route add default via 192.0.2.254 dev eth0 proto dhcp metric 100 mtu 1400");
    run("ip -6 route add default via fe80::1 dev eth0 proto ra metric 1024");
    let former = routes();
    // First to the route of evenkeel, then back from it.
    for (request, is_ours) in [(through(&DIRECTORS), false), (through(&[]), true)] {
        if is_ours {
            applied(&mut host(folder.path()), &through(&DIRECTORS)).unwrap();
        }
        let (before, on_record) = (routes(), journal(folder.path()));
        let mut id = String::new();
        let mut start_watchdog = |begun: &str| {
            id = begun.to_owned();
            Ok(std::process::id())
        };
        let confirm = ConfirmOptions { seconds: 1, start_watchdog: &mut start_watchdog };
        let options = ApplyOptions { confirm: Some(confirm), ..options() };
        let mut host = host(folder.path());
        let result = apply(&mut host, &request, options, &mut client(), &mut Vec::new()).unwrap();
        assert!(matches!(result.outcome, ApplyOutcome::Applied(_)), "{:?}", result.outcome);
        assert_ne!(routes(), before);
        let state = StateDir::of(folder.path(), Namespace::current().unwrap());
        let connect = |journal: &Journal| HostKernel::connect(journal.into());
        let marker = PendingMarker::begin().unwrap();
        let end = roll_back_at_timeout(state, &id, marker, connect, |_| {});
        assert_eq!(end, TimeoutEnd::RolledBack { is_complete: true });
        assert_eq!(routes(), before);
        let now = journal(folder.path());
        assert_eq!(now.record.replaced, on_record.record.replaced);
        assert_eq!(now.host_objects, on_record.host_objects);
    }
    torn_down(&mut host(folder.path())).unwrap();
    assert_eq!(routes(), former);
}

#[test]
fn a_failed_apply_brings_the_former_route_back() {
    fresh_real_server();
    let folder = tempfile::tempdir().unwrap();
    run("ip route add default via 192.0.2.254 dev eth0 metric 100");
    let former = routes();
    // The IPv6 gateway is on no network of this host.
    let report = applied(&mut host(folder.path()), &through(&[DIRECTORS[0], "2001:db8:9::1"]));
    let report = report.unwrap();
    assert!(!report.is_success() && report.count(Outcome::Undone.as_str()) == 1, "{report:?}");
    assert_eq!(routes(), former);
    assert!(journal(folder.path()).record.replaced.is_empty());
}

#[test]
fn a_snapshot_lists_default_routes_and_plans_against_it_know_them() {
    fresh_real_server();
    let folder = tempfile::tempdir().unwrap();
    run("ip route add default via 192.0.2.254 dev eth0 proto dhcp metric 100 mtu 1400");
    applied(&mut host(folder.path()), &through(&[DIRECTORS[1]])).unwrap();
    let mut host = host(folder.path());
    let text = snapshot(&mut host, SnapshotOptions::default(), &mut Vec::new()).unwrap();
    let loaded = load(&[Source::new("snapshot.yaml", text.clone())]).unwrap();
    let shown = loaded.into_live().host_objects.objects;
    let mut kernel = HostKernel::connect(Default::default()).unwrap();
    let host_objects = HostObjectKind::ALL.into();
    let request = evenkeel_engine::ReadRequest { host_objects, ..Default::default() };
    assert_eq!(shown, kernel.observe(&request).unwrap().host_objects.objects, "{text}");
}
