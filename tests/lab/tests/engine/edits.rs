//! Tests edits in place: which fields one changes, and which it preserves.

use evenkeel_model::{Checksum, IgnoredField, Limits, Tunnel, TunnelKind};

use super::*;

const WEB: &str = "192.0.2.1:80";

#[test]
fn a_weight_to_zero_and_back_is_one_edit_each() {
    let mut kernel = host_with(
        "-A -t 192.0.2.1:80 -s wrr
         -a -t 192.0.2.1:80 -r 198.51.100.1:80 -g -w 1
         -a -t 192.0.2.1:80 -r 198.51.100.2:80 -g -w 1",
    );
    let at = |weight| {
        let real_servers = [("198.51.100.1:80", dr(weight)), ("198.51.100.2:80", dr(1))];
        spec([(tcp(WEB), service(config("wrr"), real_servers))])
    };
    let mut capture = Capture::start();
    for weight in [0, 1] {
        assert!(apply(&mut kernel, &at(weight)).is_success());
        assert_eq!(capture.changes(), [change(Verb::Set, tcp(WEB), "198.51.100.1:80")]);
        assert_in_place(&mut kernel, &at(weight));
    }
}

#[test]
fn a_table_in_the_desired_state_is_not_changed() {
    let mut kernel = host_with(
        "-A -t 192.0.2.1:80 -s wrr -p 360 -M 255.255.255.0
         -a -t 192.0.2.1:80 -r 198.51.100.1:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
    );
    let live = kernel.observe(&ReadRequest::new()).unwrap();
    let [(key, live)] = live.services.into_iter().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(apply_capturing(&mut kernel, &spec([(key, live)])), []);
}

/// Returns the lines of `ipvsadm -Sn` before and after a pass that changes one thing of the live
/// table.
fn edited(rules: &str, edit: impl Fn(&mut Service)) -> (Vec<Change>, Vec<String>, Vec<String>) {
    let mut kernel = host_with(rules);
    let before = ipvsadm::save();
    let live = kernel.observe(&ReadRequest::new()).unwrap();
    let [(key, mut wanted)] = live.services.into_iter().collect::<Vec<_>>().try_into().unwrap();
    edit(&mut wanted);
    let desired = spec([(key, wanted)]);
    let changes = apply_capturing(&mut kernel, &desired);
    assert_in_place(&mut kernel, &desired);
    let after = ipvsadm::save();
    let only = |one: &BTreeSet<String>, other| one.difference(other).cloned().collect();
    (changes, only(&before, &after), only(&after, &before))
}

fn scheduler(name: &str) -> impl Fn(&mut Service) {
    let scheduler = Scheduler::new(name).unwrap();
    move |service| service.config.scheduler = scheduler
}

#[test]
fn a_change_of_the_scheduler_keeps_persistence_flags_and_netmask() {
    let rules = "-A -t 192.0.2.1:80 -s sh -p 360 -M 255.255.255.0 -b sh-fallback,sh-port
                 -a -t 192.0.2.1:80 -r 198.51.100.1:80 -g -w 1";
    let (changes, before, after) = edited(rules, scheduler("mh"));
    assert_eq!(changes, [service_change(Verb::Set, tcp(WEB))]);
    assert_eq!(before, ["-A -t 192.0.2.1:80 -s sh -p 360 -M 255.255.255.0 -b sh-fallback,sh-port"]);
    assert_eq!(after, ["-A -t 192.0.2.1:80 -s mh -p 360 -M 255.255.255.0 -b mh-fallback,mh-port"]);
}

#[test]
fn a_change_of_the_scheduler_keeps_the_engine_one_packet_and_a_netmask_of_ipv6() {
    let rules = "-A -u [2001:db8::1]:5060 -s rr -p 60 -M 64 --pe sip -o -b flag-3";
    let (_, before, after) = edited(rules, scheduler("wlc"));
    assert_eq!(before, ["-A -u [2001:db8::1]:5060 -s rr -p 60 -M 64 --pe sip -o -b flag-3"]);
    assert_eq!(after, ["-A -u [2001:db8::1]:5060 -s wlc -p 60 -M 64 --pe sip -o -b flag-3"]);
}

#[test]
fn a_change_of_a_weight_keeps_thresholds_and_tunnel_attributes() {
    for (tunnel, method) in [
        ("gue --tun-port 6080 --tun-remcsum", "-i"),
        ("gre --tun-csum", "-i"),
        ("ipip", "-i"),
        ("", "-m"),
        ("", "-g"),
    ] {
        let tunnel = if tunnel.is_empty() { tunnel } else { &format!(" --tun-type {tunnel}") };
        let rules = format!(
            "-A -t 192.0.2.1:80 -s wrr
             -a -t 192.0.2.1:80 -r 198.51.100.1:80 {method} -w 1 -x 1000 -y 800{tunnel}"
        );
        let weigh = |service: &mut Service| {
            service.real_servers.for_each_mut(|_, real_server| real_server.weight = 7);
        };
        let (changes, before, after) = edited(&rules, weigh);
        assert_eq!(changes, [change(Verb::Set, tcp(WEB), "198.51.100.1:80")]);
        let line = |weight: u32| {
            format!("-a -t 192.0.2.1:80 -r 198.51.100.1:80 {method} -w {weight}{tunnel}")
        };
        assert_eq!((before, after), (vec![line(1)], vec![line(7)]));
        let limits = ("TCP 192.0.2.1:80".into(), "198.51.100.1:80".into(), 1000, 800);
        assert_eq!(ipvsadm::listed_thresholds(), BTreeSet::from([limits]));
    }
}

#[test]
fn an_edit_of_another_field_sends_the_live_value_of_an_ignored_weight() {
    let mut kernel = host_with(
        "-A -t 192.0.2.1:80 -s wrr
         -a -t 192.0.2.1:80 -r 198.51.100.1:80 -g -w 5",
    );
    let limited = RealServer { upper_threshold: 9, ..dr(1) };
    let mut desired = spec([(tcp(WEB), service(config("wrr"), [("198.51.100.1:80", limited)]))]);
    for named in desired.services.values_mut() {
        named.ignore = [IgnoredField::Weight].into_iter().collect();
    }
    assert_eq!(apply_capturing(&mut kernel, &desired).len(), 1);
    assert!(ipvsadm::save().contains("-a -t 192.0.2.1:80 -r 198.51.100.1:80 -g -w 5"));
    let limits = ("TCP 192.0.2.1:80".into(), "198.51.100.1:80".into(), 9, 0);
    assert_eq!(ipvsadm::listed_thresholds(), BTreeSet::from([limits]));
}

#[test]
fn every_tunnel_and_both_families_side_by_side_in_a_service() {
    let tunnel = |kind, port, checksum| RealServer {
        forward: Forward::Tun(Tunnel { kind, port, checksum }),
        ..dr(1)
    };
    let real_servers = || {
        [
            ("198.51.100.1:80", tunnel(TunnelKind::Gue, 6080, Checksum::Remote)),
            ("198.51.100.2:80", tunnel(TunnelKind::Gue, 1, Checksum::Full)),
            ("198.51.100.3:80", tunnel(TunnelKind::Gue, 65535, Checksum::None)),
            ("198.51.100.4:80", tunnel(TunnelKind::Gre, 0, Checksum::Full)),
            ("198.51.100.5:80", tunnel(TunnelKind::Gre, 0, Checksum::None)),
            ("198.51.100.6:80", tunnel(TunnelKind::Ipip, 0, Checksum::None)),
            ("[2001:db8::1]:80", tunnel(TunnelKind::Gue, 6080, Checksum::None)),
            ("[2001:db8::2]:80", tunnel(TunnelKind::Gre, 0, Checksum::Full)),
            ("[2001:db8::3]:80", tunnel(TunnelKind::Ipip, 0, Checksum::None)),
        ]
    };
    let mut kernel = host_with("");
    let both = || service(config("wrr"), real_servers());
    let desired = spec([(tcp(WEB), both()), (tcp("[2001:db8::99]:80"), both())]);
    assert_eq!(apply_capturing(&mut kernel, &desired).len(), 2 * (1 + 9));
    assert_in_place(&mut kernel, &desired);
}

#[test]
fn a_tunnel_becomes_another_one_in_place() {
    let mut kernel = host_with(
        "-A -t 192.0.2.1:80 -s wrr
         -a -t 192.0.2.1:80 -r 198.51.100.1:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
    );
    let mut capture = Capture::start();
    for tunnel in
        [Tunnel { kind: TunnelKind::Gre, port: 0, checksum: Checksum::Full }, Tunnel::IPIP]
    {
        let real_server = RealServer { forward: Forward::Tun(tunnel), ..dr(1) };
        let desired =
            spec([(tcp(WEB), service(config("wrr"), [("198.51.100.1:80", real_server)]))]);
        assert!(apply(&mut kernel, &desired).is_success());
        assert_eq!(capture.changes(), [change(Verb::Set, tcp(WEB), "198.51.100.1:80")]);
        assert_in_place(&mut kernel, &desired);
    }
}

#[test]
fn objects_out_of_scope_survive() {
    let foreign_service = "-A -t 203.0.113.1:80 -s rr -p 100
                    -a -t 203.0.113.1:80 -r 198.51.100.7:80 -g -w 3
                    -A -f 100 -s wlc
                    -A -f 7 -6 -s wlc
                    -a -f 7 -6 -r [2001:db8::7]:0 -g -w 3";
    let ours = "-A -t 192.0.2.1:80 -s wrr
                -a -t 192.0.2.1:80 -r 198.51.100.9:80 -g -w 1
                -A -t 192.0.2.2:80 -s wrr
                -A -f 5 -s rr";
    let mut kernel = host_with(&format!("{foreign_service}\n{ours}"));
    let desired = Desired {
        scope: Scope::Limited(Limits {
            vips: vec!["192.0.2.0/24".parse().unwrap()],
            fwmarks: vec![1..=6],
            ..Limits::default()
        }),
        ..spec([(tcp(WEB), service(config("wrr"), [("198.51.100.1:80", dr(1))]))])
    };
    let changes = apply_capturing(&mut kernel, &desired);
    let mark = ServiceKey::Fwmark { family: evenkeel_model::Family::Ipv4, fwmark: 5 };
    assert_eq!(
        changes,
        [
            change(Verb::New, tcp(WEB), "198.51.100.1:80"),
            change(Verb::Delete, tcp(WEB), "198.51.100.9:80"),
            service_change(Verb::Delete, tcp("192.0.2.2:80")),
            service_change(Verb::Delete, mark),
        ]
    );
    let kept = foreign_service.lines().map(|line| line.trim().to_owned());
    let wanted: BTreeSet<String> = kept.chain(ipvsadm::saved(&table(&desired))).collect();
    assert_eq!(ipvsadm::save(), wanted);
}

#[test]
fn a_scheduler_without_a_module_stops_the_pass_before_the_first_change() {
    let mut kernel = host_with("-A -t 192.0.2.2:80 -s wrr");
    let before = ipvsadm::save();
    let desired = spec([
        (tcp(WEB), service(config("wrr"), [("198.51.100.1:80", dr(1))])),
        (tcp("192.0.2.3:80"), service(config("nosuch"), [])),
    ]);
    let live = kernel.observe(&ReadRequest::new()).unwrap();
    let steps = plan_of(&desired, &live).steps;
    let mut capture = Capture::start();
    let report = carry_out(&mut kernel, Pass::new(&desired, live, steps));
    let outcomes: Vec<_> = report.iter().map(|done| done.outcome.as_str()).collect();
    assert_eq!(outcomes, ["failed", "skipped", "skipped", "skipped", "skipped"]);
    let failure = report.iter().find_map(|done| done.failure()).unwrap();
    assert!(failure.contains("module ip_vs_nosuch cannot be loaded"), "{failure}");
    assert_eq!(capture.changes(), []);
    assert_eq!(ipvsadm::save(), before);
}
