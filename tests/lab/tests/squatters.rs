//! Processes without privileges hold every name and port that they can: the daemon starts and repairs all
//! the same, and applies work.
//!
//! `cargo xtask sweep --squatters` also measures how long repairs take with and without them.

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use evenkeel_lab_tests::{fresh_namespace, ipvsadm, program, run, say};
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, UnixAddr, bind, connect, socket,
};

use super::watch::{Host, within};

/// A time in which everything that is awaited happens; a test that waits for all of it fails.
const PATIENCE: Duration = Duration::from_secs(20);

const SPEC: &str = "version: 1
scope: all
vips: [ { address: 192.0.2.1, interface: eth0 } ]
services:
  - { name: web, vip: 192.0.2.1, port: 80, real_servers: [ { address: 10.0.0.1 }, { address: 10.0.0.2 } ] }
";

/// The port of `watch` without `--listen`.
const ENDPOINT: &str = "127.0.0.1:9479";

/// Set for a squatter that does not hold this port.
const LEAVES_PORT: &str = "EVENKEEL_SQUATTER_LEAVES_PORT";

/// Who squats.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Squatter {
    User,
    RootWithoutCapabilities,
}

impl Squatter {
    pub(crate) const ALL: [Self; 2] = [Self::User, Self::RootWithoutCapabilities];

    /// Returns a command that runs a program as this one.
    fn command(self, program: &std::path::Path) -> Command {
        let mut command = Command::new("setpriv");
        match self {
            Self::User => command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]),
            Self::RootWithoutCapabilities => {
                command.args(["--bounding-set=-all", "--inh-caps=-all"])
            }
        };
        command.arg(program);
        command
    }

    /// Starts it in the namespace of the calling thread, and waits until it holds all that it can.
    fn start(self) -> Squatting {
        Squatting::start(self.command(&std::env::current_exe().unwrap()))
    }

    /// Does the same, but leaves the port of the endpoint to the daemon.
    pub(crate) fn start_without_port(self) -> Squatting {
        let mut command = self.command(&std::env::current_exe().unwrap());
        command.env(LEAVES_PORT, "1");
        Squatting::start(command)
    }
}

/// A running squatter, which ends when dropped.
pub(crate) struct Squatting {
    child: Child,
    /// Open as long as the child prints.
    _output: BufReader<ChildStdout>,
}

impl Squatting {
    fn start(mut command: Command) -> Self {
        command.args(["--exact", "--ignored", "--nocapture", "squatters::squat"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        while !text.ends_with("squatting\n") {
            assert_ne!(output.read_line(&mut text).unwrap(), 0, "{text}");
        }
        Self { child, _output: output }
    }
}

impl Drop for Squatting {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _status = self.child.wait();
    }
}

/// Run by the tests of this file without privileges; it tests nothing by itself.
#[test]
#[ignore = "run by other tests, without privileges"]
fn squat() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    assert!(status.contains("CapEff:\t0000000000000000\n"), "{status}");
    let names = ["lock", "pending", "watch", "client"].map(|word| format!("evenkeel/{word}"));
    let _names = names.each_ref().map(|name| {
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap()
    });
    let leaves_port = std::env::var_os(LEAVES_PORT).is_some();
    let _port = (!leaves_port).then(|| TcpListener::bind(ENDPOINT).unwrap());
    // So many that the kernel lists them in several pieces.
    let ports: Vec<_> = (0..800)
        .map(|_| {
            let flags = SockFlag::SOCK_CLOEXEC;
            let protocol = SockProtocol::NetlinkUserSock;
            let port = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol).unwrap();
            let fd = std::os::fd::AsRawFd::as_raw_fd(&port);
            bind(fd, &NetlinkAddr::new(0, 0)).unwrap();
            port
        })
        .collect();
    // What only the privileged can be.
    let fd = std::os::fd::AsRawFd::as_raw_fd(&ports[0]);
    for groups in (0..32).map(|group| 1 << group).chain([0xE730_0000, u32::MAX]) {
        assert_eq!(bind(fd, &NetlinkAddr::new(0, groups)), Err(nix::errno::Errno::EPERM));
    }
    std::thread::spawn(move || connect_to_all(&names));
    say("squatting");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// Connects to every name that evenkeel has, again and again, and sends nothing.
///
/// It neither fails nor waits, and leaves out the names that it holds itself, whose connections no process accepts:
/// a loop over thousands of those takes time of the processor only.
fn connect_to_all(held: &[String]) {
    let mut connections = std::collections::VecDeque::new();
    loop {
        let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
        let names = sockets.lines().filter_map(|line| line.split(" @").nth(1));
        let names: std::collections::BTreeSet<&str> =
            names.filter(|name| name.starts_with("evenkeel/")).collect();
        for name in names.into_iter().filter(|name| !held.iter().any(|held| held == name)) {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let stream = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
            let address = UnixAddr::new_abstract(name.as_bytes()).unwrap();
            // The name can be gone since, or its list of connections full.
            let _refused = connect(std::os::fd::AsRawFd::as_raw_fd(&stream), &address);
            connections.push_back(stream);
        }
        // More than the daemon keeps of clients that send nothing.
        let extra = connections.len().saturating_sub(80);
        connections.drain(..extra);
        // 50 a second: about four times as many as it takes to hold all places of the daemon.
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn has_vip() -> bool {
    run("ip -o addr show dev eth0").contains(" 192.0.2.1/32 ")
}

fn has_real_server() -> bool {
    run("ipvsadm -Sn").contains("-r 10.0.0.2:80")
}

/// Takes something away, and returns how long it was missing.
fn repaired(take: &str, is_there: impl Fn() -> bool) -> Duration {
    assert!(is_there());
    run(take);
    let begin = Instant::now();
    assert!(within(PATIENCE, is_there), "after {take}");
    begin.elapsed()
}

fn vip_repaired() -> Duration {
    repaired("ip addr del 192.0.2.1/32 dev eth0", has_vip)
}

fn real_server_repaired() -> Duration {
    repaired("ipvsadm -d -t 192.0.2.1:80 -r 10.0.0.2:80", has_real_server)
}

/// Records how long the VIP was missing, by the kernel's own events: starting `ip` to look for it takes
/// longer than the repair does.
struct AddressMonitor {
    child: Child,
    output: tempfile::NamedTempFile,
}

impl AddressMonitor {
    /// Starts it in the namespace of the calling thread, and waits until it gets events.
    fn start() -> Self {
        let output = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new("ip");
        command.args(["-ts", "-o", "-4", "monitor", "address"]).stdout(output.reopen().unwrap());
        let monitor = Self { child: command.spawn().unwrap(), output };
        let is_seen = || {
            run("ip addr add 192.0.2.99/32 dev lo");
            run("ip addr del 192.0.2.99/32 dev lo");
            !monitor.events().is_empty()
        };
        assert!(within(PATIENCE, is_seen));
        monitor
    }

    fn events(&self) -> String {
        std::fs::read_to_string(self.output.path()).unwrap()
    }

    /// Ends it, and returns the time between each deletion of the VIP and the next addition.
    fn outages(mut self) -> Vec<Duration> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let mut deleted = None;
        let outage = |event: &str| {
            let (time, event) = event.split_once("] ").unwrap();
            let time = time.split_once('T').unwrap().1;
            if event.starts_with("Deleted ") {
                deleted = Some(of_day(time));
                return None;
            }
            Some(of_day(time) - deleted.take()?)
        };
        let events = self.events();
        events.lines().filter(|event| event.contains(" 192.0.2.1/32 ")).filter_map(outage).collect()
    }
}

/// Reads a time of the day, such as `07:21:19.218585`.
fn of_day(time: &str) -> Duration {
    let seconds = time.split(':').fold(0.0, |all, it| all * 60.0 + it.parse::<f64>().unwrap());
    Duration::from_secs_f64(seconds)
}

fn host() -> Host {
    fresh_namespace();
    run("ip link add eth0 up type dummy");
    Host::here()
}

#[test]
fn the_daemon_starts_and_repairs_whatever_processes_without_privileges_hold() {
    for squatter in Squatter::ALL {
        let host = host();
        let squatting = squatter.start();
        let options = format!("--interval 1s --listen {ENDPOINT}");
        let daemon = host.watching(SPEC, &options);
        let status = host.status();
        assert!(status["warnings"].to_string().contains("HTTP endpoint is missing"), "{status:#}");
        vip_repaired();
        real_server_repaired();
        host.write("spec.yaml", SPEC.replace("10.0.0.2", "10.0.0.3"));
        assert!(within(PATIENCE, || run("ipvsadm -Sn").contains("-r 10.0.0.3:80")));
        drop(squatting);
        let answers = || TcpStream::connect(ENDPOINT).is_ok();
        assert!(within(PATIENCE, answers), "{}", daemon.log());
        let is_silent = || host.status()["warnings"].as_array().is_some_and(Vec::is_empty);
        assert!(within(PATIENCE, is_silent));
    }
}

#[test]
fn applies_with_and_without_confirmation_work_whatever_processes_without_privileges_hold() {
    for squatter in Squatter::ALL {
        let host = host();
        let _squatting = squatter.start();
        host.write("spec.yaml", SPEC);
        let done = |arguments: &str| {
            let (status, stdout, stderr) = host.evenkeel(arguments);
            assert_eq!(status, 0, "{squatter:?}: {arguments}: {stdout}{stderr}");
        };
        done("apply --yes specs/spec.yaml");
        assert!(has_vip() && has_real_server());
        host.write("spec.yaml", SPEC.replace("10.0.0.2", "10.0.0.3"));
        done("apply --yes specs/spec.yaml --confirm 1h");
        done("confirm");
        assert!(run("ipvsadm -Sn").contains("-r 10.0.0.3:80"));
        done("apply --yes specs/spec.yaml");
        assert_eq!(ipvsadm::save().len(), 3);
        let (status, _, _) = host.evenkeel("status");
        assert_eq!(status, 10, "the squatter is no daemon");
    }
}

#[test]
fn processes_without_privileges_cannot_command_the_daemon_and_root_can_read_its_status() {
    let host = host();
    let _daemon = host.watching(SPEC, "--interval 1s");
    for squatter in Squatter::ALL {
        for command in ["pause", "resume", "approve 1234567890ab"] {
            let mut process = squatter.command(&program());
            let output = process.args(command.split(' ')).output().unwrap();
            let message = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(3), "{squatter:?}: {command}: {output:?}");
            assert!(message.contains("permitted"), "{message}");
        }
    }
    assert_eq!(host.status()["state"], "ok");
    let mut process = Squatter::RootWithoutCapabilities.command(&program());
    let output = process.arg("status").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("ok"), "{output:?}");
    vip_repaired();
}

/// Prints medians in `cargo xtask sweep --squatters`.
#[test]
fn repairs_take_no_longer_than_without() {
    if std::env::var_os("EVENKEEL_SWEEP").is_none() {
        return;
    }
    const TIMES: usize = 50;
    // Each time another real server: one that goes again and again is a conflict, and waits.
    let listed: Vec<String> = (1..=TIMES).map(|n| format!("{{ address: 10.0.1.{n} }}")).collect();
    let spec = SPEC.replace("{ address: 10.0.0.2 }", &listed.join(", "));
    let real_server = |n| {
        let shown = format!("  -> 0A0001{:02X}:0050 ", n + 1);
        let is_there =
            || std::fs::read_to_string("/proc/thread-self/net/ip_vs").unwrap().contains(&shown);
        repaired(&format!("ipvsadm -d -t 192.0.2.1:80 -r 10.0.1.{}:80", n + 1), is_there)
    };
    let median = |mut all: Vec<Duration>| {
        all.sort_unstable();
        all[TIMES / 2].as_secs_f64() * 1000.0
    };
    let each = |measure: &dyn Fn(usize) -> Duration| {
        let pause = || std::thread::sleep(Duration::from_millis(200));
        (0..TIMES).inspect(|_| pause()).map(measure).collect()
    };
    let measured = |squatter: Option<Squatter>| {
        let host = host();
        let _squatting = squatter.map(Squatter::start);
        let _daemon = host.watching(&spec, "--interval 1s");
        // The address monitor delays a pass after the one before.
        vip_repaired();
        let monitor = AddressMonitor::start();
        for _ in 0..TIMES {
            run("ip addr del 192.0.2.1/32 dev eth0");
            // Nothing else uses the processor meanwhile.
            std::thread::sleep(Duration::from_millis(200));
            assert!(within(PATIENCE, has_vip));
        }
        let outages = monitor.outages();
        assert_eq!(outages.len(), TIMES);
        [median(outages), median(each(&real_server))]
    };
    let without = measured(None);
    say(&format!(
        "without:  VIP {:8.1} ms, real server {:8.1} ms (medians)",
        without[0], without[1]
    ));
    for squatter in Squatter::ALL {
        let with = measured(Some(squatter));
        let ratios = [with[0] / without[0], with[1] / without[1]];
        say(&format!(
            "{squatter:?}: VIP {:8.1} ms ({:.2} times), real server {:8.1} ms ({:.2} times)",
            with[0], ratios[0], with[1], ratios[1]
        ));
        assert!(ratios.iter().all(|ratio| *ratio <= 1.2), "{ratios:?}");
    }
}
