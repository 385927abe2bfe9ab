//! A lost VIP is bound again while the daemon does something else; the order of events shows it, no time.

use evenkeel_control::Lock;
use evenkeel_lab_tests::descriptors::FewDescriptors;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};

use super::*;

const SPEC: &str = "version: 1
scope: all
vips:
  - { address: 192.0.2.1, interface: eth0 }
  - { address: '2001:db8::1', interface: eth0 }
services:
  - { name: web, vips: [ 192.0.2.1, '2001:db8::1' ], port: 80, drain: 0s, forward: tun, real_servers: [ { address: 10.0.0.1 } ] }
";

const VIPS: [&str; 2] = ["192.0.2.1/32", "2001:db8::1/128"];

fn is_bound(vip: &str) -> bool {
    run("ip -o addr show dev eth0").contains(&format!(" {vip} "))
}

fn unbind(vip: &str) {
    run(&format!("ip addr del {vip} dev eth0"));
}

/// The stopped reconciler of a daemon, which continues when this is dropped.
struct StoppedReconciler(Pid);

impl StoppedReconciler {
    fn of(daemon: &Daemon) -> Self {
        let is_reconciler = |task: &Path| {
            std::fs::read_to_string(task.join("comm")).unwrap().trim() == "reconciler"
        };
        let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.child.id())).unwrap();
        let mut tasks = tasks.map(|task| task.unwrap().path());
        let task = tasks.find(|task| is_reconciler(task)).unwrap();
        let thread = task.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let thread = Pid::from_raw(thread);
        ptrace::seize(thread, ptrace::Options::empty()).unwrap();
        ptrace::interrupt(thread).unwrap();
        waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
        Self(thread)
    }
}

impl Drop for StoppedReconciler {
    fn drop(&mut self) {
        let _continued = ptrace::detach(self.0, None);
    }
}

#[test]
fn a_vip_is_bound_again_while_the_reconciler_makes_no_progress() {
    let host = Host::new();
    let daemon = host.watching(SPEC, "--interval 1h");
    let stopped = StoppedReconciler::of(&daemon);
    let last_pass = host.status()["last_pass"].clone();
    for vip in VIPS {
        unbind(vip);
        assert!(within(REPORTED, || is_bound(vip)), "{vip}");
    }
    assert_eq!(host.status()["last_pass"], last_pass);
    drop(stopped);
    let log = "a lost VIP was bound again at once";
    let is_counted = || daemon.log().matches(log).count() == VIPS.len();
    assert!(within(REPORTED, is_counted), "{}", daemon.log());
    host.wait_for_state("ok");
}

#[test]
fn no_vip_is_bound_again_while_another_process_holds_the_lock_or_the_daemon_is_paused() {
    let host = Host::new();
    let _daemon = host.watching(SPEC, "--interval 1h");
    let mut lock = None;
    // A pass may be under way.
    let is_acquired = || {
        lock = Lock::of_namespace().try_acquire().unwrap();
        lock.is_some()
    };
    assert!(within(REPORTED, is_acquired));
    for vip in VIPS {
        unbind(vip);
    }
    let pause = Duration::from_millis(300);
    std::thread::sleep(pause);
    assert!(VIPS.iter().all(|vip| !is_bound(vip)));
    drop(lock);
    for vip in VIPS {
        assert!(within(REPORTED, || is_bound(vip)));
    }
    host.wait_for_state("ok");
    assert_eq!(host.evenkeel("pause").0, 0);
    for vip in VIPS {
        unbind(vip);
    }
    std::thread::sleep(pause);
    assert!(VIPS.iter().all(|vip| !is_bound(vip)));
    assert_eq!(host.evenkeel("resume").0, 0);
    assert!(VIPS.iter().all(|vip| is_bound(vip)));
}

/// All descriptors of the process are in use; a pass would need some.
#[test]
fn a_vip_is_bound_again_by_a_daemon_that_can_open_nothing() {
    let host = Host::new();
    let daemon = host.watching(SPEC, "--interval 1s");
    let few = FewDescriptors::leave(daemon.child.id(), 0).unwrap();
    for vip in VIPS {
        unbind(vip);
        assert!(within(REPORTED, || is_bound(vip)), "{vip}: {}", daemon.log());
    }
    assert!(within(REPORTED, || daemon.log().contains("Too many open files")), "{}", daemon.log());
    drop(few);
    let log = "a lost VIP was bound again at once";
    let is_counted = || daemon.log().matches(log).count() == VIPS.len();
    assert!(within(REPORTED, is_counted), "{}", daemon.log());
    host.wait_for_state("ok");
}

/// poll(2) fails while the limit of descriptors is lower than their number.
#[test]
fn address_changes_are_followed_again_after_the_daemon_could_not_wait_for_them() {
    let host = Host::new();
    let daemon = host.watching(SPEC, "--interval 1h");
    let limit = |soft| run(&format!("prlimit --pid {} --nofile={soft}:", daemon.child.id()));
    limit(0);
    unbind(VIPS[0]);
    let has_failed = || daemon.log().contains("cannot wait for address changes");
    assert!(within(REPORTED, has_failed), "{}", daemon.log());
    limit(1024);
    for vip in VIPS {
        let is_bound = || is_bound(vip);
        assert!(within(2 * REPORTED, is_bound), "{}", daemon.log());
        unbind(vip);
        assert!(within(2 * REPORTED, is_bound), "{}", daemon.log());
    }
}

#[test]
fn a_vip_that_a_spec_or_an_apply_beside_the_daemon_removes_stays_unbound() {
    for is_applied in [false, true] {
        let host = Host::new();
        let daemon = host.watching(SPEC, "--interval 1h");
        let without = SPEC
            .replace("  - { address: 192.0.2.1, interface: eth0 }\n", "")
            .replace("vips: [ 192.0.2.1, '2001:db8::1' ]", "vip: '2001:db8::1'");
        let monitor = Events::start();
        host.write("spec.yaml", without);
        if is_applied {
            let (code, _, stderr) =
                host.evenkeel("apply --yes --allow mass-delete specs/spec.yaml");
            assert_eq!(code, 0, "{stderr}");
        }
        assert!(within(REPORTED, || !is_bound(VIPS[0])), "{}", daemon.log());
        host.wait_for_state("ok");
        let events = monitor.events();
        let of_vip: Vec<&str> = events.lines().filter(|it| it.contains(" 192.0.2.1/32 ")).collect();
        assert!(of_vip.len() == 1 && of_vip[0].starts_with("Deleted"), "{events}");
    }
}

/// The kernel's events of addresses.
struct Events {
    child: Child,
    output: tempfile::NamedTempFile,
}

impl Events {
    /// Starts to record them in the namespace of the calling thread, and waits until it gets some.
    fn start() -> Self {
        let output = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new("ip");
        command.args(["-o", "monitor", "address"]).stdout(output.reopen().unwrap());
        let events = Self { child: command.spawn().unwrap(), output };
        let is_seen = || {
            run("ip addr add 198.51.100.99/32 dev lo");
            run("ip addr del 198.51.100.99/32 dev lo");
            !events.events().is_empty()
        };
        assert!(within(REPORTED, is_seen));
        events
    }

    fn events(&self) -> String {
        std::fs::read_to_string(self.output.path()).unwrap()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}
