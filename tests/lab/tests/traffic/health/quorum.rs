//! All real servers fail; the director's own link fails.

use super::*;

/// The real servers of a service whose rest is given.
fn one(more: &str, health: &str) -> String {
    format!(
        r#"version: 1
scope: all
vips: [{{ address: 10.9.0.100, interface: eth0 }}, {{ address: "fd09::100", interface: eth0 }}]
{more}
defaults:
  scheduler: wrr
  forward: nat
  drain: 1s
  check: {{ tcp: {{}}, interval: 500ms, fast: 200ms, timeout: 400ms, fall: 2, rise: 1 }}
  health: {{ {health} }}
services:
  - name: web
    vips: [10.9.0.100, "fd09::100"]
    port: 80
    real_servers:
      - {{ address: 10.0.0.11, weight: 3 }}
      - {{ address: 10.0.0.12, weight: 3 }}
      - {{ address: "fd00::11", weight: 3 }}
      - {{ address: "fd00::12", weight: 3 }}
"#
    )
}

fn set_up(cluster: &Cluster, spec: &str) -> Daemon {
    for machine in ["rs1", "rs2"] {
        cluster
            .site
            .run(machine, "ip route add default via 10.0.0.1; ip -6 route add default via fd00::1");
    }
    cluster.site.run("director", "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    cluster.site.write("director", spec);
    let daemon = cluster.site.watch("director");
    cluster.eventually("all are up", &daemon, || {
        let weights = cluster.weights();
        weights.len() == 4 && weights.values().all(|weight| *weight == 3)
    });
    daemon
}

fn addresses(cluster: &Cluster) -> usize {
    let text = cluster.site.run("director", "ip -o address show dev eth0");
    ["10.9.0.100/", "fd09::100/"].iter().filter(|vip| text.contains(**vip)).count()
}

fn is_answered(cluster: &Cluster) -> [bool; 2] {
    ["10.9.0.100:80", "[fd09::100]:80"].map(|vip| cluster.site.is_answered(vip))
}

#[test]
fn if_all_fail_those_that_failed_last_stay_or_all_are_refused() {
    for (health, expected) in [
        // Both failed at once, and the second failure is the last one.
        ("when_none: keep", vec![3; 4]),
        ("when_none: refuse", vec![0; 4]),
    ] {
        let cluster = Cluster::new();
        let spec = one("", health);
        let daemon = set_up(&cluster, &spec);
        cluster.stop("rs1");
        cluster.stop("rs2");
        cluster.eventually("all are down", &daemon, || {
            daemon.log().matches(" down target=").count() >= 4
        });
        let weights = || cluster.weights().into_values().collect::<Vec<u32>>();
        cluster.eventually(health, &daemon, || weights() == expected);
        assert_eq!(addresses(&cluster), 2, "the VIPs stay");
        assert_eq!(cluster.plan(&spec).status.code(), Some(0));
        let status = cluster.evenkeel(&["status"]);
        let status = String::from_utf8_lossy(&status.stdout).into_owned();
        assert!(status.contains("has no quorum"), "{status}");
        cluster.start("rs1");
        cluster.start("rs2");
        cluster.eventually("all are back", &daemon, || weights() == [3; 4]);
        assert_eq!(is_answered(&cluster), [true; 2]);
    }
}

#[test]
fn a_fallback_pool_serves_while_all_fail_and_leaves_again() {
    let cluster = Cluster::new();
    let pool = r#"pools:
  - name: sorry
    real_servers:
      - { address: 10.0.0.9, port: 80, weight: 1 }
      - { address: "fd00::9", port: 80, weight: 1 }"#;
    let spec = one(
        pool,
        "fallback: { pool: sorry, check: { tcp: {}, interval: 500ms, fast: 200ms, timeout: 400ms, fall: 2, rise: 1 } }, vip: unbind",
    );
    cluster
        .site
        .run("neighbour", "ip route add default via 10.0.0.1; ip -6 route add default via fd00::1");
    cluster.start("neighbour");
    let daemon = set_up(&cluster, &spec);
    assert_eq!(cluster.site.ask("10.9.0.100:80", 4).len(), 4);
    cluster.stop("rs1");
    cluster.stop("rs2");
    cluster.eventually("the fallback serves", &daemon, || {
        let in_use = cluster.weights().into_iter().filter(|(_, weight)| *weight > 0);
        let in_use: Vec<String> = in_use.map(|((_, server), _)| server).collect();
        in_use == ["10.0.0.9:80", "[fd00::9]:80"]
    });
    for vip in ["10.9.0.100:80", "[fd09::100]:80"] {
        assert_eq!(cluster.site.ask(vip, 2), ["neighbour", "neighbour"]);
    }
    assert_eq!(addresses(&cluster), 2, "a fallback that serves keeps the VIP");
    assert_eq!(cluster.plan(&spec).status.code(), Some(0));
    // It fails too: the VIPs go.
    cluster.stop("neighbour");
    cluster.eventually("the VIPs are unbound", &daemon, || addresses(&cluster) == 0);
    cluster.start("neighbour");
    cluster.eventually("the VIPs are back", &daemon, || addresses(&cluster) == 2);
    cluster.start("rs1");
    cluster.eventually("only rs1 serves", &daemon, || {
        let weights = cluster.weights();
        weights.values().filter(|weight| **weight > 0).count() == 2 && weights.len() == 4
    });
    assert_eq!(cluster.site.ask("10.9.0.100:80", 2), ["rs1", "rs1"]);
}

#[test]
fn a_vip_is_given_up_without_quorum_and_comes_back_with_it() {
    let cluster = Cluster::new();
    let spec = one("", "vip: unbind, quorum: 2");
    let daemon = set_up(&cluster, &spec);
    assert_eq!(addresses(&cluster), 2);
    cluster.stop("rs1");
    cluster.eventually("the VIPs are unbound", &daemon, || addresses(&cluster) == 0);
    let status = cluster.evenkeel(&["status"]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("10.9.0.100 is not bound"), "{status}");
    // Neither the next passes nor the guard of lost VIPs bind it.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(addresses(&cluster), 0);
    assert_eq!(cluster.plan(&spec).status.code(), Some(0));
    cluster.start("rs1");
    cluster.eventually("the VIPs are back", &daemon, || addresses(&cluster) == 2);
    assert_eq!(is_answered(&cluster), [true; 2]);
}

#[test]
fn a_new_vip_waits_for_the_first_results() {
    let cluster = Cluster::new();
    cluster.stop("rs1");
    cluster.stop("rs2");
    let spec = one("", "startup: 3s");
    for machine in ["rs1", "rs2"] {
        cluster
            .site
            .run(machine, "ip route add default via 10.0.0.1; ip -6 route add default via fd00::1");
    }
    cluster.site.write("director", &spec);
    let begin = Instant::now();
    let daemon = cluster.site.watch("director");
    cluster.eventually("the services are there", &daemon, || cluster.weights().len() == 4);
    assert_eq!(addresses(&cluster), 0, "{}", daemon.log());
    cluster.eventually("the time is over", &daemon, || addresses(&cluster) == 2);
    // All failed: their first results ended the wait early, or its time did.
    assert!(begin.elapsed() < Duration::from_secs(10));
    drop(daemon);
}

/// Nothing that a director with a broken link can see says anything about real servers.
fn own_link(count: u8) {
    let cluster = Cluster::new();
    let servers: Vec<String> = (11..11 + count)
        .flat_map(|last| [format!("10.0.0.{last}"), format!("fd00::{last}")])
        .collect();
    for last in 13..11 + count {
        cluster.site.run("rs2", &format!("ip address add 10.0.0.{last}/24 dev eth0; ip address add fd00::{last}/64 dev eth0 nodad"));
    }
    let list: String = servers
        .iter()
        .map(|address| format!("      - {{ address: \"{address}\", weight: 3 }}\n"))
        .collect();
    let spec = one("", "");
    let (head, _) = spec.split_once("      - {").unwrap();
    let spec = format!("{head}{list}");
    cluster.site.write("director", &spec);
    let daemon = cluster.site.watch("director");
    let rows = servers.len();
    cluster.eventually("all are up", &daemon, || {
        let weights = cluster.weights();
        weights.len() == rows && weights.values().all(|weight| *weight == 3)
    });
    // So that nothing but the link is lost with it.
    cluster.site.run("director", "sysctl -qw net.ipv6.conf.eth1.keep_addr_on_down=1");
    let before = daemon.log().len();
    for fault in ["ip link set eth1 down", "ip link set eth1 up"] {
        cluster.site.run("director", fault);
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            assert!(cluster.weights().values().all(|weight| *weight == 3), "{}", daemon.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    let log = daemon.log().split_off(before);
    assert!(!log.contains(" down target="), "{log}");
}

#[test]
fn the_directors_own_link_takes_nothing_out_of_two() {
    own_link(2);
}

#[test]
fn the_directors_own_link_takes_nothing_out_of_ten() {
    own_link(10);
}
