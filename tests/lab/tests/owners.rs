//! Two owners on one host: two specs with disjoint scopes, each with a journal of its own.

mod daemons;
mod shared;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use evenkeel_lab_tests::{ipvsadm, run};
use serde_json::Value;

use super::cli::Fixture;

/// A spec of an owner in its half of the addresses and marks: services of TCP, UDP, SCTP and of marks, in
/// both families, and these further keys.
pub(crate) fn spec(owner: &str, half: u8, more: &str) -> String {
    let (v4, v6, mark) = (half * 16, half, half * 10);
    let vip = v4 + 1;
    format!(
        "version: 1
owner: {owner}
scope: {{ vips: [192.0.2.{v4}/28, '2001:db8:0:{v6}::/64'], fwmarks: [{mark}-{}] }}
vips:
  - {{ address: 192.0.2.{vip}, interface: eth0 }}
  - {{ address: '2001:db8:0:{v6}::1', interface: eth0 }}
defaults: {{ drain: 0s }}
services:
  - name: {owner}-tcp
    vips: [192.0.2.{vip}, '2001:db8:0:{v6}::1']
    port: 80
    real_servers: [ {{ address: 10.0.0.{half}1 }}, {{ address: '2001:db8:f::{half}1' }} ]
  - {{ name: {owner}-udp, vip: 192.0.2.{vip}, port: 53, protocol: udp, real_servers: [ {{ address: 10.0.0.{half}2 }} ] }}
  - {{ name: {owner}-sctp, vip: '2001:db8:0:{v6}::1', port: 9, protocol: sctp, real_servers: [ {{ address: '2001:db8:f::{half}2' }} ] }}
  - {{ name: {owner}-mark, fwmark: {}, family: ipv4, real_servers: [ {{ address: 10.0.0.{half}3, port: 0 }} ] }}
{more}",
        mark + 9,
        mark + 1,
    )
}

/// What `ipvsadm -Sn` and `ip -d addr` list, without link-local addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) table: Vec<String>,
    pub(crate) addresses: Vec<String>,
}

impl Listed {
    /// All of it.
    pub(crate) fn now() -> Self {
        let addresses = run("ip -d -o addr show");
        // The kernel lists an address that is bound again after the others.
        let addresses: BTreeSet<&str> =
            addresses.lines().filter(|line| !line.contains(" fe80:")).collect();
        Self {
            table: ipvsadm::save().into_iter().collect(),
            addresses: addresses.into_iter().map(str::to_owned).collect(),
        }
    }

    /// What belongs to one half.
    pub(crate) fn of_half(half: u8) -> Self {
        Self::of(half, half * 16..=half * 16 + 15)
    }

    /// What belongs to one half that has these last bytes of IPv4 addresses.
    pub(crate) fn of(half: u8, last_bytes: RangeInclusive<u8>) -> Self {
        let v6 = format!("2001:db8:0:{half}:");
        let is_mark = |line: &str| {
            let mark = line.split_whitespace().skip_while(|word| *word != "-f").nth(1);
            mark.and_then(|it| it.parse::<u8>().ok()).is_some_and(|it| it / 10 == half)
        };
        let is_address = |line: &str| {
            line.split("192.0.2.").skip(1).any(|rest| {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                digits.parse::<u8>().is_ok_and(|it| last_bytes.contains(&it))
            })
        };
        let Self { mut table, mut addresses } = Self::now();
        table.retain(|line| line.contains(&v6) || is_address(line) || is_mark(line));
        addresses.retain(|line| line.contains(&v6) || is_address(line));
        Self { table, addresses }
    }
}

pub(crate) fn sysctl(key: &str) -> String {
    run(&format!("cat /proc/sys/{}", key.replace('.', "/"))).trim().to_owned()
}

const DROP_ENTRY: &str = "net.ipv4.vs.drop_entry";

fn drop_entry(value: u8) -> String {
    format!("sysctls: {{ {DROP_ENTRY}: {value} }}\n")
}

/// Timeouts and sync daemons.
fn settings() -> String {
    run("ipvsadm -Ln --timeout") + &run("ipvsadm -Ln --daemon")
}

fn host_with(specs: &[(&str, u8, String)]) -> Fixture {
    let fixture = Fixture::new("");
    for (owner, half, more) in specs {
        fixture.write(&format!("{owner}.yaml"), spec(owner, *half, more));
        fixture.done(&format!("apply --yes {owner}.yaml"));
    }
    fixture
}

fn assert_in_sync(fixture: &Fixture, owner: &str) {
    let answer = fixture.evenkeel(&format!("plan --detailed-exitcode {owner}.yaml"));
    assert_eq!((answer.status, &*answer.stderr), (0, ""), "{answer:?}");
}

#[test]
fn the_teardown_of_one_leaves_the_others_byte_for_byte() {
    for [torn_down, other] in [["web", "dns"], ["dns", "web"]] {
        let fixture = Fixture::new("");
        let before = Listed::now();
        let half = |owner: &str| if owner == "web" { 1 } else { 2 };
        for owner in ["web", "dns"] {
            let text = spec(owner, half(owner), &drop_entry(1));
            fixture.write(&format!("{owner}.yaml"), text);
            fixture.done(&format!("apply --yes {owner}.yaml"));
        }
        for owner in ["web", "dns"] {
            assert_in_sync(&fixture, owner);
            let listed = Listed::of_half(half(owner));
            // A service of two families, one of each other kind, each with a real server.
            assert_eq!((listed.table.len(), listed.addresses.len()), (10, 2), "{listed:?}");
        }
        let others = Listed::of_half(half(other));
        fixture.done(&format!("teardown --yes --owner {torn_down}"));
        assert_eq!(Listed::of_half(half(other)), others);
        assert_eq!(Listed::of_half(half(torn_down)), Listed { table: vec![], addresses: vec![] });
        assert_eq!(sysctl(DROP_ENTRY), "1", "the other one asks for it");
        assert_in_sync(&fixture, other);
        // The only owner that is left needs no name.
        fixture.done("teardown --yes");
        assert_eq!(Listed::now(), before);
        assert_eq!(sysctl(DROP_ENTRY), "0");
        assert_eq!(fixture.done("owners"), "No owner.\n");
    }
}

#[test]
fn a_sysctl_with_another_value_is_refused_with_both_values_and_nothing_changes() {
    let fixture = host_with(&[("web", 1, drop_entry(1))]);
    let before = (Listed::now(), sysctl(DROP_ENTRY));
    fixture.write("dns.yaml", spec("dns", 2, &drop_entry(2)));
    for command in
        ["plan dns.yaml", "apply --yes dns.yaml", "apply --yes dns.yaml --target dns-udp"]
    {
        let answer = fixture.evenkeel(command);
        let words = "refused: owner web sets sysctl net.ipv4.vs.drop_entry to 1, and this spec to 2\n\
                     hint: nothing was changed; give it the same value in both specs, or leave it to one of \
                     the owners\n";
        assert_eq!((answer.status, &*answer.stdout, &*answer.stderr), (3, "", words), "{command}");
    }
    assert_eq!((Listed::now(), sysctl(DROP_ENTRY)), before);
}

#[test]
fn overlaps_are_refused_whatever_both_have() {
    let more = "timeouts: { tcp: 600 }\nsync: [ { state: master, interface: eth0, id: 7 } ]\n";
    let fixture = host_with(&[("web", 1, more.to_owned())]);
    let limited = spec("dns", 2, "");
    let whole = limited.replace("scope: {", "# scope: {");
    let cases = [
        (whole.clone(), "owner web governs vips"),
        (whole.replace("# scope", "scope: all\n# scope"), "owner web governs vips"),
        (limited.replace("192.0.2.32/28", "192.0.2.0/24"), "owner web governs vips 192.0.2.16/28"),
        (limited.replace("20-29", "15-29"), "owner web governs fwmarks 15-19 too"),
        (
            limited.replace("20-29]", "20-29], services: ['192.0.2.17:99/tcp']"),
            "owner web governs service 192.0.2.17:99/tcp too",
        ),
        (
            format!("{limited}timeouts: {{ tcp: 600 }}\n"),
            "owner web sets the timeout tcp to 600 s, and this spec to 600 s",
        ),
        (format!("{limited}sync: []\n"), "owner web has a list of sync daemons"),
    ];
    let before = (Listed::now(), settings());
    for (text, words) in cases {
        fixture.write("dns.yaml", text);
        let answer = fixture.evenkeel("apply --yes dns.yaml");
        assert_eq!(answer.status, 3, "{words}: {answer:?}");
        assert!(answer.stderr.contains(words), "{words}: {answer:?}");
        assert_eq!((Listed::now(), settings()), before, "{words}");
    }
    // What it does not share, it may set.
    fixture.write("dns.yaml", format!("{limited}timeouts: {{ udp: 77 }}\n"));
    fixture.done("apply --yes dns.yaml");
    assert_in_sync(&fixture, "web");
}

#[test]
fn an_owner_without_a_name_is_one_among_others_and_keeps_its_directory() {
    let fixture = Fixture::new("");
    fixture.write("plain.yaml", spec("plain", 1, "").replace("owner: plain\n", ""));
    fixture.done("apply --yes plain.yaml");
    fixture.write("web.yaml", spec("web", 2, ""));
    fixture.done("apply --yes web.yaml");
    let state = fixture.path().join("state");
    let namespace = std::fs::read_dir(state).unwrap().next().unwrap().unwrap().path();
    assert!(namespace.join("journal.json").is_file());
    assert!(namespace.join("owner-web/journal.json").is_file());
    for command in
        ["teardown --yes", "status", "confirm", "pause", "resume", "approve x", "zero --yes"]
    {
        let answer = fixture.evenkeel(command);
        let name = command.split(' ').next().unwrap();
        let words = format!(
            "this network namespace has 2 owners: name one of them: `evenkeel {name} --owner ''`, `evenkeel \
             {name} --owner web`"
        );
        assert_eq!(answer.status, 64, "{answer:?}");
        assert!(answer.stderr.contains(&words), "{answer:?}");
    }
    let web = Listed::of_half(2);
    let mut command = std::process::Command::new(evenkeel_lab_tests::program());
    command.args(["teardown", "--yes", "--owner", ""]);
    assert_eq!(fixture.output(command).status, 0);
    assert_eq!((Listed::of_half(1).table.len(), Listed::of_half(2)), (0, web));
    assert!(fixture.evenkeel("status").stdout.contains("last applied"));
}

#[test]
fn the_option_and_the_spec_name_one_owner() {
    let fixture = Fixture::new("");
    fixture.write("web.yaml", spec("web", 1, ""));
    let answer = fixture.evenkeel("plan web.yaml --owner dns");
    assert_eq!(answer.status, 65, "{answer:?}");
    assert!(
        answer.stderr.contains("this is a spec of owner web, and evenkeel acts for owner dns here")
    );
    assert!(answer.stderr.contains("web.yaml:2:"), "{answer:?}");
    fixture.done("apply --yes web.yaml --owner web");
    // A spec without `owner` is the named one's.
    fixture.write("web.yaml", spec("web", 1, "").replace("owner: web\n", ""));
    let answer = fixture.evenkeel("plan --detailed-exitcode web.yaml --owner web");
    assert_eq!(answer.status, 0, "{answer:?}");
    fixture.write("web.yaml", spec("web", 1, "").replace("owner: web", "owner: a/b"));
    let answer = fixture.evenkeel("validate web.yaml");
    assert_eq!(answer.status, 65, "{answer:?}");
    assert!(answer.stderr.contains("`a/b` cannot be the name of an owner"), "{answer:?}");
    assert_eq!(fixture.evenkeel("status --owner a/b").status, 64);
}

#[test]
fn owners_are_listed_with_scope_spec_and_unconfirmed_apply() {
    let fixture = host_with(&[("web", 1, String::new())]);
    fixture.write("dns.yaml", spec("dns", 2, ""));
    let answer = fixture.evenkeel("apply --yes dns.yaml --confirm 1m");
    assert_eq!(answer.status, 0, "{answer:?}");
    let listed: Value = serde_json::from_str(&fixture.done("owners --output json")).unwrap();
    let owners: BTreeMap<&str, &Value> = listed["owners"]
        .as_array()
        .unwrap()
        .iter()
        .map(|owner| (owner["name"].as_str().unwrap(), owner))
        .collect();
    assert_eq!(owners.keys().collect::<Vec<_>>(), [&"dns", &"web"]);
    assert_eq!(owners["web"]["scope"], "vips 192.0.2.16/28 2001:db8:0:1::/64, fwmarks 10-19");
    assert!(owners["web"]["sources"][0].as_str().unwrap().ends_with("/web.yaml"), "{listed:#}");
    assert!(owners["web"]["applied"].as_u64().is_some_and(|at| at > 0), "{listed:#}");
    assert_eq!(
        (&owners["web"]["daemon"], &owners["web"]["unconfirmed"]),
        (&Value::Null, &Value::Null)
    );
    assert!(owners["dns"]["unconfirmed"].as_str().unwrap().contains("waits for confirmation"));
    let text = fixture.done("owners");
    assert!(text.contains("\nweb\n  scope         vips 192.0.2.16/28"), "{text}");
    // Until then, no other owner changes anything.
    let answer = fixture.evenkeel("apply --yes web.yaml");
    assert_eq!(answer.status, 3, "{answer:?}");
    assert!(answer.stderr.contains("an apply of owner dns waits for confirmation"), "{answer:?}");
    let web = Listed::of_half(1);
    assert_eq!(fixture.evenkeel("confirm --abort --owner dns").status, 0);
    assert_eq!((Listed::of_half(1), Listed::of_half(2).table.len()), (web, 0));
    assert_in_sync(&fixture, "web");
}

#[test]
fn a_saved_plan_is_its_owners() {
    let fixture = host_with(&[("web", 1, String::new())]);
    fixture.write("dns.yaml", spec("dns", 2, "").replace("owner: dns\n", ""));
    let answer = fixture.evenkeel("plan dns.yaml --owner dns --out plan.json");
    assert_eq!(answer.status, 0, "{answer:?}");
    let answer = fixture.evenkeel("apply --plan plan.json --owner web");
    assert_eq!(answer.status, 64, "{answer:?}");
    assert_eq!(fixture.evenkeel("apply --plan plan.json").status, 0);
    let text = fixture.done("owners");
    assert!(text.starts_with("dns\n") && text.contains("\nweb\n"), "{text}");
    assert_in_sync(&fixture, "web");
}
