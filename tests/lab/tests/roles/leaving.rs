//! A real server that the spec no longer lists keeps its VIPs for a while, and then undoes everything.

use std::time::{Duration, Instant};

use evenkeel_lab_tests::{fresh_namespace, run};

use super::host;
use super::state::State;
use crate::watch::{Daemon, Host, within};

const HOST: &str = "address add 192.0.2.11/24 dev eth0
    address add 2001:db8::11/64 dev eth0 nodad
    route add default via 192.0.2.254 dev eth0";
/// The drain and an interval.
const STAYS: Duration = Duration::from_secs(2 + 1);
/// The time within which a slow machine, too, has undone everything after that.
const PATIENCE: Duration = Duration::from_secs(30);

/// A spec that lists these addresses under `forward: dr` and `nat`.
fn spec(ipv4: &str, ipv6: &str) -> String {
    format!(
        "version: 1
directors: [ {{ name: lb1, addresses: [192.0.2.2, '2001:db8::2'] }} ]
defaults: {{ drain: 2s }}
vips: [ {{ address: 192.0.2.1, interface: eth0 }}, {{ address: '2001:db8::1', interface: eth0 }} ]
services:
  - name: web
    vips: [ 192.0.2.1, '2001:db8::1' ]
    port: 80
    forward: dr
    on_real_servers: {{ route: true }}
    real_servers: [ {{ address: {ipv4} }}, {{ address: '{ipv6}' }} ]
  - name: inner
    vip: 203.0.113.1
    port: 80
    forward: nat
    gateway: director
    real_servers: [ {{ address: {ipv4} }} ]
"
    )
}

fn listed() -> String {
    spec("192.0.2.11", "2001:db8::11")
}

/// The same with so long a drain that nothing leaves meanwhile.
fn with_long_drain(spec: &str) -> String {
    spec.replace("drain: 2s", "drain: 1m")
}

fn watch(host: &Host) -> Daemon {
    host.watch("specs/spec.yaml", "--interval 1s")
}

struct Leaving {
    daemon: Option<Daemon>,
    host: Host,
    before: State,
    applied: State,
}

impl Leaving {
    fn new(spec: &str) -> Self {
        fresh_namespace();
        host::build(HOST);
        let before = State::read();
        let host = Host::here();
        let daemon = Some(host.watching(spec, "--interval 1s"));
        let applied = State::read();
        assert!(applied.contains("\"gateway\":\"192.0.2.2\""));
        assert!(applied.contains("\"dev\":\"lo\",\"family\":\"inet6\",\"local\":\"2001:db8::1\""));
        Self { host, daemon, before, applied }
    }

    /// Kills the daemon and starts another one.
    fn restart(&mut self) {
        self.daemon = None;
        self.daemon = Some(watch(&self.host));
    }

    /// Asserts that everything stays for its time, and then goes. Calls `meanwhile` once in between.
    #[track_caller]
    fn assert_leaves(&mut self, spec: &str, meanwhile: impl FnOnce(&mut Self)) {
        self.host.write("spec.yaml", spec);
        let begin = Instant::now();
        std::thread::sleep(Duration::from_secs(1));
        meanwhile(self);
        while begin.elapsed() < STAYS - Duration::from_millis(300) {
            let now = State::read();
            // A reading takes some time.
            if begin.elapsed() < STAYS {
                let changes = now.changes_since(&self.applied);
                assert!(now == self.applied, "after {:?}: {changes}", begin.elapsed());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let mut now = State::default();
        let is_undone = within(PATIENCE, || {
            now = State::read();
            let is_bound = now.contains(
                "\"dev\":\"eth0\",\"family\":\"inet\",\"label\":\"eth0\",\"local\":\"192.0.2.1\"",
            );
            assert!(!is_bound, "it is no director");
            now == self.before
        });
        let changes = now.changes_since(&self.before);
        assert!(is_undone, "{changes}\n{:#}", self.host.status());
        // It stays so.
        std::thread::sleep(Duration::from_secs(2));
        let now = State::read();
        assert!(now == self.before, "{}", now.changes_since(&self.before));
    }
}

#[test]
fn a_real_server_that_leaves_keeps_everything_for_its_drain_and_an_interval() {
    let mut leaving = Leaving::new(&listed());
    leaving.assert_leaves(&spec("192.0.2.12", "2001:db8::12"), |_| {});
    leaving.host.wait_for_state("ok");
}

#[test]
fn the_time_goes_on_across_a_restart_of_the_daemon() {
    let mut leaving = Leaving::new(&listed());
    leaving.assert_leaves(&spec("192.0.2.12", "2001:db8::12"), Leaving::restart);
    leaving.host.wait_for_state("ok");
    // A restart after everything is undone changes nothing either.
    leaving.restart();
    std::thread::sleep(Duration::from_secs(2));
    let now = State::read();
    assert!(now == leaving.before, "{}", now.changes_since(&leaving.before));
}

#[test]
fn a_spec_without_directors_does_not_make_a_former_real_server_a_director() {
    let mut leaving = Leaving::new(&listed());
    let spec = spec("192.0.2.12", "2001:db8::12");
    let kept = |line: &&str| {
        !["directors:", "on_real_servers:", "gateway:"].iter().any(|word| line.contains(word))
    };
    let without: String = spec.lines().filter(kept).map(|line| format!("{line}\n")).collect();
    leaving.assert_leaves(&without, Leaving::restart);
    leaving.host.wait_for_state("ok");
}

#[test]
fn a_real_server_that_is_listed_again_meanwhile_loses_nothing() {
    let mut leaving = Leaving::new(&with_long_drain(&listed()));
    let monitor = std::process::Command::new("timeout")
        .args(["8", "ip", "monitor", "address", "route", "link"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let gone = spec("192.0.2.12", "2001:db8::12");
    leaving.host.write("spec.yaml", with_long_drain(&gone));
    let stays = |host: &Host| !host.status()["staying"].as_array().unwrap().is_empty();
    assert!(within(Duration::from_secs(5), || stays(&leaving.host)));
    leaving.restart();
    leaving.host.write("spec.yaml", with_long_drain(&listed()));
    let output = monitor.wait_with_output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(!shown.contains("192.0.2.1") && !shown.contains("2001:db8::1"), "{shown}");
    let now = State::read();
    assert!(now == leaving.applied, "{}", now.changes_since(&leaving.applied));
    leaving.host.wait_for_state("ok");
    assert!(run("ip address show dev lo").contains("192.0.2.1/32"));
}
