//! A gateway: its neighbour entries follow the spec, and only those that evenkeel added are touched.

use std::time::{Duration, Instant};

use evenkeel_lab_tests::{fresh_namespace, run, say};

use super::cases::GATEWAY;
use super::host::{self, Host};
use super::state::State;
use crate::watch::{self, within};

/// The line of the spec that lists the gateway.
const GATEWAYS: &str =
    "gateways: [ { name: r1, addresses: [192.0.2.254, '2001:db8::fe', 198.51.100.1] } ]\n";
/// The entries that other programs added.
const FOREIGN: [&str; 3] = [
    "192.0.2.1 dev eth1 lladdr 02:00:00:00:00:66 PERMANENT",
    "192.0.2.66 dev eth0 lladdr 02:00:00:00:00:66 PERMANENT",
    "2001:db8::66 dev eth0 lladdr 02:00:00:00:00:66 PERMANENT",
];
const INTERVAL: Duration = Duration::from_secs(1);
/// A repair and starting `ip` take some time as well, more of it beside other guests.
const LOOK: Duration = Duration::from_millis(2_000);

/// The permanent entries, in the order of their texts.
fn entries() -> Vec<String> {
    let all = run("ip -d neigh show nud permanent");
    let mut entries: Vec<String> = all.lines().map(|line| line.trim_end().to_owned()).collect();
    entries.sort();
    entries
}

/// Asserts that these entries are evenkeel's, and that those of others are there.
#[track_caller]
fn assert_entries(ours: &[&str]) {
    let ours = ours.iter().map(|entry| format!("{entry} PERMANENT proto 101"));
    let mut expected: Vec<String> = ours.chain(FOREIGN.map(str::to_owned)).collect();
    expected.sort();
    assert_eq!(entries(), expected);
}

#[test]
fn entries_are_added_replaced_with_the_mac_address_and_deleted_with_the_vip() {
    let host = GATEWAY.host();
    host.write(GATEWAY.spec);
    let plan = host.done("plan -v spec.yaml");
    assert!(plan.starts_with("role: gateway r1, as it has 192.0.2.254\n"), "{plan}");
    let words = "+ add neighbour 192.0.2.1 dev eth0: mac 02:00:00:00:02:01";
    assert!(plan.contains(words) && plan.contains("(spec.yaml:8)"), "{plan}");
    let json: serde_json::Value =
        serde_json::from_str(&host.done("plan --output json spec.yaml")).unwrap();
    assert_eq!(json["roles"]["gateway"], "r1", "{json:#}");
    host.apply(GATEWAY.spec);
    let four = "192.0.2.1 dev eth0 lladdr 02:00:00:00:02:01";
    let six = "2001:db8::1 dev eth0 lladdr 02:00:00:00:02:01";
    let other = "198.51.100.9 dev eth1 lladdr 02:00:00:00:02:02";
    assert_entries(&[four, six, other]);

    // The director gets another network card.
    let spec = GATEWAY.spec.replace("02:01'", "02:0a'");
    host.write(&spec);
    let plan = host.done("plan spec.yaml");
    let words = "~ edit neighbour 2001:db8::1 dev eth0: mac 02:00:00:00:02:01 -> 02:00:00:00:02:0a";
    assert!(plan.contains(words), "{plan}");
    host.apply(&spec);
    assert_entries(&[&four.replace("02:01", "02:0a"), &six.replace("02:01", "02:0a"), other]);

    // A VIP moves to the other director, and one leaves.
    let spec = GATEWAY
        .spec
        .replace("'2001:db8::1', interface: lo, on: lb1", "192.0.2.5, interface: lo, on: lb2");
    let spec = spec.replace("192.0.2.1, '2001:db8::1' ", "192.0.2.1 ");
    let spec = spec.replace(", { address: '2001:db8::11' }", "");
    host.apply(&spec);
    assert_entries(&[four, "192.0.2.5 dev eth1 lladdr 02:00:00:00:02:02", other]);
    host.apply(GATEWAY.spec);
    assert_entries(&[four, six, other]);
}

#[test]
fn a_gateway_that_the_spec_no_longer_lists_only_loses_its_entries() {
    for spec in [
        GATEWAY.spec.replace("192.0.2.254, '2001:db8::fe', 198.51.100.1", "192.0.2.253"),
        GATEWAY.spec.replace(GATEWAYS, ""),
        "version: 1\nscope: all\nservices: []\n".to_owned(),
    ] {
        let host = GATEWAY.host();
        let before = State::read();
        host.apply(GATEWAY.spec);
        host.apply(&spec);
        before.assert_is_reached(&spec);
        // It never becomes a director by itself.
        let without = "version: 1\nscope: all\nvips: [ { address: 192.0.2.1, interface: eth0 } ]\nservices: []\n";
        host.write(without);
        let answer = host.evenkeel("apply --yes spec.yaml");
        let words = "this host was a gateway, and the spec lists no directors";
        assert!(answer.status == 0 && answer.stderr.contains(words), "{answer:?}");
        before.assert_is_reached("a spec for directors");
        host.evenkeel("teardown --yes");
        let answer = host.evenkeel("apply --yes spec.yaml");
        assert!(
            answer.status == 0 && State::read().contains("\"local\":\"192.0.2.1\""),
            "{answer:?}"
        );
    }
}

#[test]
fn an_entry_of_another_program_for_the_vip_stays_and_is_warned_of() {
    let host = GATEWAY.host();
    run("ip neigh add 192.0.2.1 lladdr 02:00:00:00:00:99 dev eth0 nud permanent");
    let before = entries();
    host.write(GATEWAY.spec);
    let answer = host.evenkeel("apply --yes spec.yaml");
    let words = "neighbour 192.0.2.1 dev eth0 was added by another program and keeps mac";
    assert!(answer.status == 0 && answer.stderr.contains(words), "{answer:?}");
    let foreign = "192.0.2.1 dev eth0 lladdr 02:00:00:00:00:99 PERMANENT".to_owned();
    assert!(entries().contains(&foreign), "{:?}", entries());
    assert_eq!(host.evenkeel("teardown --yes").status, 0);
    assert_eq!(entries(), before);
}

fn watched() -> (watch::Host, watch::Daemon) {
    fresh_namespace();
    host::build(GATEWAY.host);
    let host = watch::Host::here();
    let daemon = host.watching(GATEWAY.spec, "--interval 1s");
    (host, daemon)
}

#[test]
fn entries_that_are_taken_from_a_gateway_are_back_within_an_interval() {
    let (host, daemon) = watched();
    let repairs = || daemon.log().matches("outcome=\"applied\"").count();
    let before = State::read();
    assert!(before.contains("\"dst\":\"2001:db8::1\",\"lladdr\":\"02:00:00:00:02:01\""));
    let all = entries();
    let mut worst = Duration::ZERO;
    for change in [
        "ip neigh del 192.0.2.1 dev eth0",
        "ip neigh del 2001:db8::1 dev eth0",
        "ip neigh flush dev eth1 nud permanent to 198.51.100.9",
        "ip neigh replace 192.0.2.1 lladdr 02:00:00:00:00:99 dev eth0 nud permanent protocol 101",
        "ip neigh replace 2001:db8::1 lladdr 02:00:00:00:02:01 dev eth0 nud reachable",
    ] {
        let (begin, repaired) = (Instant::now(), repairs());
        run(change);
        // It may be repaired before anything is read, which is then seen in the log only.
        let is_repaired = within(INTERVAL + LOOK, || entries() == all && repairs() > repaired);
        assert!(is_repaired, "{change}: {:?}", entries());
        worst = worst.max(begin.elapsed());
    }
    say(&format!("the entries of a gateway are back, the slowest after {worst:?}"));
    host.wait_for_state("ok");
    before.assert_is_reached("everything is repaired");
    // The kernel deletes the entries of an interface with its last address; the last valid spec stays.
    run("ip address del 198.51.100.1/24 dev eth1");
    host.wait_for_state("degraded");
    let words = "the gateway `r1` has no network with an address of the director `lb2`";
    assert!(host.reasons().contains(words), "{}", host.reasons());
    assert!(State::read().contains("\"dst\":\"192.0.2.1\",\"lladdr\":\"02:00:00:00:02:01\""));
    run("ip address add 198.51.100.1/24 dev eth1");
    run("ip neigh replace 192.0.2.1 lladdr 02:00:00:00:00:66 dev eth1 nud permanent");
    host.wait_for_state("ok");
    before.assert_is_reached("the address is back");
}

#[test]
fn a_gateway_stays_one_while_the_daemon_runs() {
    let (host, _daemon) = watched();
    let before = State::read();
    for (old, new, words) in [
        (
            "addresses: [198.51.100.2]",
            "addresses: [192.0.2.254]",
            "192.0.2.254 is the address of a director, too",
        ),
        (
            "gateways: [ { name: r1, addresses: [192.0.2.254, '2001:db8::fe', 198.51.100.1] } ]",
            "gateways: [ { name: r1, addresses: [192.0.2.253] }, { name: r2, addresses: [192.0.2.252] } ]",
            "",
        ),
        ("address: 192.0.2.11 }, {", "address: 198.51.100.1 }, {", "is a real server's address"),
    ] {
        assert!(GATEWAY.spec.contains(old), "{old}");
        host.write("spec.yaml", GATEWAY.spec.replacen(old, new, 1));
        if words.is_empty() {
            // It is taken out of service, which undoes everything.
            assert!(
                within(Duration::from_secs(5), || !State::read().contains("\"protocol\":\"101\""))
            );
        } else {
            host.wait_for_state("degraded");
            assert!(host.reasons().contains(words), "{}", host.reasons());
            let now = State::read();
            assert!(now == before, "{new}: {}", now.changes_since(&before));
        }
        host.write("spec.yaml", GATEWAY.spec);
        before.assert_is_reached(new);
        host.wait_for_state("ok");
    }
}

#[test]
fn what_a_gateway_cannot_be_is_refused_and_nothing_is_changed() {
    for (commands, old, new, status, words) in [
        // Its network does not have the director's address.
        (
            "address add 192.0.2.254/32 dev eth0",
            "",
            "",
            65,
            "the gateway `r1` has no network with an address of the director `lb1`: this host has 192.0.2.254",
        ),
        (
            "address add 192.0.2.254/24 dev eth0",
            "",
            "",
            65,
            "the gateway `r1` has no network with an address of the director `lb2`",
        ),
        // Two interfaces have it.
        (
            "address add 192.0.2.254/24 dev eth0
            address add 192.0.2.253/24 dev eth1",
            "addresses: [198.51.100.2]",
            "addresses: [192.0.2.3]",
            65,
            "several interfaces of this gateway face the director",
        ),
        // It has an address of something else.
        (
            "address add 192.0.2.254/24 dev eth0
            address add 192.0.2.11/24 dev eth0",
            "",
            "",
            65,
            "this host is the gateway `r1`, and real server, too: this host has ",
        ),
        (
            "address add 192.0.2.254/24 dev eth0",
            "mac: '02:00:00:00:02:01'",
            "mac: '02:00:00:00:02'",
            65,
            "`02:00:00:00:02` is not a MAC address",
        ),
    ] {
        let host = Host::new(commands);
        let spec = if old.is_empty() {
            GATEWAY.spec.to_owned()
        } else {
            GATEWAY.spec.replacen(old, new, 1)
        };
        assert!(spec.contains(new), "{new}");
        host.write(&spec);
        let before = State::read();
        let answer = host.evenkeel("apply --yes spec.yaml");
        assert_eq!(answer.status, status, "{answer:#?}");
        let all = format!("{}{}", answer.stdout, answer.stderr);
        assert_eq!(all.matches(words).count(), 1, "{words}: {answer:#?}");
        assert!(all.contains("spec.yaml:"), "{answer:#?}");
        let now = State::read();
        assert!(now == before, "{words}: {}", now.changes_since(&before));
    }
}
