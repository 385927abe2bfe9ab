//! What one spec means for each host of its cluster.

use std::collections::BTreeSet;

use evenkeel_model::{
    ArpRulesValue, Binding, Cluster, Desired, HostInputs, HostValue, OwnAddress, RoleProblem,
    SourceNatValue,
};
use evenkeel_spec::{HostKnowledge, Loaded, Parameter, Parameters, Source, load, load_with};

mod gateways;

const CLUSTER: &str = r#"version: 1
scope: all
directors:
  - { name: lb1, addresses: [192.0.2.2, 10.0.0.1, "2001:db8::2"] }
  - { name: lb2, addresses: [192.0.2.3] }
vips:
  - { address: 192.0.2.1, interface: eth0, on: lb1, route: true }
  - { address: "2001:db8::1", interface: eth0, on: lb1 }
  - { address: 192.0.2.9, interface: eth0, on: lb2 }
sysctls: { net.ipv4.vs.expire_nodest_conn: 1 }
services:
  - name: web
    vips: [192.0.2.1, "2001:db8::1"]
    port: 80
    drain: 10s
    on_real_servers: { label: "lo:0", route: true }
    real_servers:
      - { address: 192.0.2.11 }
      - { address: 192.0.2.12, weight: 0 }
      - { address: "2001:db8::11" }
  - name: inner
    vip: 192.0.2.1
    port: 81
    forward: nat
    gateway: lb1
    real_servers: [ { address: 10.0.0.11, port: 8080 } ]
  - name: unasked
    vip: 192.0.2.9
    port: 82
    forward: nat
    real_servers: [ { address: 10.0.0.12, port: 8080 } ]
  - name: marked
    fwmark: 7
    family: ipv4
    on_real_servers: { vips: [192.0.2.7] }
    real_servers: [ { address: 192.0.2.11 } ]
"#;

fn loaded(text: &str) -> Loaded {
    load(&[Source::new("spec.yaml", text)]).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The desired state of a host with these addresses, written `192.0.2.2/24@eth0`.
fn desired(text: &str, own: &str) -> Desired {
    let inputs: HostInputs = own.parse().expect("inputs");
    loaded(text).for_host(&inputs).expect("a role")
}

fn vips(desired: &Desired) -> Vec<String> {
    let vips = desired.vips.iter().map(|(binding, vip)| match &vip.label {
        Some(label) => format!("{binding} label {label}"),
        None => binding.to_string(),
    });
    vips.collect()
}

fn names(desired: &Desired) -> BTreeSet<&str> {
    desired.services.values().map(|named| &*named.name).collect()
}

fn sysctls(desired: &Desired) -> Vec<String> {
    desired.sysctls.iter().map(|(key, value)| format!("{key}={value}")).collect()
}

fn host_objects(desired: &Desired) -> Vec<String> {
    desired.host_objects.keys().map(|it| format!("{} {it}", it.kind().name())).collect()
}

#[test]
fn a_director_has_its_vips_their_services_and_forwards_where_nat_needs_it() {
    let lb1 = desired(CLUSTER, "192.0.2.2/24@eth0 10.0.0.1/24@eth1.5");
    assert_eq!(vips(&lb1), ["192.0.2.1/32 on eth0", "2001:db8::1/128 on eth0"]);
    assert_eq!(names(&lb1), ["inner", "marked", "web"].into());
    assert_eq!(host_objects(&lb1), ["route 192.0.2.1 dev eth0"]);
    assert_eq!(
        sysctls(&lb1),
        [
            "net.ipv4.conf.all.send_redirects=0",
            "net.ipv4.conf.eth1/5.send_redirects=0",
            "net.ipv4.ip_forward=1",
            "net.ipv4.vs.expire_nodest_conn=1",
        ]
    );
    assert!(lb1.real_server.is_empty());
    let lb2 = desired(CLUSTER, "192.0.2.3/24@eth0");
    assert_eq!(vips(&lb2), ["192.0.2.9/32 on eth0"]);
    assert_eq!(names(&lb2), ["marked", "unasked"].into());
    let elsewhere = |desired: &Desired| {
        let services = desired.elsewhere.services.iter().map(ToString::to_string);
        services.chain(desired.elsewhere.vips.iter().map(ToString::to_string)).collect::<Vec<_>>()
    };
    assert_eq!(elsewhere(&lb1), ["192.0.2.9:82/tcp", "192.0.2.9"]);
    let of_lb1 = [
        "192.0.2.1:80/tcp",
        "192.0.2.1:81/tcp",
        "[2001:db8::1]:80/tcp",
        "192.0.2.1",
        "2001:db8::1",
    ];
    assert_eq!(elsewhere(&lb2), of_lb1);
    assert!(host_objects(&lb2).is_empty());
}

#[test]
fn a_real_server_under_dr_has_the_vips_on_lo_and_is_silent_about_them() {
    let host = desired(CLUSTER, "192.0.2.11/24@eth0 2001:db8::11/64@eth0");
    assert_eq!(
        vips(&host),
        ["192.0.2.1/32 on lo label lo:0", "192.0.2.7/32 on lo", "2001:db8::1/128 on lo"]
    );
    assert_eq!(host_objects(&host), ["route 192.0.2.1 dev lo", "route 2001:db8::1 dev lo"]);
    assert_eq!(
        sysctls(&host),
        [
            "net.ipv4.conf.all.arp_announce=2",
            "net.ipv4.conf.all.arp_ignore=1",
            "net.ipv4.conf.lo.arp_announce=2",
            "net.ipv4.conf.lo.arp_ignore=1",
        ]
    );
    assert!(host.services.is_empty() && host.sync.is_none());
    let parts: Vec<String> = host.real_server.keys().map(ToString::to_string).collect();
    assert_eq!(parts, ["192.0.2.1:80/tcp", "[2001:db8::1]:80/tcp", "fwmark-7/ipv4"]);
    // What stays when the real server leaves is shown with the names of the services.
    let named: Vec<&str> = host.real_server.values().map(|part| &*part.name).collect();
    assert_eq!(named, ["web", "web", "marked"]);
    // Weight 0 is a value: its open connections continue.
    let quiet = desired(CLUSTER, "192.0.2.12/24@eth0");
    assert_eq!(vips(&quiet), ["192.0.2.1/32 on lo label lo:0"]);
}

#[test]
fn a_host_with_only_an_ipv6_address_needs_no_sysctls() {
    let host = desired(CLUSTER, "2001:db8::11/64@eth0");
    assert_eq!(vips(&host), ["2001:db8::1/128 on lo"]);
    assert!(sysctls(&host).is_empty());
}

#[test]
fn a_real_server_under_nat_gets_its_return_path_or_a_check_of_it() {
    let asked = desired(CLUSTER, "10.0.0.11/24@eth0");
    assert!(vips(&asked).is_empty() && sysctls(&asked).is_empty());
    assert_eq!(host_objects(&asked), ["default route ipv4"]);
    let value = asked.host_objects.values().next().expect("one");
    assert!(format!("{value:?}").contains("10.0.0.1"), "the nearest address: {value:?}");
    assert!(asked.expected_gateways.is_empty());
    let unasked = desired(CLUSTER, "10.0.0.12/24@eth0");
    assert!(host_objects(&unasked).is_empty());
    let expected: Vec<String> =
        unasked.expected_gateways.values().flatten().map(ToString::to_string).collect();
    assert_eq!(expected, ["10.0.0.1", "192.0.2.2", "192.0.2.3"]);
}

#[test]
fn a_director_that_is_a_real_server_binds_its_vips_once() {
    let both = desired(CLUSTER, "192.0.2.2/24@eth0 192.0.2.11/24@eth0");
    assert_eq!(vips(&both), ["192.0.2.1/32 on eth0", "2001:db8::1/128 on eth0"]);
    assert_eq!(names(&both), ["inner", "marked", "web"].into());
    assert!(both.real_server.is_empty());
    // The other director forwards to it: it has the VIP on lo, and no service that would schedule again.
    let other = desired(CLUSTER, "192.0.2.3/24@eth0 192.0.2.11/24@eth0");
    assert_eq!(vips(&other), ["192.0.2.1/32 on lo label lo:0", "192.0.2.9/32 on eth0"],);
    assert_eq!(names(&other), ["marked", "unasked"].into());
}

#[test]
fn a_spec_of_before_is_the_same_for_every_host() {
    let text = CLUSTER
        .lines()
        .filter(|line| !line.contains("directors") && !line.contains("name: lb"))
        .map(|line| line.replace(", on: lb1", "").replace(", on: lb2", ""))
        .filter(|line| !line.contains("gateway:"))
        .collect::<Vec<_>>()
        .join("\n");
    let whole = loaded(&text).desired;
    for own in ["", "192.0.2.11/24@eth0", "192.0.2.77/24@eth0"] {
        assert_eq!(desired(&text, own), whole, "{own}");
    }
    assert_eq!(whole.sysctls.len(), 1);
}

#[test]
fn a_spec_is_the_same_again_with_the_recorded_inputs() {
    let inputs = HostInputs {
        addresses: vec![OwnAddress {
            network: "192.0.2.11/24".parse().expect("a network"),
            interface: "eth0".into(),
        }],
        ..HostInputs::default()
    };
    let first = loaded(CLUSTER).for_host(&inputs).expect("a role");
    let again = loaded(CLUSTER).for_host(&inputs.to_string().parse().expect("inputs"));
    assert_eq!(again, Ok(first));
}

#[test]
fn a_host_that_is_not_listed_has_no_state() {
    let inputs: HostInputs = "192.0.2.77/24@eth0".parse().expect("inputs");
    assert_eq!(loaded(CLUSTER).for_host(&inputs), Err(RoleProblem::NotListed));
    let former: HostInputs = "was=real-server 192.0.2.77/24@eth0".parse().expect("inputs");
    let former = loaded(CLUSTER).for_host(&former).expect("it undoes what it did");
    assert!(former.is_empty() && former.sysctls.is_empty() && !former.roles.is_director());
}

/// A host with that address, as a spec without directors is loaded for it.
struct Former {
    own: &'static str,
}

impl Parameters for Former {
    fn value(&self, _: Parameter<'_>) -> Result<Option<String>, String> {
        Ok(None)
    }

    fn may_be_no_director(&self) -> bool {
        true
    }

    fn host(&self, _: &Cluster) -> Result<HostKnowledge, String> {
        Ok(HostKnowledge::Host(self.own.parse().expect("inputs")))
    }
}

#[test]
fn a_spec_that_a_former_real_server_ignores_is_warned_of() {
    let own = "was=real-server 192.0.2.77/24@eth0";
    let warnings = |text: &str, own: &'static str| {
        let loaded = load_with(&[Source::new("spec.yaml", text)], &Former { own });
        loaded.expect("it is valid").warnings.to_string()
    };
    let snapshot = "version: 1
scope: all
vips: [ { address: 192.0.2.1, interface: lo } ]
services: [ { name: web, vip: 192.0.2.1, port: 80, real_servers: [ { address: 192.0.2.11 } ] } ]
";
    let warned = warnings(snapshot, own);
    assert!(warned.contains("this host was a real server, and the spec lists no directors"));
    for way_out in ["the spec of the cluster", "`--role director`", "`evenkeel teardown`"] {
        assert!(warned.contains(way_out), "{warned}");
    }
    for few in [
        "vips: [ { address: '2001:db8::1', interface: lo } ]",
        "sync: []",
        "sysctls: { net.ipv4.vs.drop_entry: 1 }",
    ] {
        let text = format!("version: 1\nscope: all\nservices: []\n{few}\n");
        assert!(warnings(&text, own).contains("was a real server"), "{few}");
    }
    // It asks for nothing, it lists the host, the host is listed no longer, or a user decides.
    assert_eq!(warnings("version: 1\nservices: []\n", own), "");
    assert_eq!(warnings(snapshot, "was=real-server 192.0.2.11/24@eth0"), "");
    assert_eq!(warnings(CLUSTER, own), "");
    assert_eq!(warnings(snapshot, "role=director was=real-server 192.0.2.77/24@eth0"), "");
}

#[test]
fn bindings_of_a_real_server_are_whole_addresses() {
    let host = desired(CLUSTER, "192.0.2.11/24@eth0 2001:db8::11/64@eth0");
    for binding in host.vips.keys() {
        assert_eq!(*binding, Binding::host(binding.address, "lo"));
    }
}

#[test]
fn a_real_server_under_tun_gets_the_device_that_unpacks_its_packets() {
    let text = r#"version: 1
directors: [ { name: lb1, addresses: [192.0.2.2] } ]
services:
  - { name: plain, vip: 198.51.100.1, port: 80, forward: tun, real_servers: [ { address: 192.0.2.11 } ] }
  - { name: six, vip: "2001:db8::1", port: 80, forward: tun, real_servers: [ { address: 192.0.2.11 } ] }
  - name: gue
    vip: 198.51.100.2
    port: 80
    protocol: udp
    forward: tun
    tunnel: { type: gue, port: 6080 }
    on_real_servers: { label: "tunl0:1" }
    real_servers: [ { address: 192.0.2.11 } ]
  - name: mixed
    vips: [198.51.100.3, "2001:db8::3"]
    port: 80
    forward: tun
    real_servers: [ { address: "2001:db8:1::11" } ]
  - { name: gre, vip: 198.51.100.4, port: 80, forward: tun, tunnel: { type: gre }, real_servers: [ { address: 192.0.2.12 } ] }
"#;
    let host = desired(text, "192.0.2.11/24@eth0");
    assert_eq!(
        vips(&host),
        [
            "198.51.100.1/32 on tunl0",
            "198.51.100.2/32 on tunl0 label tunl0:1",
            "2001:db8::1/128 on sit0",
        ]
    );
    assert_eq!(
        host_objects(&host),
        ["tunnel device sit0", "tunnel device tunl0", "fou port 6080/ipv4"]
    );
    assert_eq!(
        sysctls(&host),
        ["all", "tunl0"]
            .map(|it| ["arp_announce=2", "arp_ignore=1", "rp_filter=0"]
                .map(|value| format!("net.ipv4.conf.{it}.{value}")))
            .concat()
    );
    let mixed = desired(text, "2001:db8:1::11/64@eth0");
    assert_eq!(vips(&mixed), ["198.51.100.3/32 on ip6tnl0", "2001:db8::3/128 on ip6tnl0"]);
    let value = mixed.host_objects.values().next().expect("a device");
    assert!(format!("{value:?}").contains("Any"), "{value:?}");
    let gre = desired(text, "192.0.2.12/24@eth0");
    assert_eq!(vips(&gre), ["198.51.100.4/32 on gre0"]);
}

#[test]
fn a_host_with_two_addresses_has_one_gateway() {
    let text = |gateway: &str| {
        format!(
            "version: 1\ndirectors: [ {{ name: lb1, addresses: [10.0.0.1] }}, {{ name: lb2, addresses: \
             [10.1.0.1] }} ]\ndefaults: {{ forward: nat }}\nservices:\n  - {{ name: a, vip: 192.0.2.1, port: \
             80, gateway: lb1, real_servers: [ {{ address: 10.0.0.11 }} ] }}\n  - {{ name: b, vip: 192.0.2.2, \
             port: 80, gateway: {gateway}, real_servers: [ {{ address: 10.1.0.11 }} ] }}\n"
        )
    };
    let both = "10.0.0.11/24@eth0 10.1.0.11/24@eth1";
    assert_eq!(host_objects(&desired(&text("10.0.0.1"), both)), ["default route ipv4"]);
    let two = text("lb2");
    assert_eq!(host_objects(&desired(&two, "10.1.0.11/24@eth1")), ["default route ipv4"]);
    let inputs: HostInputs = both.parse().expect("inputs");
    let problem = loaded(&two).for_host(&inputs).expect_err("two gateways");
    let gateways = ["10.0.0.1", "10.1.0.1"].map(|it| it.parse().expect("an address"));
    assert_eq!(problem, evenkeel_model::RoleProblem::SeveralGateways(gateways.into()));
}

#[test]
fn full_nat_concerns_directors_only_and_sets_connection_tracking() {
    let text = r#"version: 1
directors:
  - { name: lb1, addresses: [192.0.2.2, "2001:db8::2"] }
  - { name: lb2, addresses: [192.0.2.3] }
vips:
  - { address: 192.0.2.1, interface: eth0, on: lb1 }
  - { address: "2001:db8::1", interface: eth0, on: lb1 }
  - { address: 192.0.2.9, interface: eth0, on: lb2 }
services:
  - name: web
    vips: [192.0.2.1, "2001:db8::1"]
    port: 80
    forward: fullnat
    real_servers: [ { address: 10.0.0.11, port: 8080 }, { address: "2001:db8:1::11" } ]
  - name: other
    vip: 192.0.2.9
    port: 53
    protocol: udp
    forward: fullnat
    source: 192.0.2.3
    real_servers: [ { address: 10.0.0.11 }, { address: 10.0.0.12, forward: nat } ]
  - name: marked
    fwmark: 7
    family: ipv4
    forward: fullnat
    real_servers: [ { address: 10.0.0.13 } ]
"#;
    let first = desired(text, "192.0.2.2/24@eth0 10.0.0.1/24@eth1");
    let expected = [
        "source nat 192.0.2.1:80/tcp to 10.0.0.11:8080",
        "source nat [2001:db8::1]:80/tcp to [2001:db8:1::11]:80",
        "source nat fwmark-7/ipv4 to 10.0.0.13:0",
    ];
    assert_eq!(host_objects(&first), expected);
    let own = sysctls(&first);
    for sysctl in
        ["net.ipv4.vs.conntrack=1", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]
    {
        assert!(own.iter().any(|it| it == sysctl), "{sysctl} in {own:?}");
    }
    let second = desired(text, "192.0.2.3/24@eth0");
    let expected =
        ["source nat 192.0.2.9:53/udp to 10.0.0.11:53", "source nat fwmark-7/ipv4 to 10.0.0.13:0"];
    assert_eq!(host_objects(&second), expected);
    assert!(second.host_objects.values().any(|value| {
        *value == HostValue::SourceNat(SourceNatValue::Address([192, 0, 2, 3].into()))
    }));
    // A real server under full NAT needs nothing, not even the return path that NAT needs.
    let real_server = desired(text, "10.0.0.11/24@eth0");
    assert!(real_server.is_empty() && real_server.sysctls.is_empty());
    assert!(real_server.real_server.is_empty() && real_server.expected_gateways.is_empty());
    assert!(!desired(text, "10.0.0.12/24@eth0").expected_gateways.is_empty());
}

#[test]
fn a_real_server_hides_a_vip_by_arp_rules_in_place_of_sysctls() {
    let text = r#"version: 1
directors: [ { name: lb1, addresses: [192.0.2.2] } ]
defaults: { arp: arptables }
services:
  - name: web
    vips: [192.0.2.1, "2001:db8::1"]
    port: 80
    real_servers: [ { address: 192.0.2.11 }, { address: "2001:db8::11" } ]
  - { name: tunnelled, vip: 192.0.2.5, port: 80, forward: tun, real_servers: [ { address: 192.0.2.12 } ] }
  - { name: plain, vip: 192.0.2.6, port: 80, arp: sysctl, real_servers: [ { address: 192.0.2.13 } ] }
"#;
    let first = desired(text, "192.0.2.11/24@eth0 2001:db8::11/64@eth0");
    assert_eq!(host_objects(&first), ["arp rules 192.0.2.1"]);
    assert_eq!(vips(&first), ["192.0.2.1/32 on lo", "2001:db8::1/128 on lo"]);
    assert!(first.sysctls.is_empty(), "{:?}", first.sysctls);
    let rules = ArpRulesValue::with_source([192, 0, 2, 11].into());
    assert!(first.host_objects.values().eq([&HostValue::ArpRules(rules)]));
    assert!(first.real_server.values().any(|part| part.host_objects.len() == 1));
    let tunnelled = desired(text, "192.0.2.12/24@eth0");
    assert_eq!(host_objects(&tunnelled), ["tunnel device tunl0", "arp rules 192.0.2.5"]);
    let expected = ["net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.tunl0.rp_filter=0"];
    assert_eq!(sysctls(&tunnelled), expected);
    let plain = desired(text, "192.0.2.13/24@eth0");
    assert!(host_objects(&plain).is_empty() && plain.sysctls.len() == 4);
}
