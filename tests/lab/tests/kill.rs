//! SIGKILL at every point of an apply: whatever was interrupted, the next apply converges, and no
//! object of other programs was changed.
//!
//! The killed process is this test program, which runs a pass by the libraries and kills itself at
//! a given call to the kernel, so that every point is covered. In addition, the evenkeel program is
//! killed at random moments.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::RandomState;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use evenkeel_control::{LockError, LockGuard};
use evenkeel_engine::{
    ApplyOptions, HostKernel, Kernel, KernelError, LastApplied, NoopContext, Pass, Replies,
    StateDir, Sysctls, TableDigest, execute_journalled, plan_changes,
};
use evenkeel_host::Capability;
use evenkeel_lab_tests::{fresh_namespace, ipvsadm, program, run, run_with};
use evenkeel_model::statistics::Statistics;
use evenkeel_model::{Binding, Live, Service, ServiceKey};
use evenkeel_plan::Op;
use evenkeel_spec::{Source, load};
use nix::sys::signal::{Signal, raise};
use tempfile::TempDir;

/// Ends the process at the given call to it.
struct KillableKernel {
    kernel: HostKernel,
    calls: Cell<usize>,
    at: usize,
    has_written: Cell<bool>,
    /// Where it reports its progress.
    phase: PathBuf,
}

impl KillableKernel {
    fn turn(&self, phase: &str) {
        let call = self.calls.replace(self.calls.get() + 1);
        if call == self.at {
            std::fs::write(&self.phase, phase).unwrap();
            raise(Signal::SIGKILL).unwrap();
        }
    }

    fn reading(&self, after_writes: &'static str) {
        self.turn(if self.has_written.get() { after_writes } else { PHASES[0] });
    }
}

const PHASES: [&str; 5] = [
    "before the writes",
    "around the journal",
    "amid the writes",
    "in a drain",
    "after the writes",
];

impl Kernel for KillableKernel {
    type LockGuard = LockGuard;

    fn lock() -> Result<LockGuard, LockError> {
        HostKernel::lock()
    }

    fn try_lock() -> Result<Option<LockGuard>, LockError> {
        HostKernel::try_lock()
    }

    fn has_capability(&self, capability: Capability) -> bool {
        self.kernel.has_capability(capability)
    }

    fn silent_interfaces(&mut self) -> Result<BTreeSet<Box<str>>, KernelError> {
        self.kernel.silent_interfaces()
    }

    fn set_journalled(&mut self, bindings: BTreeSet<Binding>) {
        self.kernel.set_journalled(bindings);
    }

    fn observe(&mut self, sysctls: &Sysctls) -> Result<Live, KernelError> {
        self.reading(PHASES[4]);
        self.kernel.observe(sysctls)
    }

    fn observe_with_statistics(
        &mut self,
        sysctls: &Sysctls,
    ) -> Result<(Live, Statistics), KernelError> {
        self.reading(PHASES[4]);
        self.kernel.observe_with_statistics(sysctls)
    }

    fn services(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
    ) -> Result<BTreeMap<ServiceKey, Service>, KernelError> {
        self.reading(PHASES[4]);
        self.kernel.services(keys)
    }

    fn services_with_statistics(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
    ) -> Result<(BTreeMap<ServiceKey, Service>, Statistics), KernelError> {
        self.reading(PHASES[3]);
        self.kernel.services_with_statistics(keys)
    }

    fn read_namespace(&mut self, sysctls: &Sysctls, live: &mut Live) -> Result<(), KernelError> {
        self.reading(PHASES[4]);
        self.kernel.read_namespace(sysctls, live)
    }

    /// One by one, so that there is a turn between any two.
    fn execute(&mut self, ops: &[Op]) -> Result<Replies, KernelError> {
        let mut all = Replies::default();
        for (place, op) in ops.iter().enumerate() {
            let is_first = !self.has_written.replace(true);
            self.turn(PHASES[if is_first { 1 } else { 2 }]);
            let Replies { exceptions, warnings } = self.kernel.execute(std::slice::from_ref(op))?;
            all.exceptions.extend(exceptions.into_values().map(|exception| (place, exception)));
            all.warnings.extend(warnings);
        }
        Ok(all)
    }

    fn reannounce(&mut self, vips: &[&Binding]) -> Result<Vec<String>, KernelError> {
        self.kernel.reannounce(vips)
    }

    fn digest_table(&mut self, keys: &RandomState) -> Result<TableDigest, KernelError> {
        self.kernel.digest_table(keys)
    }
}

const FOREIGN_SERVICE: &str =
    "-A -t 203.0.113.1:80 -s rr\n-a -t 203.0.113.1:80 -r 10.0.0.9:80 -g -w 1\n";

/// Two specs between which everything changes: services, real servers that drain,
/// a scheduler, weights, VIPs, a dummy device, a sysctl, timeouts. (A
/// drain that waits for open connections is killed in `cli::drain`.)
const SPECS: [&str; 2] = [
    "version: 1
scope: { vips: [192.0.2.0/24] }
vips:
  - { address: 192.0.2.1, interface: eth0 }
  - { address: 192.0.2.2, interface: eth0 }
timeouts: { tcp: 15m }
services:
  - name: web
    vip: 192.0.2.1
    port: 80
    scheduler: rr
    forward: nat
    drain: 1h
    real_servers: [ { address: 127.0.0.1 }, { address: 127.0.0.2, weight: 20 } ]
  - name: old
    vip: 192.0.2.2
    port: 443
    scheduler: wrr
    drain: 2s
    real_servers: [ { address: 10.0.0.1 }, { address: 10.0.0.2 } ]
",
    "version: 1
scope: { vips: [192.0.2.0/24] }
vips:
  - { address: 192.0.2.1, interface: eth0 }
  - { address: 192.0.2.3, interface: vips, dummy: true }
sysctls: { net.ipv4.vs.expire_nodest_conn: 1 }
timeouts: { tcp: 20m }
services:
  - name: web
    vip: 192.0.2.1
    port: 80
    scheduler: wrr
    forward: nat
    drain: 1h
    real_servers: [ { address: 127.0.0.2, weight: 10 }, { address: 127.0.0.3 } ]
  - name: new
    vip: 192.0.2.3
    port: 443
    protocol: udp
    real_servers: [ { address: 10.0.0.3 }, { address: 10.0.0.4, weight: 0 } ]
",
];

struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        fresh_namespace();
        run("ip link add eth0 up type dummy");
        run("ip address add 203.0.113.1/32 dev eth0");
        // In scope, and yet not evenkeel's to take away.
        run("ip address add 192.0.2.77/32 dev eth0");
        run_with("ipvsadm -R", FOREIGN_SERVICE);
        let fixture = Self { folder: tempfile::tempdir().unwrap() };
        for (number, spec) in SPECS.iter().enumerate() {
            std::fs::write(fixture.path().join(format!("{number}.yaml")), spec).unwrap();
        }
        fixture.apply(0);
        fixture
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).arg("--state-dir").arg(self.path().join("state"));
        command.current_dir(self.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A whole apply of that spec, after which nothing is left to do.
    fn apply(&self, number: usize) {
        let name = format!("{number}.yaml");
        let apply = ["apply", "--yes", &name, "--allow", "unbind-in-use"];
        let output = self.command(&apply).output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{words}");
        assert!(!words.contains("damaged"), "{words}");
        let plan = self.command(&["plan", "--detailed-exitcode", &name]).output().unwrap();
        assert_eq!(plan.status.code(), Some(0), "{plan:?}");
    }

    /// Nothing outside the scope is touched, and no address of someone else is gone.
    fn assert_foreign_services_are_untouched(&self) {
        let table = ipvsadm::save();
        assert!(FOREIGN_SERVICE.lines().all(|line| table.contains(line)), "{table:?}");
        let shown = run("ip -o address show dev eth0");
        for address in ["203.0.113.1/32", "192.0.2.77/32"] {
            assert!(shown.contains(address), "{address}: {shown}");
        }
    }

    /// Carries a spec out in a process that ends at that call, and how far it came; `None` where
    /// it came to its end before.
    fn killed_at(&self, call: usize, number: usize) -> Option<&'static str> {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["kill::child", "--exact", "--ignored"]);
        child.env("EVENKEEL_KILL_AT", call.to_string());
        child.env("EVENKEEL_KILL_SPEC", self.path().join(format!("{number}.yaml")));
        child.env("EVENKEEL_KILL_STATE", self.path().join("state"));
        let output = child.output().unwrap();
        if output.status.signal() != Some(9) {
            assert!(output.status.success(), "{output:?}");
            return None;
        }
        let phase = std::fs::read_to_string(self.path().join("phase")).unwrap();
        PHASES.into_iter().find(|it| *it == phase)
    }
}

/// Not a test by itself: what [`Fixture::killed_at`] runs.
#[test]
#[ignore = "run by the others in a process of its own"]
fn child() {
    let Some(at) = std::env::var_os("EVENKEEL_KILL_AT") else { return };
    let path = |name: &str| PathBuf::from(std::env::var_os(name).unwrap());
    let text = std::fs::read(path("EVENKEEL_KILL_SPEC")).unwrap();
    let desired = load(&[Source::new("spec.yaml", text)]).unwrap().desired;
    let label = evenkeel_host::Namespace::current().unwrap().label();
    let state = StateDir::new(&path("EVENKEEL_KILL_STATE"), &label);
    let (mut journal, _) = state.read(true).unwrap();
    let kernel = HostKernel::connect(journal.addresses.clone()).unwrap();
    let at = at.to_str().unwrap().parse().unwrap();
    let phase = path("EVENKEEL_KILL_STATE").with_file_name("phase");
    let (calls, has_written) = (Cell::new(0), Cell::new(false));
    let mut kernel = KillableKernel { kernel, calls, at, has_written, phase };
    let mut sysctls: Sysctls = journal.record.sysctls.keys().cloned().collect();
    sysctls.extend(desired.sysctls.keys().cloned());
    let live = kernel.observe(&sysctls).unwrap();
    let record = journal.record.clone();
    let (plan, _) =
        plan_changes(&mut kernel, &desired, &live, &record, |_: &[_]| LastApplied::default())
            .unwrap();
    let pass = Pass { record, ..Pass::new(&desired, live, plan.steps) };
    let options = ApplyOptions {
        wait: std::env::var_os("EVENKEEL_KILL_WAIT").is_some(),
        ..ApplyOptions::default()
    };
    execute_journalled(&mut kernel, pass, options, &mut NoopContext, &state, &mut journal).unwrap();
}

/// Every call of a pass in both directions once, and then those of each phase until there are
/// enough of it.
#[test]
#[expect(clippy::print_stdout, reason = "a test that counts says how many")]
fn a_pass_that_is_killed_at_any_call_to_the_kernel_is_finished_by_the_next_apply() {
    const ENOUGH: usize = 15;
    let fixture = Fixture::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut calls: [BTreeMap<&str, usize>; 2] = Default::default();
    let mut next = [0, 0];
    let mut direction = 1;
    let mut kill = |call: usize, direction: usize| {
        let phase = fixture.killed_at(call, direction);
        fixture.assert_foreign_services_are_untouched();
        fixture.apply(direction);
        fixture.assert_foreign_services_are_untouched();
        if let Some(phase) = phase {
            *counts.entry(phase).or_default() += 1;
        }
        (phase, counts.clone())
    };
    let mut done = [false, false];
    while done != [true, true] {
        let call = next[direction];
        next[direction] += 1;
        match kill(call, direction).0 {
            Some(phase) => {
                calls[direction].insert(phase, call);
            }
            None => done[direction] = true,
        }
        direction = 1 - direction;
    }
    let mut counted = BTreeMap::new();
    for phase in PHASES {
        for _ in 0..2 * ENOUGH {
            let call = calls[direction][phase];
            let (_, now) = kill(call, direction);
            direction = 1 - direction;
            counted = now;
            if counted[phase] >= ENOUGH {
                break;
            }
        }
    }
    println!("killed at every call to the kernel, by phase: {counted:?}");
    assert!(PHASES.iter().all(|phase| counted[phase] >= ENOUGH), "{counted:?}");
}

/// The program, killed after more and more time: in its start, while it reads, around the journal,
/// while it writes, while it waits.
#[test]
#[expect(clippy::print_stdout, reason = "a test that counts says how many")]
fn the_program_killed_at_any_moment_leaves_what_the_next_apply_finishes() {
    let fixture = Fixture::new();
    let (mut killed, mut ended) = (0, 0);
    let mut phases: BTreeMap<&str, usize> = BTreeMap::new();
    for round in 0..30_u64 {
        let direction = usize::from(round % 2 == 0);
        let before = ipvsadm::save();
        let name = format!("{direction}.yaml");
        let apply = ["apply", "--yes", &name, "--allow", "unbind-in-use"];
        let mut child = fixture.command(&apply).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(4 + 2 * round));
        child.kill().unwrap();
        match child.wait().unwrap().signal() {
            Some(_) => killed += 1,
            None => ended += 1,
        }
        let is_changed = ipvsadm::save() != before;
        let plan = fixture.command(&["plan", "--detailed-exitcode", &name]).output().unwrap();
        let words = String::from_utf8_lossy(&plan.stderr).into_owned();
        assert!(!words.contains("damaged"), "{words}");
        *phases
            .entry(match (is_changed, plan.status.code()) {
                (false, _) => "before the writes",
                (true, Some(0)) => "after the writes",
                (true, _) => "amid the writes",
            })
            .or_default() += 1;
        fixture.assert_foreign_services_are_untouched();
        fixture.apply(direction);
        fixture.assert_foreign_services_are_untouched();
    }
    println!("killed {killed} times, {ended} ended before: {phases:?}");
    assert!(killed >= 15, "{killed} {ended}");
}
