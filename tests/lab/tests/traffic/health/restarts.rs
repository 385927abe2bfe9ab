//! The daemon is killed, started again and reloaded while a failure is in progress.

use super::*;

fn spec(fall: u32) -> String {
    format!(
        r#"version: 1
scope: all
defaults:
  scheduler: wrr
  forward: nat
  check: {{ tcp: {{}}, interval: 600ms, fast: 600ms, timeout: 300ms, fall: {fall}, rise: 2 }}
services:
  - name: web
    vip: 10.9.0.100
    port: 80
    real_servers: [{{ address: 10.0.0.11, weight: 3 }}, {{ address: 10.0.0.12, weight: 3 }}]
  - name: web6
    vip: "fd09::100"
    port: 80
    real_servers: [{{ address: "fd00::11", weight: 3 }}, {{ address: "fd00::12", weight: 3 }}]
"#
    )
}

/// What happens to the daemon.
#[derive(Debug, Clone, Copy)]
enum Disturbance {
    Restart,
    Reload,
    /// The spec changes, and with it the check.
    NewCheck,
}

fn check(fall: u32, disturbance: Disturbance) {
    let cluster = Cluster::new();
    let spec = spec(fall);
    cluster.site.write("director", &spec);
    let mut daemon = Some(cluster.site.watch("director"));
    let log = |daemon: &Option<Daemon>| daemon.as_ref().unwrap().log();
    let wait = |cluster: &Cluster, what: &str, daemon: &Option<Daemon>, expected: [u32; 2]| {
        cluster.eventually(what, daemon.as_ref().unwrap(), || {
            cluster.weights_of("11") == expected && cluster.weights_of("12") == [3, 3]
        });
    };
    wait(&cluster, "all are up", &daemon, [3, 3]);
    let disturb = |cluster: &Cluster, daemon: &mut Option<Daemon>, turn: u32| match disturbance {
        Disturbance::Restart => {
            // Killed, not asked to stop.
            *daemon = None;
            *daemon = Some(cluster.site.watch("director"));
        }
        Disturbance::Reload => {
            let pid = cluster.done(&["status", "--output", "json"]);
            let pid: serde_json::Value = serde_json::from_str(&pid).unwrap();
            cluster.site.run("director", &format!("kill -HUP {}", pid["pid"]));
        }
        Disturbance::NewCheck => {
            let changed = spec.replace("timeout: 300ms", &format!("timeout: {}ms", 301 + turn));
            cluster.site.write("director", &changed);
        }
    };
    // While it is up, nothing takes it out.
    for turn in 0..2 {
        disturb(&cluster, &mut daemon, turn);
        let end = Instant::now() + Duration::from_millis(1_500);
        while Instant::now() < end {
            let weights = cluster.weights();
            assert!(weights.is_empty() || weights.values().all(|it| *it == 3), "{}", log(&daemon));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    // At every point of its failure.
    cluster.stop("rs1");
    for turn in 0..2 * fall + 2 {
        std::thread::sleep(Duration::from_millis(300));
        disturb(&cluster, &mut daemon, 10 + turn);
    }
    wait(&cluster, "it goes down all the same", &daemon, [0, 0]);
    // While it is down, nothing brings it back.
    for turn in 0..3 {
        disturb(&cluster, &mut daemon, 40 + turn);
        let end = Instant::now() + Duration::from_millis(1_500);
        while Instant::now() < end {
            assert_eq!(cluster.weights_of("11"), [0, 0], "{}", log(&daemon));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    cluster.start("rs1");
    wait(&cluster, "it comes back", &daemon, [3, 3]);
}

#[test]
fn a_killed_daemon_neither_loses_nor_invents_a_verdict() {
    for fall in 1..=3 {
        check(fall, Disturbance::Restart);
    }
}

#[test]
fn a_reload_neither_loses_nor_invents_a_verdict() {
    for fall in 1..=3 {
        check(fall, Disturbance::Reload);
    }
}

#[test]
fn a_changed_check_keeps_the_verdict_until_its_first_result() {
    for fall in 1..=3 {
        check(fall, Disturbance::NewCheck);
    }
}
