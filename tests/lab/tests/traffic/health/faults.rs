//! A process dies, a host dies, and each comes back; and nothing happens for a long time.

use super::*;

/// How long the load runs without a fault, in seconds; long in a run of its own.
const QUIET: &str = "EVENKEEL_HEALTH_SECONDS";

#[test]
fn requests_fail_no_longer_than_promised_after_a_process_dies_and_none_as_it_comes_back() {
    let cluster = Cluster::new();
    let spec = spec("");
    let daemon = cluster.watched(&spec);
    let loads = cluster.loads();
    std::thread::sleep(Duration::from_secs(1));
    cluster.stop("rs1");
    let at: Vec<Duration> = loads.iter().map(Load::elapsed).collect();
    cluster.eventually("rs1 is out", &daemon, || cluster.weights_of("11") == [0; 4]);
    // Held, and nothing to do.
    let plan = cluster.plan(&spec);
    let text = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert_eq!(plan.status.code(), Some(0), "{plan:?}");
    assert!(text.contains("weight 0 (spec 10): down since"), "{text}");
    assert!(text.contains(": connection refused"), "{text}");
    std::thread::sleep(Duration::from_secs(2));
    assert_bounded(
        loads,
        at,
        &Fault { name: "process died", bound: INTERVAL + FAST * FALL },
        &daemon,
    );
    // It comes back under load.
    let loads = cluster.loads();
    std::thread::sleep(Duration::from_secs(1));
    cluster.start("rs1");
    cluster.eventually("rs1 is back", &daemon, || cluster.weights_of("11") == [10; 4]);
    std::thread::sleep(Duration::from_secs(2));
    assert_none_failed(loads, "process came back", &daemon);
}

#[test]
fn requests_fail_no_longer_than_promised_after_a_host_dies_and_none_as_it_comes_back() {
    let cluster = Cluster::new();
    let spec = spec("");
    let daemon = cluster.watched(&spec);
    let loads = cluster.loads();
    std::thread::sleep(Duration::from_secs(1));
    cluster.site.run("rs1", "ip link set eth0 down");
    let at: Vec<Duration> = loads.iter().map(Load::elapsed).collect();
    cluster.eventually("rs1 is out", &daemon, || cluster.weights_of("11") == [0; 4]);
    std::thread::sleep(Duration::from_secs(3));
    let bound = INTERVAL + TIMEOUT * FALL;
    assert_bounded(loads, at, &Fault { name: "host died", bound }, &daemon);
    let loads = cluster.loads();
    // As a host boots: its network is set up before its service is.
    cluster.stop("rs1");
    cluster.site.run("rs1", "ip link set eth0 up");
    cluster.site.apply("rs1", &spec);
    cluster.start("rs1");
    cluster.eventually("rs1 is back", &daemon, || cluster.weights_of("11") == [10; 4]);
    std::thread::sleep(Duration::from_secs(2));
    assert_none_failed(loads, "host came back", &daemon);
}

#[test]
fn the_share_of_a_real_server_grows_during_its_slow_start() {
    let cluster = Cluster::new();
    let spec = spec("slow_start: 10s").replace("weight: 10", "weight: 20");
    let daemon = cluster.watched(&spec);
    // They rose as they were new.
    cluster.eventually("all have their weight", &daemon, || {
        cluster.weights().values().all(|weight| *weight == 20)
    });
    cluster.stop("rs1");
    cluster.eventually("rs1 is out", &daemon, || cluster.weights_of("11") == [0; 4]);
    let loads = cluster.loads();
    cluster.start("rs1");
    cluster.eventually("rs1 comes back", &daemon, || {
        cluster.weights_of("11").iter().all(|weight| *weight > 0)
    });
    let counts = |loads: &[Load]| {
        let mut all: BTreeMap<String, u64> = BTreeMap::new();
        for load in loads {
            for (name, count) in load.so_far().answered_by {
                *all.entry(name).or_default() += count;
            }
        }
        all
    };
    let mut shares = Vec::new();
    let mut before = counts(&loads);
    for _ in 0..6 {
        std::thread::sleep(Duration::from_secs(2));
        let now = counts(&loads);
        let since = |name: &str| {
            now.get(name).copied().unwrap_or(0) - before.get(name).copied().unwrap_or(0)
        };
        let (rs1, rs2) = (since("rs1"), since("rs2"));
        shares.push(rs1 * 100 / (rs1 + rs2).max(1));
        say(&format!("slow start: rs1 {rs1}, rs2 {rs2}, weights {:?}", cluster.weights_of("11")));
        before = now;
    }
    assert_none_failed(loads, "slow start", &daemon);
    // 1..3 of 20 against 20, then 5..7, 9..11, 13..15, 17..19, and all of it.
    assert!(shares[0] < 20, "{shares:?}");
    assert!((12..40).contains(&shares[1]), "{shares:?}");
    assert!((20..45).contains(&shares[2]), "{shares:?}");
    assert!((40..60).contains(&shares[5]), "{shares:?}");
    assert!(shares.windows(2).all(|pair| pair[0] <= pair[1] + 5), "{shares:?}");
    assert_eq!(cluster.weights_of("11"), [20; 4]);
}

#[test]
fn without_a_fault_no_verdict_changes_under_load() {
    let seconds = std::env::var(QUIET).ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let cluster = Cluster::new();
    let daemon = cluster.watched(&spec(""));
    let before = daemon.log().len();
    let loads = cluster.loads();
    std::thread::sleep(Duration::from_secs(seconds));
    let requests: u64 = loads.iter().map(|it| it.so_far().requests.done).sum();
    let failures: u64 = loads.into_iter().map(|it| it.stop().requests.failures()).sum();
    let log = daemon.log().split_off(before);
    let changes: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("down target=") || line.contains("up target="))
        .collect();
    say(&format!(
        "{seconds} s without a fault: {requests} requests, {failures} failed, {} changes",
        changes.len()
    ));
    assert_eq!((failures, changes), (0, Vec::new()), "{log}");
    assert!(requests >= 2_000 || seconds < 6, "only {requests} requests were made");
}
