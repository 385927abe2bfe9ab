//! Hosts of a cluster that work, as facts: what an apply of the spec leaves on them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use evenkeel_model::{
    Binding, Family, HostInputs, HostObjectKind, Link, Live, OwnAddress, Owner, ServiceKey,
};
use evenkeel_plan::{Inputs, PriorState, plan, simulate};
use evenkeel_spec::{Source, load};
use ipnet::IpNet;

use crate::facts::interface_key;
use crate::{
    Answers, Facts, LinkFacts, PacketFilter, Question, RouteFacts, RouteLookup, destinations,
    questions, sysctl_keys,
};

const CLUSTER: &str = r#"
version: 1
directors:
  - { name: lb1, addresses: [192.0.2.2, 10.0.0.1, "2001:db8::2", "fd00::1"] }
vips:
  - { address: 192.0.2.10, interface: eth0 }
  - { address: 192.0.2.11, interface: eth0 }
  - { address: 192.0.2.12, interface: eth0 }
  - { address: "2001:db8::10", interface: eth0 }
  - { address: "2001:db8::11", interface: eth0 }
  - { address: "2001:db8::12", interface: eth0 }
services:
  - name: web
    vip: 192.0.2.10
    port: 80
    real_servers: [ { address: 192.0.2.21 }, { address: 192.0.2.22 } ]
  - name: web6
    vip: "2001:db8::10"
    port: 80
    real_servers: [ { address: "2001:db8::21" }, { address: "2001:db8::22" } ]
  - name: far
    vip: 192.0.2.11
    port: 80
    forward: tun
    real_servers: [ { address: 198.51.100.31 }, { address: 198.51.100.32 } ]
  - name: far6
    vip: "2001:db8::11"
    port: 80
    forward: tun
    real_servers: [ { address: 198.51.100.31 }, { address: 198.51.100.32 } ]
  - name: inner
    vip: 192.0.2.12
    port: 80
    forward: nat
    gateway: director
    real_servers: [ { address: 10.0.0.41, port: 8080 }, { address: 10.0.0.42, port: 8080 } ]
  - name: inner6
    vip: "2001:db8::12"
    port: 80
    forward: nat
    gateway: director
    real_servers: [ { address: "fd00::41", port: 8080 }, { address: "fd00::42", port: 8080 } ]
...
"#;

/// NAT on one network, without directors in the spec.
const ONE_ARMED: &str = r#"
version: 1
vips: [ { address: 192.0.2.12, interface: eth0 } ]
sysctls:
  net.ipv4.ip_forward: 1
  net.ipv4.conf.all.send_redirects: 0
  net.ipv4.conf.eth0.send_redirects: 0
services:
  - name: inner
    vip: 192.0.2.12
    port: 80
    forward: nat
    real_servers: [ { address: 192.0.2.41, port: 8080 } ]
...
"#;

/// A VIP that another program binds.
const UNLISTED: &str = r#"
version: 1
services:
  - name: web
    vip: 192.0.2.10
    port: 80
    real_servers: [ { address: 192.0.2.21 } ]
...
"#;

/// The director of all services.
pub(crate) fn director() -> Facts {
    host(
        CLUSTER,
        &["192.0.2.2/24@eth0", "10.0.0.1/24@eth1", "2001:db8::2/64@eth0", "fd00::1/64@eth1"],
    )
}

/// A real server under DR.
pub(crate) fn direct() -> Facts {
    host(CLUSTER, &["192.0.2.21/24@eth0", "2001:db8::21/64@eth0"])
}

/// A real server under DR whose VIP ARP rules hide.
pub(crate) fn hidden_by_rules() -> Facts {
    let spec = CLUSTER.replace("services:\n", "defaults: { arp: arptables }\nservices:\n");
    host(&spec, &["192.0.2.21/24@eth0", "2001:db8::21/64@eth0"])
}

/// A real server behind tunnels.
pub(crate) fn tunnelled() -> Facts {
    host(CLUSTER, &["198.51.100.31/24@eth0"])
}

/// A real server behind tunnels of UDP.
pub(crate) fn encapsulated() -> Facts {
    let gue = "forward: tun\n    tunnel: { type: gue, port: 6080 }";
    host(&CLUSTER.replace("forward: tun", gue), &["198.51.100.31/24@eth0"])
}

/// A real server behind NAT.
pub(crate) fn translated() -> Facts {
    host(CLUSTER, &["10.0.0.41/24@eth0", "fd00::41/64@eth0"])
}

/// A real server behind NAT whose default route is another program's.
pub(crate) fn routed() -> Facts {
    let spec = CLUSTER.replace("    gateway: director\n", "");
    let mut facts = host(&spec, &["10.0.0.41/24@eth0", "fd00::41/64@eth0"]);
    facts.live.host_objects = translated().live.host_objects;
    facts
}

/// The director of clients and real servers on one network.
pub(crate) fn one_armed() -> Facts {
    host(ONE_ARMED, &["192.0.2.2/24@eth0"])
}

/// A director whose VIP another program has bound.
pub(crate) fn unlisted() -> Facts {
    let mut facts = host(UNLISTED, &["192.0.2.2/24@eth0"]);
    facts.routes.insert(address("192.0.2.10"), RouteLookup::Local);
    facts
}

/// A router in front of the director.
pub(crate) fn gateway() -> Facts {
    let director = "addresses: [192.0.2.2,";
    let gateways = "mac: \"02:00:00:00:00:02\", addresses: [192.0.2.2,";
    let spec = CLUSTER.replace(director, gateways).replace(
        "vips:\n",
        "gateways: [ { name: r1, addresses: [192.0.2.254, \"2001:db8::fe\"] } ]\nvips:\n",
    );
    let own = ["192.0.2.254/24@eth0", "2001:db8::fe/64@eth0", "203.0.113.1/24@eth1"];
    let mut facts = host(&spec, &own);
    for interface in ["eth0", "eth1"] {
        set(&mut facts, &interface_key(interface, "forwarding"), "1");
    }
    set(&mut facts, evenkeel_model::FORWARDING_IPV6, "1");
    facts
}

/// The same host after its neighbours were asked, each of which answers as it should.
pub(crate) fn probed(mut facts: Facts) -> Facts {
    let answers = questions(&facts).into_iter().map(|question| {
        let is_vip = facts.is_bound(question.address);
        let is_gateway = facts.desired.roles.gateway.is_some();
        let hosts = match (is_vip, is_gateway) {
            (true, _) => vec![],
            (false, true) => vec![MAC],
            (false, false) => vec!["02:00:00:00:00:21"],
        };
        (question, from(&hosts))
    });
    facts.answers = Some(answers.collect());
    facts
}

/// The MAC address of the director in the spec.
pub(crate) const MAC: &str = "02:00:00:00:00:02";

/// Answers by hosts with these MAC addresses.
pub(crate) fn from(hosts: &[&str]) -> Answers {
    Answers::From(hosts.iter().map(|mac| mac.parse().expect("a MAC address")).collect())
}

/// Replaces the answers to one question.
pub(crate) fn answer(facts: &mut Facts, address: &str, interface: &str, hosts: &[&str]) {
    let question = Question { address: self::address(address), interface: interface.into() };
    let answers = facts.answers.as_mut().expect("neighbours are asked");
    *answers.get_mut(&question).expect("it is asked") = from(hosts);
}

/// Rules of the packet filter.
pub(crate) fn filter(lines: &[&str]) -> PacketFilter {
    PacketFilter::Rules(lines.iter().map(|line| (*line).into()).collect())
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(crate) fn service(text: &str) -> ServiceKey {
    ServiceKey::parse(text).expect("a key")
}

/// The facts of a host with these addresses after an apply.
fn host(spec: &str, own: &[&str]) -> Facts {
    let own: Vec<OwnAddress> = own
        .iter()
        .map(|text| {
            let (network, interface) = text.split_once('@').expect("an interface");
            OwnAddress { network: network.parse().expect("a network"), interface: interface.into() }
        })
        .collect();
    let inputs = HostInputs { addresses: own.clone(), ..HostInputs::default() };
    let loaded = load(&[Source::new("spec.yaml", spec)]).expect("a spec");
    let desired = loaded.for_host(&inputs).expect("a role");
    let mut facts = Facts {
        live: bare(&own),
        cluster: loaded.cluster().cloned(),
        packet_filters: [Family::Ipv4, Family::Ipv6].map(|it| (it, filter(&[]))).into(),
        links: links(),
        routes: destinations(&desired).into_iter().map(|to| (to, lookup(&own, to))).collect(),
        modules: None,
        desired,
        ..Facts::default()
    };
    replan(&mut facts);
    facts.live = simulate(&facts.live, &facts.steps);
    replan(&mut facts);
    assert_eq!(facts.steps, [], "it is applied");
    for key in sysctl_keys(facts.links.keys().map(|name| &**name)) {
        // As the kernel begins; what a plan sets has its value.
        let begins = if key.ends_with(".send_redirects") { "1" } else { "0" };
        let value = facts.live.sysctls.get(&key).cloned().unwrap_or_else(|| begins.into());
        facts.sysctls.insert(key, value);
    }
    if facts.live.sysctls.get("net.ipv4.ip_forward").is_some_and(|value| **value == *"1") {
        for interface in ["all", "eth0", "eth1"] {
            set(&mut facts, &interface_key(interface, "forwarding"), "1");
        }
    }
    facts
}

/// Plans again, after a change of the facts.
pub(crate) fn replan(facts: &mut Facts) {
    let record = PriorState::default();
    facts.steps = plan(Inputs::new(&facts.desired, &facts.live, &record)).steps;
}

/// Sets a sysctl.
pub(crate) fn set(facts: &mut Facts, key: &str, value: &str) {
    facts.sysctls.insert(key.into(), value.into());
}

/// A host with these addresses and nothing else.
fn bare(own: &[OwnAddress]) -> Live {
    let binding = |own: &OwnAddress| Binding {
        address: own.network.addr(),
        interface: own.interface.clone(),
        prefix: own.network.prefix_len(),
    };
    let link = |name: &str| (name.into(), Link { up: true, dummy: false, owner: Owner::Other });
    let mut live = Live {
        addresses: own.iter().map(|own| (binding(own), Owner::Other)).collect(),
        links: Some(["lo", "eth0", "eth1"].map(link).into()),
        modules: Some(["ip_vs", "ip_vs_wlc"].map(Into::into).into()),
        ..Live::default()
    };
    live.host_objects.read = HostObjectKind::ALL.into();
    for key in ["all", "lo", "eth0", "eth1", "tunl0", "sit0"] {
        for name in ["arp_ignore", "arp_announce", "rp_filter", "send_redirects"] {
            live.sysctls.insert(interface_key(key, name).into(), "0".into());
        }
    }
    for key in ["net.ipv4.ip_forward", evenkeel_model::FORWARDING_IPV6] {
        live.sysctls.insert(key.into(), "0".into());
    }
    live
}

fn links() -> BTreeMap<Box<str>, LinkFacts> {
    let link = |name: &str| {
        let facts = LinkFacts {
            is_up: true,
            is_running: true,
            has_neighbours: name.starts_with("eth"),
            mtu: 1500,
        };
        (name.into(), facts)
    };
    ["lo", "eth0", "eth1", "tunl0", "sit0"].map(link).into()
}

fn lookup(own: &[OwnAddress], to: IpAddr) -> RouteLookup {
    let route = |interface: &str, gateway| {
        RouteLookup::Route(RouteFacts { interface: interface.into(), gateway, mtu: None })
    };
    let is_near = |own: &&OwnAddress| IpNet::contains(&own.network, &to);
    match own.iter().find(is_near) {
        Some(own) if own.network.addr() == to => RouteLookup::Local,
        Some(own) => route(&own.interface, None),
        None => route("eth0", Some(address("192.0.2.254"))),
    }
}
