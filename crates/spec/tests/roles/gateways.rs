//! What a gateway of the cluster gets: neighbour entries of the VIPs that directors bind.

use super::*;

const WITH_GATEWAY: &str = r#"version: 1
scope: all
directors:
  - { name: lb1, addresses: [192.0.2.2, "2001:db8::2"], mac: "02:00:00:00:00:02" }
  - { name: lb2, addresses: [198.51.100.3], mac: "02:00:00:00:00:03" }
gateways: [ { name: r1, addresses: [192.0.2.254, "2001:db8::fe"] } ]
vips:
  - { address: 192.0.2.1, interface: lo, on: lb1, route: true }
  - { address: 192.0.2.1, interface: eth0, on: lb1 }
  - { address: "2001:db8::1", interface: lo, on: lb1 }
  - { address: 192.0.2.9/24, interface: eth0, on: lb2 }
neighbours: [ { address: 192.0.2.77, interface: eth1, mac: "02:00:00:00:00:77" } ]
sysctls: { net.ipv4.vs.expire_nodest_conn: 1 }
timeouts: { tcp: 10m }
sync: []
services:
  - { name: web, vip: 192.0.2.1, port: 80, real_servers: [ { address: 192.0.2.11 } ] }
  - { name: moved, vip: 192.0.2.8, port: 80, real_servers: [ { address: 192.0.2.11 } ] }
"#;

/// The neighbour entries of a host with these addresses, as `ADDRESS dev INTERFACE MAC`.
fn neighbours(text: &str, own: &str) -> Vec<String> {
    let desired = desired(text, own);
    let entries = desired.host_objects.iter().map(|(object, value)| match value {
        HostValue::Neighbour(value) => format!("{object} {}", value.mac),
        _ => panic!("a gateway has no {object}"),
    });
    entries.collect()
}

#[test]
fn a_gateway_gets_an_entry_for_each_vip_that_a_director_binds_and_nothing_else() {
    let own = "192.0.2.254/24@eth1 2001:db8::fe/64@eth1 198.51.100.1/24@eth2";
    let host = desired(WITH_GATEWAY, own);
    assert_eq!(
        neighbours(WITH_GATEWAY, own),
        [
            "192.0.2.1 dev eth1 02:00:00:00:00:02",
            "192.0.2.9 dev eth2 02:00:00:00:00:03",
            "2001:db8::1 dev eth1 02:00:00:00:00:02",
        ]
    );
    assert_eq!(host.roles.to_string(), "gateway r1");
    assert_eq!(host.roles.explanation(), "gateway r1, as it has 192.0.2.254");
    assert!(host.services.is_empty() && host.vips.is_empty() && host.sysctls.is_empty());
    assert!(host.sync.is_none() && host.timeouts == Default::default());
}

#[test]
fn the_family_of_a_vip_does_not_matter_for_the_interface_of_a_gateway() {
    let six = "2001:db8::fe/64@eth1 198.51.100.1/24@eth2";
    let expected = [
        "192.0.2.1 dev eth1 02:00:00:00:00:02",
        "192.0.2.9 dev eth2 02:00:00:00:00:03",
        "2001:db8::1 dev eth1 02:00:00:00:00:02",
    ];
    assert_eq!(neighbours(WITH_GATEWAY, six), expected);
    // The interface of the smallest network is that of the route.
    let two = "192.0.2.254/24@eth1 192.0.2.65/16@eth3 198.51.100.1/24@eth2";
    assert_eq!(neighbours(WITH_GATEWAY, two), expected);
    // Of two interfaces that face the director, the one in the network of the VIP.
    let text = WITH_GATEWAY.replace("address: 192.0.2.1,", "address: 10.0.0.9,");
    let text = text.replace("192.0.2.2, \"2001", "192.0.2.2, 10.0.0.2, \"2001");
    let text = text.replace("vip: 192.0.2.1,", "vip: 10.0.0.9,");
    let text = text.replace("\"2001:db8::1\"", "192.0.2.5");
    let own = "192.0.2.254/24@eth1 10.0.0.254/8@eth3 198.51.100.1/24@eth2";
    assert_eq!(
        neighbours(&text, own),
        [
            "10.0.0.9 dev eth3 02:00:00:00:00:02",
            "192.0.2.5 dev eth1 02:00:00:00:00:02",
            "192.0.2.9 dev eth2 02:00:00:00:00:03",
        ]
    );
}

#[test]
fn a_gateway_that_does_not_know_the_way_to_a_director_is_a_problem() {
    let problem = |text: &str, own: &str| {
        let inputs: HostInputs = own.parse().expect("inputs");
        loaded(text).for_host(&inputs).expect_err("it does not know the way")
    };
    let far = "192.0.2.254/24@eth1";
    let expected = RoleProblem::NoSharedNetwork { gateway: "r1".into(), director: "lb2".into() };
    assert_eq!(problem(WITH_GATEWAY, far), expected);
    let narrow = "192.0.2.254/32@eth1 198.51.100.1/24@eth2";
    let expected = RoleProblem::NoSharedNetwork { gateway: "r1".into(), director: "lb1".into() };
    assert_eq!(problem(WITH_GATEWAY, narrow), expected);
    let both = WITH_GATEWAY.replace("192.0.2.2, \"2001", "192.0.2.2, 10.0.0.2, \"2001");
    let own = "192.0.2.254/24@eth1 10.0.0.254/8@eth3 198.51.100.1/24@eth2";
    let expected = RoleProblem::SeveralInterfaces {
        director: "lb1".into(),
        vip: "2001:db8::1".parse().expect("an address"),
        interfaces: ["eth1".into(), "eth3".into()].into(),
    };
    assert_eq!(problem(&both, own), expected);
}

/// The same with MAC addresses that the gateway learns.
fn with_learning() -> String {
    let text = WITH_GATEWAY.replace("mac: \"02:00:00:00:00:02\"", "mac: learn");
    text.replace("mac: \"02:00:00:00:00:03\"", "mac: learn")
}

#[test]
fn a_gateway_uses_the_mac_addresses_that_it_learned_from_any_address_of_the_director() {
    let own = "192.0.2.254/24@eth1 2001:db8::fe/64@eth1 198.51.100.1/24@eth2";
    for by in ["192.0.2.2", "2001:db8::2"] {
        let inputs = format!("{own} mac={by}@02:00:00:00:00:0a mac=198.51.100.3@02:00:00:00:00:0b");
        assert_eq!(
            neighbours(&with_learning(), &inputs),
            [
                "192.0.2.1 dev eth1 02:00:00:00:00:0a",
                "192.0.2.9 dev eth2 02:00:00:00:00:0b",
                "2001:db8::1 dev eth1 02:00:00:00:00:0a",
            ],
            "{by}"
        );
    }
    // A written one is never replaced.
    let written = neighbours(WITH_GATEWAY, &format!("{own} mac=192.0.2.2@02:00:00:00:00:0a"));
    assert_eq!(written[0], "192.0.2.1 dev eth1 02:00:00:00:00:02");
}

#[test]
fn a_mac_address_that_was_not_learned_on_the_interface_of_the_entry_is_a_problem() {
    let text = with_learning();
    let own = "192.0.2.254/24@eth1 2001:db8::fe/64@eth1 198.51.100.1/24@eth2";
    for learned in ["", " mac=198.51.100.3@02:00:00:00:00:0b", " mac=192.0.2.3@02:00:00:00:00:0b"] {
        let inputs: HostInputs = format!("{own}{learned}").parse().expect("inputs");
        let expected = RoleProblem::UnknownMac {
            director: "lb1".into(),
            addresses: ["192.0.2.2", "2001:db8::2"]
                .map(|it| it.parse().expect("an address"))
                .into(),
            interface: "eth1".into(),
        };
        assert_eq!(loaded(&text).for_host(&inputs), Err(expected), "{learned}");
    }
}

#[test]
fn without_the_host_a_mac_address_that_is_learned_is_not_known() {
    let gateway = HostInputs::of_addresses(["192.0.2.254".parse().expect("an address")]);
    let host = loaded(&with_learning()).for_host(&gateway).expect("it is listed");
    let unknown = HostValue::from(evenkeel_model::MacAddress::UNKNOWN);
    assert!(host.host_objects.len() == 3 && host.host_objects.values().all(|it| *it == unknown));
}

#[test]
fn without_the_host_the_interface_of_a_gateway_is_not_known() {
    let addresses = ["192.0.2.254", "2001:db8::fe"].map(|it| it.parse().expect("an address"));
    let host = loaded(WITH_GATEWAY).for_host(&HostInputs::of_addresses(addresses));
    let host = host.expect("it is listed");
    assert_eq!(
        host_objects(&host),
        ["neighbour 192.0.2.1 dev ?", "neighbour 192.0.2.9 dev ?", "neighbour 2001:db8::1 dev ?"]
    );
}

#[test]
fn a_former_gateway_only_undoes_what_it_did() {
    let own = "was=gateway 192.0.2.253/24@eth1";
    let host = desired(WITH_GATEWAY, own);
    assert!(host.is_empty() && !host.roles.is_director());
    let text =
        "version: 1\nscope: all\nvips: [ { address: 192.0.2.1, interface: lo } ]\nservices: []\n";
    let loaded = load_with(&[Source::new("spec.yaml", text)], &Former { own });
    let loaded = loaded.expect("it is valid");
    assert!(loaded.desired.is_empty());
    let warned = loaded.warnings.to_string();
    assert!(
        warned.contains("this host was a gateway, and the spec lists no directors"),
        "{warned}"
    );
}
