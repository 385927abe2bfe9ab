//! Each code is found where its case provokes it, and nowhere else: the hosts of every case work before.

mod other_hosts;

use std::fs;
use std::path::Path;

use evenkeel_model::{
    Family, Forward, FouPort, HostObject, HostObjectKind, Netmask, Owner, Persistence, RealServer,
    RealServerKey, Scheduler, SchedulerFlags, SourceNat, SourceNatValue,
};

use crate::test_cases::{WEB, binding, cases, findings, live, route, rules, tcp, udp, weigh};
use crate::test_fixtures::{
    address, direct, director, encapsulated, hidden_by_rules, one_armed, replan, routed, service,
    set, translated, tunnelled, unlisted,
};
use crate::{Code, Facts, Listener, RouteLookup, Writer, check};

#[test]
fn each_case_has_its_code_and_no_other() {
    for case in cases() {
        let found: Vec<Code> = findings(&case).iter().map(|(_, finding)| finding.code).collect();
        assert!(found.contains(&case.code), "{} is not found: {found:?}", case.code);
        let is_expected = |code: &Code| *code == case.code || case.also.contains(code);
        assert!(found.iter().all(is_expected), "{}: {found:?}", case.code);
        assert!(case.also.iter().all(|code| found.contains(code)), "{}: {found:?}", case.code);
    }
}

#[test]
fn programs_are_no_finding_while_the_host_is_as_the_spec_asks() {
    let mut facts = director();
    facts.writers =
        [Writer::KubeProxy, Writer::Keepalived, Writer::Ldirectord, Writer::Networkd].into();
    assert_eq!(check(&facts), []);
}

#[test]
fn a_vip_that_another_director_may_have_is_not_looked_for() {
    let mut facts = unlisted();
    facts.routes.insert(address("192.0.2.10"), route(None, None));
    assert_eq!(check(&facts).len(), 1);
    let mut several = Facts { cluster: director().cluster, ..facts.clone() };
    let directors = &mut several.cluster.as_mut().expect("a cluster").directors;
    directors.push(directors[0].clone());
    assert_eq!(check(&several), []);
    facts.writers.insert(Writer::Keepalived);
    assert_eq!(check(&facts), []);
}

#[test]
fn a_local_node_needs_no_route_and_no_forwarding() {
    let mut facts = director();
    set(&mut facts, "net.ipv4.conf.eth1.forwarding", "0");
    set(&mut facts, "net.ipv6.conf.all.forwarding", "0");
    for lookup in facts.routes.values_mut() {
        *lookup = RouteLookup::Local;
    }
    assert_eq!(check(&facts), []);
}

#[test]
fn fallback_flags_and_sysctls_make_weight_0_harmless() {
    let mut facts = director();
    weigh(&mut facts, WEB, "192.0.2.21", 0);
    assert_eq!(check(&facts), []);
    for name in ["sh", "mh"] {
        live(&mut facts, WEB).config.scheduler = Scheduler::new(name).expect("a name");
        live(&mut facts, WEB).config.scheduler_flags = SchedulerFlags::EMPTY;
        assert_eq!(check(&facts).len(), 1);
        live(&mut facts, WEB).config.scheduler_flags = SchedulerFlags::from_bits(1);
        assert_eq!(check(&facts), []);
    }
    let netmask = Netmask::host(Family::Ipv4);
    live(&mut facts, WEB).config.persistence = Some(Persistence { timeout: 300, netmask });
    assert_eq!(check(&facts).len(), 1);
    set(&mut facts, crate::facts::EXPIRE_QUIESCENT, "1");
    assert_eq!(check(&facts), []);
}

#[test]
fn drained_connections_are_ended_with_expire_nodest_conn() {
    let mut facts = director();
    let leaving = RealServerKey { address: address("192.0.2.29"), port: 80 };
    live(&mut facts, WEB).real_servers.insert(leaving, RealServer::new(Forward::Dr, 1));
    replan(&mut facts);
    set(&mut facts, crate::facts::EXPIRE_NODEST, "1");
    let codes: Vec<Code> = check(&facts).iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [Code::Differs]);
}

/// A plan sets sysctls before it removes real servers.
#[test]
fn connections_are_not_dropped_where_the_same_apply_sets_expire_nodest_conn() {
    let mut facts = director();
    let leaving = RealServerKey { address: address("192.0.2.29"), port: 80 };
    live(&mut facts, WEB).real_servers.insert(leaving, RealServer::new(Forward::Dr, 1));
    facts.desired.sysctls.insert(crate::facts::EXPIRE_NODEST.into(), "1".into());
    replan(&mut facts);
    let codes: Vec<Code> = check(&facts).iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [Code::Differs]);
}

/// A remedy never asks for what the spec has.
#[test]
fn what_the_spec_asks_for_is_left_to_an_apply() {
    let remedy = |facts: &Facts, code: Code| -> String {
        let found = check(facts).into_iter().find(|it| it.code == code);
        found.unwrap_or_else(|| panic!("{code}")).remedy
    };
    let mut facts = director();
    set(&mut facts, "net.ipv6.conf.all.forwarding", "0");
    let applied = "`evenkeel apply` sets net.ipv6.conf.all.forwarding to 1";
    assert_eq!(remedy(&facts, Code::NotForwarding), applied);
    facts.desired.sysctls.remove("net.ipv6.conf.all.forwarding");
    let written = "write `net.ipv6.conf.all.forwarding: 1` under `sysctls`";
    assert_eq!(remedy(&facts, Code::NotForwarding), written);
    let mut facts = one_armed();
    let keys = ["net.ipv4.conf.all.send_redirects", "net.ipv4.conf.eth0.send_redirects"];
    set(&mut facts, keys[0], "1");
    let applied = format!("`evenkeel apply` sets {} and {} to 0", keys[0], keys[1]);
    assert_eq!(remedy(&facts, Code::Redirects), applied);
    facts.desired.sysctls.remove(keys[1]);
    let written = format!("write `{}: 0` under `sysctls`", keys[1]);
    assert_eq!(remedy(&facts, Code::Redirects), written);
    facts.desired.sysctls.remove(keys[0]);
    let written = format!("write `{}: 0` and `{}: 0` under `sysctls`", keys[0], keys[1]);
    assert_eq!(remedy(&facts, Code::Redirects), written);
    let mut facts = translated();
    facts.live.host_objects.objects.clear();
    assert_eq!(remedy(&facts, Code::ReturnPath), "`evenkeel apply` sets the default route");
    let mut facts = routed();
    facts.live.host_objects.objects.clear();
    let written = "write `gateway: director` in the service, and apply it here";
    assert_eq!(remedy(&facts, Code::ReturnPath), written);
}

#[test]
fn a_socket_on_the_port_of_a_service_or_without_the_family_is_no_finding() {
    let mut facts = unlisted();
    facts.live.addresses.insert(binding("192.0.2.10", "eth0", 32), Owner::Other);
    facts.listeners.insert(tcp(80), Listener { ipv4: true, ipv6: true });
    facts.listeners.insert(tcp(22), Listener { ipv4: false, ipv6: true });
    assert_eq!(check(&facts), []);
}

#[test]
fn udp_sockets_of_dhcp_clients_and_of_the_kernel_for_tunnels_are_no_finding() {
    let mut facts = director();
    let both = Listener { ipv4: true, ipv6: true };
    facts.listeners = [68, 546, 6080].map(|number| (udp(number), both)).into();
    let port = HostObject::from(FouPort { port: 6080, family: Family::Ipv4 });
    let of_tunnels = encapsulated().live.host_objects.objects;
    facts.live.host_objects.objects.insert(port.clone(), of_tunnels[&port].clone());
    assert_eq!(check(&facts), []);
    facts.listeners.insert(tcp(68), both);
    assert_eq!(check(&facts).len(), 1);
}

#[test]
fn rules_that_say_nothing_certain_of_ipvs_are_no_finding() {
    let forward = |rules: &[&str]| {
        let mut lines = vec!["*filter", ":INPUT DROP [0:0]", ":FORWARD ACCEPT [0:0]"];
        lines.extend(rules);
        lines.extend(["COMMIT", "*mangle", "-A FORWARD -m conntrack --ctstate INVALID -j DROP"]);
        lines.iter().map(|line| (*line).to_owned()).collect::<Vec<String>>()
    };
    let invalid = "-A FORWARD -m conntrack --ctstate INVALID -j DROP";
    let nat = |rule: &str| vec!["*nat".to_owned(), rule.to_owned()];
    let silent = [
        forward(&[]),
        forward(&["-A FORWARD -s 10.0.0.0/24 -j ACCEPT", invalid]),
        forward(&["-A INPUT -m conntrack --ctstate INVALID -j DROP"]),
        forward(&["-A FORWARD -p udp -m conntrack --ctstate INVALID -j DROP"]),
        // Their packets are in a state of their own.
        [forward(&[invalid]), vec!["*raw".into(), "-A PREROUTING -j CT --notrack".into()]].concat(),
        // No rule would accept them without it either.
        vec!["*filter".into(), ":FORWARD DROP [0:0]".into()],
        nat("-A POSTROUTING -s 10.0.0.0/24 -j MASQUERADE"),
        nat("-A POSTROUTING -m ipvs ! --ipvs -j MASQUERADE"),
        nat("-A POSTROUTING -d 10.0.0.41/32 -p udp -m udp --dport 8080 -j MASQUERADE"),
        nat("-A POSTROUTING -d 10.0.0.41/32 -p tcp -m tcp --dport 80 -j MASQUERADE"),
        nat("-A POSTROUTING -d 10.0.0.0/24 -p tcp -m tcp --dport 8080 -j MASQUERADE"),
        nat("-A POSTROUTING -d 192.0.2.21/32 -p tcp -m tcp --dport 80 -j MASQUERADE"),
        nat(
            "-A PREROUTING -d 10.0.0.41/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.0.9",
        ),
    ];
    for lines in silent {
        let mut facts = director();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        rules(&mut facts, Family::Ipv4, &lines);
        assert_eq!(check(&facts), [], "{lines:#?}");
    }
    let mut facts = director();
    rules(&mut facts, Family::Ipv4, &["*filter", invalid]);
    assert_eq!(check(&facts).len(), 1);
    set(&mut facts, evenkeel_model::CONNECTION_TRACKING, "1");
    assert_eq!(check(&facts), []);
}

/// On the director, nothing but it is to answer; a real server sees the director's answer.
#[test]
fn answers_may_go_to_a_router_and_those_of_nat_to_the_director() {
    let mut facts = direct();
    facts.default_gateways.insert(Family::Ipv4, address("192.0.2.254"));
    assert_eq!(check(&facts), []);
    let mut facts = translated();
    facts.default_gateways.insert(Family::Ipv4, address("10.0.0.1"));
    assert_eq!(check(&facts), []);
    // One of several directors may be a router for what it does not have.
    let mut facts = direct();
    facts.default_gateways.insert(Family::Ipv4, address("192.0.2.2"));
    let directors = &mut facts.cluster.as_mut().expect("a cluster").directors;
    directors.push(directors[0].clone());
    assert_eq!(check(&facts), []);
}

#[test]
fn full_nat_with_tracked_connections_and_what_nothing_asks_for_are_no_finding() {
    let mut facts = director();
    let real_server = RealServerKey { address: address("10.0.0.41"), port: 8080 };
    let source_nat = SourceNat { service: service("192.0.2.12:80/tcp"), real_server };
    facts.desired.host_objects.insert(source_nat.into(), SourceNatValue::Masquerade.into());
    set(&mut facts, evenkeel_model::CONNECTION_TRACKING, "1");
    facts.live.host_objects.unavailable.insert(HostObjectKind::ArpRules, "a reason".into());
    assert_eq!(check(&facts), []);
}

#[test]
fn one_of_the_two_settings_makes_several_interfaces_on_a_network_quiet() {
    let mut facts = director();
    facts.live.addresses.insert(binding("192.0.2.3", "eth1", 24), Owner::Other);
    for key in ["net.ipv4.conf.all.arp_ignore", "net.ipv4.conf.all.arp_filter"] {
        assert_eq!(check(&facts).len(), 1);
        set(&mut facts, key, "1");
        assert_eq!(check(&facts), []);
        set(&mut facts, key, "0");
    }
}

#[test]
fn a_real_server_that_is_kept_quiet_without_sysctls_is_no_finding() {
    let mut facts = direct();
    for part in facts.desired.real_server.values_mut() {
        part.sysctls.clear();
    }
    set(&mut facts, "net.ipv4.conf.all.arp_ignore", "0");
    set(&mut facts, "net.ipv4.conf.all.arp_announce", "0");
    assert_eq!(check(&facts), []);
}

#[test]
fn a_real_server_without_its_arp_rules_is_quiet_with_the_sysctls() {
    let mut facts = hidden_by_rules();
    let is_of_rules = |object: &HostObject| object.kind() == HostObjectKind::ArpRules;
    facts.live.host_objects.objects.retain(|object, _| !is_of_rules(object));
    set(&mut facts, "net.ipv4.conf.all.arp_ignore", "1");
    set(&mut facts, "net.ipv4.conf.eth0.arp_announce", "2");
    assert_eq!(check(&facts), []);
}

#[test]
fn a_vip_that_was_bound_before_the_address_of_its_subnet_stays_without_it() {
    let mut facts = director();
    let wide = binding("192.0.2.10", "eth0", 24);
    let listed =
        facts.desired.vips.remove(&binding("192.0.2.10", "eth0", 32)).expect("it is listed");
    facts.desired.vips.insert(wide.clone(), listed);
    facts.live.addresses.insert(wide, Owner::Evenkeel);
    facts.secondary.insert(binding("192.0.2.2", "eth0", 24));
    assert_eq!(check(&facts), []);
}

#[test]
fn a_route_by_the_real_server_itself_leads_to_it() {
    let mut facts = director();
    facts.routes.insert(address("192.0.2.21"), route(Some("192.0.2.21"), None));
    assert_eq!(check(&facts), []);
}

#[test]
fn loose_filters_let_tunnelled_packets_pass() {
    let mut facts = tunnelled();
    set(&mut facts, "net.ipv4.conf.all.rp_filter", "2");
    set(&mut facts, "net.ipv4.conf.tunl0.rp_filter", "1");
    assert_eq!(check(&facts), []);
}

#[test]
fn a_way_that_is_wide_enough_for_the_smallest_packets_is_no_finding() {
    let mut facts = director();
    facts.routes.insert(address("198.51.100.31"), route(Some("192.0.2.254"), Some(1300)));
    assert_eq!(check(&facts), []);
}

#[test]
fn codes_are_in_order_and_have_distinct_names_that_are_read_again() {
    let names: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
    for code in Code::ALL {
        assert_eq!(code.name().parse(), Ok(*code));
        assert_eq!(code.name().to_lowercase().parse(), Ok(*code));
    }
    assert!("EK000".parse::<Code>().is_err());
    assert_eq!(" ek008 ".parse(), Ok(Code::Impossible));
}

/// docs/doctor.md describes each code with the text of `--explain`.
#[test]
fn the_page_has_the_same_explanations() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("docs/doctor.md")).expect("the page");
    let sections: Vec<(&str, String)> = page
        .split("\n### ")
        .skip(1)
        .filter_map(|section| section.split_once('\n'))
        .map(|(heading, text)| {
            let text = text.split("\n## ").next().unwrap_or_default();
            (heading, text.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect();
    let expected: Vec<(String, &str)> = Code::ALL
        .iter()
        .map(|code| (format!("{code}: {}", code.title()), code.explanation()))
        .collect();
    let found: Vec<(String, &str)> =
        sections.iter().map(|(heading, text)| ((*heading).to_owned(), &**text)).collect();
    assert_eq!(found, expected);
}
