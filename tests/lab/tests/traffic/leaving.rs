//! A real server that is taken out of the file: directors and real servers apply that at different
//! moments, and no request fails.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use evenkeel_lab::net::load::{Demand, Load};
use evenkeel_lab::net::{Machine, Namespace};

use super::site::Daemon;
use super::*;

const SPEC: &str = r#"
version: 1
directors:
  - { name: ds1, addresses: [10.0.0.1, "fd00::1"] }
vips:
  - { address: 10.0.0.100, interface: eth1 }
  - { address: "fd00::100", interface: eth1 }
  - { address: 10.0.0.101, interface: eth1 }
  - { address: "fd00::101", interface: eth1 }
  - { address: 10.9.0.100, interface: eth0 }
  - { address: "fd09::100", interface: eth0 }
sysctls: { net.ipv4.vs.expire_nodest_conn: 1 }
defaults: { scheduler: rr, drain: 10s }
services:
  - name: dr
    vip: 10.0.0.100
    port: 80
    forward: dr
    real_servers: [{ address: 10.0.0.11 }, { address: 10.0.0.12 }]
  - name: dr6
    vip: "fd00::100"
    port: 80
    forward: dr
    real_servers: [{ address: "fd00::11" }, { address: "fd00::12" }]
  - name: tun
    vip: 10.0.0.101
    port: 80
    forward: tun
    real_servers: [{ address: 10.0.0.11 }, { address: 10.0.0.12 }]
  - name: tun6
    vip: "fd00::101"
    port: 80
    forward: tun
    real_servers: [{ address: "fd00::11" }, { address: "fd00::12" }]
  - name: nat
    vip: 10.9.0.100
    port: 80
    forward: nat
    gateway: director
    real_servers: [{ address: 10.0.0.11 }, { address: 10.0.0.12 }]
  - name: nat6
    vip: "fd09::100"
    port: 80
    forward: nat
    gateway: director
    real_servers: [{ address: "fd00::11" }, { address: "fd00::12" }]
"#;

/// The addresses of each service and of its client.
const TARGETS: [[&str; 3]; 6] = [
    ["neighbour", "10.0.0.9", "10.0.0.100:80"],
    ["neighbour", "fd00::9", "[fd00::100]:80"],
    ["neighbour", "10.0.0.9", "10.0.0.101:80"],
    ["neighbour", "fd00::9", "[fd00::101]:80"],
    ["client", "10.9.0.9", "10.9.0.100:80"],
    ["client", "fd09::9", "[fd09::100]:80"],
];
/// How long a real server has connections before it leaves.
const STEADY: Duration = Duration::from_millis(500);
/// The time between the applies of two hosts: less than the drain, as the interval of directors is.
const APART: Duration = Duration::from_millis(700);
/// The time within which a daemon has drained a real server, or has undone what it did as one: the
/// drain, two intervals, and a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn without_rs2() -> String {
    SPEC.replace(", { address: 10.0.0.12 }", "").replace(", { address: \"fd00::12\" }", "")
}

/// Builds the cluster, in which each service has clients.
fn site() -> Site {
    let inner = |name: &str, addresses: &[&str]| Machine::new(name).on("inner", "eth0", addresses);
    let machines = [
        Machine::new("client").on("outside", "eth0", &["10.9.0.9/24", "fd09::9/64"]),
        inner("neighbour", &["10.0.0.9/24", "fd00::9/64"]),
        Machine::new("director").on("outside", "eth0", &["10.9.0.1/24", "fd09::1/64"]).on(
            "inner",
            "eth1",
            &["10.0.0.1/24", "fd00::1/64"],
        ),
        inner("rs1", &["10.0.0.11/24", "fd00::11/64"]),
        inner("rs2", &["10.0.0.12/24", "fd00::12/64"]),
    ];
    let mut site = Site::build(&machines, &["rs1", "rs2", "director"]);
    for real_server in ["rs1", "rs2"] {
        site.serve(real_server, &[80]);
    }
    site.set_up(SPEC);
    site
}

/// Sends requests to every service all the while that `work` takes, and asserts that each of them is
/// answered.
fn under_load(site: &Site, work: impl FnOnce()) {
    let loads = TARGETS.map(|[machine, client, target]| {
        let namespace: &Namespace = &site.machines[machine];
        let target: SocketAddr = target.parse().unwrap();
        let client: IpAddr = client.parse().unwrap();
        let demand = Demand { downloads: 2, seconds: 1, ..Demand::new(target, vec![client]) };
        Load::start(namespace, demand).unwrap()
    });
    std::thread::sleep(STEADY);
    work();
    for (load, [_, _, target]) in loads.into_iter().zip(TARGETS) {
        let measured = load.stop();
        assert!(measured.incidents.is_empty(), "{target}: {:?}", measured.incidents);
        assert!(measured.requests.done > 100 && measured.downloads.done >= 2, "{target}");
    }
}

/// Waits until a real server has what it had before it was one.
fn wait_until_bare(site: &Site, host: &str, daemons: &[Daemon]) {
    let end = Instant::now() + PATIENCE;
    let command = "ip -o address show; ip route show default; ip -6 route show default";
    loop {
        let text = site.run(host, command);
        let is_bare = !text.contains("default")
            && !["100", "101"].iter().any(|vip| {
                text.contains(&format!("10.0.0.{vip}")) || text.contains(&format!("fd00::{vip}"))
            });
        if is_bare {
            return;
        }
        let logs = || daemons.iter().map(Daemon::log).collect::<String>();
        assert!(Instant::now() < end, "{text}\n{}", logs());
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn assert_drained(site: &Site) {
    let table = site.run("director", "ipvsadm -Sn");
    let of = |address: &str| table.matches(address).count();
    assert_eq!((of("10.0.0.12:"), of("[fd00::12]:")), (0, 0), "{table}");
    assert_eq!((of("10.0.0.11:"), of("[fd00::11]:")), (3, 3), "{table}");
}

#[test]
fn no_request_fails_while_a_real_server_leaves_the_file_in_either_order() {
    let site = site();
    let without = without_rs2();
    under_load(&site, || {
        for order in [["director", "rs2"], ["rs2", "director"]] {
            for host in order {
                match host {
                    // What it needs as a real server stays for the drain and an interval.
                    "rs2" => site.apply_without_waiting(host, &without),
                    _ => site.apply(host, &without),
                }
                std::thread::sleep(APART);
            }
            assert_drained(&site);
            site.assert_in_sync(&without);
            // Back again: a real server is ready before it gets requests.
            for host in ["rs2", "director"] {
                site.apply(host, SPEC);
            }
            site.assert_in_sync(SPEC);
        }
    });
}

#[test]
fn no_request_fails_while_daemons_let_a_real_server_leave_in_either_order() {
    let site = site();
    let without = without_rs2();
    for host in ["director", "rs2"] {
        site.write(host, SPEC);
    }
    let daemons = ["director", "rs2"].map(|host| site.watch(host));
    under_load(&site, || {
        for order in [["director", "rs2"], ["rs2", "director"]] {
            for host in order {
                site.write(host, &without);
                std::thread::sleep(APART);
            }
            wait_until_bare(&site, "rs2", &daemons);
            assert_drained(&site);
            // Back again: a real server is ready before it gets requests.
            for (host, daemon) in ["rs2", "director"].into_iter().zip(daemons.iter().rev()) {
                site.write(host, SPEC);
                site.wait_until_in_sync(daemon, SPEC);
            }
        }
    });
}

#[test]
fn no_request_fails_while_real_servers_have_another_forwarding_method_before_the_director_has_it() {
    let site = site();
    let direct = SPEC.replace("forward: tun", "forward: dr");
    let tunnelled = SPEC.replace("forward: dr", "forward: tun");
    under_load(&site, || {
        for spec in [&direct, SPEC, &tunnelled, SPEC] {
            for host in ["rs1", "rs2"] {
                site.apply_without_waiting(host, spec);
            }
            std::thread::sleep(2 * APART);
        }
    });
}
