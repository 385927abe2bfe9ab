//! ARP rules and source NAT: repaired when another program removes them, beside rules of other programs, and
//! refused where another program has a table of evenkeel's name.

use std::process::Command;
use std::time::Duration;

use evenkeel_lab_tests::packet_rules::ARPTABLES;
use evenkeel_lab_tests::{fresh_namespace, is_emulated, packet_rules, run};

use super::host::{self, Host as RoleHost};
use crate::watch::{Host, within};

/// An interval, and the time to look.
const REPAIRED: Duration = Duration::from_secs(3);
/// The same on an emulated machine, where each of the programs that a pass starts takes most of a second.
const REPAIRED_EMULATED: Duration = Duration::from_secs(30);

const REAL_SERVER: &str = "address add 192.0.2.11/24 dev eth0";
const HIDDEN: &str = "version: 1
directors: [ { name: lb1, addresses: [192.0.2.2] } ]
defaults: { drain: 0s, arp: arptables }
services:
  - { name: web, vip: 192.0.2.1, port: 80, real_servers: [ { address: 192.0.2.11 } ] }
  - { name: dns, vip: 192.0.2.3, port: 53, protocol: udp, real_servers: [ { address: 192.0.2.11 } ] }
";

const DIRECTOR: &str = "address add 192.0.2.2/24 dev eth0
    address add 2001:db8::2/64 dev eth0 nodad";
const FULL_NAT: &str = "version: 1
directors: [ { name: lb1, addresses: [192.0.2.2, '2001:db8::2'] } ]
defaults: { drain: 0s, forward: fullnat }
services:
  - name: web
    vips: [ 192.0.2.1, '2001:db8::1' ]
    port: 80
    real_servers: [ { address: 192.0.2.11, port: 8080 }, { address: '2001:db8::11' } ]
";

/// Returns the rules, whatever the order of tables and of rules is.
fn listed() -> Vec<String> {
    let mut lines = packet_rules::listed();
    lines.sort();
    lines
}

/// Asserts that the daemon restores the rules after each of these commands, a line each.
fn assert_repaired(host: &str, spec: &str, changes: &[&str]) {
    fresh_namespace();
    host::build(host);
    let watched = Host::here();
    let daemon = watched.watching(spec, "--interval 1s");
    let before = listed();
    assert!(!before.is_empty());
    for change in changes {
        // arptables fails if the daemon changes the table at the same moment, or repairs it in between.
        let make = || Command::new("sh").args(["-c", change]).status().unwrap().success();
        let is_made = (0..20).any(|_| make());
        assert!(is_made, "{change}");
        let mut now = Vec::new();
        let limit = if is_emulated() { REPAIRED_EMULATED } else { REPAIRED };
        let is_back = within(limit, || {
            now = listed();
            now == before
        });
        assert!(is_back, "{change}: {now:#?} in place of {before:#?}: {}", daemon.log());
    }
    watched.wait_for_state("ok");
}

#[test]
fn rules_that_are_removed_are_back_within_an_interval() {
    if !packet_rules::has_nftables() {
        let changes = [
            "arptables-legacy -F",
            "arptables-legacy -F evenkeel-input",
            "arptables-legacy -F evenkeel-output",
            "arptables-legacy -D INPUT -j evenkeel-input",
            "arptables-legacy -F && arptables-legacy -X",
        ];
        assert_repaired(REAL_SERVER, HIDDEN, &changes);
        return;
    }
    let changes = [
        "nft flush ruleset",
        "nft delete table arp evenkeel",
        "nft flush chain arp evenkeel arp_input && nft flush chain arp evenkeel arp_output",
    ];
    assert_repaired(REAL_SERVER, HIDDEN, &changes);
    let changes = [
        "nft flush ruleset",
        "nft delete table ip evenkeel",
        "nft flush chain ip6 evenkeel source_nat",
        "sysctl -qw net.ipv4.vs.conntrack=0 && nft flush table ip evenkeel",
    ];
    assert_repaired(DIRECTOR, FULL_NAT, &changes);
    assert_eq!(run("sysctl -n net.ipv4.vs.conntrack").trim(), "1");
}

/// A part of a pair counts as drift, too.
#[test]
fn one_rule_of_a_pair_that_is_removed_is_set_again() {
    let host = RoleHost::new(REAL_SERVER);
    host.apply(HIDDEN);
    let before = listed();
    if packet_rules::has_nftables() {
        run("nft flush chain arp evenkeel arp_output");
    } else {
        run("arptables-legacy -D evenkeel-output 1");
    }
    let planned = host.evenkeel("plan spec.yaml").stdout;
    assert!(planned.contains("arp rules 192.0.2.1: source none -> 192.0.2.11"), "{planned}");
    host.done("apply --yes spec.yaml");
    assert_eq!(listed(), before);
    host.done("teardown --yes");
    assert_eq!(packet_rules::listed(), [""; 0]);
}

/// A host without the programs can neither show nor delete what evenkeel set with them.
#[test]
fn rules_that_cannot_be_read_are_not_taken_for_absent() {
    for (addresses, spec, kind) in
        [(REAL_SERVER, HIDDEN, "arp rules"), (DIRECTOR, FULL_NAT, "source nat")]
    {
        if kind == "source nat" && !packet_rules::has_nftables() {
            continue;
        }
        let host = RoleHost::new(addresses);
        host.apply(spec);
        let before = listed();
        assert!(!before.is_empty());
        let expected = format!("{kind} cannot be managed on this host: the program ");
        for command in ["teardown --yes", "apply --yes spec.yaml"] {
            let answer = host.evenkeel_without(&["nft", ARPTABLES, "arptables"], command);
            assert_eq!(answer.status, 1, "{answer:?}");
            assert!(answer.stderr.contains(&expected), "{answer:?}");
            assert_eq!(listed(), before);
        }
        let answer = host.evenkeel_without(&["nft", ARPTABLES, "arptables"], "snapshot");
        let expected =
            format!("{kind} cannot be read, and the snapshot has only that there is any");
        assert!(answer.status == 0 && answer.stderr.contains(&expected), "{answer:?}");
        assert_eq!(answer.stdout.contains("fullnat"), kind == "source nat", "{answer:?}");
        host.done("plan --detailed-exitcode spec.yaml");
        host.done("teardown --yes");
        assert_eq!(packet_rules::listed(), [""; 0]);
    }
}

/// As on a host that got nftables later: evenkeel finds its rules in both places, and leaves them in one.
#[test]
fn rules_in_nftables_and_in_arptables_are_one_object() {
    if !packet_rules::has_nftables() {
        return;
    }
    let host = RoleHost::new(REAL_SERVER);
    host.apply(HIDDEN);
    let in_nftables = listed();
    for (from, chain, rule) in [
        ("INPUT", "evenkeel-input", "-d 192.0.2.1 -j DROP"),
        ("OUTPUT", "evenkeel-output", "-s 192.0.2.1 -j mangle --mangle-ip-s 192.0.2.11"),
    ] {
        run(&format!("{ARPTABLES} -N {chain}"));
        run(&format!("{ARPTABLES} -A {chain} {rule}"));
        run(&format!("{ARPTABLES} -A {from} -j {chain}"));
    }
    assert_ne!(listed(), in_nftables);
    host.done("apply --yes spec.yaml");
    let left = run("nft list ruleset");
    assert!(!left.contains("192.0.2.1 ") && left.contains("192.0.2.3 "), "{left}");
    host.done("teardown --yes");
    assert_eq!(packet_rules::listed(), [""; 0]);
}

#[test]
fn rules_of_others_survive_in_the_same_table_and_keep_it() {
    if !packet_rules::has_nftables() {
        // The cases of `teardown` have rules of others beside the chains of arptables.
        return;
    }
    let host = RoleHost::new(DIRECTOR);
    host.apply(FULL_NAT);
    run("nft add rule ip evenkeel source_nat ip daddr 10.0.0.66 masquerade");
    run("nft add chain ip6 evenkeel mine");
    run("nft add rule ip6 evenkeel mine counter drop");
    host.apply(&FULL_NAT.replace("port: 8080", "port: 8081"));
    host.done("teardown --yes");
    let left = packet_rules::listed();
    let left: Vec<&str> = left.iter().map(|line| line.trim()).collect();
    let expected = [
        "table ip evenkeel {",
        "chain source_nat {",
        "type nat hook postrouting priority srcnat; policy accept;",
        "ip daddr 10.0.0.66 masquerade",
        "}",
        "}",
        "table ip6 evenkeel {",
        "chain mine {",
        "counter packets 0 bytes 0 drop",
        "}",
        "}",
    ];
    assert_eq!(left, expected);
}

#[test]
fn a_table_of_another_program_with_the_same_name_is_refused_before_the_first_change() {
    if !packet_rules::has_nftables() {
        return;
    }
    for (family, hook, host, spec) in
        [("ip", "postrouting", DIRECTOR, FULL_NAT), ("arp", "input", REAL_SERVER, HIDDEN)]
    {
        let host = RoleHost::new(host);
        run(&format!("nft add table {family} evenkeel"));
        let chain = format!("{{ type filter hook {hook} priority 0; }}");
        run(&format!("nft add chain {family} evenkeel theirs {chain}"));
        run(&format!("nft add rule {family} evenkeel theirs counter accept"));
        let before = (packet_rules::listed(), run("ip address show"));
        host.write(spec);
        let answer = host.evenkeel("apply --yes spec.yaml");
        assert_ne!(answer.status, 0);
        let expected = format!("another program has a table `{family} evenkeel`");
        assert!(answer.stderr.contains(&expected), "{answer:?}");
        assert_eq!((packet_rules::listed(), run("ip address show")), before);
        assert!(!run("ipvsadm -Sn").contains("192.0.2.1"));
    }
}
