//! SIGKILL at any step of an apply or a teardown: the next teardown leaves the host as it was before.
//!
//! The killed process is this test program, which runs the use cases of the program and kills itself at
//! a given call to the kernel. Among the other tests a part of the calls is tested; with
//! `EVENKEEL_SWEEP=full` (`cargo xtask sweep --roles`) all of them.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use evenkeel_engine::{
    Clock, DrainProgress, ExecutionContext, HostKernel, Kernel, KernelError, OnFailure, Replies,
    StateDir,
};
use evenkeel_host::Namespace;
use evenkeel_lab_tests::{run, say};
use evenkeel_model::Names;
use evenkeel_plan::{ClockReading, Op};
use evenkeel_source::{HostParameters, HostRequest, SpecText, macs_of};
use evenkeel_spec::Source;
use evenkeel_workflow::{
    ApplyOptions, ApplyRequest, DaemonUse, Host as WorkflowHost, Progress, TeardownOptions, apply,
    tear_down,
};
use nix::sys::signal::{Signal, raise};

use super::cases::{Case, TUN_MIXED, cases};
use super::host::Host;
use super::state::State;
use crate::hooked_kernel::{HookedKernel, Hooks, Reading};

/// The short sweep tests one of this many calls.
const STRIDE: usize = 7;

/// Kills the process at the given call to the kernel.
struct Kill {
    calls: usize,
    at: usize,
}

impl Kill {
    fn count_call(&mut self) {
        if self.calls == self.at {
            raise(Signal::SIGKILL).unwrap();
        }
        self.calls += 1;
    }
}

impl Hooks for Kill {
    fn before_reading(&mut self, _: Reading) {
        self.count_call();
    }

    /// Runs the operations one by one, so that the process can be killed between any two.
    fn execute(&mut self, kernel: &mut HostKernel, ops: &[Op]) -> Result<Replies, KernelError> {
        let mut all = Replies::default();
        for (place, op) in ops.iter().enumerate() {
            self.count_call();
            let Replies { exceptions, warnings } = kernel.execute(std::slice::from_ref(op))?;
            all.exceptions.extend(exceptions.into_values().map(|exception| (place, exception)));
            all.warnings.extend(warnings);
        }
        Ok(all)
    }
}

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Killed {
    Apply,
    Teardown,
}

/// Runs a use case in a process that kills itself at that call. Returns whether it did, and did not
/// finish before.
fn is_killed(host: &Host, killed: Killed, call: usize) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["roles::kill::child", "--exact", "--ignored"]);
    child.env("EVENKEEL_KILL_AT", call.to_string());
    child.env("EVENKEEL_KILL_STATE", host.path("state"));
    if killed == Killed::Apply {
        child.env("EVENKEEL_KILL_SPEC", host.path("spec.yaml"));
    }
    let output = child.output().unwrap();
    let is_killed = output.status.signal() == Some(9);
    assert!(is_killed || output.status.success(), "{output:?}");
    is_killed
}

/// Waits without showing anything.
struct Quiet(Clock);

impl ExecutionContext for Quiet {
    fn now(&self) -> ClockReading {
        self.0.now()
    }

    fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn is_interrupted(&self) -> bool {
        false
    }

    fn draining(&mut self, _: &[DrainProgress]) {}
}

impl Progress for Quiet {
    fn begin(&mut self, _: &[Op], _: Names<'_>) {}
}

/// Not a test by itself: the process that [`is_killed`] starts.
#[test]
#[ignore = "run by the others in a process of its own"]
fn child() {
    let Some(at) = std::env::var_os("EVENKEEL_KILL_AT") else { return };
    let at = at.to_str().unwrap().parse().unwrap();
    let folder = PathBuf::from(std::env::var_os("EVENKEEL_KILL_STATE").unwrap());
    let state = StateDir::of(&folder, Namespace::current().unwrap());
    let journal = state.read(false).unwrap().0;
    let former = journal.former_role();
    let macs = journal.applied_parameters().map(macs_of).unwrap_or_default();
    let connect = move |journalled| {
        let kernel = HostKernel::connect(journalled)?;
        Ok(HookedKernel { kernel, hooks: Kill { calls: 0, at } })
    };
    let mut host = WorkflowHost { state, connect: Box::new(connect), health: Default::default() };
    let (mut progress, mut events) = (Quiet(Clock::start()), Vec::new());
    let Some(spec) = std::env::var_os("EVENKEEL_KILL_SPEC") else {
        let options = TeardownOptions { adopted: false, allow: &[], reviewed: None, wait: true };
        tear_down(&mut host, &options, &mut progress, &mut events).unwrap();
        return;
    };
    let texts = vec![Source::new("spec.yaml", std::fs::read(spec).unwrap())];
    let this_host = HostRequest::ThisHost { role: None, former, macs };
    let parameters = HostParameters::new(BTreeMap::new(), None, this_host);
    let loaded = SpecText::load(texts.clone(), &parameters).unwrap();
    let request = ApplyRequest {
        desired: (*loaded.desired).clone(),
        parameters: loaded.parameters,
        texts,
        selectors: Vec::new(),
        saved: None,
        daemon_use: DaemonUse::Nothing("a test"),
    };
    let options = ApplyOptions {
        allow: &[],
        reviewed: None,
        on_failure: OnFailure::Rollback,
        wait: true,
        confirm: None,
    };
    apply(&mut host, &request, options, &mut progress, &mut events).unwrap();
}

/// Kills at every call, or at some. Returns how many.
fn sweep(case: &Case, killed: Killed, stride: usize, first: usize) -> usize {
    let host = case.host();
    case.use_devices();
    host.write(case.spec);
    let before = State::read();
    let mut count = 0;
    for call in (first..).step_by(stride) {
        if killed == Killed::Teardown {
            host.apply(case.spec);
        }
        let is_killed = is_killed(&host, killed, call);
        let of = format!("{}, {killed:?} killed at call {call}", case.name);
        // Half of the killed applies are repeated.
        if killed == Killed::Apply && count % 2 == 1 {
            host.apply(case.spec);
        }
        let answer = host.evenkeel("teardown --yes");
        assert_eq!(answer.status, 0, "{of}: {answer:?}");
        before.assert_is_reached(&of);
        if !is_killed {
            break;
        }
        count += 1;
    }
    count
}

#[test]
fn after_sigkill_at_any_step_a_teardown_leaves_the_host_as_it_was_before() {
    let is_full = std::env::var_os("EVENKEEL_SWEEP").is_some_and(|value| value == "full");
    for (number, case) in cases().enumerate() {
        let (stride, first) = if is_full { (1, 0) } else { (STRIDE, number % STRIDE) };
        let counts = [Killed::Apply, Killed::Teardown].map(|it| sweep(case, it, stride, first));
        let [applies, teardowns] = counts;
        say(&format!("{}: {applies} applies and {teardowns} teardowns killed", case.name));
        assert!(applies > 0 && teardowns > 0, "{}", case.name);
    }
}

/// The kernel changes the mode of its own ip6tnl0 only for `ip`, which takes more than one call: the mark
/// of evenkeel comes first.
#[test]
fn after_sigkill_while_the_mode_of_a_tunnel_device_is_changed_a_teardown_leaves_it_as_before() {
    let host = TUN_MIXED.host();
    TUN_MIXED.use_devices();
    host.write(TUN_MIXED.spec);
    let before = State::read();
    // Does what it is asked to, and then kills the one who asked.
    let script = "#!/bin/sh\nPATH=\"$REAL_PATH\" ip \"$@\"\nkill -9 $PPID\n";
    let folder = host.path("bin");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("ip"), script).unwrap();
    std::fs::set_permissions(folder.join("ip"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut command = host.command("apply --yes spec.yaml");
    command.env("PATH", format!("{}:{path}", folder.display())).env("REAL_PATH", path);
    let output = command.output().unwrap();
    assert_eq!(output.status.signal(), Some(9), "{output:?}");
    assert!(run("ip -d link show dev ip6tnl0").contains("ip6tnl any remote any"));
    let answer = host.evenkeel("teardown --yes");
    assert_eq!(answer.status, 0, "{answer:?}");
    before.assert_is_reached("mode");
}
