//! A cluster: its machines, the HTTP servers on them, and the spec that sets it up.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use evenkeel_lab::net::{Machine, Machines, Server, get, get_from};
use evenkeel_lab_tests::program;
use serde_json::Value;
use tempfile::TempDir;

/// The time limit for connecting and for each read of a request.
const PATIENCE: Duration = Duration::from_secs(3);

/// A running cluster.
pub(super) struct Site {
    pub(super) machines: Machines,
    /// The hosts of the spec, in the order in which it is applied.
    hosts: &'static [&'static str],
    /// The specs and the state directories.
    folder: TempDir,
    servers: Vec<Server>,
}

/// A finding of `doctor`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) code: String,
    pub(super) message: String,
}

/// What `doctor` reports.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Examined {
    pub(super) findings: Vec<Finding>,
    /// The codes that were not checked, with the reason: `EK022, EK023: because`.
    pub(super) not_checked: Vec<String>,
}

/// A running daemon, which is ended when dropped.
pub(super) struct Daemon {
    host: &'static str,
    process: Child,
    log: PathBuf,
}

impl Daemon {
    /// Returns what it has logged.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A test that fails says why itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A director, the real servers `rs1` and `rs2`, and a client, all on one network. Clients have
/// addresses in 10.0.0.0/24 and fd00::/64, and in 10.0.1.0/24 and fd00:0:0:1::/64.
pub(super) fn lan() -> Vec<Machine> {
    let machine = |name, addresses: &[&str]| Machine::new(name).on("lan", "eth0", addresses);
    vec![
        machine(
            "client",
            &[
                "10.0.0.8/16",
                "10.0.0.9/16",
                "10.0.1.9/16",
                "fd00::8/48",
                "fd00::9/48",
                "fd00:0:0:1::9/48",
            ],
        ),
        machine("director", &["10.0.0.1/16", "fd00::1/48"]),
        machine("rs1", &["10.0.0.11/16", "fd00::11/48"]),
        machine("rs2", &["10.0.0.12/16", "fd00::12/48"]),
    ]
}

impl Examined {
    /// Reads the document of `doctor`.
    fn of(host: &str, output: &Output) -> Self {
        let document: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{host}: {error}: {output:?}"));
        let findings = document["findings"].as_array().unwrap_or_else(|| panic!("{output:?}"));
        let text = |it: &Value, key: &str| it[key].as_str().unwrap().to_owned();
        let findings: Vec<Finding> = findings
            .iter()
            .map(|it| Finding { code: text(it, "code"), message: text(it, "message") })
            .collect();
        assert_eq!(output.status.code(), Some(i32::from(!findings.is_empty())), "{output:?}");
        let not_checked =
            document["not_checked"].as_array().unwrap_or_else(|| panic!("{output:?}"));
        let not_checked = not_checked.iter().map(|it| {
            let codes = it["codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap());
            format!("{}: {}", codes.collect::<Vec<_>>().join(", "), text(it, "reason"))
        });
        Self { findings, not_checked: not_checked.collect() }
    }
}

impl Site {
    /// Builds the machines and nothing else.
    pub(super) fn build(machines: &[Machine], hosts: &'static [&'static str]) -> Self {
        let machines = Machines::build(machines).unwrap();
        Self { machines, hosts, folder: tempfile::tempdir().unwrap(), servers: Vec::new() }
    }

    /// Starts an HTTP server on each of these ports of a machine, which answers with the machine's
    /// name and the port: `rs1:80`.
    pub(super) fn serve(&mut self, machine: &str, ports: &[u16]) {
        let start = |port: &u16| {
            Server::start(&self.machines[machine], *port, &format!("{machine}:{port}")).unwrap()
        };
        let servers: Vec<Server> = ports.iter().map(start).collect();
        self.servers.extend(servers);
    }

    /// Applies a spec on each host, after which each of them is in sync and `doctor` checks everything and
    /// finds nothing.
    pub(super) fn set_up(&self, spec: &str) {
        for host in self.hosts {
            self.apply(host, spec);
        }
        self.assert_in_sync(spec);
        // All at once: each waits a second for answers of neighbours.
        let examined = self.hosts.iter().map(|host| {
            let mut command = self.command(host, &["doctor", "--output", "json", "--probe"]);
            (host, command.arg(self.spec_path()).stdout(Stdio::piped()).spawn().unwrap())
        });
        for (host, doctor) in examined.collect::<Vec<_>>() {
            let examined = Examined::of(host, &doctor.wait_with_output().unwrap());
            assert_eq!(examined, Examined::default(), "{host}");
        }
    }

    /// Returns the codes of what `doctor` finds on a host without asking neighbours, in their order, with what
    /// it says.
    pub(super) fn findings(&self, host: &str, spec: &str) -> Vec<Finding> {
        self.examine(host, spec, &[]).findings
    }

    /// Runs `doctor` with more arguments.
    pub(super) fn examine(&self, host: &str, spec: &str, more: &[&str]) -> Examined {
        let output = self.evenkeel(host, spec, &[&["doctor", "--output", "json"], more].concat());
        Examined::of(host, &output)
    }

    /// Sends a request from the client, and returns whether it is answered.
    pub(super) fn is_answered(&self, address: &str) -> bool {
        let address: SocketAddr = address.parse().unwrap();
        self.machines["client"].run(|| get(address, PATIENCE)).unwrap().is_ok()
    }

    /// Asserts that nothing is left to do on any host.
    pub(super) fn assert_in_sync(&self, spec: &str) {
        for host in self.hosts {
            let output = self.evenkeel(host, spec, &["plan", "--detailed-exitcode"]);
            assert!(output.status.success(), "{host}: {output:?}");
        }
    }

    /// Waits until a daemon has made a host as the spec that it follows asks.
    pub(super) fn wait_until_in_sync(&self, daemon: &Daemon, spec: &str) {
        let end = Instant::now() + 4 * PATIENCE;
        let arguments = ["plan", "--detailed-exitcode"];
        while !self.evenkeel(daemon.host, spec, &arguments).status.success() {
            assert!(Instant::now() < end, "{}", daemon.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Applies a spec on a host, which must succeed without a warning.
    pub(super) fn apply(&self, host: &str, spec: &str) {
        self.apply_with(host, spec, &["apply", "--yes"]);
    }

    /// Does the same, without waiting for what ends only after some time.
    pub(super) fn apply_without_waiting(&self, host: &str, spec: &str) {
        self.apply_with(host, spec, &["apply", "--yes", "--no-wait"]);
    }

    fn apply_with(&self, host: &str, spec: &str, arguments: &[&str]) {
        let Output { status, stdout, stderr } = self.evenkeel(host, spec, arguments);
        let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(status.success(), "{host}: {status}: {stdout}{stderr}");
        // Drains show their progress there. Some sites reach a real server by all methods at once, with
        // clients that are near enough.
        let is_unexpected = |line: &&str| {
            line.contains("warning: ") && !line.contains(": by this default route, answers")
        };
        let unexpected: Vec<&str> = stderr.lines().filter(is_unexpected).collect();
        assert!(unexpected.is_empty(), "{host}: {stdout}{stderr}");
    }

    /// Starts a daemon on a host, which follows the file of [`Site::write`] and checks the host every
    /// second.
    pub(super) fn watch(&self, host: &'static str) -> Daemon {
        let mut command = self.command(host, &["watch", "--interval", "1s", "--listen", "none"]);
        command.arg(self.folder.path().join(format!("{host}.yaml")));
        let log = self.folder.path().join(format!("{host}.log"));
        command.stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        Daemon { host, process: command.spawn().unwrap(), log }
    }

    /// Writes the spec that a host's daemon follows.
    pub(super) fn write(&self, host: &str, spec: &str) {
        let new = self.folder.path().join(format!("{host}.new"));
        std::fs::write(&new, spec).unwrap();
        std::fs::rename(new, self.folder.path().join(format!("{host}.yaml"))).unwrap();
    }

    /// Runs evenkeel with a spec on a host, whatever its status.
    fn evenkeel(&self, host: &str, spec: &str, arguments: &[&str]) -> Output {
        let path = self.spec_path();
        std::fs::write(&path, spec).unwrap();
        self.command(host, arguments).arg(path).output().unwrap()
    }

    /// Where the spec is with which evenkeel was run last.
    pub(super) fn spec_path(&self) -> PathBuf {
        self.folder.path().join("spec.yaml")
    }

    pub(super) fn command(&self, host: &str, arguments: &[&str]) -> Command {
        let state: &Path = &self.folder.path().join(host);
        let mut command = Command::new(program());
        command.args(arguments).args(["--netns", host]).arg("--state-dir").arg(state);
        command
    }

    /// Runs a shell script on a machine, which must succeed, and returns its output.
    pub(super) fn run(&self, machine: &str, script: &str) -> String {
        self.machines[machine].output("sh", &["-e", "-c", script]).unwrap()
    }

    /// Sends requests from the client, one after the other, and returns what answered: `rs1:80`.
    pub(super) fn ask(&self, address: &str, count: usize) -> Vec<String> {
        let address: SocketAddr = address.parse().unwrap();
        let answer = |number| {
            get(address, PATIENCE).unwrap_or_else(|error| panic!("{address}, {number}: {error}"))
        };
        self.machines["client"].run(|| (1..=count).map(answer).collect()).unwrap()
    }

    /// Sends a request from one of the client's addresses.
    pub(super) fn ask_from(&self, from: &str, address: &str) -> String {
        let from: IpAddr = from.parse().unwrap();
        let address: SocketAddr = address.parse().unwrap();
        let answer = || get_from(from, address, PATIENCE);
        let answer = self.machines["client"].run(answer).unwrap();
        answer.unwrap_or_else(|error| panic!("{from} to {address}: {error}"))
    }
}

/// Asserts that these answered in turn, beginning with any of them.
#[track_caller]
pub(super) fn assert_in_turn(answers: &[String], names: &[&str]) {
    let mut round: Vec<&str> = answers.iter().take(names.len()).map(String::as_str).collect();
    round.sort_unstable();
    assert_eq!(round, names, "{answers:?}");
    assert!(
        answers.iter().zip(&answers[names.len()..]).all(|(one, next)| one == next),
        "{answers:?}"
    );
}
