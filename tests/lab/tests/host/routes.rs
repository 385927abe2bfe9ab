//! Tests looking up routes.

use std::collections::BTreeSet;

use evenkeel_host::RouteLookup;

use super::*;

/// Looks up the route to one address.
fn lookup(host: &Host, address: &str) -> RouteLookup {
    let address: IpAddr = address.parse().unwrap();
    host.route_lookups(&BTreeSet::from([address])).unwrap().remove(&address).unwrap()
}

fn through(gateway: Option<&str>, mtu: Option<u32>) -> RouteLookup {
    let gateway = gateway.map(|it| it.parse().unwrap());
    RouteLookup::Through { interface: "d0".into(), gateway, mtu }
}

#[test]
fn a_route_is_the_one_that_the_kernel_uses() {
    let host = host_with_dummy();
    run("ip addr add 192.0.2.1/24 dev d0");
    run("ip addr add 2001:db8::1/64 dev d0 nodad");
    for (own, near, far, gateway) in [
        ("192.0.2.1", "192.0.2.9", "198.51.100.1", "192.0.2.254"),
        ("2001:db8::1", "2001:db8::9", "2001:db8:1::1", "2001:db8::fe"),
    ] {
        assert_eq!(lookup(&host, own), RouteLookup::Local);
        assert_eq!(lookup(&host, near), through(None, None));
        assert_eq!(lookup(&host, far), RouteLookup::Unreachable, "{far}: there is no route");
        run(&format!("ip route add {far} via {gateway}"));
        assert_eq!(lookup(&host, far), through(Some(gateway), None));
        run(&format!("ip route replace {far} via {gateway} mtu 1400"));
        assert_eq!(lookup(&host, far), through(Some(gateway), Some(1400)));
        for kind in ["unreachable", "blackhole", "prohibit"] {
            run(&format!("ip route add {kind} {near}"));
            assert_eq!(lookup(&host, near), RouteLookup::Unreachable, "{kind}");
            run(&format!("ip route del {kind} {near}"));
        }
    }
}

#[test]
fn a_gateway_of_the_other_family_is_a_gateway() {
    let host = host_with_dummy();
    run("ip addr add 192.0.2.1/24 dev d0");
    run("ip addr add 2001:db8::1/64 dev d0 nodad");
    run("ip route add 198.51.100.1 via inet6 2001:db8::fe dev d0");
    assert_eq!(lookup(&host, "198.51.100.1"), through(Some("2001:db8::fe"), None));
}
