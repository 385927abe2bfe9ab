//! Tests operators' overrides on a real kernel, checked with `ipvsadm -Sn`.

use std::process::Output;
use std::time::{Duration, Instant};

use evenkeel_lab_tests::clock::Stepped;

use super::*;

const SPEC: &str = "version: 1
scope: all
services:
  - name: web
    vip: 192.0.2.1
    port: 80
    scheduler: wrr
    drain: 30s
    real_servers: [ { address: 10.0.0.1, weight: 5 }, { address: 10.0.0.2, weight: 3 } ]
  - { name: dns, vip: '2001:db8::1', port: 53, protocol: udp, real_servers: [ { address: '2001:db8:1::1', weight: 2 } ] }
  - { name: marked, fwmark: 7, family: ipv4, real_servers: [ { address: 10.0.0.1, weight: 4 } ] }
";

/// The weights in the table, as `SERVICE SERVER WEIGHT`.
fn weights() -> Vec<String> {
    let table = run("ipvsadm -Sn");
    let mut weights: Vec<String> = table
        .lines()
        .filter(|line| line.starts_with("-a"))
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let after = |option: &str| {
                let place = words.iter().position(|word| *word == option);
                place.and_then(|place| words.get(place + 1)).copied().unwrap_or_default()
            };
            format!("{} {} {}", words[2], after("-r"), after("-w"))
        })
        .collect();
    weights.sort();
    weights
}

fn weight(service: &str, server: &str) -> Option<String> {
    let start = format!("{service} {server} ");
    weights().iter().find_map(|line| line.strip_prefix(&start).map(str::to_owned))
}

fn command(host: &Host, line: &str) -> Output {
    let mut words = line.split(' ');
    let mut command = host.command(words.next().unwrap());
    command.args(words).output().unwrap()
}

/// Runs a command that succeeds, and returns what it prints.
fn done(host: &Host, line: &str) -> String {
    let output = command(host, line);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{line}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < end, "{what}: {:?}", weights());
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn plan_status(host: &Host) -> i32 {
    let mut plan = host.command("plan");
    plan.arg(host.path("specs")).arg("--detailed-exitcode");
    plan.output().unwrap().status.code().unwrap()
}

#[test]
fn overrides_are_in_force_at_once_and_end_with_clear() {
    let host = Host::new();
    host.write("spec.yaml", SPEC);
    let daemon = host.watch("specs", "--interval 1s");
    eventually("the spec is applied", || weights().len() == 4);
    let before = weights();
    for (line, service, server, expected) in [
        ("drain web/10.0.0.1 --for 1h", "192.0.2.1:80", "10.0.0.1:80", Some("0")),
        ("weight 9 web/10.0.0.1 --for 1h", "192.0.2.1:80", "10.0.0.1:80", Some("9")),
        (
            "disable web/10.0.0.1 --until-cleared --reason disks",
            "192.0.2.1:80",
            "10.0.0.1:80",
            None,
        ),
        ("disable dns/[2001:db8:1::1] --for 1h", "[2001:db8::1]:53", "[2001:db8:1::1]:53", None),
        ("drain fwmark-7/ipv4/10.0.0.1 --for 1h", "7", "10.0.0.1:0", Some("0")),
    ] {
        done(&host, line);
        assert_eq!(weight(service, server).as_deref(), expected, "{line}: {:?}", weights());
        assert_eq!(plan_status(&host), 0, "{line}");
    }
    let listed = done(&host, "overrides");
    assert!(listed.contains("disable web/10.0.0.1 by root (disks): until cleared"), "{listed}");
    // Drift under an override is repaired, and what is out stays out.
    run("ipvsadm -e -f 7 -r 10.0.0.1:0 -w 8");
    eventually("drift is repaired", || weight("7", "10.0.0.1:0").as_deref() == Some("0"));
    assert_eq!(weight("192.0.2.1:80", "10.0.0.1:80"), None);
    done(&host, "enable web/10.0.0.1 --for 1h");
    assert_eq!(weight("192.0.2.1:80", "10.0.0.1:80").as_deref(), Some("5"));
    done(&host, "clear --all");
    assert_eq!(weights(), before);
    assert_eq!(plan_status(&host), 0);
    let unknown = command(&host, "drain web/10.0.0.9 --for 1h");
    assert_eq!(unknown.status.code(), Some(3));
    let error = String::from_utf8(unknown.stderr).unwrap();
    assert!(error.contains("there is `10.0.0.1:80`, `10.0.0.2:80`"), "{error}");
    drop(daemon);
}

#[test]
fn an_override_ends_by_itself_though_the_daemon_restarts_and_the_clock_is_set() {
    let host = Host::new();
    host.write("spec.yaml", SPEC);
    let daemon = host.watch("specs", "--interval 1s");
    eventually("the spec is applied", || weights().len() == 4);
    let begin = Instant::now();
    done(&host, "drain 10.0.0.1 --for 8s");
    let held = || {
        let of = |service, port| weight(service, &format!("10.0.0.1:{port}"));
        of("192.0.2.1:80", 80).as_deref() == Some("0") && of("7", 0).as_deref() == Some("0")
    };
    assert!(held());
    drop(daemon);
    let daemon = host.watch("specs", "--interval 1s");
    std::thread::sleep(Duration::from_secs(1));
    assert!(held(), "{:?}", weights());
    // A step of an hour in either direction neither ends nor prolongs it.
    let _ahead = Stepped::by(3_600);
    std::thread::sleep(Duration::from_secs(1));
    assert!(held(), "{:?}", weights());
    let _back = Stepped::by(-7_200);
    eventually("it ends", || weight("192.0.2.1:80", "10.0.0.1:80").as_deref() == Some("5"));
    let took = begin.elapsed();
    assert!(took >= Duration::from_secs(7) && took < Duration::from_secs(14), "{took:?}");
    assert_eq!(weight("7", "10.0.0.1:0").as_deref(), Some("4"));
    drop(daemon);
}

#[test]
fn without_a_daemon_the_next_apply_follows_an_override_and_one_after_its_end_the_spec() {
    let host = Host::new();
    host.write("spec.yaml", SPEC);
    let apply = || {
        let mut apply = host.command("apply");
        apply.arg("--yes").arg(host.path("specs"));
        let output = apply.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let none = command(&host, "drain 10.0.0.1 --for 1h");
    assert_eq!(none.status.code(), Some(64), "no spec was applied yet");
    apply();
    let answer = done(&host, "drain 10.0.0.1 --for 3s");
    assert!(answer.contains("no daemon runs, so the next apply"), "{answer}");
    assert_eq!(weight("192.0.2.1:80", "10.0.0.1:80").as_deref(), Some("5"));
    apply();
    assert_eq!(weight("192.0.2.1:80", "10.0.0.1:80").as_deref(), Some("0"));
    assert_eq!(plan_status(&host), 0);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(plan_status(&host), 2);
    apply();
    assert_eq!(weight("192.0.2.1:80", "10.0.0.1:80").as_deref(), Some("5"));
}

#[test]
fn an_ignored_weight_comes_back_after_an_override() {
    let host = Host::new();
    host.write(
        "spec.yaml",
        SPEC.replace("    drain: 30s\n", "    drain: 30s\n    ignore: [weight]\n"),
    );
    let daemon = host.watch("specs", "--interval 1s");
    eventually("the spec is applied", || weights().len() == 4);
    run("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:80 -w 77");
    done(&host, "drain web/10.0.0.1 --for 1h");
    assert_eq!(weight("192.0.2.1:80", "10.0.0.1:80").as_deref(), Some("0"));
    done(&host, "clear web/10.0.0.1");
    assert_eq!(weight("192.0.2.1:80", "10.0.0.1:80").as_deref(), Some("77"));
    done(&host, "disable web/10.0.0.1 --for 1h");
    assert_eq!(weight("192.0.2.1:80", "10.0.0.1:80"), None);
    done(&host, "clear web/10.0.0.1");
    assert_eq!(weight("192.0.2.1:80", "10.0.0.1:80").as_deref(), Some("77"));
    drop(daemon);
}

#[test]
fn overrides_of_the_spec_and_files_of_the_maintenance_directory_hold_real_servers_and_end() {
    let host = Host::new();
    let directory = host.path("maintenance");
    let until = |seconds: u64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        run(&format!("date -u -d @{} +%FT%TZ", now.as_secs() + seconds)).trim().to_owned()
    };
    let standing = |until: &str| {
        format!(
            "{SPEC}maintenance_dir: {}\noverrides:\n  - {{ target: web/10.0.0.1, action: weight, weight: 9, until: \
             {until}, reason: disks }}\n",
            directory.display()
        )
    };
    host.write("spec.yaml", standing(&until(4)));
    let daemon = host.watch("specs", "--interval 1s");
    eventually("the override of the spec holds", || {
        weight("192.0.2.1:80", "10.0.0.1:80").as_deref() == Some("9")
    });
    let status = command(&host, "status");
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("weight 9 web/10.0.0.1 by the spec (disks)"), "{status}");
    assert_eq!(plan_status(&host), 0);
    // As ldirectord has it: a file takes a real server out, everywhere and of both families.
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("10.0.0.1"), "").unwrap();
    std::fs::write(directory.join("[2001:db8:1::1]:53"), "").unwrap();
    std::fs::write(directory.join("web1"), "").unwrap();
    eventually("the files drain", || {
        weight("192.0.2.1:80", "10.0.0.1:80").as_deref() == Some("0")
            && weight("7", "10.0.0.1:0").as_deref() == Some("0")
            && weight("[2001:db8::1]:53", "[2001:db8:1::1]:53").as_deref() == Some("0")
    });
    assert_eq!(plan_status(&host), 0);
    let status = command(&host, "status");
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("no real server is named web1"), "{status}");
    // A command is above both.
    done(&host, "enable fwmark-7/ipv4/10.0.0.1 --for 1h");
    assert_eq!(weight("7", "10.0.0.1:0").as_deref(), Some("4"));
    done(&host, "clear --all");
    std::fs::remove_dir_all(&directory).unwrap();
    // By now the one of the spec is over, too.
    eventually("all ended", || {
        weights().iter().all(|line| !line.ends_with(" 0") && !line.ends_with(" 9"))
    });
    let plan = {
        let mut plan = host.command("plan");
        plan.arg(host.path("specs")).arg("--detailed-exitcode");
        plan.output().unwrap()
    };
    let warning = String::from_utf8_lossy(&plan.stderr).into_owned();
    assert_eq!(plan.status.code(), Some(0), "{warning}");
    assert!(warning.contains("the override of `web/10.0.0.1` ended at"), "{warning}");
    drop(daemon);
}
