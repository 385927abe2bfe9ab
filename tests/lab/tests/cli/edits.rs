//! Tests small changes: the messages they send, and the fields they preserve.

use evenkeel_lab_tests::nlmon::{Capture, Change, Verb};

use super::*;

const RULES: &str = "-A -t 192.0.2.1:80 -s sh -p 600 -M 255.255.255.0 -b sh-fallback,sh-port
    -a -t 192.0.2.1:80 -r 10.0.0.1:80 -i -w 1 -x 1000 -y 800 --tun-type gue --tun-port 6080 --tun-remcsum
    -a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 3 -x 50 -y 40
    ";

/// Returns the spec of those rules, with the scheduler's lines and the first weight filled in.
fn spec(scheduler: &str, weight: u32) -> String {
    format!(
        "version: 1
services:
  - name: web
    vip: 192.0.2.1
    port: 80
    {scheduler}
    persistence: {{ timeout: 10m, netmask: 24 }}
    real_servers:
      - address: 10.0.0.1
        weight: {weight}
        forward: tun
        tunnel: {{ type: gue, port: 6080, checksum: remote }}
        upper_threshold: 1000
        lower_threshold: 800
      - {{ address: 10.0.0.2, weight: 3, forward: nat, upper_threshold: 50, lower_threshold: 40 }}
"
    )
}

const SH: &str = "scheduler: sh
    scheduler_flags: [sh-fallback, sh-port]";

/// Returns the table of the rules after these replacements.
fn table(before: &str, after: &str) -> BTreeSet<String> {
    assert!(RULES.contains(before));
    let rules = RULES.replace(before, after);
    // Thresholds are listed by another command.
    lines(&rules.replace(" -x 1000 -y 800", "").replace(" -x 50 -y 40", ""))
}

#[test]
fn a_weight_that_becomes_0_and_1_again_is_one_edit_each_that_keeps_tunnel_and_thresholds() {
    let fixture = Fixture::new(RULES);
    fixture.write("spec.yaml", spec(SH, 1));
    fixture.assert_in_sync("spec.yaml");
    let limits = ipvsadm::listed_thresholds();
    let mut capture = Capture::start();
    for (weight, change) in [(0, "1 -> 0"), (1, "0 -> 1")] {
        let (answer, changes) = (fixture.apply(&spec(SH, weight)), capture.changes());
        let line = "~ edit real server 10.0.0.1:80 of web/192.0.2.1:80/tcp: weight";
        assert_eq!(answer, format!("{line} {change}: applied\nApply: 1 applied.\n"));
        assert!(matches!(&changes[..], [Change { verb: Verb::Set, .. }]), "{changes:?}");
        assert_eq!(ipvsadm::save(), table("-i -w 1", &format!("-i -w {weight}")));
        assert_eq!(ipvsadm::listed_thresholds(), limits);
        fixture.assert_in_sync("spec.yaml");
    }
}

#[test]
fn a_scheduler_that_changes_keeps_persistence_and_netmask_and_its_real_servers() {
    let fixture = Fixture::new(RULES);
    let limits = ipvsadm::listed_thresholds();
    let mut capture = Capture::start();
    for (scheduler, saved) in [
        ("scheduler: wrr", "-s wrr -p 600 -M 255.255.255.0"),
        // Flags belong to the scheduler; mh has its own on the same bits.
        (
            "scheduler: mh\n    scheduler_flags: [mh-port]",
            "-s mh -p 600 -M 255.255.255.0 -b mh-port",
        ),
        (SH, "-s sh -p 600 -M 255.255.255.0 -b sh-fallback,sh-port"),
    ] {
        let (answer, changes) = (fixture.apply(&spec(scheduler, 1)), capture.changes());
        assert!(answer.starts_with("~ edit service web/192.0.2.1:80/tcp: scheduler "), "{answer}");
        assert!(matches!(&changes[..], [Change { verb: Verb::Set, .. }]), "{changes:?}");
        let before = "-s sh -p 600 -M 255.255.255.0 -b sh-fallback,sh-port";
        assert_eq!(ipvsadm::save(), table(before, saved));
        assert_eq!(ipvsadm::listed_thresholds(), limits);
    }
}

#[test]
fn flags_and_persistence_change_without_each_other() {
    let fixture = Fixture::new(RULES);
    fixture.apply(&spec("scheduler: sh\n    scheduler_flags: [sh-port]", 1));
    assert_eq!(ipvsadm::save(), table("sh-fallback,sh-port", "sh-port"));
    fixture.apply(&spec(SH, 1).replace("netmask: 24", "netmask: 16"));
    assert_eq!(ipvsadm::save(), table("-M 255.255.255.0", "-M 255.255.0.0"));
    let shorter = spec(SH, 1).replace("    persistence: { timeout: 10m, netmask: 24 }\n", "");
    fixture.apply(&shorter);
    assert_eq!(ipvsadm::save(), table(" -p 600 -M 255.255.255.0", ""));
}

#[test]
fn a_persistence_engine_survives_a_change_of_the_scheduler() {
    let fixture = Fixture::new("");
    let spec = |scheduler| {
        format!(
            "version: 1
services:
  - name: sip
    vip: 192.0.2.1
    port: 5060
    protocol: udp
    scheduler: {scheduler}
    one_packet: true
    persistence: {{ timeout: 1h, engine: sip }}
    real_servers: []
"
        )
    };
    for scheduler in ["rr", "wrr"] {
        fixture.apply(&spec(scheduler));
        let expected = format!("-A -u 192.0.2.1:5060 -s {scheduler} -p 3600 --pe sip -o");
        assert_eq!(ipvsadm::save(), lines(&expected));
    }
}

#[test]
fn an_ignored_weight_keeps_its_live_value() {
    let fixture = Fixture::new("");
    let spec = |limit: u32, real_servers: &[u32]| {
        let list: String = real_servers
            .iter()
            .map(|last| {
                format!(
                    "      - {{ address: 10.0.0.{last}, weight: 5, upper_threshold: {limit} }}\n"
                )
            })
            .collect();
        format!(
            "version: 1\nservices:\n  - name: api\n    vip: 192.0.2.1\n    port: 80\n    ignore: [weight]\n    real_servers:\n{list}"
        )
    };
    fixture.apply(&spec(10, &[1, 2]));
    run("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 0 -x 10");
    run("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 77 -x 10");
    fixture.assert_in_sync("spec.yaml");
    fixture.apply(&spec(20, &[1, 2, 3]));
    let expected = "-A -t 192.0.2.1:80 -s wlc
        -a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 0
        -a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 77
        -a -t 192.0.2.1:80 -r 10.0.0.3:80 -g -w 5";
    assert_eq!(ipvsadm::save(), lines(expected));
    let limits = ipvsadm::listed_thresholds();
    assert!(limits.iter().all(|(_, _, upper, _)| *upper == 20), "{limits:?}");
}

#[test]
fn udp_and_sctp_services_are_added_beside_tcp_on_the_same_port() {
    let fixture = Fixture::new("");
    let service = |protocol: &str| {
        format!(
            "  - {{ name: {protocol}, vip: 192.0.2.1, port: 53, protocol: {protocol}, forward: nat, real_servers: [ {{ address: 10.0.0.1, port: 5353 }} ] }}\n"
        )
    };
    let services: String = ["tcp", "udp", "sctp"].map(service).concat();
    fixture.apply(&format!("version: 1\nservices:\n{services}"));
    let expected = ["-t", "-u", "--sctp-service"].map(|option| {
        format!(
            "-A {option} 192.0.2.1:53 -s wlc\n-a {option} 192.0.2.1:53 -r 10.0.0.1:5353 -m -w 1\n"
        )
    });
    assert_eq!(ipvsadm::save(), lines(&expected.concat()));
    fixture.assert_in_sync("spec.yaml");
}
