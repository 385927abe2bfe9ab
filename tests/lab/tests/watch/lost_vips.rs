//! A lost VIP is bound again while the daemon does something else; the order of events shows it, no time.

use evenkeel_control::Lock;

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

#[test]
fn a_vip_is_bound_again_while_the_daemon_waits_for_a_spec_that_is_being_written() {
    for vip in VIPS {
        let host = Host::new();
        let daemon = host.watching(SPEC, "--interval 1h");
        // Open for writing, so that the reload waits up to a second.
        let mut writer = File::options().append(true).open(host.path("specs/spec.yaml")).unwrap();
        writer.write_all(b"# being written\n").unwrap();
        daemon.signal(Signal::SIGHUP);
        assert!(within(REPORTED, || daemon.log().contains("SIGHUP")), "{}", daemon.log());
        unbind(vip);
        assert!(within(REPORTED, || is_bound(vip)), "{}", daemon.log());
        let status = host.status();
        assert_eq!(status["last_pass"]["trigger"], "start", "{status:#}");
        drop(writer);
        let is_counted = || daemon.log().contains("a lost VIP was bound again at once");
        assert!(within(REPORTED, is_counted), "{}", daemon.log());
        host.wait_for_state("ok");
    }
}

#[test]
fn no_vip_is_bound_again_while_another_process_holds_the_lock_or_the_daemon_is_paused() {
    let host = Host::new();
    let _daemon = host.watching(SPEC, "--interval 1h");
    let lock = Lock::of_namespace().try_acquire().unwrap().expect("no pass is made");
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
