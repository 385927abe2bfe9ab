//! Permanent neighbour entries, as `ip neigh` shows them.

use super::*;

const SPEC: &str = "version: 1
neighbours:
  - { address: 192.0.2.1, interface: eth0, mac: '02:00:00:00:00:01' }
  - { address: '2001:db8::1', interface: eth0, mac: '02:00:00:00:00:02' }
services: []
";

/// The permanent entries of both families with all their details.
fn neighbours() -> BTreeSet<String> {
    lines(&run("ip -d neigh show nud permanent"))
}

fn ours(four: &str, six: &str) -> BTreeSet<String> {
    lines(&format!(
        "192.0.2.1 dev eth0 lladdr {four} PERMANENT proto 101
        2001:db8::1 dev eth0 lladdr {six} PERMANENT proto 101"
    ))
}

#[test]
fn neighbours_are_applied_edited_repaired_and_deleted() {
    let fixture = Fixture::new("");
    let none = BTreeSet::new();
    assert_eq!(neighbours(), none);
    fixture.write("spec.yaml", SPEC);
    let plan = fixture.evenkeel("plan -v spec.yaml");
    let words = "+ add neighbour 192.0.2.1 dev eth0: mac 02:00:00:00:00:01";
    assert!(plan.stdout.contains(words) && plan.stdout.contains("(spec.yaml:3)"), "{plan:?}");
    let answer = fixture.apply(SPEC);
    let words = "+ add neighbour 2001:db8::1 dev eth0: mac 02:00:00:00:00:02: applied\n";
    assert!(answer.contains(words), "{answer}");
    let applied = ours("02:00:00:00:00:01", "02:00:00:00:00:02");
    assert_eq!(neighbours(), applied);
    fixture.assert_in_sync("spec.yaml");

    // Drift of every kind is repaired: another MAC address, a state that expires, a deletion.
    for change in [
        "replace 192.0.2.1 lladdr 02:00:00:00:00:99 dev eth0 nud permanent",
        "replace 2001:db8::1 lladdr 02:00:00:00:00:02 dev eth0 nud reachable",
        "del 192.0.2.1 dev eth0",
        "del 2001:db8::1 dev eth0",
    ] {
        run(&format!("ip neigh {change}"));
        assert_ne!(neighbours(), applied, "{change}");
        fixture.apply(SPEC);
        assert_eq!(neighbours(), applied, "{change}");
    }

    let answer = fixture.apply(&SPEC.replace("00:01'", "00:0a'"));
    let words = "mac 02:00:00:00:00:01 -> 02:00:00:00:00:0a: applied\n";
    assert!(answer.contains(words), "{answer}");
    assert_eq!(neighbours(), ours("02:00:00:00:00:0a", "02:00:00:00:00:02"));

    // One leaves the spec, then all by a teardown.
    let without = SPEC.lines().filter(|line| !line.contains("2001:db8::1")).collect::<Vec<_>>();
    fixture.apply(&(without.join("\n") + "\n"));
    assert_eq!(neighbours().len(), 1);
    fixture.apply("version: 1\nvips: [{ address: 192.0.2.9, interface: eth0 }]\nservices: []\n");
    assert_eq!(neighbours(), none);
    // The VIP leaves, and nothing that serves clients stays.
    fixture.write("spec.yaml", SPEC);
    let refused = fixture.evenkeel("apply --yes spec.yaml");
    assert!(refused.status == 3 && refused.stderr.contains("guard empty"), "{refused:?}");
    fixture.done("apply --yes spec.yaml --allow empty");
    assert_eq!(neighbours(), applied);
    fixture.done("teardown --yes");
    assert_eq!(neighbours(), none);
}

#[test]
fn the_mac_address_is_replaced_without_a_moment_between() {
    let fixture = Fixture::new("");
    fixture.apply(SPEC);
    let mut monitor =
        Command::new("ip").args(["monitor", "neigh"]).stdout(Stdio::piped()).spawn().unwrap();
    // The monitor is listening once it shows a change.
    let mut shown = std::io::BufReader::new(monitor.stdout.take().unwrap());
    let mut line = String::new();
    std::thread::sleep(std::time::Duration::from_millis(500));
    run("ip neigh add 192.0.2.77 lladdr 02:00:00:00:00:77 dev eth0 nud permanent");
    std::io::BufRead::read_line(&mut shown, &mut line).unwrap();
    assert!(line.starts_with("192.0.2.77 "), "{line}");
    fixture.apply(&SPEC.replace("00:01'", "00:0a'"));
    run("ip neigh del 192.0.2.77 dev eth0");
    let mut seen = Vec::new();
    loop {
        line.clear();
        assert_ne!(std::io::BufRead::read_line(&mut shown, &mut line).unwrap(), 0, "{seen:?}");
        if line.contains("192.0.2.77 ") {
            break;
        }
        seen.push(line.trim().to_owned());
    }
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    assert_eq!(seen, ["192.0.2.1 dev eth0 lladdr 02:00:00:00:00:0a PERMANENT proto 101"]);
}

#[test]
fn a_failed_apply_is_rolled_back() {
    let fixture = Fixture::new("");
    fixture.apply(SPEC);
    let before = neighbours();
    // A tunnel's link-layer addresses are no MAC addresses.
    run("ip tunnel add tunnel mode gre local 198.51.100.1 remote 198.51.100.2");
    run("ip link set tunnel up");
    let refused =
        "  - { address: 192.0.2.9, interface: tunnel, mac: '02:00:00:00:00:09' }\nservices";
    let other = SPEC.replace("00:01'", "00:0a'").replace("services", refused);
    fixture.write("spec.yaml", other);
    let answer = fixture.evenkeel("apply --yes spec.yaml");
    assert_eq!(answer.status, 4, "{answer:?}");
    let words = "a neighbour on tunnel is not possible: the interface has no MAC addresses";
    assert!((answer.stdout.clone() + &answer.stderr).contains(words), "{answer:?}");
    assert_eq!(neighbours(), before);
}

#[test]
fn entries_of_other_programs_stay_and_those_of_the_cache_are_replaced() {
    let fixture = Fixture::new("");
    run("ip neigh add 192.0.2.1 lladdr 02:00:00:00:00:99 dev eth0 nud permanent");
    run("ip neigh add 2001:db8::1 lladdr 02:00:00:00:00:99 dev eth0 nud stale router");
    run("ip neigh add 192.0.2.8 lladdr 02:00:00:00:00:08 dev eth0 nud permanent protocol static");
    let before = neighbours();
    fixture.write("spec.yaml", SPEC);
    let answer = fixture.evenkeel("plan spec.yaml");
    let words = "neighbour 192.0.2.1 dev eth0 was added by another program and keeps mac \
                 02:00:00:00:00:99; the spec says mac 02:00:00:00:00:01";
    assert!(answer.stderr.contains(words), "{answer:?}");
    let answer = fixture.evenkeel("apply --yes spec.yaml");
    assert!(answer.status == 0 && answer.stderr.contains(words), "{answer:?}");
    let mut expected = before.clone();
    let added = "2001:db8::1 dev eth0 lladdr 02:00:00:00:00:02 router PERMANENT proto 101";
    expected.insert(added.to_owned());
    assert_eq!(neighbours(), expected);
    fixture.assert_in_sync("spec.yaml");
    fixture.done("teardown --yes");
    assert_eq!(neighbours(), before);
}

#[test]
fn a_snapshot_keeps_neighbours() {
    let fixture = Fixture::new("");
    fixture.apply(SPEC);
    let before = neighbours();
    let snapshot = fixture.done("snapshot");
    let words = "  - { address: 192.0.2.1, interface: eth0, mac: \"02:00:00:00:00:01\" }\n";
    assert!(snapshot.contains(words), "{snapshot}");
    fixture.write("snapshot.yaml", &snapshot);
    fixture.assert_in_sync("snapshot.yaml");
    let elsewhere = Fixture::new("");
    elsewhere.write("snapshot.yaml", &snapshot);
    let answer = elsewhere.evenkeel("apply --yes snapshot.yaml");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert_eq!(neighbours(), before);
}

#[test]
fn a_loopback_interface_has_no_neighbours() {
    let fixture = Fixture::new("");
    let before = neighbours();
    for address in ["192.0.2.9", "2001:db8::9"] {
        let spec = format!(
            "version: 1
neighbours: [ {{ address: '{address}', interface: lo, mac: '02:00:00:00:00:09' }} ]
services: []
"
        );
        fixture.write("spec.yaml", &spec);
        // The kernel would store the IPv4 entry under 0.0.0.0, where no plan finds it again.
        let answer = fixture.evenkeel("apply --yes spec.yaml");
        assert_eq!(answer.status, 4, "{answer:?}");
        assert!(answer.stdout.contains("point-to-point interface has no neighbours"), "{answer:?}");
        assert_eq!(neighbours(), before, "{address}");
    }
    // Another program's entry for all addresses is none that a spec can have.
    run("ip neigh add 192.0.2.9 dev lo lladdr 02:00:00:00:00:09 nud permanent");
    assert!(neighbours().iter().any(|line| line.starts_with("0.0.0.0 ")), "{:?}", neighbours());
    fixture.apply(SPEC);
    let snapshot = fixture.done("snapshot");
    assert!(!snapshot.contains("0.0.0.0"), "{snapshot}");
    fixture.write("snapshot.yaml", &snapshot);
    fixture.assert_in_sync("snapshot.yaml");
}

#[test]
fn entries_that_the_kernel_deletes_with_the_last_address_are_added_again() {
    let fixture = Fixture::new("");
    run("ip link add eth1 up type veth peer name eth2");
    run("ip link set eth2 up");
    let spec = SPEC.replace("eth0", "eth1");
    let with = |vip: &str| spec.replace("services", &format!("vips: [ {vip} ]\nservices"));
    let vip = "{ address: 192.0.2.200, interface: eth1 }";
    let labelled = "{ address: 192.0.2.200, interface: eth1, label: 'eth1:1' }";
    let expected = |mac| {
        lines(&format!(
            "192.0.2.1 dev eth1 lladdr 02:00:00:00:00:{mac} PERMANENT proto 101
            2001:db8::1 dev eth1 lladdr 02:00:00:00:00:02 PERMANENT proto 101"
        ))
    };
    fixture.apply(&with(vip));
    assert_eq!(neighbours(), expected("01"));
    // The kernel does that.
    run("ip addr del 192.0.2.200/32 dev eth1");
    assert_eq!(neighbours().len(), 1);
    fixture.done("apply --yes spec.yaml");
    assert_eq!(neighbours(), expected("01"));
    let edited = with(vip).replace("00:01'", "00:0c'");
    for (spec, mac) in [(with(labelled), "01"), (edited, "0c"), (spec.clone(), "01")] {
        fixture.write("spec.yaml", &spec);
        // The last one lists no VIP any more.
        fixture.done("apply --yes spec.yaml --allow empty");
        assert_eq!(neighbours(), expected(mac), "{spec}");
        fixture.assert_in_sync("spec.yaml");
    }
    // A rollback unbinds the first address of the interface.
    run("ip route add 192.0.2.9 dev eth2");
    let two = format!("{vip}, {{ address: 192.0.2.9, interface: eth0, route: true }}");
    fixture.write("spec.yaml", with(&two));
    let answer = fixture.evenkeel("apply --yes spec.yaml");
    assert_eq!(answer.status, 4, "{answer:?}");
    assert!(!run("ip addr show dev eth1").contains("192.0.2.200"), "{answer:?}");
    assert_eq!(neighbours(), expected("01"));
    fixture.apply(&with(vip));
    fixture.done("teardown --yes");
    assert_eq!(neighbours(), BTreeSet::new());
}
