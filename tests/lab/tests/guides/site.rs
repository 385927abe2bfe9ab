//! A cluster: its machines, the HTTP servers on its real servers, and how it is set up.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use evenkeel_lab::net::{Machine, Machines, Server, get};
use evenkeel_lab_tests::program;
use tempfile::TempDir;

use super::state::{self, State};

/// The time limit for connecting and for each read of a request.
const PATIENCE: Duration = Duration::from_secs(3);

/// A cluster of a guide, in which requests come from `client`, the director is `director`, and `rs1`
/// and `rs2` answer.
pub(super) struct Guide {
    /// All hosts with what they have before they become a cluster.
    pub(super) machines: Vec<Machine>,
    /// The port on which the real servers' HTTP servers listen.
    pub(super) port: u16,
    /// The commands of the guide.
    pub(super) commands: &'static [HostCommands],
    /// The same as a spec.
    pub(super) spec: &'static str,
}

/// The commands for some of the hosts.
pub(super) struct HostCommands {
    pub(super) hosts: &'static [&'static str],
    /// A shell script that ends at the first command that fails.
    pub(super) script: &'static str,
}

/// How a cluster is set up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    /// By the guide's own commands.
    Commands,
    /// By the spec, on each host.
    Evenkeel,
}

/// A running cluster.
pub(super) struct Site {
    pub(super) way: Way,
    pub(super) machines: Machines,
    commands: &'static [HostCommands],
    /// The spec that was applied last.
    spec: RefCell<String>,
    /// The spec and the state directories.
    folder: TempDir,
    _servers: Vec<Server>,
}

/// The hosts on which the spec is applied, in this order.
pub(super) const HOSTS: [&str; 3] = ["rs1", "rs2", "director"];

impl Site {
    /// Builds the machines and starts the HTTP servers, and nothing else.
    pub(super) fn build(guide: &Guide, way: Way) -> Self {
        let machines = Machines::build(&guide.machines).unwrap();
        let serve = |name: &str| Server::start(&machines[name], guide.port, name).unwrap();
        Self {
            way,
            _servers: ["rs1", "rs2"].map(serve).into(),
            machines,
            commands: guide.commands,
            spec: RefCell::new(guide.spec.to_owned()),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Runs the guide's commands, or applies the spec on each host, after which `doctor` finds nothing.
    pub(super) fn set_up(&self) {
        match self.way {
            Way::Commands => {
                for HostCommands { hosts, script } in self.commands {
                    for host in *hosts {
                        self.run(host, script);
                    }
                }
            }
            Way::Evenkeel => {
                let spec = self.spec.borrow().clone();
                for host in HOSTS {
                    self.apply(host, &spec);
                }
                self.assert_no_findings(&spec);
            }
        }
    }

    /// Runs a shell script on a host, which must succeed, and returns its output.
    pub(super) fn run(&self, host: &str, script: &str) -> String {
        self.machines[host].output("sh", &["-e", "-c", script]).unwrap()
    }

    /// Changes the applied spec: replaces `old`, which it has once, and applies the result on every
    /// host.
    pub(super) fn edit(&self, old: &str, new: &str) {
        let spec = self.edited(old, new);
        for host in HOSTS {
            self.apply(host, &spec);
        }
        self.spec.replace(spec);
    }

    /// Returns the spec that was applied last.
    pub(super) fn applied(&self) -> String {
        self.spec.borrow().clone()
    }

    /// Returns the applied spec with `new` in place of `old`, which it has once.
    pub(super) fn edited(&self, old: &str, new: &str) -> String {
        let spec = self.spec.borrow();
        assert_eq!(spec.matches(old).count(), 1, "{old} in {spec}");
        spec.replace(old, new)
    }

    /// Applies a spec on a host, which must succeed without a warning.
    pub(super) fn apply(&self, host: &str, spec: &str) {
        let Output { status, stdout, stderr } = self.evenkeel(host, spec, &["apply", "--yes"]);
        let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(status.success(), "{host}: {status}: {stdout}{stderr}");
        assert_eq!(stderr, "", "{host}: {stdout}");
    }

    /// Applies a spec that no longer lists this real server. It keeps its VIP for a while, as the
    /// director may still drain it; a later apply or a teardown removes that.
    pub(super) fn leave(&self, real_server: &str, spec: &str) {
        let output = self.evenkeel(real_server, spec, &["apply", "--yes", "--no-wait"]);
        assert!(output.status.success(), "{real_server}: {output:?}");
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(
            stdout.contains(" while directors may still drain this real server in "),
            "{real_server}: {stdout}"
        );
    }

    /// Asserts that nothing is left to do on any host.
    pub(super) fn assert_in_sync(&self) {
        let spec = self.spec.borrow();
        for host in HOSTS {
            let output = self.evenkeel(host, &spec, &["plan", "--detailed-exitcode"]);
            assert!(output.status.success(), "{host}: {output:?}");
        }
    }

    /// Asserts that `doctor` checks everything and finds nothing on any host.
    pub(super) fn assert_no_findings(&self, spec: &str) {
        let path = self.write(spec);
        // All at once: each waits a second for answers of neighbours.
        let examined = HOSTS.map(|host| {
            let mut command = self.command(host, &["doctor", "--probe"], Some(&path));
            (host, command.stdout(Stdio::piped()).spawn().unwrap())
        });
        for (host, doctor) in examined {
            assert_is_silent(host, &doctor.wait_with_output().unwrap());
        }
    }

    /// Asserts that `doctor` checks everything and finds nothing on a host.
    pub(super) fn assert_no_findings_on(&self, host: &str, spec: &str) {
        assert_is_silent(host, &self.evenkeel(host, spec, &["doctor", "--probe"]));
    }

    /// Returns what `doctor` finds on a host: lines that begin with a code.
    pub(super) fn findings(&self, host: &str, spec: &str) -> Vec<String> {
        let output = self.evenkeel(host, spec, &["doctor", "--probe"]);
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{host}: {output:?}");
        stdout.lines().filter(|line| line.starts_with("EK")).map(str::to_owned).collect()
    }

    /// Sends requests from the client, and returns how many of them fail.
    pub(super) fn failures(&self, address: &str, count: usize) -> usize {
        let address: SocketAddr = address.parse().unwrap();
        let fails = |_: &usize| get(address, PATIENCE).is_err();
        self.machines["client"].run(|| (0..count).filter(fails).count()).unwrap()
    }

    /// Runs evenkeel with a spec on a host, whatever its status.
    pub(super) fn evenkeel(&self, host: &str, spec: &str, arguments: &[&str]) -> Output {
        let path = self.write(spec);
        self.command(host, arguments, Some(&path)).output().unwrap()
    }

    fn write(&self, spec: &str) -> PathBuf {
        let path = self.folder.path().join("spec.yaml");
        std::fs::write(&path, spec).unwrap();
        path
    }

    /// Undoes on a host what evenkeel did there.
    pub(super) fn tear_down(&self, host: &str) {
        let output = self.command(host, &["teardown", "--yes"], None).output().unwrap();
        assert!(output.status.success(), "{host}: {output:?}");
    }

    fn command(&self, host: &str, arguments: &[&str], spec: Option<&Path>) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).args(["--netns", host]);
        command.arg("--state-dir").arg(self.folder.path().join(host)).args(spec);
        command
    }

    /// Sends requests from the client, one after the other, and returns the names of the real
    /// servers that answered.
    pub(super) fn ask(&self, address: &str, count: usize) -> Vec<String> {
        self.ask_from("client", address, count)
    }

    /// Does the same from any machine.
    pub(super) fn ask_from(&self, machine: &str, address: &str, count: usize) -> Vec<String> {
        let address: SocketAddr = address.parse().unwrap();
        let answer = |number| {
            get(address, PATIENCE).unwrap_or_else(|error| panic!("request {number}: {error}"))
        };
        self.machines[machine].run(|| (1..=count).map(answer).collect()).unwrap()
    }

    /// Sends a request from the client that is to fail, and returns how it does.
    pub(super) fn error_of(&self, address: &str) -> std::io::ErrorKind {
        let address: SocketAddr = address.parse().unwrap();
        let answer = self.machines["client"].run(|| get(address, PATIENCE)).unwrap();
        answer.expect_err("no real server answers").kind()
    }

    /// Returns the state of every host of the cluster.
    pub(super) fn state(&self) -> State {
        HOSTS.iter().flat_map(|host| state::of(host, &self.machines[host])).collect()
    }
}

/// Asserts that `doctor` checked everything and found nothing.
#[track_caller]
fn assert_is_silent(host: &str, output: &Output) {
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!((output.status.code(), &*stdout), (Some(0), "No findings.\n"), "{host}");
}
