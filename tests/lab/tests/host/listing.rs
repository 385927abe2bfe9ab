//! Tests the lists of addresses and links.

use evenkeel_host::{AddressScope, Error, Host, OperationalState};
use evenkeel_lab_tests::{enter_namespace, fresh_namespace, run, this_namespace};
use serde_json::Value;

use super::*;

#[test]
fn addresses_are_those_that_ip_shows() {
    let host = host_with_dummy();
    run("ip link add p0 type veth peer name p1");
    run("ip addr add 10.9.0.1 peer 10.9.0.2/32 dev p0");
    run("ip addr add 192.0.2.1/24 dev d0 label d0:web scope link");
    run("ip addr add 2001:db8::1/64 dev d0 nodad");
    let ours: Vec<(String, String, u64)> = host
        .addresses()
        .unwrap()
        .iter()
        .map(|entry| (entry.interface.clone(), entry.address.to_string(), entry.prefix.into()))
        .collect();
    let shown = ip("addr show");
    let theirs: Vec<(String, String, u64)> = shown
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|link| {
            let name = link["ifname"].as_str().unwrap();
            link["addr_info"].as_array().unwrap().iter().map(move |entry| {
                (
                    name.into(),
                    entry["local"].as_str().unwrap().into(),
                    entry["prefixlen"].as_u64().unwrap(),
                )
            })
        })
        .collect();
    assert!(theirs.len() >= 5, "{theirs:?}");
    assert_eq!(sorted(ours), sorted(theirs));

    let [point_to_point] = &found(&host, "10.9.0.1")[..] else { panic!("one entry") };
    assert_eq!(point_to_point.peer, Some("10.9.0.2".parse().unwrap()));
    let [labelled] = &found(&host, "192.0.2.1")[..] else { panic!("one entry") };
    assert_eq!((labelled.label.as_deref(), labelled.scope), (Some("d0:web"), AddressScope::Link));
    assert_eq!(labelled.protocol, None);
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
}

#[test]
fn links_are_those_that_ip_shows() {
    fresh_namespace();
    run("ip link add d0 type dummy");
    run("ip link add p0 mtu 1400 type veth peer name p1");
    run("ip link set p0 up alias uplink");
    let host = Host::connect().unwrap();
    settled(|| link(&host, "p0").operational == OperationalState::LowerLayerDown);
    let shown = ip("-d link show");
    let links = host.links().unwrap();
    assert_eq!(links.len(), shown.as_array().unwrap().len());
    for (link, shown) in links.iter().zip(shown.as_array().unwrap()) {
        let flags = shown["flags"].as_array().unwrap();
        let has = |flag: &str| flags.iter().any(|shown| shown == flag);
        assert_eq!(Value::from(link.index), shown["ifindex"]);
        assert_eq!(Value::from(link.name.clone()), shown["ifname"]);
        assert_eq!(Value::from(link.mtu), shown["mtu"]);
        assert_eq!(Value::from(link.kind.clone()), shown["linkinfo"]["info_kind"]);
        assert_eq!(Value::from(link.alias.clone()), shown["ifalias"]);
        assert_eq!(
            format!("{:?}", link.operational).to_uppercase(),
            shown["operstate"].as_str().unwrap()
        );
        assert_eq!(link.up, has("UP"), "{shown}");
        assert_eq!(link.running, link.up && has("LOWER_UP") && !has("NO-CARRIER"), "{shown}");
        assert_eq!(link.loopback, has("LOOPBACK"), "{shown}");
        assert_eq!(link.no_arp, has("NOARP"), "{shown}");
        assert_eq!(link.ethernet, shown["link_type"] == "ether", "{shown}");
        let octets: Vec<String> =
            link.hardware_address.iter().map(|byte| format!("{byte:02x}")).collect();
        // `ip` prints those of tunnels as the IP addresses that they are.
        if link.ethernet || link.loopback {
            assert_eq!(Value::from(octets.join(":")), shown["address"]);
        }
    }
    assert!(!link(&host, "d0").up);
    assert!(!link(&host, "p0").running);
}

#[test]
fn an_alternative_name_is_not_an_interface() {
    let host = host_with_dummy();
    run("ip link property add dev d0 altname uplink");
    assert_eq!(host.link("uplink").unwrap(), None);
}

#[test]
fn a_list_of_many_addresses_is_complete_while_another_program_changes_it() {
    const KEPT: usize = 2000;
    const PASSING: usize = 200;
    let host = host_with_dummy();
    let kept = |number: usize| binding(&format!("10.{}.{}.1/32@d0", number / 250, number % 250));
    let passing = |number: usize| binding(&format!("10.200.{number}.1/32@d0"));
    // The changing addresses come first: when one is deleted, all later ones move up, and a reading
    // that is half-way through the list misses one.
    (0..PASSING).map(passing).for_each(|binding| host.bind(&binding).unwrap());
    (0..KEPT).map(kept).for_each(|binding| host.bind(&binding).unwrap());

    let namespace = this_namespace();
    let churn = std::thread::spawn(move || {
        enter_namespace(&namespace);
        let host = Host::connect().unwrap();
        for _ in 0..20 {
            for which in (0..PASSING).map(passing) {
                host.unbind(&which).unwrap();
                host.bind(&which).unwrap();
            }
        }
    });
    let mut readings = 0;
    while !churn.is_finished() {
        match host.addresses() {
            Ok(addresses) => {
                let kept = addresses.iter().filter(|entry| {
                    entry.is_ours() && !entry.address.to_string().starts_with("10.200.")
                });
                assert_eq!(kept.count(), KEPT);
                readings += 1;
            }
            Err(error) => assert!(matches!(error, Error::Interrupted { .. }), "{error:?}"),
        }
    }
    churn.join().unwrap();
    assert!(readings > 0, "no reading was made");
}
