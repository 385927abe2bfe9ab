//! Runs one method of reconfiguring a director through all set-ups under load.

use std::io::Write as _;
use std::ops::RangeInclusive;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use evenkeel_lab::net::load::{Demand, Incident, Load, Measured};
use evenkeel_lab::net::{Namespace, Network};
use evenkeel_lab_tests::program;
use tempfile::TempDir;

use super::changes::Change;
use super::cluster::{Kind, Setup};
/// The time under load before the first change and after the last.
const STEADY: Duration = Duration::from_millis(500);

/// How a director gets its next set-up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Way {
    /// `evenkeel apply`; every third apply does not wait for its drains.
    Apply,
    /// `ipvsadm -C` and `ipvsadm -R`, as `ipvsadm-restore` runs them, with this value of the sysctl
    /// `expire_nodest_conn`.
    Restore { expire_nodest_conn: &'static str },
}

/// One reconfiguration.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) changes: Vec<Change>,
    /// Since the start of the load.
    pub(super) begin: Duration,
    pub(super) end: Duration,
    /// The program's output.
    output: String,
}

/// The results of one method.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) way: Way,
    pub(super) measured: Measured,
    pub(super) steps: Vec<Step>,
    pub(super) took: Duration,
}

/// The load.
pub(super) struct Loaded {
    pub(super) kind: Kind,
    /// The duration of a download.
    pub(super) seconds: u32,
    /// The clients' ports.
    pub(super) ports: RangeInclusive<u16>,
}

struct Director<'a> {
    kind: Kind,
    way: Way,
    namespace: &'a Namespace,
    folder: TempDir,
}

impl Way {
    /// Builds a cluster, loads it, and runs it through the set-ups.
    pub(super) fn run(self, loaded: &Loaded, setups: &[(Setup, Vec<Change>)]) -> Run {
        let Loaded { kind, seconds, ref ports } = *loaded;
        let network: Network = kind.build();
        let namespace = &network.director;
        let director =
            Director { kind, way: self, namespace, folder: tempfile::tempdir().unwrap() };
        let mut present = Setup::first();
        director.begin(&present);
        let ports = ports.clone();
        let demand = Demand { seconds, ports, ..Demand::new(kind.target(), kind.clients()) };
        let load = Load::start(&network.client, demand).unwrap();
        sleep(STEADY);
        let mut steps = Vec::new();
        for (number, (setup, changes)) in setups.iter().enumerate() {
            let begin = load.elapsed();
            let output = director.turn(&present, setup, number);
            let changes = changes.clone();
            steps.push(Step { changes, begin, end: load.elapsed(), output });
            present = setup.clone();
            sleep(Duration::from_millis(number as u64 * 37 % 100));
        }
        if self == Self::Apply {
            // Drains for which earlier applies did not wait.
            director.turn(&present, &present, 0);
        }
        sleep(STEADY);
        let took = load.elapsed();
        Run { way: self, measured: load.stop(), steps, took }
    }
}

impl Director<'_> {
    /// Applies the first set-up, before there is load.
    fn begin(&self, setup: &Setup) {
        match self.way {
            Way::Apply => drop(self.apply(setup, 0)),
            Way::Restore { expire_nodest_conn } => {
                self.namespace
                    .sysctls(&[("ipv4/vs/expire_nodest_conn", expire_nodest_conn)])
                    .unwrap();
                let length = if self.kind.is_ipv6 { 128 } else { 32 };
                let vips = setup.vips(self.kind);
                let lines = vips.iter().map(|vip| format!("address add {vip}/{length} dev eth0\n"));
                self.namespace.ip(&lines.collect::<String>()).unwrap();
                self.restore(setup);
            }
        }
    }

    fn turn(&self, before: &Setup, after: &Setup, number: usize) -> String {
        match self.way {
            Way::Apply => self.apply(after, number),
            Way::Restore { .. } => {
                let (old, new) = (before.vips(self.kind), after.vips(self.kind));
                let length = if self.kind.is_ipv6 { 128 } else { 32 };
                let line = |verb, vip| format!("address {verb} {vip}/{length} dev eth0\n");
                let added: String = new.difference(&old).map(|vip| line("add", vip)).collect();
                let gone: String = old.difference(&new).map(|vip| line("del", vip)).collect();
                if !added.is_empty() {
                    self.namespace.ip(&added).unwrap();
                }
                self.restore(after);
                if !gone.is_empty() {
                    self.namespace.ip(&gone).unwrap();
                }
                String::new()
            }
        }
    }

    fn apply(&self, setup: &Setup, number: usize) -> String {
        let spec = self.folder.path().join("spec.yaml");
        std::fs::write(&spec, setup.spec(self.kind)).unwrap();
        let mut command = Command::new(program());
        command.args(["apply", "--yes", "--allow", "mass-delete", "--state-dir"]);
        command.arg(self.folder.path().join("state")).arg(&spec);
        if number % 3 == 2 {
            command.arg("--no-wait");
        }
        let output = self.namespace.run(|| command.output()).unwrap().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let all = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success(), "{}: {all}\n{}", output.status, setup.spec(self.kind));
        all
    }

    fn restore(&self, setup: &Setup) {
        self.namespace.output("ipvsadm", &["-C"]).unwrap();
        let rules = setup.rules(self.kind);
        let restored = self.namespace.run(|| {
            let mut child = Command::new("ipvsadm").arg("-R").stdin(Stdio::piped()).spawn()?;
            child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(rules.as_bytes()))?;
            child.wait()
        });
        assert!(restored.unwrap().unwrap().success(), "{rules}");
    }
}

impl Run {
    /// Returns the last step that began before the client of an incident noticed it.
    pub(super) fn step_before(&self, incident: &Incident) -> Option<&Step> {
        self.steps.iter().rev().find(|step| step.begin <= incident.at)
    }

    /// Describes the first failures and the change that was being made at the time.
    pub(super) fn story(&self) -> String {
        let mut text = String::new();
        for incident in self.measured.incidents.iter().take(12) {
            text += &format!("{incident:?}\n");
            if let Some(Step { changes, begin, end, output }) = self.step_before(incident) {
                text += &format!("  after {begin:?} to {end:?}: {changes:?}\n{output}\n");
            }
        }
        text
    }

    /// Returns the mean duration of a reconfiguration.
    pub(super) fn mean(&self) -> Duration {
        let all: Duration = self.steps.iter().map(|step| step.end - step.begin).sum();
        all / u32::try_from(self.steps.len().max(1)).unwrap()
    }
}
