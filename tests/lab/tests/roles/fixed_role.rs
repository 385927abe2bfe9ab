//! The role of a host is fixed while a daemon runs.

use evenkeel_lab_tests::{fresh_namespace, run};

use super::cases::{Case, DIRECTOR, DR};
use super::host;
use super::state::State;
use crate::watch::{Daemon, Host};

fn watched(case: &Case) -> (Host, Daemon) {
    fresh_namespace();
    host::build(case.host);
    let host = Host::here();
    let daemon = host.watching(case.spec, "--interval 1s");
    (host, daemon)
}

/// Asserts that the daemon reports that, and that the host is as it was.
#[track_caller]
fn assert_reported(host: &Host, words: &str, before: &State, of: &str) {
    host.wait_for_state("degraded");
    let reasons = host.reasons();
    assert_eq!(reasons.matches(words).count(), 1, "{of}: {reasons}");
    // Several intervals.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let now = State::read();
    assert!(now == *before, "{of}: {}", now.changes_since(before));
}

#[test]
fn a_spec_that_would_change_the_role_is_reported_and_changes_nothing() {
    for (case, old, new, words) in [
        (
            &DR,
            "addresses: [192.0.2.2, ",
            "addresses: [192.0.2.11, ",
            "would make it the director `lb1`; it is a real server, and stays that until evenkeel is \
             restarted",
        ),
        (
            &DIRECTOR,
            "name: lb1",
            "name: lb2",
            "would make it the director `lb2`; it is the director `lb1`, and stays that",
        ),
        (
            &DIRECTOR,
            "addresses: [192.0.2.2, 10.0.0.2, '2001:db8::2', 'fd00::2']",
            "addresses: [192.0.2.9]",
            "this host is neither a director nor a real server: this host has ",
        ),
        (
            &DIRECTOR,
            "addresses: [192.0.2.2, 10.0.0.2, '2001:db8::2', 'fd00::2'] }",
            "addresses: [192.0.2.2] }, { name: lb2, addresses: [10.0.0.2] }",
            "",
        ),
    ] {
        let (host, _daemon) = watched(case);
        let before = State::read();
        host.write("spec.yaml", case.spec.replacen(old, new, 1));
        let of = format!("{}: {new}", case.name);
        assert!(case.spec.contains(old), "{of}");
        if words.is_empty() {
            host.wait_for_state("degraded");
            let now = State::read();
            assert!(now == before, "{of}: {}", now.changes_since(&before));
        } else {
            assert_reported(&host, words, &before, &of);
        }
        host.write("spec.yaml", case.spec);
        host.wait_for_state("ok");
        before.assert_is_reached(&of);
    }
}

#[test]
fn an_address_that_would_change_the_role_is_reported_and_changes_nothing() {
    let (host, _daemon) = watched(&DR);
    let without = State::read();
    run("ip address add 192.0.2.2/24 dev eth1");
    let before = State::read();
    let words = "would make it the director `lb1`; it is a real server";
    assert_reported(&host, words, &before, "the director's address");
    run("ip address del 192.0.2.2/24 dev eth1");
    host.wait_for_state("ok");
    without.assert_is_reached("without the director's address");

    // Objects are repaired meanwhile, as the last good spec asks for them.
    run("ip address add 192.0.2.2/24 dev eth1");
    host.wait_for_state("degraded");
    run("ip address del 192.0.2.1/32 dev lo");
    before.assert_is_reached("a VIP that is repaired meanwhile");
}

#[test]
fn a_host_that_loses_its_address_keeps_its_role() {
    let (host, _daemon) = watched(&DIRECTOR);
    let with = State::read();
    for address in ["192.0.2.2/24 dev eth0", "10.0.0.2/24 dev eth1"] {
        run(&format!("ip address del {address}"));
    }
    // Another of its addresses is still listed.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let status = host.status();
    assert_eq!(status["state"], "ok", "{status:#}");
    run("ip address add 192.0.2.2/24 dev eth0");
    run("ip address add 10.0.0.2/24 dev eth1");
    host.wait_for_state("ok");
    with.assert_is_reached("its addresses are back");
}

#[test]
fn a_real_server_that_loses_its_address_keeps_everything() {
    let (host, _daemon) = watched(&DR);
    let with = State::read();
    for address in ["192.0.2.11/24 dev eth0", "2001:db8::11/64 dev eth0"] {
        run(&format!("ip address del {address}"));
    }
    let before = State::read();
    let words = "this host no longer has 192.0.2.11, 2001:db8::11, by which the spec makes it a real server";
    assert_reported(&host, words, &before, "without its addresses");
    run("ip address add 192.0.2.11/24 dev eth0");
    run("ip address add 2001:db8::11/64 dev eth0 nodad");
    host.wait_for_state("ok");
    with.assert_is_reached("its addresses are back");
}
