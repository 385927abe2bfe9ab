//! A teardown undoes what evenkeel did, and nothing else.

use std::net::UdpSocket;

use super::*;

const SPEC: &str = "version: 1
vips:
  - { address: 192.0.2.1, interface: eth0 }
  - { address: 192.0.2.2, interface: vips, dummy: true }
  - { address: 192.0.2.3, interface: eth0 } # bound by another program already
timeouts: { tcp: 10m }
sync: [ { state: master, interface: eth0, id: 7 } ]
sysctls: { net.ipv4.vs.drop_entry: 1, net.ipv4.vs.conn_reuse_mode: 0 }
defaults: { drain: 0s }
services:
  - { name: web, vip: 192.0.2.1, ports: [80, 443], real_servers: [ { address: 10.0.0.1 } ] }
  - { name: dns, vip: 192.0.2.2, port: 53, protocol: udp, real_servers: [ { address: 10.0.0.2 } ] }
";

const FOREIGN_SERVICE: &str = "-A -t 203.0.113.1:80 -s rr
    -a -t 203.0.113.1:80 -r 10.0.0.9:80 -g -w 1
    -A -f 5 -s wlc";
const FOREIGN: &str = "192.0.2.3/32 eth0
    192.0.2.9/32 eth0";

/// Returns everything that a spec can change on a host.
fn host() -> impl PartialEq + std::fmt::Debug {
    let links: serde_json::Value = serde_json::from_str(&run("ip -j link show")).unwrap();
    let names = links.as_array().unwrap().iter().map(|link| link["ifname"].to_string());
    let sysctls = ["drop_entry", "conn_reuse_mode"]
        .map(|name| run(&format!("cat /proc/sys/net/ipv4/vs/{name}")));
    let names: BTreeSet<String> = names.collect();
    (ipvsadm::save(), addresses(), names, sysctls, run("ipvsadm -Ln --daemon"))
}

/// Creates a host with services and addresses of other programs, applies the spec, and also returns
/// the state from before.
fn applied() -> (Fixture, impl PartialEq + std::fmt::Debug) {
    let fixture = Fixture::new("");
    for address in ["192.0.2.3/32", "192.0.2.9/32"] {
        run(&format!("ip addr add {address} dev eth0"));
    }
    let before = host();
    fixture.apply(SPEC);
    run_with("ipvsadm -R", FOREIGN_SERVICE);
    (fixture, before)
}

/// Asserts that nothing of the spec is left, and that everything of other programs is.
fn assert_only_others(before: &(impl PartialEq + std::fmt::Debug)) {
    assert_eq!(ipvsadm::save(), lines(FOREIGN_SERVICE));
    assert_eq!(addresses(), lines(FOREIGN));
    run("ipvsadm -D -t 203.0.113.1:80");
    run("ipvsadm -D -f 5");
    assert_eq!(format!("{:?}", host()), format!("{before:?}"));
}

#[test]
fn applied_changes_are_undone_and_changes_by_other_programs_are_left() {
    let (fixture, before) = applied();
    assert!(run("ip link show vips").contains("vips"));
    let answer = fixture.evenkeel("teardown --yes");
    assert_eq!(answer.status, 0, "{answer:?}");
    for words in [
        "- delete service web/192.0.2.1:443/tcp with 1 real server: applied\n",
        "- unbind vip 192.0.2.2/32 on vips: applied\n",
        "- delete dummy device vips: applied\n",
        "~ edit sysctl net.ipv4.vs.drop_entry: 1 -> 0: applied\n",
        "- delete sync daemon master: ",
        "\nTeardown: ",
    ] {
        assert!(answer.stdout.contains(words), "{words}: {answer:?}");
    }
    assert!(answer.stderr.contains("timeouts stay, tcp at 600 s: their earlier values"));
    assert_only_others(&before);
}

#[test]
fn after_a_teardown_the_namespace_counts_as_never_applied() {
    let (fixture, _) = applied();
    assert_eq!(fixture.evenkeel("teardown --yes").status, 0);
    assert_eq!(fixture.done("teardown --yes"), "Nothing to undo.\n");
    let answer = fixture.evenkeel("apply --yes spec.yaml");
    assert_eq!(answer.status, 3, "{answer:?}");
    assert!(
        answer.stderr.contains("guard take-over: nothing was applied here before"),
        "{answer:?}"
    );
    // The names of the spec are dropped with it.
    fixture.write("other.yaml", SPEC.replace("web", "www"));
    assert_eq!(fixture.evenkeel("plan other.yaml --target web").status, 64);
    assert_eq!(Fixture::new("").done("teardown --yes"), "Nothing to undo.\n");
}

#[test]
fn apply_prompts_and_requires_yes_without_a_terminal() {
    let (fixture, _) = applied();
    let before = everything();
    let answer = fixture.evenkeel("teardown");
    assert_eq!((answer.status, &*answer.stdout), (64, ""), "{answer:?}");
    let answer = on_a_terminal(&fixture, "teardown", "n\n");
    assert_eq!(answer.status, 3, "{answer:?}");
    for words in ["- delete service web/192.0.2.1:80/tcp", "Undo all of this? [y/N]", "declined"] {
        assert!(answer.stdout.contains(words), "{words}: {answer:?}");
    }
    assert!(everything() == before);
    assert_eq!(on_a_terminal(&fixture, "teardown", "y\n").status, 0);
    assert_eq!(ipvsadm::save(), lines(FOREIGN_SERVICE));
}

#[test]
fn a_vip_that_another_programs_service_needs_is_guarded() {
    let (fixture, _) = applied();
    run("ipvsadm -A -t 192.0.2.1:8080 -s rr");
    let before = everything();
    let answer = fixture.evenkeel("teardown --yes");
    assert_eq!((answer.status, &*answer.stdout), (3, ""), "{answer:?}");
    let words = "guard unbind-in-use: unbinding 192.0.2.1 takes it from this host";
    assert!(answer.stderr.contains(words), "{answer:?}");
    assert!(answer.stderr.contains("192.0.2.1:8080/tcp"), "{answer:?}");
    assert!(everything() == before);
    assert_eq!(fixture.evenkeel("teardown --yes --allow unbind-in-use").status, 0);
    assert_eq!(ipvsadm::save(), lines(&format!("{FOREIGN_SERVICE}\n-A -t 192.0.2.1:8080 -s rr")));
    assert_eq!(addresses(), lines(FOREIGN));
}

#[test]
fn a_dummy_device_with_addresses_of_other_programs_stays() {
    let (fixture, _) = applied();
    run("ip addr add 198.51.100.7/32 dev vips");
    let answer = fixture.evenkeel("teardown --yes");
    assert_eq!(answer.status, 0, "{answer:?}");
    let words = "dummy device vips stays: another program bound 198.51.100.7/32 on it";
    assert!(answer.stderr.contains(words), "{answer:?}");
    assert_eq!(addresses(), lines(&format!("{FOREIGN}\n198.51.100.7/32 vips")));
    run("ip addr del 198.51.100.7/32 dev vips");
    assert!(fixture.done("teardown --yes").starts_with("- delete dummy device vips: applied\n"));
}

#[test]
fn objects_out_of_scope_are_not_undone() {
    let fixture = Fixture::new("");
    fixture.apply(
        "version: 1
scope: { vips: [192.0.2.0/24] }
vips: [ { address: 192.0.2.1, interface: eth0 } ]
services: [ { name: web, vip: 192.0.2.1, port: 80, drain: 0s, real_servers: [ { address: 10.0.0.1 } ] } ]
",
    );
    let foreign_services = "-A -t 192.0.2.5:80 -s rr
        -A -t 198.51.100.1:80 -s rr";
    run_with("ipvsadm -R", foreign_services);
    fixture.done("teardown --yes");
    assert_eq!(
        ipvsadm::save(),
        lines(foreign_services),
        "in scope or not: it was never in the spec"
    );
    assert_eq!(addresses(), lines(""));
}

#[test]
fn without_the_last_spec_no_service_counts_as_evenkeels() {
    let (fixture, _) = applied();
    std::fs::remove_dir_all(fixture.path().join("state")).unwrap();
    let table = ipvsadm::save();
    let answer = fixture.evenkeel("teardown --yes");
    assert_eq!(answer.status, 3, "{answer:?}");
    assert!(answer.stderr.contains("guard unbind-in-use"), "{answer:?}");
    assert_eq!(fixture.evenkeel("teardown --yes --allow unbind-in-use").status, 0);
    assert_eq!(ipvsadm::save(), table);
    assert_eq!(addresses(), lines(FOREIGN), "addresses carry a mark");
}

#[test]
fn services_drain_before_they_are_deleted_and_another_teardown_continues_an_interrupted_one() {
    let fixture = Fixture::new("");
    fixture.apply(
        "version: 1
vips: [ { address: 192.0.2.1, interface: eth0 } ]
sysctls: { net.ipv4.vs.expire_nodest_conn: 1 }
services:
  - name: dns
    vip: 192.0.2.1
    port: 53
    protocol: udp
    forward: nat
    drain: 4s
    real_servers: [ { address: 127.0.0.1, port: 9 } ]
",
    );
    let client = UdpSocket::bind("127.0.0.2:0").unwrap();
    client.send_to(b"?", "192.0.2.1:53").unwrap();
    let answer = fixture.evenkeel("teardown --yes --no-wait");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert!(answer.stderr.contains("run teardown again"), "{answer:?}");
    let draining = "-A -u 192.0.2.1:53 -s wlc
        -a -u 192.0.2.1:53 -r 127.0.0.1:9 -m -w 0";
    assert_eq!(ipvsadm::save(), lines(draining));
    assert_eq!(addresses(), lines("192.0.2.1/32 eth0"));
    let answer = fixture.evenkeel("teardown --yes");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert!(answer.stderr.contains("1 connection broke"), "{answer:?}");
    assert_eq!((ipvsadm::save(), addresses()), (lines(""), lines("")));
    assert_eq!(fixture.done("teardown --yes"), "Nothing to undo.\n");
}
