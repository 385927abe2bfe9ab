//! Tests the program on a real kernel; its effects are checked with `ipvsadm`, `ip` and traffic.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use evenkeel_lab_tests::{fresh_namespace, ipvsadm, program, root, run, run_with};
use tempfile::TempDir;

mod adoption;
mod bad_input;
mod confirm;
mod connections;
mod cut_off;
mod drain;
mod edits;
mod examples;
mod failures;
mod first_steps;
mod globals;
mod guards;
mod journal;
mod json;
mod listings;
mod lock;
mod namespaces;
mod neighbours;
mod permissions;
mod prompt;
mod saved_plans;
mod scope;
mod secrets;
mod show;
mod sysctls;
mod targets;
mod teardown;
mod traffic;
mod vip_keys;
mod writers;
mod zero;

/// A directory with specs and a state directory of its own, in which the program runs in the
/// calling thread's network namespace.
pub(crate) struct Fixture {
    folder: TempDir,
}

/// The result of a run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        let Output { status, stdout, stderr } = output;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { status: status.code().unwrap(), stdout: text(stdout), stderr: text(stderr) }
    }
}

impl Fixture {
    /// Creates a new namespace with the table of these `ipvsadm` rules and a device `eth0` for
    /// VIPs. The addresses of services are local, so that no plan warns that they are not.
    pub(crate) fn new(rules: &str) -> Self {
        fresh_namespace();
        run("ip link add eth0 up type dummy");
        run("ip route add local 192.0.2.0/24 dev lo");
        run("ip route add local 2001:db8::/32 dev lo");
        if !rules.is_empty() {
            run_with("ipvsadm -R", rules);
        }
        Self::here()
    }

    /// Does the same as [`Fixture::new`], and sets `expire_nodest_conn`, so that no plan warns
    /// about connections that remain after a drain.
    fn expiring(rules: &str) -> Self {
        let fixture = Self::new(rules);
        expire_connections();
        fixture
    }

    /// Uses the namespace of the calling thread.
    fn here() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    /// Runs the program with arguments split at spaces.
    pub(crate) fn evenkeel(&self, arguments: &str) -> Answer {
        let mut command = Command::new(program());
        command.args(arguments.split_whitespace());
        self.output(command)
    }

    /// Runs a command that ends with the program and its arguments, such as `setpriv`.
    pub(crate) fn output(&self, mut command: Command) -> Answer {
        command.arg("--state-dir").arg(self.path().join("state")).current_dir(self.path());
        command.output().unwrap().into()
    }

    /// Runs the program, asserts status 0 and an empty stderr, and returns stdout. Warnings of services that no
    /// client reaches do not count: many specs of these tests serve none.
    pub(crate) fn done(&self, arguments: &str) -> String {
        let Answer { status, stdout, stderr } = self.evenkeel(arguments);
        let is_of_clients = |line: &str| {
            line.starts_with("warning: no client reaches ")
                || line.starts_with("warning: new clients of ")
        };
        let others: Vec<&str> = stderr.lines().filter(|line| !is_of_clients(line)).collect();
        assert_eq!((status, &others[..]), (0, &[][..]), "{arguments}: {stdout}");
        stdout
    }

    /// Writes a spec, applies it successfully and returns stdout.
    fn apply(&self, spec: &str) -> String {
        self.write("spec.yaml", spec);
        self.done("apply --yes spec.yaml")
    }

    /// Asserts that nothing is left to do.
    fn assert_in_sync(&self, spec: &str) {
        let answer = self.evenkeel(&format!("plan --detailed-exitcode {spec}"));
        assert_eq!(answer.status, 0, "{answer:?}");
        assert!(answer.stdout.starts_with("In sync; "), "{answer:?}");
    }
}

/// Makes the kernel end connections whose real server is deleted, in this namespace.
fn expire_connections() {
    std::fs::write("/proc/sys/net/ipv4/vs/expire_nodest_conn", "1").unwrap();
}

/// Returns the addresses of this namespace as `ip` lists them, each with its interface, without
/// loopback and link-local ones.
fn addresses() -> BTreeSet<String> {
    let shown: serde_json::Value = serde_json::from_str(&run("ip -j addr show")).unwrap();
    let mut all = BTreeSet::new();
    for link in shown.as_array().unwrap() {
        for entry in link["addr_info"].as_array().unwrap() {
            let address = entry["local"].as_str().unwrap();
            let is_loopback = address.parse::<std::net::IpAddr>().unwrap().is_loopback();
            if !is_loopback && !address.starts_with("fe80:") {
                let interface = link["ifname"].as_str().unwrap();
                all.insert(format!("{address}/{} {interface}", entry["prefixlen"]));
            }
        }
    }
    all
}

/// Runs the program on a terminal and types this text.
fn on_a_terminal(fixture: &Fixture, arguments: &str, typed: &str) -> Answer {
    let mut command = Command::new("script");
    let state = fixture.path().join("state");
    let line = format!("{} {arguments} --state-dir {}", program().display(), state.display());
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    command.current_dir(fixture.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, typed.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

/// Returns all state that must not change: the table, its thresholds, the addresses.
fn everything() -> impl PartialEq + std::fmt::Debug {
    (ipvsadm::save(), ipvsadm::listed_thresholds(), addresses())
}

/// Returns the lines of a text, trimmed, without empty ones, to compare tables.
fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}
