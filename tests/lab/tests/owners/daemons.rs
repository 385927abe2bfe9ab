//! Two daemons of two owners in one network namespace: each repairs its own drift, and nothing else.

use std::net::TcpListener;
use std::time::Duration;

use evenkeel_lab_tests::{fresh_namespace, run};
use serde_json::Value;

use super::{DROP_ENTRY, Listed, drop_entry, spec, sysctl};
use crate::watch::{Daemon, Host, within};

/// A time in which everything that is awaited happens; a test that waits for all of it fails.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn host() -> Host {
    fresh_namespace();
    run("ip link add eth0 up type dummy");
    Host::here()
}

pub(crate) fn status(host: &Host, owner: &str) -> Value {
    let (_, stdout, stderr) = host.evenkeel(&format!("status --output json --owner {owner}"));
    serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}"))
}

#[track_caller]
pub(crate) fn wait_for_state(host: &Host, owner: &str, state: &str) {
    let mut last = Value::Null;
    let is_so = within(PATIENCE, || {
        last = status(host, owner);
        last["state"] == state
    });
    assert!(is_so, "{last:#}");
}

/// Starts the daemon of an owner on a file of its own.
pub(crate) fn watching(host: &Host, owner: &str, text: &str) -> Daemon {
    host.write(&format!("{owner}.yaml"), text);
    let daemon = host.watch(&format!("specs/{owner}.yaml"), "--interval 1s");
    wait_for_state(host, owner, "ok");
    daemon
}

/// The state of the host after a change, once both daemons have made a pass since.
#[track_caller]
fn assert_restored(before: &Listed) {
    assert!(within(PATIENCE, || Listed::now() == *before), "{:#?}\n{before:#?}", Listed::now());
}

#[test]
fn each_repairs_its_own_drift_and_one_ends_without_the_other() {
    let host = host();
    let web = watching(&host, "web", &spec("web", 1, &drop_entry(1)));
    let _dns = watching(&host, "dns", &spec("dns", 2, &drop_entry(1)));
    assert_eq!(status(&host, "web")["owner"], "web");
    let before = Listed::now();
    for (half, mark) in [(1_u8, 11), (2, 21)] {
        let vip = half * 16 + 1;
        for damage in [
            format!("ipvsadm -D -t 192.0.2.{vip}:80"),
            format!("ipvsadm -d -u 192.0.2.{vip}:53 -r 10.0.0.{half}2"),
            format!("ipvsadm -D -f {mark}"),
            format!("ip addr del 192.0.2.{vip}/32 dev eth0"),
            format!("ip addr del 2001:db8:0:{half}::1/128 dev eth0"),
        ] {
            run(&damage);
            assert_restored(&before);
        }
    }
    run(&format!("sysctl -qw {DROP_ENTRY}=0"));
    assert!(within(PATIENCE, || sysctl(DROP_ENTRY) == "1"));
    // Neither takes the other's repairs for a program that undoes its own.
    for owner in ["web", "dns"] {
        wait_for_state(&host, owner, "ok");
        assert_eq!(status(&host, owner)["conflicts"], serde_json::json!([]), "{owner}");
    }
    drop(web);
    let dns = Listed::of_half(2);
    let (code, stdout, stderr) = host.evenkeel("teardown --yes --owner web");
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert_eq!((Listed::of_half(1).table.len(), Listed::of_half(2)), (0, dns.clone()));
    assert_eq!(sysctl(DROP_ENTRY), "1");
    run("ipvsadm -D -t 192.0.2.33:80");
    assert!(within(PATIENCE, || Listed::of_half(2) == dns));
}

#[test]
fn an_apply_of_one_works_beside_the_daemon_of_the_other() {
    let host = host();
    let _dns = watching(&host, "dns", &spec("dns", 2, ""));
    host.write("web.yaml", spec("web", 1, ""));
    for arguments in [
        "apply --yes specs/web.yaml",
        "teardown --yes --owner web",
        "apply --yes specs/web.yaml --confirm 1m",
    ] {
        let (code, stdout, stderr) = host.evenkeel(arguments);
        assert_eq!(code, 0, "{arguments}: {stdout}{stderr}");
    }
    // The daemon of the other owner still repairs what is its own.
    let dns = Listed::of_half(2);
    run("ipvsadm -D -t 192.0.2.33:80");
    assert!(within(PATIENCE, || Listed::of_half(2) == dns), "{:#}", status(&host, "dns"));
    let (code, ..) = host.evenkeel("confirm --owner web");
    assert_eq!(code, 0);
    wait_for_state(&host, "dns", "ok");
    let (code, _, stderr) = host.evenkeel("teardown --yes --owner dns");
    assert_eq!(code, 3);
    assert!(stderr.contains("a teardown is not possible while the daemon runs"), "{stderr}");
}

#[test]
fn a_spec_that_overlaps_is_not_activated_and_the_last_good_one_stays() {
    let host = host();
    let _web = watching(&host, "web", &spec("web", 1, &drop_entry(1)));
    let _dns = watching(&host, "dns", &spec("dns", 2, ""));
    let before = Listed::now();
    host.write("dns.yaml", spec("dns", 2, &drop_entry(3)).replace("10.0.0.22", "10.0.0.29"));
    wait_for_state(&host, "dns", "degraded");
    let reasons = status(&host, "dns")["reasons"].to_string();
    let words = "the newest spec is not activated, and the last good one stays: owner web sets sysctl \
                 net.ipv4.vs.drop_entry to 1, and this spec to 3";
    assert!(reasons.contains(words), "{reasons}");
    run("ipvsadm -D -t 192.0.2.33:80");
    assert_restored(&before);
    assert_eq!(sysctl(DROP_ENTRY), "1");
    host.write("dns.yaml", spec("dns", 2, &drop_entry(1)));
    wait_for_state(&host, "dns", "ok");
    host.write("dns.yaml", spec("other", 2, ""));
    wait_for_state(&host, "dns", "degraded");
    let reasons = status(&host, "dns").to_string();
    assert!(reasons.contains("this is a spec of owner other"), "{reasons}");
}

#[test]
fn a_second_daemon_of_one_owner_is_refused_and_a_taken_port_is_a_warning() {
    let host = host();
    let _taken = TcpListener::bind("127.0.0.1:9479").unwrap();
    host.write("web.yaml", spec("web", 1, ""));
    let _web = host.watch("specs/web.yaml", "--interval 1s --listen 127.0.0.1:9479");
    wait_for_state(&host, "web", "ok");
    assert!(status(&host, "web")["warnings"].to_string().contains("HTTP endpoint is missing"));
    let path = host.path("specs/web.yaml");
    let (code, _, stderr) = host.evenkeel(&format!("watch {} --listen none", path.display()));
    assert_eq!(code, 75, "{stderr}");
}
