//! A gateway that learns the MAC address of a director: what it learned stays as it was reviewed, whatever host
//! answers for the director later.

use std::time::Duration;

use evenkeel_lab::net::{Machine, Machines};
use evenkeel_lab_tests::run;

use crate::watch::{Host, within};

const SPEC: &str = "version: 1
directors:
  - { name: lb1, addresses: [192.0.2.2, '2001:db8::2'], mac: learn }
gateways: [ { name: r1, addresses: [192.0.2.254, '2001:db8::fe'] } ]
vips:
  - { address: 192.0.2.1, interface: lo, on: lb1 }
  - { address: '2001:db8::1', interface: lo, on: lb1 }
services:
  - name: web
    vips: [192.0.2.1, '2001:db8::1']
    port: 80
    real_servers: [ { address: 192.0.2.11 }, { address: '2001:db8::11' } ]
";
/// The interfaces of the director and of another host.
const DIRECTOR: &str = "02:00:00:00:01:00";
const OTHER: &str = "02:00:00:00:02:00";
const NEW: &str = "02:00:00:00:00:99";
/// What is given up when the director does not answer, and two intervals.
const ATTENTION: Duration = Duration::from_secs(20);

/// Builds a gateway, a director and another host on one network; the calling thread is on the gateway.
fn gateway() -> (Machines, Host) {
    let on = |name: &str, addresses: &[&str]| Machine::new(name).on("lan", "eth0", addresses);
    let machines = Machines::build(&[
        on("r1", &["192.0.2.254/24", "2001:db8::fe/64"]),
        on("lb1", &["192.0.2.2/24", "2001:db8::2/64"]),
        on("other", &["192.0.2.66/24", "2001:db8::66/64"]),
    ]);
    let machines = machines.unwrap();
    machines["r1"].enter().unwrap();
    let host = Host::here();
    host.write("spec.yaml", SPEC);
    (machines, host)
}

/// The MAC addresses of the permanent entries of both VIPs.
fn macs() -> Vec<String> {
    let entries = run("ip neigh show nud permanent");
    let words = entries.lines().filter_map(|line| line.split_whitespace().nth(4));
    words.map(str::to_owned).collect()
}

#[track_caller]
fn assert_macs(mac: &str) {
    assert_eq!(macs(), [mac, mac], "{}", run("ip -d neigh show"));
}

#[track_caller]
fn done(host: &Host, arguments: &str) -> String {
    let (status, stdout, stderr) = host.evenkeel(arguments);
    assert_eq!((status, &*stderr), (0, ""), "{arguments}: {stdout}");
    stdout
}

/// Lets the other host claim the director's addresses, and the gateway believe it.
fn steal() {
    for address in ["192.0.2.2", "2001:db8::2"] {
        run(&format!("ip neigh replace {address} lladdr {OTHER} dev eth0 nud reachable"));
    }
}

#[test]
fn a_learned_mac_is_that_of_the_plan_whatever_host_answers_later() {
    let (machines, host) = gateway();
    let (_, plan, _) = host.evenkeel("plan --out plan.json specs/spec.yaml");
    for vip in ["192.0.2.1", "2001:db8::1"] {
        let words = format!("+ add neighbour {vip} dev eth0: mac {DIRECTOR}");
        assert!(plan.contains(&words), "{plan}");
    }
    let saved = std::fs::read_to_string(host.path("plan.json")).unwrap();
    assert!(saved.contains(&format!("mac=192.0.2.2@{DIRECTOR}")), "{saved}");

    steal();
    done(&host, "apply --yes --plan plan.json");
    assert_macs(DIRECTOR);
    // A new plan shows what the gateway believes now, and is not in sync.
    let (status, plan, _) = host.evenkeel("plan --detailed-exitcode specs/spec.yaml");
    let words = format!("~ edit neighbour 192.0.2.1 dev eth0: mac {DIRECTOR} -> {OTHER}");
    assert!(status == 2 && plan.contains(&words), "{status}: {plan}");

    // What was not confirmed lately is asked for: the director answers again, at its own MAC address.
    run("ip neigh replace 192.0.2.2 lladdr 02:00:00:00:02:00 dev eth0 nud stale");
    done(&host, "plan --detailed-exitcode specs/spec.yaml");
    // It gets another network card, and the gateway finds that out though it knows the former one.
    machines["lb1"].ip(&format!("link set eth0 address {NEW}")).unwrap();
    run(&format!("ip neigh replace 192.0.2.2 lladdr {DIRECTOR} dev eth0 nud stale"));
    done(&host, "apply --yes specs/spec.yaml");
    assert_macs(NEW);

    // Without an answer, what the last apply recorded stays.
    machines["lb1"].ip("link set eth0 down").unwrap();
    run("ip neigh flush all");
    done(&host, "plan --detailed-exitcode specs/spec.yaml");
    done(&host, "teardown --yes");
    assert_eq!(macs(), [""; 0]);
}

#[test]
fn the_daemon_keeps_what_it_learned_until_an_apply_shows_another_one() {
    let (_machines, host) = gateway();
    let daemon = host.watch("specs/spec.yaml", "--interval 1s");
    host.wait_for_state("ok");
    assert_macs(DIRECTOR);
    steal();
    // Any change makes the daemon look at the spec again, too.
    host.write("spec.yaml", format!("{SPEC}# a comment\n"));
    std::thread::sleep(Duration::from_millis(2_500));
    assert_macs(DIRECTOR);
    host.wait_for_state("ok");
    drop(daemon);
    let daemon = host.watch("specs/spec.yaml", "--interval 1s");
    host.wait_for_state("ok");
    assert_macs(DIRECTOR);

    // The apply is of a user, who has seen the plan; the daemon does not undo it.
    let applied = || daemon.log().matches("outcome=\"applied\"").count();
    let before = applied();
    let (status, stdout, stderr) =
        host.evenkeel(&format!("apply --yes {}", host.path("specs/spec.yaml").display()));
    let words = format!("mac {DIRECTOR} -> {OTHER}");
    assert!(status == 0 && stdout.contains(&words), "{status}: {stdout}{stderr}");
    assert_macs(OTHER);
    std::thread::sleep(Duration::from_millis(2_500));
    assert_macs(OTHER);
    host.wait_for_state("ok");
    assert_eq!(applied(), before, "{}", daemon.log());
}

#[test]
fn a_director_that_does_not_answer_is_named_and_the_last_good_spec_stays() {
    let (machines, host) = gateway();
    let spec = SPEC.replace(
        "mac: learn }\n",
        "mac: learn }\n  - { name: lb2, addresses: [192.0.2.3, '2001:db8::3'], mac: learn }\n",
    );
    let spec = spec.replace(
        "address: '2001:db8::1', interface: lo, on: lb1",
        "address: '2001:db8::1', interface: lo, on: lb2",
    );
    host.write("both.yaml", &spec);
    let (status, _, stderr) = host.evenkeel("plan specs/both.yaml");
    let words = "the MAC address of the director `lb2` is to be learned, and there is no answer from \
                 192.0.2.3, 2001:db8::3 on eth0";
    assert!(status == 65 && stderr.contains(words), "{status}: {stderr}");
    assert_eq!(macs(), [""; 0]);

    std::fs::remove_file(host.path("specs/both.yaml")).unwrap();
    let _daemon = host.watching(SPEC, "--interval 1s");
    host.write("spec.yaml", &spec);
    assert!(within(ATTENTION, || host.status()["state"] == "degraded"));
    assert!(host.reasons().contains(words), "{}", host.reasons());
    assert_macs(DIRECTOR);
    // It starts, and the daemon finds it without a change of the spec.
    machines["other"].ip("address add 192.0.2.3/24 dev eth0").unwrap();
    assert!(within(ATTENTION, || host.status()["state"] == "ok"), "{:#}", host.status());
    let mut both = macs();
    both.sort();
    assert_eq!(both, [DIRECTOR, OTHER]);
}
