//! A host whose spec is a directory: its state, commands on it, and its daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use evenkeel_lab_tests::endpoint::{self, ENDPOINT};
use evenkeel_lab_tests::{fresh_namespace, ipvsadm, program, run, run_with, say};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// IPVS entries of other programs, out of the scope of every spec here, in the format of `ipvsadm
/// -Sn`.
pub(super) const FOREIGN: &str = "-A -t 203.0.113.1:80 -s rr
-a -t 203.0.113.1:80 -r 10.8.0.1:80 -g -w 3
-A -u [2001:db8:f::1]:53 -s rr
-a -u [2001:db8:f::1]:53 -r [2001:db8:f::2]:53 -g -w 1
-A -f 100 -s rr
-a -f 100 -r 10.8.0.2:0 -g -w 1
";

/// Addresses of other programs, two of them in the scope of every spec here.
const FOREIGN_ADDRESSES: [&str; 4] =
    ["192.0.2.77/32", "2001:db8:1::77/128", "203.0.113.1/32", "2001:db8:f::1/128"];

/// Sysctls that specs here set.
const SYSCTLS: [&str; 2] = ["drop_entry", "expire_nodest_conn"];

/// How long the daemon may take to show the result of a change.
const SEEN: Duration = Duration::from_secs(10);

/// The status must also have been read this often before it counts as late, as a machine may stall.
const LOOKS: usize = 20;

/// Without these capabilities, a program cannot read root's files that are closed to it by mode.
const CAPABILITIES: &str = "-dac_override,-dac_read_search";

/// A host in a network namespace of its own.
pub(super) struct Host {
    folder: TempDir,
    /// Whether other programs have IPVS entries here.
    is_shared: bool,
}

impl Host {
    /// Creates it with addresses and, if it is shared, IPVS entries of other programs.
    pub(super) fn new(is_shared: bool) -> Self {
        fresh_namespace();
        run("ip link add eth0 up type dummy");
        for address in FOREIGN_ADDRESSES {
            run(&format!("ip address add {address} dev eth0"));
        }
        let host = Self { folder: tempfile::tempdir().unwrap(), is_shared };
        fs::create_dir(host.specs()).unwrap();
        host.restore_foreign();
        host
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the directory of the spec.
    pub(super) fn specs(&self) -> PathBuf {
        self.path("specs")
    }

    /// Adds the missing IPVS entries of other programs.
    pub(super) fn restore_foreign(&self) {
        if !self.is_shared {
            return;
        }
        let table = ipvsadm::save();
        let missing: String = FOREIGN
            .lines()
            .filter(|line| !table.contains(*line))
            .map(|line| format!("{line}\n"))
            .collect();
        if !missing.is_empty() {
            run_with("ipvsadm -R", &missing);
        }
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", CAPABILITIES, "--inh-caps", "-all"]).arg(program());
        command.args(arguments.split_whitespace()).arg("--state-dir").arg(self.path("state"));
        command
    }

    /// Runs a command of the program.
    pub(super) fn evenkeel(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Applies the directory and overrides these guards.
    pub(super) fn apply(&self, allowed: &str) -> Output {
        let mut command = self.command("apply --yes");
        if !allowed.is_empty() {
            command.args(["--allow", allowed]);
        }
        command.arg(self.specs()).output().unwrap()
    }

    /// Starts a daemon on the directory, and waits for its first pass.
    pub(super) fn watch(&self) -> Daemon {
        let socket = self.path("notify");
        let ready = readiness(UnixDatagram::bind(&socket).unwrap());
        let log = self.path("log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = self.command("watch");
        command.arg(self.specs()).args(["--interval", "2s", "--listen", ENDPOINT]);
        command.env("NOTIFY_SOCKET", &socket);
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let daemon = Daemon { child: command.spawn().unwrap(), ready, log };
        daemon.wait_for_ready();
        daemon
    }
}

/// A running daemon, which is killed when dropped.
pub(super) struct Daemon {
    child: Child,
    /// Receives a message each time the daemon is ready, at first or after a reload.
    ready: Receiver<()>,
    log: PathBuf,
}

impl Daemon {
    fn wait_for_ready(&self) {
        if self.ready.recv_timeout(2 * SEEN).is_err() {
            panic!("not ready: {}", self.threads());
        }
    }

    /// Makes the daemon read the spec again, and waits until it has done so.
    pub(super) fn reload(&self) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGHUP).unwrap();
        self.wait_for_ready();
    }

    pub(super) fn status(&self) -> Status {
        for _ in 0..LOOKS {
            if let Some(status) = endpoint::status() {
                return Status(status);
            }
            std::thread::sleep(SEEN / 100);
        }
        panic!("no status: {}", self.threads());
    }

    /// Waits for a status that satisfies the condition, and returns the last one otherwise.
    pub(super) fn wait_for(&self, is_so: impl Fn(&Status) -> bool) -> Result<Status, Status> {
        let begin = Instant::now();
        let mut looks = 0;
        loop {
            let status = self.status();
            if is_so(&status) {
                return Ok(status);
            }
            looks += 1;
            if begin.elapsed() > SEEN && looks > LOOKS {
                return Err(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns the states of its threads, for an error report when it does not answer.
    fn threads(&self) -> String {
        let folder = format!("/proc/{}/task", self.child.id());
        let threads = fs::read_dir(folder).into_iter().flatten();
        let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
        let shown = threads.filter_map(Result::ok).map(|thread| {
            let path = thread.path();
            let [name, state, at] = ["comm", "stat", "wchan"].map(|file| read(path.join(file)));
            format!("{}: {at} ({})", name.trim_end(), state.trim_end())
        });
        shown.collect::<Vec<_>>().join("\n") + "\n" + &run("cat /proc/thread-self/net/tcp")
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Reads the daemon's messages to its service manager for as long as the test program runs, and
/// reports readiness: a daemon may block on a manager that does not read.
fn readiness(manager: UnixDatagram) -> Receiver<()> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        loop {
            let length = manager.recv(&mut bytes).unwrap();
            if bytes[..length].starts_with(b"READY=1") && sender.send(()).is_err() {
                return;
            }
        }
    });
    receiver
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

/// A daemon's status.
#[derive(Debug, Clone)]
pub(super) struct Status(Value);

impl Status {
    /// Returns how many specs became active since it started.
    pub(super) fn generation(&self) -> u64 {
        self.0["spec"]["active"]["generation"].as_u64().unwrap_or(0)
    }

    pub(super) fn digest(&self) -> Option<&str> {
        self.0["spec"]["active"]["digest"].as_str()
    }

    pub(super) fn is_bad(&self) -> bool {
        !self.0["spec"]["problem"].is_null()
    }

    /// Returns the id of the held plan.
    pub(super) fn held(&self) -> Option<&str> {
        self.0["spec"]["held"]["id"].as_str()
    }

    /// Returns the guards that hold it.
    pub(super) fn guards(&self) -> BTreeSet<String> {
        let guards = self.0["spec"]["held"]["guards"].as_object();
        guards.into_iter().flatten().map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn is_ok(&self) -> bool {
        self.0["state"] == "ok"
    }

    pub(super) fn reasons(&self) -> String {
        self.0["reasons"].to_string()
    }
}

/// Everything on a host that a spec can change, each object with its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Observed(BTreeMap<(Kind, String), String>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Service,
    RealServer,
    Address,
    Sysctl,
    Timeouts,
}

impl Observed {
    /// Reads the state of this namespace with other programs.
    pub(super) fn now() -> Self {
        let mut all = BTreeMap::new();
        for line in ipvsadm::save() {
            let (kind, cut) = if line.starts_with("-A") {
                (Kind::Service, " -s ")
            } else {
                (Kind::RealServer, " -w ")
            };
            let (key, values) = line.split_once(cut).unwrap();
            all.insert((kind, key.to_owned()), values.to_owned());
        }
        for line in run("ip -o address show dev eth0").lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if !words[3].starts_with("fe80:") {
                all.insert((Kind::Address, words[3].to_owned()), String::new());
            }
        }
        for name in SYSCTLS {
            let value = fs::read_to_string(Path::new("/proc/sys/net/ipv4/vs").join(name)).unwrap();
            all.insert((Kind::Sysctl, name.to_owned()), value);
        }
        all.insert((Kind::Timeouts, String::new()), run("ipvsadm -L --timeout"));
        Self(all)
    }

    /// Returns the entries and addresses of other programs.
    pub(super) fn foreign(&self) -> Self {
        let is_foreign = |(_, key): &(Kind, String)| {
            key.contains("203.0.113.")
                || key.contains("db8:f:")
                || key.contains("-f 100")
                || key.contains(".77/")
                || key.contains("::77/")
        };
        Self(
            self.0
                .iter()
                .filter(|(key, _)| is_foreign(key))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        )
    }

    /// Returns the addresses that other programs did not bind.
    pub(super) fn own_addresses(&self) -> BTreeSet<String> {
        let foreign = self.foreign();
        let own = self.0.keys().filter(|key| !foreign.0.contains_key(*key));
        let own = own.filter(|(kind, _)| *kind == Kind::Address);
        own.map(|(_, address)| address.split('/').next().unwrap().to_owned()).collect()
    }

    /// Summarises the later differences: `-1 service, +2 -2 real servers`; empty for none.
    pub(super) fn changes(&self, later: &Self) -> String {
        let mut counts: BTreeMap<Kind, [usize; 3]> = BTreeMap::new();
        for (key, value) in &later.0 {
            match self.0.get(key) {
                None => counts.entry(key.0).or_default()[0] += 1,
                Some(before) if before != value => counts.entry(key.0).or_default()[2] += 1,
                Some(_) => {}
            }
        }
        for key in self.0.keys().filter(|key| !later.0.contains_key(key)) {
            counts.entry(key.0).or_default()[1] += 1;
        }
        let words = counts.into_iter().map(|(kind, numbers)| {
            let noun = match kind {
                Kind::Service => "service",
                Kind::RealServer => "real server",
                Kind::Address => "VIP",
                Kind::Sysctl => "sysctl",
                Kind::Timeouts => return "~timeouts".to_owned(),
            };
            let signs = ["+", "-", "~"].into_iter().zip(numbers);
            let parts = signs.filter(|(_, number)| *number > 0);
            let parts: Vec<String> =
                parts.map(|(sign, number)| format!("{sign}{number}")).collect();
            let plural = if numbers.iter().max() == Some(&1) { "" } else { "s" };
            format!("{} {noun}{plural}", parts.join(" "))
        });
        words.collect::<Vec<_>>().join(", ")
    }
}
