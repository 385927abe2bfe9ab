//! Health checks with traffic: what is down gets no requests within the time that the spec promises, and what comes
//! back gets them without a failure.

mod commands;
mod connections;
mod faults;
mod overrides;
mod quorum;
mod restarts;
mod shared;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::process::Output;
use std::time::{Duration, Instant};

use evenkeel_lab::net::load::{Demand, Load};
use evenkeel_lab::net::{Machine, Server};
use evenkeel_lab_tests::say;

use super::site::{Daemon, Site};

/// How long a state may take that no promise bounds.
const PATIENCE: Duration = Duration::from_secs(20);

/// The checks of all services here.
const CHECK: &str =
    "{ http: { path: / }, interval: 1s, fast: 500ms, timeout: 600ms, rise: 2, fall: 2 }";
const INTERVAL: Duration = Duration::from_secs(1);
const FAST: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_millis(600);
const FALL: u32 = 2;

/// Services of both families, in direct routing and behind NAT.
fn spec(health: &str) -> String {
    format!(
        r#"version: 1
directors:
  - {{ name: ds1, addresses: [10.0.0.1, "fd00::1"] }}
vips:
  - {{ address: 10.0.0.100, interface: eth1 }}
  - {{ address: "fd00::100", interface: eth1 }}
  - {{ address: 10.9.0.100, interface: eth0 }}
  - {{ address: "fd09::100", interface: eth0 }}
sysctls: {{ net.ipv4.vs.expire_nodest_conn: 1 }}
defaults:
  scheduler: wrr
  drain: 1s
  check: {CHECK}
  health: {{ {health} }}
services:
  - name: dr
    vip: 10.0.0.100
    port: 80
    forward: dr
    real_servers: [{{ address: 10.0.0.11, weight: 10 }}, {{ address: 10.0.0.12, weight: 10 }}]
  - name: dr6
    vip: "fd00::100"
    port: 80
    forward: dr
    real_servers: [{{ address: "fd00::11", weight: 10 }}, {{ address: "fd00::12", weight: 10 }}]
  - name: nat
    vip: 10.9.0.100
    port: 80
    forward: nat
    gateway: director
    real_servers: [{{ address: 10.0.0.11, weight: 10 }}, {{ address: 10.0.0.12, weight: 10 }}]
  - name: nat6
    vip: "fd09::100"
    port: 80
    forward: nat
    gateway: director
    real_servers: [{{ address: "fd00::11", weight: 10 }}, {{ address: "fd00::12", weight: 10 }}]
"#
    )
}

/// The machine, the address and the target of the clients of each service.
const CLIENTS: [[&str; 3]; 4] = [
    ["neighbour", "10.0.0.9", "10.0.0.100:80"],
    ["neighbour", "fd00::9", "[fd00::100]:80"],
    ["client", "10.9.0.9", "10.9.0.100:80"],
    ["client", "fd09::9", "[fd09::100]:80"],
];

/// A cluster whose real servers can die.
struct Cluster {
    site: Site,
    servers: RefCell<BTreeMap<&'static str, Server>>,
}

impl Cluster {
    fn new() -> Self {
        let inner =
            |name: &str, addresses: &[&str]| Machine::new(name).on("inner", "eth0", addresses);
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
        let site = Site::build(&machines, &["rs1", "rs2", "director"]);
        let cluster = Self { site, servers: RefCell::default() };
        for real_server in ["rs1", "rs2"] {
            // A link that goes down takes IPv6 addresses along otherwise.
            cluster.site.run(real_server, "sysctl -qw net.ipv6.conf.eth0.keep_addr_on_down=1");
            cluster.start(real_server);
        }
        cluster
    }

    /// Makes the hosts as the spec asks, with a daemon on the director.
    fn watched(&self, spec: &str) -> Daemon {
        for host in ["rs1", "rs2"] {
            self.site.apply(host, spec);
        }
        self.site.write("director", spec);
        let daemon = self.site.watch("director");
        self.site.wait_until_in_sync(&daemon, spec);
        // Until its first result, a new real server is down.
        self.eventually("all are up", &daemon, || {
            let weights = self.weights();
            weights.len() == 8 && weights.values().all(|weight| *weight > 0)
        });
        daemon
    }

    /// Starts the process of a real server.
    fn start(&self, machine: &'static str) {
        let server = Server::start(&self.site.machines[machine], 80, machine).unwrap();
        self.servers.borrow_mut().insert(machine, server);
    }

    /// Ends it: its host refuses connections.
    fn stop(&self, machine: &str) {
        self.servers.borrow_mut().remove(machine);
    }

    /// The weights that the director has, as `ipvsadm -Sn` shows them: by service and real server.
    fn weights(&self) -> BTreeMap<(String, String), u32> {
        weights(&self.site, "director")
    }

    /// The weights of a real server in all services, by the end of its addresses.
    fn weights_of(&self, end: &str) -> Vec<u32> {
        let of = |server: &str| {
            server.ends_with(&format!("{end}:80")) || server.ends_with(&format!("{end}]:80"))
        };
        self.weights().into_iter().filter(|((_, it), _)| of(it)).map(|(_, weight)| weight).collect()
    }

    #[track_caller]
    fn eventually(&self, what: &str, daemon: &Daemon, is_so: impl Fn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < end, "{what}: {:?}\n{}", self.weights(), daemon.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn evenkeel(&self, arguments: &[&str]) -> Output {
        self.site.command("director", arguments).output().unwrap()
    }

    /// Plans for the director, with an exit status for changes.
    fn plan(&self, spec: &str) -> Output {
        let path = self.site.spec_path();
        std::fs::write(&path, spec).unwrap();
        let mut command = self.site.command("director", &["plan", "--detailed-exitcode"]);
        command.arg(path).output().unwrap()
    }

    /// Runs a command that must succeed, and returns what it prints.
    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.evenkeel(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts clients of every service, which wait a second at most.
    fn loads(&self) -> Vec<Load> {
        let load = |[machine, client, target]: [&str; 3]| {
            let target: SocketAddr = target.parse().unwrap();
            let client: IpAddr = client.parse().unwrap();
            let patience = Duration::from_secs(1);
            let demand = Demand { downloads: 0, patience, ..Demand::new(target, vec![client]) };
            Load::start(&self.site.machines[machine], demand).unwrap()
        };
        CLIENTS.map(load).into()
    }
}

/// The weights in the table of a machine, by service (`-t 10.9.0.100:80`) and real server.
fn weights(site: &Site, machine: &str) -> BTreeMap<(String, String), u32> {
    let table = site.run(machine, "ipvsadm -Sn");
    let servers = table.lines().filter(|line| line.starts_with("-a"));
    servers
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let after = |option: &str| {
                let place = words.iter().position(|word| *word == option).unwrap();
                words[place + 1].to_owned()
            };
            ((format!("{} {}", words[1], words[2]), after("-r")), after("-w").parse().unwrap())
        })
        .collect()
}

/// A fault, and how long requests may begin to fail after it.
struct Fault<'a> {
    name: &'a str,
    bound: Duration,
}

/// Ends the load, and asserts that no request that began later than the bound after the fault failed.
#[track_caller]
fn assert_bounded(loads: Vec<Load>, at: Vec<Duration>, fault: &Fault<'_>, daemon: &Daemon) {
    let (mut requests, mut failures) = (0, 0);
    let mut last = Duration::ZERO;
    for ((load, at), [_, _, target]) in loads.into_iter().zip(at).zip(CLIENTS) {
        let measured = load.stop();
        requests += measured.requests.done;
        failures += measured.requests.failures();
        for incident in &measured.incidents {
            let began = incident.at.saturating_sub(incident.took);
            let after = began.saturating_sub(at);
            last = last.max(after);
            assert!(
                after <= fault.bound,
                "{}, {target}: a request that began {after:?} after it failed: {incident:?}\n{}",
                fault.name,
                daemon.log()
            );
        }
    }
    say(&format!(
        "{}: {requests} requests, {failures} failed, the last began {} ms after it (bound {} ms)",
        fault.name,
        last.as_millis(),
        fault.bound.as_millis()
    ));
    assert!(requests >= 2_000, "{}: only {requests} requests were made", fault.name);
}

/// Ends the load, and asserts that no request failed.
#[track_caller]
fn assert_none_failed(loads: Vec<Load>, name: &str, daemon: &Daemon) {
    let measured: Vec<_> = loads.into_iter().map(Load::stop).collect();
    let requests: u64 = measured.iter().map(|it| it.requests.done).sum();
    let failures: u64 = measured.iter().map(|it| it.requests.failures()).sum();
    let incidents: Vec<_> = measured.iter().flat_map(|it| &it.incidents).collect();
    say(&format!("{name}: {requests} requests, {failures} failed"));
    assert_eq!(failures, 0, "{name}: {incidents:?}\n{}", daemon.log());
    assert!(requests >= 2_000, "{name}: only {requests} requests were made");
}
