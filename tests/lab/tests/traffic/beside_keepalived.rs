//! Tests the daemon beside Debian's keepalived: VRRP that moves VIPs which the spec lists too, and health
//! checks that delete real servers and add a sorry server.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use evenkeel_lab::net::{Machine, Server, get};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::site::Site;

const VIPS: [&str; 2] = ["10.0.0.100", "fd00::100"];

/// A running keepalived, which is ended when dropped.
struct Keepalived(Child);

impl Keepalived {
    /// Starts it on a machine with this configuration.
    fn start(site: &Site, host: &str, configuration: &str, options: &[&str]) -> Self {
        let folder = site.spec_path().with_file_name(format!("{host}.keepalived"));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("keepalived.conf");
        std::fs::write(&file, configuration).unwrap();
        let mut command = Command::new("keepalived");
        command.args(["--dont-fork", "--log-console", "--log-detail"]).args(options);
        command.arg("--use-file").arg(&file);
        for (option, name) in
            [("--pid", "pid"), ("--vrrp_pid", "vrrp"), ("--checkers_pid", "check")]
        {
            command.arg(option).arg(folder.join(name));
        }
        let log = std::fs::File::create(folder.join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(site.machines[host].run(move || command.spawn()).unwrap().unwrap())
    }
}

impl Drop for Keepalived {
    /// Ends it with its processes.
    fn drop(&mut self) {
        let process = Pid::from_raw(self.0.id().try_into().unwrap());
        let _signalled = kill(process, Signal::SIGTERM);
        let _reaped = self.0.wait();
    }
}

/// Whether the condition holds within ten seconds.
fn soon(mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}

fn status(site: &Site, host: &str) -> Value {
    let output = site.command(host, &["status", "--output", "json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

#[track_caller]
fn wait_for_state(site: &Site, host: &str, state: &str) {
    let is_so = soon(|| status(site, host)["state"] == state);
    assert!(is_so, "{:#}", status(site, host));
}

/// Returns how many of the VIPs a host has.
fn bound(site: &Site, host: &str) -> usize {
    let addresses = site.run(host, "ip -o addr show dev eth0");
    VIPS.iter().filter(|vip| addresses.contains(&format!(" {vip}/"))).count()
}

/// Two hosts between which VRRP moves the VIPs.
fn pair() -> Site {
    let machine = |name, addresses: &[&str]| Machine::new(name).on("lan", "eth0", addresses);
    let machines = [
        machine("lb1", &["10.0.0.1/16", "fd00::1/48"]),
        machine("lb2", &["10.0.0.2/16", "fd00::2/48"]),
    ];
    Site::build(&machines, &["lb1", "lb2"])
}

fn vrrp(site: &Site, host: &str, priority: u8) -> Keepalived {
    let [own, peer] =
        if host == "lb1" { ["10.0.0.1", "10.0.0.2"] } else { ["10.0.0.2", "10.0.0.1"] };
    let configuration = format!(
        "vrrp_instance one {{
  state BACKUP
  interface eth0
  virtual_router_id 51
  priority {priority}
  advert_int 1
  unicast_src_ip {own}
  unicast_peer {{ 
    {peer}
  }}
  virtual_ipaddress {{
    10.0.0.100/32 dev eth0
  }}
  virtual_ipaddress_excluded {{
    fd00::100/128 dev eth0
  }}
}}
"
    );
    Keepalived::start(site, host, &configuration, &["--vrrp"])
}

fn listed(bind: &str) -> String {
    format!(
        "version: 1
scope: {{ vips: [10.0.0.100, 'fd00::100'] }}
vips:
  - {{ address: 10.0.0.100, interface: eth0{bind}, route: true }}
  - {{ address: 'fd00::100', interface: eth0{bind} }}
services:
  - {{ name: web, vip: 10.0.0.100, port: 80, real_servers: [ {{ address: 10.0.0.11 }} ] }}
  - {{ name: dns, vip: 'fd00::100', port: 53, protocol: udp, real_servers: [ {{ address: 'fd00::11' }} ] }}
"
    )
}

#[test]
fn a_vip_that_vrrp_moves_is_not_bound_when_a_peer_takes_it_over() {
    let site = pair();
    let _first = vrrp(&site, "lb1", 100);
    assert!(soon(|| bound(&site, "lb1") == 2));
    site.write("lb1", &listed(""));
    let daemon = site.watch("lb1");
    wait_for_state(&site, "lb1", "ok");

    let peer = vrrp(&site, "lb2", 200);
    assert!(soon(|| bound(&site, "lb2") == 2 && bound(&site, "lb1") == 0));
    // Several intervals, and a new daemon.
    std::thread::sleep(Duration::from_secs(3));
    drop(daemon);
    let daemon = site.watch("lb1");
    wait_for_state(&site, "lb1", "ok");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(bound(&site, "lb1"), 0, "{:#}\n{}", status(&site, "lb1"), daemon.log());
    let document = status(&site, "lb1");
    assert_eq!(document["state"], "ok", "{document:#}");
    let warnings = document["warnings"].to_string();
    for vip in VIPS {
        assert!(
            warnings.contains(&format!("{vip} is left to the program that had bound it")),
            "{warnings}"
        );
    }
    // A plan reads the record as well, and an apply keeps to it.
    std::fs::write(site.spec_path(), listed("")).unwrap();
    for arguments in [&["plan", "--detailed-exitcode"][..], &["apply", "--yes"]] {
        let path = site.spec_path().with_file_name("lb1.yaml");
        let output = site.command("lb1", arguments).arg(path).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    assert_eq!(bound(&site, "lb1"), 0);

    // It comes back, and is VRRP's again.
    drop(peer);
    assert!(soon(|| bound(&site, "lb1") == 2));
    let is_quiet = || {
        let status = status(&site, "lb1");
        status["state"] == "ok" && !status["warnings"].to_string().contains("left to the program")
    };
    assert!(soon(is_quiet), "{:#}", status(&site, "lb1"));
    let route = site.run("lb1", "ip route show 10.0.0.100");
    assert!(route.contains("src 10.0.0.100"), "{route}");

    let peer = vrrp(&site, "lb2", 200);
    assert!(soon(|| bound(&site, "lb2") == 2 && bound(&site, "lb1") == 0));
    site.write("lb1", &listed(", bind: always"));
    assert!(soon(|| bound(&site, "lb1") == 2), "{}", daemon.log());
    wait_for_state(&site, "lb1", "ok");
    drop(peer);
}

#[test]
fn a_backup_of_vrrp_that_never_had_the_vip_binds_it_with_a_warning() {
    let site = pair();
    let _master = vrrp(&site, "lb2", 200);
    assert!(soon(|| bound(&site, "lb2") == 2));
    let _backup = vrrp(&site, "lb1", 100);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(bound(&site, "lb1"), 0);
    std::fs::write(site.spec_path(), listed("")).unwrap();
    let plan = site.command("lb1", &["plan"]).arg(site.spec_path()).output().unwrap();
    let text = String::from_utf8_lossy(&[plan.stdout, plan.stderr].concat()).into_owned();
    assert!(text.contains("keepalived runs on this host") && text.contains("10.0.0.100"), "{text}");
    site.write("lb1", &listed(""));
    let _daemon = site.watch("lb1");
    wait_for_state(&site, "lb1", "ok");
    assert_eq!(bound(&site, "lb1"), 2);
    let document = status(&site, "lb1");
    let warnings = document["warnings"].to_string();
    assert!(
        warnings.contains("keepalived runs on this host") && warnings.contains("fd00::100"),
        "{document:#}"
    );
    site.write("lb1", &listed(", bind: always"));
    let is_quiet = || !status(&site, "lb1")["warnings"].to_string().contains("runs on this host");
    assert!(soon(is_quiet), "{:#}", status(&site, "lb1"));
}

/// A director with keepalived's checks, two real servers and a sorry server, in direct routing.
fn checked_cluster() -> Site {
    let machine = |name, addresses: &[&str]| Machine::new(name).on("lan", "eth0", addresses);
    let mut machines = vec![
        machine("client", &["10.0.0.9/16", "fd00::9/48"]),
        machine("director", &["10.0.0.1/16", "fd00::1/48"]),
    ];
    for (name, number) in [("rs1", 11), ("rs2", 12), ("sorry", 13)] {
        machines
            .push(machine(name, &[&format!("10.0.0.{number}/16"), &format!("fd00::{number}/48")]));
    }
    let site = Site::build(&machines, &["director"]);
    for host in ["rs1", "rs2", "sorry"] {
        site.run(
            host,
            "sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
             ip addr add 10.0.0.100/32 dev lo; ip addr add fd00::100/128 dev lo nodad",
        );
    }
    site
}

fn balanced(ignore: &str) -> String {
    let servers =
        |prefix: &str| format!("[ {{ address: '{prefix}11' }}, {{ address: '{prefix}12' }} ]");
    let (v4, v6) = (servers("10.0.0."), servers("fd00::"));
    format!(
        "version: 1
scope: all
vips: [ {{ address: 10.0.0.100, interface: eth0 }}, {{ address: 'fd00::100', interface: eth0 }} ]
sysctls: {{ net.ipv4.vs.expire_nodest_conn: 1 }}
defaults: {{ scheduler: rr, drain: 0s }}
services:
  - {{ name: web, vip: 10.0.0.100, port: 80, ignore: {ignore}, real_servers: {v4} }}
  - {{ name: web6, vip: 'fd00::100', port: 80, ignore: {ignore}, real_servers: {v6} }}
  - {{ name: dns, vip: 10.0.0.100, port: 53, protocol: udp, ignore: {ignore}, real_servers: {v4} }}
  - {{ name: marked, fwmark: 7, family: ipv4, ignore: {ignore}, real_servers: {v4} }}
"
    )
}

fn checks() -> String {
    let real_server = |address: &str, port: u16| {
        format!(
            "  real_server {address} {port} {{
    weight 1
    TCP_CHECK {{
      connect_ip {address}
      connect_port 80
      connect_timeout 1
      retry 0
    }}
  }}
"
        )
    };
    let virtual_server = |head: &str, protocol: &str, prefix: &str, port: u16| {
        format!(
            "virtual_server {head} {{
  delay_loop 1
  lb_algo rr
  lb_kind DR
  protocol {protocol}
  sorry_server {prefix}13 {port}
{}{}}}
",
            real_server(&format!("{prefix}11"), port),
            real_server(&format!("{prefix}12"), port)
        )
    };
    [
        virtual_server("10.0.0.100 80", "TCP", "10.0.0.", 80),
        virtual_server("fd00::100 80", "TCP", "fd00::", 80),
        virtual_server("10.0.0.100 53", "UDP", "10.0.0.", 53),
        virtual_server("fwmark 7", "TCP", "10.0.0.", 0),
    ]
    .concat()
}

fn server(site: &Site, machine: &str) -> Server {
    Server::start(&site.machines[machine], 80, machine).unwrap()
}

/// Returns how many of eight requests to each VIP fail, and which servers answered.
fn answers(site: &Site) -> (usize, std::collections::BTreeSet<String>) {
    let ask = || {
        let all = VIPS.iter().flat_map(|vip| {
            let address = SocketAddr::new(vip.parse().unwrap(), 80);
            (0..8).map(move |_| get(address, Duration::from_secs(1)))
        });
        all.collect::<Vec<_>>()
    };
    let all = site.machines["client"].run(ask).unwrap();
    let failed = all.iter().filter(|it| it.is_err()).count();
    (failed, all.into_iter().flatten().collect())
}

/// Returns the services of the table that have such a real server.
fn services_with(site: &Site, number: u8) -> usize {
    let table = site.run("director", "ipvsadm -Sn");
    let found = table.lines().filter(|line| {
        line.starts_with("-a")
            && [format!("-r 10.0.0.{number}:"), format!("-r [fd00::{number}]:")]
                .iter()
                .any(|it| line.contains(it))
    });
    found.count()
}

#[test]
fn checks_that_delete_real_servers_and_add_a_sorry_server_keep_traffic_right() {
    let site = checked_cluster();
    let (first, second, _sorry) =
        (server(&site, "rs1"), server(&site, "rs2"), server(&site, "sorry"));
    site.write("director", &balanced("[weight, real_servers]"));
    let daemon = site.watch("director");
    wait_for_state(&site, "director", "ok");
    let _checks =
        Keepalived::start(&site, "director", &checks(), &["--check", "--dont-release-ipvs"]);
    assert!(soon(|| services_with(&site, 11) == 4 && services_with(&site, 12) == 4));

    drop(first);
    assert!(soon(|| services_with(&site, 11) == 0), "{}", daemon.log());
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!((services_with(&site, 11), services_with(&site, 12)), (0, 4));
    assert_eq!(answers(&site), (0, ["rs2".to_owned()].into()));
    assert_eq!(status(&site, "director")["state"], "ok");

    drop(second);
    assert!(soon(|| services_with(&site, 13) == 4 && services_with(&site, 12) == 0));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!((services_with(&site, 13), services_with(&site, 12)), (4, 0));
    assert_eq!(answers(&site), (0, ["sorry".to_owned()].into()));
    let document = status(&site, "director");
    assert_eq!((&document["state"], &document["conflicts"]), (&"ok".into(), &Value::Array(vec![])));
    let path = site.spec_path().with_file_name("director.yaml");
    let plan =
        site.command("director", &["plan", "--detailed-exitcode"]).arg(&path).output().unwrap();
    assert_eq!(plan.status.code(), Some(0), "{plan:?}");

    let _first = server(&site, "rs1");
    assert!(soon(|| services_with(&site, 11) == 4 && services_with(&site, 13) == 0));
    assert_eq!(answers(&site), (0, ["rs1".to_owned()].into()));
    assert_eq!(status(&site, "director")["state"], "ok");
    assert_eq!(daemon.log().matches("verb=\"add\"").count(), 12, "{}", daemon.log());
}

#[test]
fn a_check_that_deletes_real_servers_is_a_conflict_unless_they_are_ignored() {
    let site = checked_cluster();
    let (first, second, _sorry) =
        (server(&site, "rs1"), server(&site, "rs2"), server(&site, "sorry"));
    site.write("director", &balanced("[weight]"));
    let daemon = site.watch("director");
    wait_for_state(&site, "director", "ok");
    let _checks =
        Keepalived::start(&site, "director", &checks(), &["--check", "--dont-release-ipvs"]);
    std::thread::sleep(Duration::from_secs(3));
    drop((first, second));
    // evenkeel adds what was deleted, and deletes the sorry server: requests fail.
    let is_degraded = soon(|| status(&site, "director")["state"] == "degraded");
    let document = status(&site, "director");
    assert!(is_degraded, "{:?} {document:#}\n{}", answers(&site), daemon.log());
    // It stays so beyond the back-off.
    std::thread::sleep(Duration::from_secs(35));
    let document = status(&site, "director");
    assert_eq!(document["state"], "degraded", "{document:#}");
    let reasons = document["reasons"].to_string();
    for part in
        ["real server 10.0.0.11:80 of web/10.0.0.100:80/tcp", "ignore: [weight, real_servers]"]
    {
        assert!(reasons.contains(part), "{reasons}");
    }
    // Once the spec says whose they are, the checks decide.
    site.write("director", &balanced("[weight, real_servers]"));
    wait_for_state(&site, "director", "ok");
}
