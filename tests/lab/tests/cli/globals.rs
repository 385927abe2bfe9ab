//! Timeouts, sync daemons, sysctls, other namespaces and the order of real servers.

use super::*;

const SERVICE: &str = "version: 1
scope: all
services:
  - name: web
    vip: 192.0.2.1
    port: 80
    real_servers: [{ address: 10.0.0.1 }]
";

/// Puts these keys before the services: with the keys behind them, a spec without the keys would
/// look truncated.
fn with(keys: &str) -> String {
    SERVICE.replacen("services:", &format!("{keys}\nservices:"), 1)
}

fn sysctl(key: &str) -> String {
    let path = Path::new("/proc/sys").join(key.replace('.', "/"));
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

fn timeouts() -> String {
    let listed = run("ipvsadm --list --timeout");
    listed.split_once(": ").unwrap().1.trim().to_owned()
}

#[test]
fn timeouts_are_set_repaired_and_left_where_the_spec_omits_them() {
    let fixture = Fixture::new("");
    let before = timeouts();
    assert_eq!(before, "900 120 300");
    fixture.apply(&with("timeouts: { tcp: 15m, udp: 5m }"));
    assert_eq!(timeouts(), before, "they are so already");

    let answer = fixture.apply(&with("timeouts: { tcp: 1h, udp: 10s }"));
    assert!(
        answer.contains("~ edit timeouts: tcp 900 -> 3600, udp 300 -> 10: applied"),
        "{answer}"
    );
    assert_eq!(timeouts(), "3600 120 10");
    fixture.assert_in_sync("spec.yaml");

    run("ipvsadm --set 77 66 55");
    let answer = fixture.done("apply --yes spec.yaml");
    assert!(answer.contains("tcp 77 -> 3600, udp 55 -> 10"), "{answer}");
    assert_eq!(timeouts(), "3600 66 10", "tcp_fin is not the spec's");

    fixture.write("spec.yaml", SERVICE);
    let Answer { status, stderr, .. } = fixture.evenkeel("apply --yes spec.yaml");
    assert_eq!(status, 0);
    for words in ["tcp is no longer in the spec and stays at 3600 s", "udp", "10 s"] {
        assert!(stderr.contains(words), "{stderr}");
    }
    assert_eq!(timeouts(), "3600 66 10");
}

#[test]
fn sysctls_are_set_repaired_and_restored_when_the_spec_drops_them() {
    let (forward, expire) = ("net.ipv4.ip_forward", "net.ipv4.vs.expire_nodest_conn");
    let fixture = Fixture::new("");
    assert_eq!((&*sysctl(forward), &*sysctl(expire)), ("0", "0"));
    let spec = with(&format!("sysctls: {{ {forward}: 1, {expire}: 1 }}"));
    let answer = fixture.apply(&spec);
    assert!(answer.starts_with(&format!("~ edit sysctl {forward}: 0 -> 1: applied\n")), "{answer}");
    assert_eq!((&*sysctl(forward), &*sysctl(expire)), ("1", "1"));
    fixture.assert_in_sync("spec.yaml");

    std::fs::write("/proc/sys/net/ipv4/vs/expire_nodest_conn", "0").unwrap();
    fixture.apply(&spec);
    assert_eq!(sysctl(expire), "1");

    fixture.apply(&with(&format!("sysctls: {{ {forward}: 1 }}")));
    assert_eq!((&*sysctl(forward), &*sysctl(expire)), ("1", "0"), "one is put back");
    fixture.apply(SERVICE);
    assert_eq!(sysctl(forward), "0", "and so is the other");
    fixture.assert_in_sync("spec.yaml");
}

#[test]
fn a_plan_warns_of_a_drain_that_drops_packets_silently_unless_the_spec_prevents_it() {
    let key = "net.ipv4.vs.expire_nodest_conn";
    let fixture = Fixture::new("");
    let without = SERVICE.replace("10.0.0.1", "10.0.0.2");
    for (sysctls, warned) in [("", true), (&*format!("sysctls: {{ {key}: 1 }}"), false)] {
        fixture.apply(SERVICE);
        fixture
            .write("spec.yaml", without.replacen("services:", &format!("{sysctls}\nservices:"), 1));
        for command in ["plan", "apply --yes"] {
            let Answer { status, stderr, .. } = fixture.evenkeel(&format!("{command} spec.yaml"));
            assert_eq!((status, stderr.is_empty()), (0, !warned), "{stderr}");
            assert_eq!(stderr.contains(&format!("`{key}: 1` under `sysctls`")), warned, "{stderr}");
        }
        run("ipvsadm -C");
    }
}

#[test]
fn a_sysctl_that_the_kernel_does_not_have_is_refused_before_the_first_change() {
    let fixture = Fixture::new("");
    fixture.write("spec.yaml", with("sysctls: { net.ipv4.vs.no_such_thing: 1 }"));
    let before = everything();
    let Answer { status, stderr, .. } = fixture.evenkeel("apply --yes spec.yaml");
    assert_eq!(status, 1);
    assert!(stderr.contains("no sysctl net.ipv4.vs.no_such_thing"), "{stderr}");
    assert_eq!(everything(), before);
}

#[test]
fn a_sync_daemon_is_started_stopped_and_changed() {
    let fixture = Fixture::new("");
    let daemons = || run("ipvsadm --list --daemon");
    let answer = fixture.apply(&with("sync: [{ state: master, interface: eth0, id: 7 }]"));
    assert!(answer.contains("+ add sync daemon master: interface eth0, id 7: applied"), "{answer}");
    assert!(daemons().contains("master sync daemon (mcast=eth0, syncid=7"), "{}", daemons());
    fixture.assert_in_sync("spec.yaml");

    let spec = with(
        "sync:
  - { state: master, interface: eth0, id: 7, group: 224.0.0.99, port: 9000, ttl: 3 }
  - { state: backup, interface: eth0, id: 7 }",
    );
    let answer = fixture.apply(&spec);
    assert!(answer.contains("- delete sync daemon master"), "{answer}");
    for words in ["group=224.0.0.99, port=9000, ttl=3", "backup sync daemon"] {
        assert!(daemons().contains(words), "{}", daemons());
    }
    fixture.assert_in_sync("spec.yaml");

    run("ipvsadm --stop-daemon backup");
    fixture.apply(&spec);
    assert!(daemons().contains("backup sync daemon"));
    fixture.apply(SERVICE);
    assert!(daemons().contains("backup sync daemon"), "without the key it is not governed");
    fixture.write("spec.yaml", with("sync: []"));
    let answer = fixture.evenkeel("apply --yes spec.yaml");
    assert!(answer.stderr.contains("refused: guard wider-scope: "), "{answer:?}");
    fixture.done("apply --yes --allow wider-scope spec.yaml");
    assert_eq!(daemons().trim(), "");
    fixture.assert_in_sync("spec.yaml");
}

#[test]
fn a_snapshot_holds_timeouts_and_sync_daemons_and_plans_empty() {
    let fixture =
        Fixture::new("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 7\n");
    run("ipvsadm --set 77 66 55");
    run("ipvsadm --start-daemon backup --mcast-interface eth0 --syncid 9");
    let snapshot = fixture.done("snapshot");
    fixture.write("snapshot.yaml", &snapshot);
    fixture.assert_in_sync("snapshot.yaml");

    let other = Fixture::new("");
    other.write("snapshot.yaml", &snapshot);
    other.done("apply --yes snapshot.yaml");
    assert_eq!(timeouts(), "77 66 55");
    let daemons = run("ipvsadm --list --daemon");
    assert!(daemons.contains("backup sync daemon (mcast=eth0, syncid=9"), "{daemons}");
    other.assert_in_sync("snapshot.yaml");
}

#[test]
fn netns_selects_a_namespace_and_leaves_the_callers_own_unchanged() {
    let fixture = Fixture::new("");
    let name = format!("evenkeel-{}", std::process::id());
    run(&format!("ip netns add {name}"));
    run(&format!("ip -n {name} link set lo up"));
    fixture.write("spec.yaml", SERVICE);
    let before = everything();
    fixture.done(&format!("apply --yes --netns {name} spec.yaml"));
    assert_eq!(everything(), before);
    let there = run(&format!("ip netns exec {name} ipvsadm -Sn"));
    assert!(there.contains("-A -t 192.0.2.1:80 -s wlc"), "{there}");
    let answer = fixture.done(&format!("plan --netns {name} spec.yaml"));
    assert!(answer.starts_with("In sync"), "{answer}");
    run(&format!("ip netns del {name}"));

    let Answer { status, stderr, .. } = fixture.evenkeel("plan --netns nosuch spec.yaml");
    assert_eq!(status, 1);
    assert!(stderr.contains("network namespace nosuch"), "{stderr}");
}

/// Returns the real servers in the kernel's own order; `ipvsadm` sorts them by default.
fn kernel_order() -> Vec<String> {
    let listed = run("ipvsadm -Ln --nosort");
    let rows = listed.lines().filter_map(|line| line.trim().strip_prefix("-> 10."));
    rows.map(|row| row.split(':').next().unwrap().to_owned()).collect()
}

#[test]
fn opposite_histories_end_in_the_same_order_with_canonical_order() {
    let spec = |canonical: bool| {
        format!(
            "version: 1
scope: all
services:
  - name: web
    vip: 192.0.2.1
    port: 80
    scheduler: sh
    canonical_order: {canonical}
    real_servers: [{{ address: 10.0.0.2 }}, {{ address: 10.0.0.1 }}, {{ address: 10.0.0.3 }}]
"
        )
    };
    let history = |order: [u8; 3]| {
        let mut rules = "-A -t 192.0.2.1:80 -s sh\n".to_owned();
        for last in order {
            rules.push_str(&format!("-a -t 192.0.2.1:80 -r 10.0.0.{last}:80 -g -w 1\n"));
        }
        rules
    };
    let mut orders = BTreeSet::new();
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1], [2, 1, 3]] {
        let fixture = Fixture::new(&history(order));
        let before = kernel_order();
        fixture.write("spec.yaml", spec(false));
        fixture.done("apply --yes spec.yaml");
        assert_eq!(kernel_order(), before, "canonical_order is not set");
        fixture.write("spec.yaml", spec(true));
        let answer = fixture.evenkeel("apply --yes spec.yaml");
        assert_eq!(answer.status, 0, "{answer:?}");
        let moved = before != kernel_order();
        assert_eq!(
            answer.stderr.contains("added again, to establish the order of the spec"),
            moved
        );
        orders.insert(kernel_order());
        fixture.assert_in_sync("spec.yaml");
    }
    assert_eq!(orders.len(), 1, "{orders:?}");
}
