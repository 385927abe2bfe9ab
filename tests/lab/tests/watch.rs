//! Tests the daemon on a real kernel, with real inotify and rtnetlink; its effects are checked with
//! `ipvsadm`, `ip` and `sysctl`.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use evenkeel_lab_tests::{fresh_namespace, program, run, say};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

mod clocks;
mod commands;
mod devices;
mod drift;
mod files;
mod full_disk;
mod git;
mod http;
mod left_scope;
mod lost_vips;
mod namespaces;
mod neighbours;
mod overrides;
mod parameters;
mod reachability;
mod signals;
mod subscription;
mod waiting_commands;
mod writers;

/// The longest time from the last byte of a new spec until the kernel has it.
const ENFORCED: Duration = Duration::from_millis(500);

/// How long a test waits until the daemon reports something. No time is promised for that, and each look
/// at the report starts a process.
const REPORTED: Duration = Duration::from_secs(2);

/// A host with a directory for a spec, and a state directory, in a network namespace of its own.
pub(crate) struct Host {
    folder: TempDir,
}

impl Host {
    /// Creates it with a device `eth0` for VIPs.
    fn new() -> Self {
        fresh_namespace();
        run("ip link add eth0 up type dummy");
        Self::here()
    }

    /// Uses the network namespace of the calling thread.
    pub(crate) fn here() -> Self {
        let host = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(host.path("specs")).unwrap();
        host
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file in the directory `specs`.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path("specs").join(name), text).unwrap();
    }

    /// Starts a daemon on that path below the directory, with these further options.
    pub(crate) fn watch(&self, place: &str, options: &str) -> Daemon {
        let mut command = self.command("watch");
        command.arg(self.path(place)).args(options.split_whitespace());
        if !options.contains("--listen") {
            command.args(["--listen", "none"]);
        }
        Daemon::start(command, &self.path("log"))
    }

    /// Starts a daemon on `specs/spec.yaml` with only these capabilities.
    fn watch_with(&self, capabilities: &str) -> Daemon {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", capabilities, "--inh-caps", "-all"]);
        command.arg(program()).arg("watch").arg("--state-dir").arg(self.path("state"));
        command.arg(self.path("specs/spec.yaml")).args(["--interval", "1s", "--listen", "none"]);
        Daemon::start(command, &self.path("log"))
    }

    /// Writes `specs/spec.yaml`, starts a daemon on it and waits until it is active.
    pub(crate) fn watching(&self, spec: &str, options: &str) -> Daemon {
        self.write("spec.yaml", spec);
        let daemon = self.watch("specs/spec.yaml", options);
        self.wait_for_state("ok");
        daemon
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(program());
        command.arg(name).arg("--state-dir").arg(self.path("state"));
        command
    }

    /// Runs another command and returns its status and output.
    pub(crate) fn evenkeel(&self, arguments: &str) -> (i32, String, String) {
        let mut words = arguments.split_whitespace();
        let mut command = self.command(words.next().unwrap());
        let output = command.args(words).current_dir(self.folder.path()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    pub(crate) fn status(&self) -> Value {
        let (code, stdout, stderr) = self.evenkeel("status --output json");
        let status: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stderr}"));
        let expected = match (status["state"].as_str().unwrap(), status["mode"].as_str()) {
            ("ok", Some("enforce")) => 0,
            ("not_running", None) => 10,
            ("starting", _) => 11,
            ("ok", Some("observe")) => 12,
            ("drifted", _) => 13,
            ("paused", _) => 14,
            ("held", _) => 15,
            ("degraded", _) => 16,
            _ => panic!("{status:#}"),
        };
        assert_eq!(code, expected, "{status:#}");
        status
    }

    #[track_caller]
    pub(crate) fn wait_for_state(&self, state: &str) {
        let mut status = Value::Null;
        let is_so = within(Duration::from_secs(10), || {
            status = self.status();
            status["state"] == state
        });
        assert!(is_so, "{status:#}");
    }

    /// Returns the reasons of its status, in one text.
    pub(crate) fn reasons(&self) -> String {
        let status = self.status();
        let reasons = status["reasons"].as_array().unwrap().iter();
        reasons.map(|it| it.as_str().unwrap().to_owned()).collect::<Vec<_>>().join("\n")
    }
}

/// A running daemon, which is killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    fn start(mut command: Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Self { child: command.spawn().unwrap(), log: log.to_owned() }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits until it ends.
    fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        assert!(
            within(Duration::from_secs(10), || {
                status = self.child.try_wait().unwrap();
                status.is_some()
            }),
            "it does not end: {}",
            self.log()
        );
        status.unwrap()
    }

    pub(crate) fn log(&self) -> String {
        let mut text = String::new();
        File::open(&self.log).unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            say(&format!("the daemon's log:\n{}", self.log()));
        }
    }
}

/// Whether the condition holds within this time.
pub(crate) fn within(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + time;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Returns the table as the kernel shows it without counters: cheap enough to be read continuously.
fn table() -> String {
    // In one read: a continued read counts the services of other namespaces, which the kernel does
    // not show, and skips as many of this one (`ip_vs_info_seq_next`).
    let mut text = String::with_capacity(1 << 16);
    File::open("/proc/thread-self/net/ip_vs").unwrap().read_to_string(&mut text).unwrap();
    let line = |line: &str| -> String {
        let kept = if line.starts_with("  ->") { 4 } else { usize::MAX };
        line.split_whitespace().take(kept).collect::<Vec<_>>().join(" ") + "\n"
    };
    text.lines().skip(3).map(line).collect()
}

/// Waits until the table has that real server (`10.0.0.7`), for as long as a new spec may take.
#[track_caller]
fn assert_enforced(address: &str, begin: Instant) {
    let octets: Vec<u8> = address.split('.').map(|it| it.parse().unwrap()).collect();
    let hexadecimal: String = octets.iter().map(|octet| format!("{octet:02X}")).collect();
    let is_there =
        within(ENFORCED.saturating_sub(begin.elapsed()), || table().contains(&hexadecimal));
    assert!(is_there, "no {address} after {:?}:\n{}", begin.elapsed(), table());
}

/// Returns a spec with one service and that real server.
fn spec(address: &str) -> String {
    format!(
        "version: 1\nscope: all\nservices:\n  - {{ name: web, vip: 192.0.2.1, port: 80, drain: 0s, \
         real_servers: [ {{ address: 10.0.0.1 }}, {{ address: {address} }} ] }}\n"
    )
}

fn is_signal(status: ExitStatus) -> bool {
    status.signal().is_some()
}

/// Returns a spec of one service behind a VIP whose real servers drain for at most that long.
fn draining(limit: &str, real_servers: &str) -> String {
    format!(
        "version: 1
scope: all
vips: [ {{ address: 192.0.2.1, interface: eth0 }} ]
sysctls: {{ net.ipv4.vs.expire_nodest_conn: 1 }}
services:
  - {{ name: web, vip: 192.0.2.1, port: 80, scheduler: rr, forward: nat, drain: {limit}, real_servers: [ {real_servers} ] }}
"
    )
}
