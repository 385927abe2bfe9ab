//! Tests programs that write a spec file in place slowly: nothing is read before they finish, and
//! the daemon waits for at most ten seconds.

use std::fs::{self, OpenOptions};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use evenkeel_lab_tests::nlmon::{Capture, Change, Object};

use super::*;

/// The time after the first change at which files that do not become stable are read.
const LIMIT: Range<Duration> = Duration::from_millis(9_800)..Duration::from_millis(10_800);

/// Returns services of every kind, each on a line of its own; the first one has that real server.
pub(super) fn every_kind(address: &str) -> String {
    format!(
        "version: 1
scope: all
defaults: {{ drain: 0s }}
services:
  - {{ name: web, vip: 192.0.2.1, port: 80, real_servers: [ {{ address: {address} }} ] }}
  - {{ name: dns, vip: '2001:db8::1', port: 53, protocol: udp, real_servers: [ {{ address: 'fd00::1' }} ] }}
  - {{ name: mark, fwmark: 7, family: ipv4, real_servers: [ {{ address: 10.0.0.2 }} ] }}
  - {{ name: sig, vip: 192.0.2.1, port: 2905, protocol: sctp, real_servers: [ {{ address: 10.0.0.3 }} ] }}
  - {{ name: mail, vip: '2001:db8::1', port: 25, real_servers: [ {{ address: 'fd00::2' }} ] }}
"
    )
}

/// Returns the changes of services themselves, without those of destinations.
pub(super) fn of_services(changes: &[Change]) -> Vec<&Change> {
    changes.iter().filter(|change| !matches!(change.object, Object::Destination(..))).collect()
}

/// Writes another head and half of the file, waits at the end of a line, and writes the rest.
fn check_stall(stall: Duration) {
    let host = Host::new();
    let _daemon = host.watching(&every_kind("10.0.0.10"), "");
    let mut capture = Capture::start();
    let before = run("ipvsadm -Sn");
    let text = every_kind("10.0.0.11");
    let (head, tail) = text.split_at(text.find("  - { name: sig").unwrap());

    let mut file = File::create(host.path("specs/spec.yaml")).unwrap();
    file.write_all(head.as_bytes()).unwrap();
    let begin = Instant::now();
    while begin.elapsed() < stall {
        assert_eq!(run("ipvsadm -Sn"), before, "after {:?}", begin.elapsed());
        std::thread::sleep(Duration::from_millis(10));
    }
    file.write_all(tail.as_bytes()).unwrap();
    drop(file);
    assert_enforced("10.0.0.11", Instant::now());
    host.wait_for_state("ok");
    assert_eq!(run("ipvsadm -Sn"), before.replace("10.0.0.10:80", "10.0.0.11:80"));
    let changes = capture.changes();
    assert_eq!(of_services(&changes), Vec::<&Change>::new(), "of {changes:#?}");
}

#[test]
fn a_writer_that_stalls_for_300_ms_is_waited_for() {
    check_stall(Duration::from_millis(300));
}

#[test]
fn a_writer_that_stalls_for_3_s_is_waited_for() {
    check_stall(Duration::from_secs(3));
}

/// SIGHUP arrives while a writer runs: its unfinished text is not read either.
#[test]
fn a_reload_does_not_read_an_unfinished_file() {
    let host = Host::new();
    let daemon = host.watching(&every_kind("10.0.0.10"), "");
    let before = table();
    let text = every_kind("10.0.0.11");
    let (head, tail) = text.split_at(text.find("  - { name: sig").unwrap());
    let mut file = File::create(host.path("specs/spec.yaml")).unwrap();
    file.write_all(head.as_bytes()).unwrap();
    daemon.signal(Signal::SIGHUP);
    let is_changed = within(Duration::from_secs(2), || table() != before);
    assert!(!is_changed, "{}", table());
    file.write_all(tail.as_bytes()).unwrap();
    drop(file);
    assert_enforced("10.0.0.11", Instant::now());
    host.wait_for_state("ok");
}

/// Touches the file repeatedly until its content is active, and checks when that happens.
fn check_limit(host: &Host, mut touch: impl FnMut()) {
    let begin = Instant::now();
    while !table().contains("0A00000B") {
        assert!(begin.elapsed() < LIMIT.end, "not read: {:#}", host.status());
        touch();
    }
    assert!(LIMIT.contains(&begin.elapsed()), "read after {:?}", begin.elapsed());
}

#[test]
fn a_file_that_its_writer_keeps_open_and_touches_is_read_after_ten_seconds() {
    let host = Host::new();
    let daemon = host.watching(&spec("10.0.0.10"), "");
    let mut file = File::create(host.path("specs/spec.yaml")).unwrap();
    file.write_all(spec("10.0.0.11").as_bytes()).unwrap();
    check_limit(&host, || {
        file.write_all(b"# and more\n").unwrap();
        std::thread::sleep(Duration::from_millis(200));
    });
    assert!(within(REPORTED, || daemon.log().contains("open for writing: ")), "{}", daemon.log());
    drop(file);
    host.wait_for_state("ok");
    host.write("spec.yaml", spec("10.0.0.12"));
    assert_enforced("10.0.0.12", Instant::now());
}

/// Ends a thread when it is dropped, also by a failed assertion.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_file_that_is_touched_continuously_is_read_after_ten_seconds() {
    let host = Host::new();
    let _daemon = host.watching(&spec("10.0.0.10"), "");
    let path = host.path("specs/spec.yaml");
    fs::write(&path, spec("10.0.0.11")).unwrap();
    let is_over = AtomicBool::new(false);
    // A thread of its own: the file must not become stable while a status is awaited.
    let touch = || {
        while !is_over.load(Ordering::Relaxed) {
            let mut file = OpenOptions::new().append(true).open(&path).unwrap();
            file.write_all(b"# and more\n").unwrap();
            drop(file);
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    std::thread::scope(|scope| {
        let _end = End(&is_over);
        scope.spawn(touch);
        check_limit(&host, || std::thread::sleep(Duration::from_millis(5)));
        // It is reported until the file is stable.
        let is_reported =
            within(REPORTED, || host.reasons().contains("the spec files have kept changing"));
        assert!(is_reported, "{:#}", host.status());
    });
    host.wait_for_state("ok");
    host.write("spec.yaml", spec("10.0.0.12"));
    assert_enforced("10.0.0.12", Instant::now());
}
