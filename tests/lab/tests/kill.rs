//! Sends SIGKILL at every point of an apply: the next apply converges, and no object of other
//! programs is changed.
//!
//! The killed process is this test program, which runs a pass by the libraries and kills itself at
//! a given call to the kernel, so that every point is covered. In addition, the evenkeel program is
//! killed at random moments.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use evenkeel_engine::{
    ApplyOptions, HostKernel, Kernel, KernelError, LastApplied, NoopContext, Pass, ReadRequest,
    Replies, StateDir, Wanted, execute_journalled, plan_changes,
};
use evenkeel_host::set_sysctl;
use evenkeel_lab_tests::sysctls::{changed, of_interfaces};
use evenkeel_lab_tests::{fresh_namespace, ipvsadm, program, run, run_with};
use evenkeel_plan::Op;
use evenkeel_spec::{Source, load};
use nix::sys::signal::{Signal, raise};
use tempfile::TempDir;

use crate::hooked_kernel::{HookedKernel, Hooks, Reading};

/// Kills the process at the given call to the kernel.
struct Kill {
    calls: usize,
    at: usize,
    has_written: bool,
    /// The file to which it writes its phase.
    phase: PathBuf,
}

impl Kill {
    fn count_call(&mut self, phase: &str) {
        if self.calls == self.at {
            std::fs::write(&self.phase, phase).unwrap();
            raise(Signal::SIGKILL).unwrap();
        }
        self.calls += 1;
    }
}

const PHASES: [&str; 5] = [
    "before the writes",
    "around the journal",
    "amid the writes",
    "in a drain",
    "after the writes",
];

impl Hooks for Kill {
    fn before_reading(&mut self, reading: Reading) {
        self.count_call(match reading {
            _ if !self.has_written => PHASES[0],
            Reading::Drains => PHASES[3],
            Reading::State => PHASES[4],
        });
    }

    /// Runs the operations one by one, so that the process can be killed between any two.
    fn execute(&mut self, kernel: &mut HostKernel, ops: &[Op]) -> Result<Replies, KernelError> {
        let mut all = Replies::default();
        for (place, op) in ops.iter().enumerate() {
            self.count_call(PHASES[if self.has_written { 2 } else { 1 }]);
            self.has_written = true;
            let Replies { exceptions, warnings } = kernel.execute(std::slice::from_ref(op))?;
            all.exceptions.extend(exceptions.into_values().map(|exception| (place, exception)));
            all.warnings.extend(warnings);
        }
        Ok(all)
    }
}

const FOREIGN_SERVICE: &str =
    "-A -t 203.0.113.1:80 -s rr\n-a -t 203.0.113.1:80 -r 10.0.0.9:80 -g -w 1\n";

/// Two specs between which everything changes: services, real servers that drain, a scheduler,
/// weights, VIPs, a dummy device, a sysctl, timeouts. (`cli::drain` kills a drain that waits for
/// open connections.)
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
        // In scope, and yet bound by another program.
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

    /// Applies that spec completely and asserts that nothing is left to do.
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

    /// Asserts that no object out of scope and no address of another program was changed.
    fn assert_foreign_objects_are_unchanged(&self) {
        let table = ipvsadm::save();
        assert!(FOREIGN_SERVICE.lines().all(|line| table.contains(line)), "{table:?}");
        let shown = run("ip -o address show dev eth0");
        for address in ["203.0.113.1/32", "192.0.2.77/32"] {
            assert!(shown.contains(address), "{address}: {shown}");
        }
    }

    /// Applies a spec in a process that kills itself at that call, and returns the phase it had
    /// reached; `None` if it finished before.
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

/// Not a test by itself: the process that [`Fixture::killed_at`] starts.
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
    let kernel = HostKernel::connect((&journal).into()).unwrap();
    let at = at.to_str().unwrap().parse().unwrap();
    let phase = path("EVENKEEL_KILL_STATE").with_file_name("phase");
    let hooks = Kill { calls: 0, at, has_written: false, phase };
    let mut kernel = HookedKernel { kernel, hooks };
    let request = ReadRequest::for_journal(&journal).with_spec(&desired);
    let live = kernel.observe(&request).unwrap();
    let record = journal.record.clone();
    let wanted = Wanted::exactly(&desired, &live, &record);
    let (plan, _) = plan_changes(&mut kernel, wanted, |_: &[_]| LastApplied::default()).unwrap();
    let pass = Pass { record, ..Pass::new(&desired, live, plan.steps) };
    let options = ApplyOptions {
        wait: std::env::var_os("EVENKEEL_KILL_WAIT").is_some(),
        ..ApplyOptions::default()
    };
    execute_journalled(&mut kernel, pass, options, &mut NoopContext, &state, &mut journal).unwrap();
}

/// Kills a pass once at every call in both directions, and then at calls of each phase until there
/// are enough of it.
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
        fixture.assert_foreign_objects_are_unchanged();
        fixture.apply(direction);
        fixture.assert_foreign_objects_are_unchanged();
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

/// Kills an apply, or its undoing by a spec without it, at every call; then a teardown brings back every
/// sysctl that the kernel rewrote.
#[test]
fn after_a_kill_at_any_call_a_teardown_brings_back_what_the_kernel_rewrote() {
    let fixture = Fixture::new();
    run("ip link add eth1 up type dummy");
    set_sysctl("net.ipv4.conf.eth1.forwarding", "1").unwrap();
    set_sysctl("net.ipv6.conf.default.forwarding", "1").unwrap();
    let tear_down = || {
        let mut teardown = fixture.command(&["teardown", "--yes", "--allow", "unbind-in-use"]);
        let output = teardown.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    };
    tear_down();
    let before = of_interfaces();
    let scope = "version: 1\nscope: { vips: [192.0.2.0/24] }\n";
    let with = "vips: [ { address: 192.0.2.1, interface: lo } ]
sysctls:
  net.ipv4.ip_forward: 1
  net.ipv4.conf.eth0.forwarding: 0
  net.ipv4.conf.lo.arp_ignore: 1
  net.ipv6.conf.all.forwarding: 1
";
    std::fs::write(fixture.path().join("2.yaml"), format!("{scope}{with}")).unwrap();
    std::fs::write(fixture.path().join("3.yaml"), scope).unwrap();
    for (is_applied, spec) in [(false, 2), (true, 3)] {
        let mut killed = 0;
        for call in 0.. {
            if is_applied {
                fixture.apply(2);
            }
            let phase = fixture.killed_at(call, spec);
            tear_down();
            let changed = changed(&before, &of_interfaces());
            assert_eq!(changed, [].into(), "spec {spec}, killed at {call} ({phase:?})");
            match phase {
                Some(_) => killed += 1,
                None => break,
            }
        }
        assert!(killed >= 8, "spec {spec}: {killed}");
    }
}

/// Kills the program at increasing times: at its start, while it reads, around the journal, while
/// it writes, while it waits.
#[test]
#[expect(clippy::print_stdout, reason = "a test that counts says how many")]
fn the_next_apply_finishes_after_the_program_was_killed_at_any_moment() {
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
        fixture.assert_foreign_objects_are_unchanged();
        fixture.apply(direction);
        fixture.assert_foreign_objects_are_unchanged();
    }
    println!("killed {killed} times, {ended} ended before: {phases:?}");
    assert!(killed >= 15, "{killed} {ended}");
}
