//! Tests what a network namespace inherits from an earlier one with the same name or inode number.

use std::net::{TcpListener, TcpStream};

use evenkeel_lab_tests::netns::{NamedNamespace, replace_with_same_inode};

use super::*;

/// A spec without a scope: the first apply deletes no service that the spec does not list.
const SPEC: &str = "version: 1
vips: [ { address: 192.0.2.1, interface: eth0 } ]
sysctls: { net.ipv4.vs.expire_nodest_conn: 1 }
services:
  - name: web
    vip: 192.0.2.1
    port: 80
    scheduler: rr
    forward: nat
    drain: 1h
    real_servers: [ { address: 127.0.0.1 }, { address: 127.0.0.2 } ]
";

const FOREIGN_SERVICES: &str = "-A -t 192.0.2.9:80 -s rr
-A -u [2001:db8::9]:53 -s rr
-A -f 9 -s rr
";

const SYSCTL: &str = "/proc/sys/net/ipv4/vs/expire_nodest_conn";

/// Creates a named namespace, applies the spec in it and returns both.
fn applied(word: &str) -> (NamedNamespace, Fixture) {
    let named = NamedNamespace::new(word);
    named.enter();
    run("ip link add eth0 up type dummy");
    let fixture = Fixture::here();
    fixture.write("spec.yaml", SPEC);
    let answer = fixture.evenkeel("apply --yes spec.yaml");
    assert_eq!(answer.status, 0, "{answer:?}");
    (named, fixture)
}

/// Creates the namespace again, with a device for VIPs.
fn replace(named: &NamedNamespace) {
    named.replace();
    run("ip link add eth0 up type dummy");
}

/// Moves the thread into another namespace with the same inode number, with a device for VIPs.
fn replace_nameless() {
    replace_with_same_inode();
    run("ip link add eth0 up type dummy");
}

/// Returns the output of `status` without a daemon.
fn status(fixture: &Fixture) -> serde_json::Value {
    let answer = fixture.evenkeel("status --output json");
    assert_eq!((answer.status, &*answer.stderr), (10, ""), "{answer:?}");
    serde_json::from_str(&answer.stdout).unwrap()
}

/// Asserts that the guard `take-over` refuses an apply, and that the unlisted services are
/// unchanged.
#[track_caller]
fn assert_take_over_is_refused(fixture: &Fixture) {
    let before = everything();
    let answer = fixture.evenkeel("apply --yes spec.yaml");
    assert_eq!(answer.status, 3, "{answer:?}");
    assert!(answer.stderr.contains("take-over"), "{answer:?}");
    assert!(everything() == before);
}

#[test]
fn unlisted_services_in_a_recreated_namespace_are_no_drift_and_the_last_good_spec_is_known() {
    let (named, fixture) = applied("unlisted");
    let known = status(&fixture)["last_applied"].clone();
    assert!(known.is_string());
    replace(&named);
    run_with("ipvsadm -R", FOREIGN_SERVICES);
    assert_take_over_is_refused(&fixture);
    assert_eq!(status(&fixture)["last_applied"], known);
    // It is still the last applied spec for comparisons, for example with a truncated text.
    fixture.write("spec.yaml", &SPEC[..SPEC.len() - 1]);
    let answer = fixture.evenkeel("plan spec.yaml");
    assert!(answer.stdout.contains("cut-off") || answer.stderr.contains("cut-off"), "{answer:?}");
    // With a scope that excludes the unlisted services the spec is applied in this namespace.
    let scoped = format!("{SPEC}scope: {{ vips: [192.0.2.1] }}\n");
    fixture.write("spec.yaml", scoped);
    fixture.done("apply --yes spec.yaml");
    let services = ipvsadm::save().into_iter().filter(|line| line.starts_with("-A"));
    assert_eq!(services.count(), 4, "{:?}", ipvsadm::save());
}

#[test]
fn a_teardown_deletes_no_objects_of_an_earlier_namespace() {
    let (named, fixture) = applied("teardown");
    replace(&named);
    run("ipvsadm -A -t 192.0.2.1:80 -s rr");
    let before = everything();
    fixture.done("teardown --yes");
    assert!(everything() == before);
}

#[test]
fn a_former_sysctl_value_is_not_restored_in_a_recreated_namespace() {
    let (named, fixture) = applied("sysctl");
    replace(&named);
    // A value set by another program, by chance the same as the spec's.
    std::fs::write(SYSCTL, "1").unwrap();
    fixture
        .write("spec.yaml", SPEC.replace("sysctls: { net.ipv4.vs.expire_nodest_conn: 1 }\n", ""));
    let answer = fixture.evenkeel("apply --yes spec.yaml");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert_eq!(std::fs::read_to_string(SYSCTL).unwrap().trim(), "1");
}

#[test]
fn a_drain_ends_with_its_namespace() {
    let (named, fixture) = applied("drain");
    let servers = ["127.0.0.1:80", "127.0.0.2:80"].map(|at| TcpListener::bind(at).unwrap());
    let clients = [(); 2].map(|()| TcpStream::connect("192.0.2.1:80").unwrap());
    fixture.write("spec.yaml", SPEC.replace("{ address: 127.0.0.1 }, ", ""));
    let answer = fixture.evenkeel("apply --yes --no-wait spec.yaml");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert_eq!(status(&fixture)["draining"], 1);
    drop((servers, clients));
    replace(&named);
    assert_eq!(status(&fixture)["draining"], 0);
}

#[test]
fn an_unconfirmed_apply_ends_with_its_namespace_and_is_reported_once() {
    let (named, fixture) = applied("confirm");
    fixture.write("spec.yaml", SPEC.replace("scheduler: rr", "scheduler: wrr"));
    let answer = fixture.evenkeel("apply --yes --confirm 10s spec.yaml");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert!(fixture.evenkeel("status").stdout.contains("waits for confirmation"));
    replace(&named);
    assert!(!fixture.evenkeel("status").stdout.contains("waits for confirmation"));
    let answer = fixture.evenkeel("apply --yes spec.yaml");
    assert_eq!(answer.status, 0, "{answer:?}");
    let words = "was not confirmed when its network namespace was deleted";
    assert!(answer.stderr.contains(words), "{answer:?}");
    fixture.done("plan spec.yaml");
    fixture.assert_in_sync("spec.yaml");
    // The watchdog of the pending apply is in the former namespace and does not affect this one.
    let journal = fixture.path().join("state").join(&named.name).join("journal.json");
    let (before, table) = (std::fs::read(&journal).unwrap(), everything());
    std::thread::sleep(std::time::Duration::from_secs(14));
    assert!(std::fs::read(&journal).unwrap() == before && everything() == table);
}

#[test]
fn a_nameless_namespace_with_the_inode_of_an_earlier_one_inherits_nothing() {
    let fixture = Fixture::new("");
    fixture.write("spec.yaml", SPEC);
    let answer = fixture.evenkeel("apply --yes spec.yaml");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert!(status(&fixture)["last_applied"].is_string());
    replace_nameless();
    assert_eq!(status(&fixture)["last_applied"], serde_json::Value::Null);
    run_with("ipvsadm -R", FOREIGN_SERVICES);
    assert_take_over_is_refused(&fixture);
}

#[test]
fn a_saved_plan_is_refused_in_a_namespace_with_the_inode_of_an_earlier_one() {
    let fixture = Fixture::new("");
    fixture.write("spec.yaml", SPEC);
    assert_eq!(fixture.evenkeel("plan --out plan spec.yaml").status, 0);
    replace_nameless();
    let answer = fixture.evenkeel("apply --plan plan");
    assert_eq!(answer.status, 3, "{answer:?}");
    assert!(answer.stderr.contains("was recreated since the plan was made"), "{answer:?}");
    assert!(ipvsadm::save().is_empty());
}

#[test]
fn a_journal_that_a_container_wrote_for_its_first_namespace_is_reported_in_later_ones() {
    let fixture = Fixture::here();
    fixture.write("spec.yaml", SPEC);
    let contained = |then: &str| {
        let script = format!(
            "ip link set lo up && ip link add eth0 up type dummy && {then} && exec {} apply --yes \
             spec.yaml \"$@\"",
            program().display()
        );
        let mut command = Command::new("unshare");
        command.args(["--net", "--pid", "--fork", "--mount-proc", "sh", "-c", &script, "sh"]);
        fixture.output(command)
    };
    let answer = contained("true");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert!(fixture.path().join("state/init/journal.json").is_file());
    let answer = contained("ipvsadm -A -t 192.0.2.9:80 -s rr");
    assert_eq!(answer.status, 3, "{answer:?}");
    assert!(answer.stderr.contains("take-over"), "{answer:?}");
}
