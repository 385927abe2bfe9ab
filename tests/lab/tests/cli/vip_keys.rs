//! Labels of VIPs and host routes to them, as `ip` shows them.

use super::*;

const VIPS: &str = "version: 1
vips:
  - { address: 192.0.2.1, interface: eth0, label: 'eth0:0', route: true }
  - { address: '2001:db8::1', interface: vips, dummy: true, route: true }
";
const SERVICES: &str = "services:
  - { name: web, vips: [192.0.2.1, '2001:db8::1'], port: 80, drain: 0s, real_servers: [] }
";

fn spec() -> String {
    format!("{VIPS}{SERVICES}")
}

/// Addresses with all their details, and the routes of the main table, of both families. IPv6
/// link-local addresses are left out: their flags change by themselves.
fn host() -> [String; 4] {
    [
        run("ip -d -4 addr show"),
        run("ip -d -6 addr show scope global"),
        run("ip -d route show table main"),
        run("ip -d -6 route show table main"),
    ]
}

/// The lines of `ip route` to the VIPs.
fn routes() -> Vec<String> {
    let all = run("ip route show table main") + "\n" + &run("ip -6 route show table main");
    let to_vips = |line: &&str| line.starts_with("192.0.2.1 ") || line.starts_with("2001:db8::1 ");
    all.lines().filter(to_vips).map(|line| line.trim().to_owned()).collect()
}

fn label() -> String {
    let shown: serde_json::Value =
        serde_json::from_str(&run("ip -j -d -4 addr show dev eth0")).unwrap();
    shown[0]["addr_info"][0]["label"].as_str().unwrap().to_owned()
}

#[test]
fn labels_and_routes_are_applied_and_a_teardown_removes_them() {
    let fixture = Fixture::new("");
    let before = host();
    let answer = fixture.apply(&spec());
    for words in [
        "+ bind vip 192.0.2.1/32 on eth0 label eth0:0: applied\n",
        "+ add route 192.0.2.1 dev eth0: source 192.0.2.1: applied\n",
        "+ add route 2001:db8::1 dev vips: source 2001:db8::1: applied\n",
    ] {
        assert!(answer.contains(words), "{words}: {answer}");
    }
    assert_eq!(label(), "eth0:0");
    let shown = routes();
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert_eq!(shown[0], "192.0.2.1 dev eth0 proto 101 scope link src 192.0.2.1");
    assert!(shown[1].starts_with("2001:db8::1 dev vips proto 101 src 2001:db8::1 metric 1024"));
    fixture.assert_in_sync("spec.yaml");

    // The keys are removed from the spec, and the VIPs stay.
    let plain = spec().replace(", route: true", "").replace(", label: 'eth0:0'", "");
    let answer = fixture.apply(&plain);
    assert!(
        answer.contains("- delete route 192.0.2.1 dev eth0: source 192.0.2.1: applied\n"),
        "{answer}"
    );
    assert_eq!((routes(), label()), (vec![], "eth0:0".to_owned()));
    assert_eq!(addresses(), lines("192.0.2.1/32 eth0\n2001:db8::1/128 vips"));
    // Routes are not read any more, and none is left.
    fixture.assert_in_sync("spec.yaml");

    // A route is deleted with its VIP, and by a teardown.
    fixture.apply(&spec());
    fixture.apply(
        &spec()
            .replace(
                "  - { address: 192.0.2.1, interface: eth0, label: 'eth0:0', route: true }\n",
                "",
            )
            .replace("[192.0.2.1, ", "["),
    );
    assert_eq!(routes().len(), 1);
    fixture.apply(&spec());
    let answer = fixture.evenkeel("teardown --yes");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert_eq!(host(), before);
}

#[test]
fn a_changed_label_keeps_its_route_and_is_rolled_back_when_an_apply_fails() {
    let fixture = Fixture::new("");
    fixture.apply(&spec());
    let before = host();
    let other = spec().replace("eth0:0", "eth0:1");
    fixture.apply(&other);
    assert_eq!((label(), routes().len()), ("eth0:1".to_owned(), 2));
    fixture.assert_in_sync("spec.yaml");
    fixture.apply(&spec());
    assert_eq!(host(), before);
    // The last step is refused, and everything is rolled back.
    run("ip link add eth1 up type dummy");
    run("ip route add 192.0.2.9 dev eth1");
    let refused = "  - { address: 192.0.2.9, interface: eth0, route: true }\nservices";
    fixture.write("spec.yaml", other.replacen("services", refused, 1));
    let before = host();
    let answer = fixture.evenkeel("apply --yes spec.yaml");
    assert_ne!(answer.status, 0, "{answer:?}");
    let words = "route 192.0.2.9 dev eth1 is in the way of route 192.0.2.9 dev eth0";
    assert!((answer.stdout.clone() + &answer.stderr).contains(words), "{answer:?}");
    assert_eq!(host(), before);
}

#[test]
fn routes_and_labels_of_another_program_stay() {
    let fixture = Fixture::new("");
    run("ip addr add 192.0.2.1/32 dev eth0 label eth0:9");
    run("ip route add 192.0.2.1 dev eth0 proto static");
    let before = host();
    fixture.write("spec.yaml", spec());
    let answer = fixture.evenkeel("apply --yes spec.yaml");
    assert_eq!(answer.status, 0, "{answer:?}");
    let words = "192.0.2.1/32 on eth0 was bound by another program and keeps its label eth0:9";
    assert!(answer.stderr.contains(words), "{answer:?}");
    assert_eq!(label(), "eth0:9");
    assert_eq!(routes()[0], "192.0.2.1 dev eth0 proto static scope link");
    assert_eq!(fixture.evenkeel("teardown --yes").status, 0);
    assert_eq!(host(), before);
}

#[test]
fn a_snapshot_keeps_labels_and_routes() {
    let fixture = Fixture::new("");
    fixture.apply(&spec());
    let snapshot = fixture.done("snapshot");
    for words in ["label: eth0:0, route: true }", "interface: vips, dummy: true, route: true }"] {
        assert!(snapshot.contains(words), "{words}: {snapshot}");
    }
    fixture.write("snapshot.yaml", &snapshot);
    fixture.assert_in_sync("snapshot.yaml");
    let against_itself = fixture.evenkeel("plan snapshot.yaml --live snapshot.yaml");
    assert!(against_itself.stdout.starts_with("In sync; "), "{against_itself:?}");
    let before = host();
    let elsewhere = Fixture::new("");
    elsewhere.write("snapshot.yaml", &snapshot);
    let answer = elsewhere.evenkeel("apply --yes snapshot.yaml");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert_eq!(host()[2..], before[2..]);
    assert_eq!(label(), "eth0:0");
}

#[test]
fn vips_of_one_network_are_unbound_together() {
    // The kernel removes the secondary addresses of a network with the first one.
    let spec = |interface: &str| {
        format!(
            "version: 1
vips:
  - {{ address: 192.0.2.1/24, interface: {interface} }}
  - {{ address: 192.0.2.2/24, interface: {interface}, label: '{interface}:2' }}
  - {{ address: 192.0.2.3/24, interface: {interface} }}
services: []
"
        )
    };
    let fixture = Fixture::new("");
    let before = host();
    fixture.apply(&spec("eth0"));
    run("ip link add eth9 type dummy");
    run("ip link set eth9 up");
    fixture.apply(&spec("eth9"));
    assert!(!run("ip -4 addr show dev eth0").contains("192.0.2."));
    assert_eq!(run("ip -4 addr show dev eth9").matches("192.0.2.").count(), 6);
    fixture.assert_in_sync("spec.yaml");
    fixture.done("teardown --yes");
    run("ip link del eth9");
    assert_eq!(host(), before);

    // A secondary address of another program keeps the first one in place.
    fixture.apply(&spec("eth0"));
    run("ip addr add 192.0.2.9/24 dev eth0");
    let answer = fixture.evenkeel("teardown --yes");
    assert_eq!(answer.status, 1, "{answer:?}");
    let words = "unbinding 192.0.2.1/24 on eth0 would remove 192.0.2.9 too";
    assert!(answer.stdout.contains(words), "{answer:?}");
    let shown = run("ip -4 addr show dev eth0");
    assert!(shown.contains("192.0.2.1/24") && shown.contains("192.0.2.9/24"), "{shown}");
}

#[test]
fn a_route_that_a_rollback_added_again_is_removed_by_a_teardown() {
    let fixture = Fixture::new("");
    let before = host();
    fixture.apply(&spec());
    let with_routes = routes();
    fixture.write("plain.yaml", spec().replace(", route: true", ""));
    let answer = fixture.evenkeel("apply --yes --confirm 60 plain.yaml");
    assert!(answer.stdout.contains("- delete route 192.0.2.1 dev eth0"), "{answer:?}");
    run("ip route add blackhole 192.0.2.1");
    let answer = fixture.evenkeel("confirm --abort");
    assert!(answer.status == 1 && answer.stderr.contains("still waits"), "{answer:?}");
    run("ip route del blackhole 192.0.2.1");
    fixture.done("confirm --abort");
    assert_eq!(routes(), with_routes);
    let answer = fixture.done("teardown --yes");
    assert!(answer.contains("- delete route 192.0.2.1 dev eth0"), "{answer}");
    assert_eq!(host(), before);
}

/// The IPv4 addresses of `eth0` with their lengths and labels, in the kernel's order. Without any, ip-address(8)
/// shows no interface.
fn bound() -> Vec<String> {
    let shown: serde_json::Value =
        serde_json::from_str(&run("ip -j -d -4 addr show dev eth0")).unwrap();
    let all = shown[0]["addr_info"].as_array().into_iter().flatten();
    all.map(|it| format!("{}/{} {}", it["local"], it["prefixlen"], it["label"]).replace('"', ""))
        .collect()
}

#[test]
fn all_vips_of_a_subnet_change_at_once_where_the_kernel_promotes_none() {
    let fixture = Fixture::new("");
    let keys = ["all", "eth0"].map(|it| format!("net.ipv4.conf.{it}.promote_secondaries"));
    let spec = |length: &str, label: &str| {
        let vip =
            |last| format!("  - {{ address: 192.0.2.{last}{length}, interface: eth0{label} }}\n");
        let vips = [1, 2, 3].map(vip).concat();
        format!("version: 1\nscope: all\nvips:\n{vips}services: []\n")
    };
    let lines = |length: &str, label: &str| {
        [2, 1, 3].map(|last| format!("192.0.2.{last}{length} {label}")).to_vec()
    };
    for promotes in ["0", "1"] {
        keys.iter().for_each(|key| drop(run(&format!("sysctl -qw {key}={promotes}"))));
        // The primary is not the first in the order of the plan.
        fixture.apply(&spec("/24", "").replace("192.0.2.1/24", "198.51.100.1/24"));
        fixture.apply(&spec("/24", ""));
        run("ip link set eth0 up");
        fixture.assert_in_sync("spec.yaml");
        if promotes == "0" {
            let shown = run("ip -4 addr show dev eth0");
            assert!(
                shown.contains("192.0.2.1/24 brd 192.0.2.255 scope global secondary"),
                "{shown}"
            );
        }
        // Another label for all of them.
        fixture.write("labelled.yaml", spec("/24", ", label: 'eth0:1'"));
        let plan = fixture.done("plan labelled.yaml");
        let place = |text: &str| plan.find(text).unwrap();
        if promotes == "0" {
            let primary = place("- unbind vip 192.0.2.2/24");
            assert!(place("- unbind vip 192.0.2.1/24") < primary, "{plan}");
            assert!(place("- unbind vip 192.0.2.3/24") < primary, "{plan}");
        }
        fixture.apply(&spec("/24", ", label: 'eth0:1'"));
        let mut shown = bound();
        shown.sort();
        let mut expected = lines("/24", "eth0:1");
        expected.sort();
        assert_eq!(shown, expected);
        // Another length for all of them.
        fixture.apply(&spec("", ""));
        assert_eq!(bound().len(), 3, "{:?}", bound());
        fixture.assert_in_sync("spec.yaml");
        // All leave, by a spec and by a teardown, in one run.
        fixture.apply(&spec("/24", ""));
        fixture.write("none.yaml", "version: 1\nscope: all\nservices: []\n");
        let answer = fixture.done("apply --yes none.yaml --allow empty");
        assert_eq!(bound(), [""; 0], "{answer}");
        fixture.apply(&spec("/24", ""));
        fixture.done("teardown --yes");
        assert_eq!(bound(), [""; 0]);
    }
}

#[test]
fn a_primary_that_would_take_others_along_is_refused_before_the_first_change() {
    let fixture = Fixture::new("");
    run("ip link set eth0 up");
    let promote = |value: &str| {
        let keys = ["all", "eth0"].map(|it| format!("net.ipv4.conf.{it}.promote_secondaries"));
        keys.iter().for_each(|key| drop(run(&format!("sysctl -qw {key}={value}"))));
    };
    let spec = |vips: &[&str], sysctls: &str| {
        let vip = |vip: &&str| format!("  - {{ address: {vip}, interface: eth0 }}\n");
        let vips: String = vips.iter().map(vip).collect();
        format!(
            "version: 1\nvips:\n{vips}services: [ {{ name: marked, fwmark: 7, family: ipv4, drain: 0s, real_servers: [ {{ address: 10.0.0.1 }} ] }} ]\n{sysctls}"
        )
    };
    let both = ["192.0.2.1/24", "192.0.2.2/24"];
    let cases: [(&[&str], &[&str]); 3] = [
        // The primary leaves, changes its length, or makes room for another VIP.
        (&both, &both[1..]),
        (&both, &["192.0.2.1/32", both[1]]),
        (&both[..1], &["192.0.2.9/24"]),
    ];
    let sysctls = "sysctls: { net.ipv4.conf.eth0.promote_secondaries: 1 }\n";
    for (before, after) in cases {
        promote("0");
        fixture.apply(&spec(before, ""));
        let found = bound();
        fixture.write("after.yaml", spec(after, ""));
        let plan = fixture.evenkeel("plan after.yaml");
        let answer = fixture.evenkeel("apply --yes after.yaml --allow unbind-in-use");
        assert_eq!((answer.status, &*answer.stdout), (1, ""), "{answer:?}");
        for stderr in [&plan.stderr, &answer.stderr] {
            let words = "192.0.2.1/24 on eth0 is the primary address of its subnet";
            assert!(stderr.contains(words), "{stderr}");
        }
        assert!(answer.stderr.contains("nothing was changed"), "{answer:?}");
        assert_eq!(bound(), found);
        // The remedy works.
        fixture.write("after.yaml", spec(after, sysctls));
        fixture.done("apply --yes after.yaml --allow unbind-in-use");
        let mut expected: Vec<String> = after.iter().map(|vip| format!("{vip} eth0")).collect();
        let mut found = bound();
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
        fixture.done("teardown --yes");
        assert_eq!(bound(), [""; 0]);
    }
}

#[test]
fn an_ipv6_vip_where_ipv6_is_disabled_is_refused_before_the_first_change() {
    let fixture = Fixture::new("");
    run("ip link set eth0 up");
    let spec = |sysctls: &str| {
        format!(
            "version: 1\nvips: [ {{ address: '2001:db8::9', interface: eth0 }} ]\nservices: []\nsysctls: {{ {sysctls} }}\n"
        )
    };
    let key = "net.ipv6.conf.eth0.disable_ipv6";
    let other = "net.ipv4.conf.eth0.rp_filter: 2";
    run(&format!("sysctl -qw {key}=1"));
    fixture.write("spec.yaml", spec(other));
    let plan = fixture.evenkeel("plan spec.yaml");
    let answer = fixture.evenkeel("apply --yes spec.yaml");
    assert_eq!((answer.status, &*answer.stdout), (1, ""), "{answer:?}");
    for stderr in [&plan.stderr, &answer.stderr] {
        let words =
            "IPv6 is disabled on interface eth0, and the kernel does not bind 2001:db8::9 there";
        assert!(stderr.contains(words) && stderr.contains(key), "{stderr}");
    }
    assert_eq!(run("sysctl -n net.ipv4.conf.eth0.rp_filter").trim(), "0");
    // The remedy works; then the spec contradicts itself.
    fixture.apply(&spec(&format!("{key}: 0")));
    assert!(run("ip -o -6 address show dev eth0").contains("2001:db8::9"));
    for key in [key, "net.ipv6.conf.all.disable_ipv6"] {
        fixture.write("spec.yaml", spec(&format!("{key}: 1")));
        let answer = fixture.evenkeel("apply --yes spec.yaml");
        assert_eq!(answer.status, 1, "{answer:?}");
        assert!(answer.stderr.contains("the plan disables IPv6 on interface eth0"), "{answer:?}");
        assert!(run("ip -o -6 address show dev eth0").contains("2001:db8::9"));
    }
}
