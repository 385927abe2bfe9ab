//! Tests evenkeel-host on a real kernel; its effects are read with `ip`.

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use evenkeel_host::{
    Address, AddressFlags, AddressScope, Announcement, Binding, Capability, DUMMY_ALIAS,
    EVENKEEL_PROTOCOL, Error, Host, Link, Namespace, NotNeeded, OperationalState,
};
use evenkeel_lab_tests::{enter_namespace, fresh_namespace, run, this_namespace};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use serde_json::Value;

mod monitor;
mod wire;

/// Creates a namespace with a dummy device `d0` that is up and was not created by evenkeel.
fn host_with_dummy() -> Host {
    fresh_namespace();
    run("ip link add d0 type dummy");
    run("ip link set d0 up");
    Host::connect().unwrap()
}

fn binding(text: &str) -> Binding {
    let (address, rest) = text.split_once('/').unwrap();
    let (prefix, interface) = rest.split_once('@').unwrap();
    Binding {
        address: address.parse().unwrap(),
        prefix: prefix.parse().unwrap(),
        interface: interface.into(),
    }
}

fn ip(arguments: &str) -> Value {
    serde_json::from_str(&run(&format!("ip -j {arguments}"))).unwrap()
}

/// Returns the entry of `ip addr` for one address, or null.
fn shown(interface: &str, address: &str) -> Value {
    let links = ip(&format!("-d addr show dev {interface}"));
    let entries = links[0]["addr_info"].as_array().unwrap();
    entries.iter().find(|entry| entry["local"] == address).cloned().unwrap_or(Value::Null)
}

/// Whether the kernel's raw entries contain our IFA_PROTO attribute: `ip` of Debian 12 has no name
/// for it, but saves unknown attributes.
fn carries_our_protocol(interface: &str) -> bool {
    let saved = Command::new("ip").args(["addr", "save", "dev", interface]).output().unwrap();
    assert!(saved.status.success(), "{saved:?}");
    saved.stdout.windows(5).any(|attribute| attribute == [5, 0, 11, 0, EVENKEEL_PROTOCOL])
}

/// Waits for asynchronous work of the kernel: it updates a link's state in a task of its own.
fn settled(mut condition: impl FnMut() -> bool) {
    for _ in 0..300 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not settled after 3 seconds");
}

fn found(host: &Host, address: &str) -> Vec<Address> {
    let address: IpAddr = address.parse().unwrap();
    host.addresses().unwrap().into_iter().filter(|entry| entry.address == address).collect()
}

fn link(host: &Host, name: &str) -> Link {
    host.link(name).unwrap().unwrap()
}

#[test]
fn an_ipv4_host_binding_carries_our_protocol_and_no_route() {
    let host = host_with_dummy();
    host.bind(&binding("192.0.2.1/32@d0")).unwrap();
    let shown = shown("d0", "192.0.2.1");
    assert_eq!(shown["prefixlen"], 32, "{shown}");
    assert!(carries_our_protocol("d0"));
    assert_eq!(shown["noprefixroute"], true, "{shown}");
    assert_eq!(shown["scope"], "global", "{shown}");
    assert_eq!(ip("-4 route show dev d0"), Value::Array(vec![]));
}

#[test]
fn an_ipv6_host_binding_is_usable_at_once_deprecated_and_without_a_route() {
    let host = host_with_dummy();
    host.bind(&binding("2001:db8::1/128@d0")).unwrap();
    let shown = shown("d0", "2001:db8::1");
    assert!(carries_our_protocol("d0"));
    assert_eq!(shown["nodad"], true, "{shown}");
    assert_eq!(shown["deprecated"], true, "{shown}");
    assert_eq!(shown["preferred_life_time"], 0, "{shown}");
    assert_eq!(shown["valid_life_time"], u32::MAX, "{shown}");
    assert_eq!(shown["tentative"], Value::Null, "{shown}");
    assert!(!run("ip -6 route show dev d0").contains("2001:db8::1"));

    let [entry] = &found(&host, "2001:db8::1")[..] else { panic!("one entry") };
    assert!(entry.is_ours());
    assert!(entry.flags.contains(binding("2001:db8::1/128@d0").flags()), "{}", entry.flags);
    assert!(entry.flags.contains(AddressFlags::PERMANENT), "{}", entry.flags);
}

#[test]
fn a_shorter_prefix_brings_its_route() {
    let host = host_with_dummy();
    host.bind(&binding("192.0.2.1/24@d0")).unwrap();
    host.bind(&binding("2001:db8::1/64@d0")).unwrap();
    assert!(run("ip -4 route show dev d0").contains("192.0.2.0/24"));
    assert!(run("ip -6 route show dev d0").contains("2001:db8::/64"));
    let shown = shown("d0", "2001:db8::1");
    assert_eq!(shown["deprecated"], Value::Null, "{shown}");
    assert_eq!(shown["tentative"], Value::Null, "{shown}");
}

#[test]
fn binding_a_bound_address_is_reported_and_changes_nothing() {
    let host = host_with_dummy();
    run("ip addr add 192.0.2.1/32 dev d0");
    run("ip addr add 2001:db8::1/64 dev d0 nodad");
    let before = host.addresses().unwrap();
    for text in ["192.0.2.1/32@d0", "2001:db8::1/64@d0", "2001:db8::1/128@d0"] {
        let error = host.bind(&binding(text)).unwrap_err();
        assert!(
            matches!(&error, Error::AlreadyBound(which) if *which == binding(text)),
            "{error:?}"
        );
    }
    assert_eq!(host.addresses().unwrap(), before);
    assert!(!found(&host, "192.0.2.1")[0].is_ours());
}

#[test]
fn unbinding_removes_one_address_and_no_other() {
    let host = host_with_dummy();
    run("ip addr add 192.0.2.9/32 dev d0");
    run("ip addr add 2001:db8::9/128 dev d0 nodad");
    let before = host.addresses().unwrap();
    for text in
        ["192.0.2.1/32@d0", "198.51.100.1/24@d0", "2001:db8::1/128@d0", "2001:db8:1::1/64@d0"]
    {
        host.bind(&binding(text)).unwrap();
        host.unbind(&binding(text)).unwrap();
        assert_eq!(host.addresses().unwrap(), before, "{text}");
    }
    assert_eq!(shown("d0", "192.0.2.9")["prefixlen"], 32);
    assert_eq!(shown("d0", "2001:db8::9")["prefixlen"], 128);
}

#[test]
fn unbinding_an_address_that_is_not_bound_is_reported() {
    let host = host_with_dummy();
    host.bind(&binding("192.0.2.1/32@d0")).unwrap();
    host.bind(&binding("2001:db8::1/128@d0")).unwrap();
    for text in [
        "192.0.2.2/32@d0",
        "192.0.2.1/24@d0",
        "192.0.2.1/32@lo",
        "2001:db8::2/128@d0",
        "2001:db8::1/64@d0",
        "2001:db8::1/128@lo",
    ] {
        let error = host.unbind(&binding(text)).unwrap_err();
        assert!(matches!(&error, Error::NotBound(which) if *which == binding(text)), "{error:?}");
    }
    assert!(!shown("d0", "192.0.2.1").is_null());
    assert!(!shown("d0", "2001:db8::1").is_null());
}

#[test]
fn an_interface_without_ipv6_is_refused_with_the_kernels_errno() {
    let host = host_with_dummy();
    std::fs::write("/proc/sys/net/ipv6/conf/d0/disable_ipv6", "1").unwrap();
    match host.bind(&binding("2001:db8::1/128@d0")).unwrap_err() {
        Error::Refused { action, source } => {
            assert_eq!(action.to_string(), "bind 2001:db8::1/128 on d0");
            assert!(source.to_string().contains("(EACCES)"), "{source}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_missing_interface_is_named() {
    fresh_namespace();
    let host = Host::connect().unwrap();
    let which = binding("192.0.2.1/32@nowhere0");
    let errors = [
        host.bind(&which).unwrap_err(),
        host.unbind(&which).unwrap_err(),
        host.announce(which.address, "nowhere0").unwrap_err(),
        host.delete_dummy("nowhere0").unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.to_string(), "there is no interface nowhere0", "{error:?}");
    }
    assert_eq!(host.link("nowhere0").unwrap(), None);
}

#[test]
fn a_primary_is_not_unbound_while_secondaries_would_be_deleted_with_it() {
    let host = host_with_dummy();
    host.bind(&binding("192.0.2.1/24@d0")).unwrap();
    run("ip addr add 192.0.2.7/24 dev d0");
    let error = host.unbind(&binding("192.0.2.1/24@d0")).unwrap_err();
    let lost: IpAddr = "192.0.2.7".parse().unwrap();
    assert!(
        matches!(&error, Error::WouldDropSecondaries { secondaries, .. } if *secondaries == [lost]),
        "{error:?}"
    );
    assert!(error.to_string().contains("192.0.2.7"), "{error}");
    assert!(!shown("d0", "192.0.2.1").is_null());
    assert!(!shown("d0", "192.0.2.7").is_null());
}

#[test]
fn a_primary_is_unbound_where_the_kernel_promotes_its_secondaries() {
    for scope in ["all", "d0"] {
        let host = host_with_dummy();
        host.bind(&binding("192.0.2.1/24@d0")).unwrap();
        run("ip addr add 192.0.2.7/24 dev d0");
        std::fs::write(format!("/proc/sys/net/ipv4/conf/{scope}/promote_secondaries"), "1")
            .unwrap();
        host.unbind(&binding("192.0.2.1/24@d0")).unwrap();
        assert!(shown("d0", "192.0.2.1").is_null(), "{scope}");
        assert_eq!(shown("d0", "192.0.2.7")["secondary"], Value::Null, "{scope}");
    }
}

#[test]
fn a_secondary_is_unbound_alone() {
    let host = host_with_dummy();
    run("ip addr add 192.0.2.7/24 dev d0");
    host.bind(&binding("192.0.2.1/24@d0")).unwrap();
    assert!(found(&host, "192.0.2.1")[0].flags.contains(AddressFlags::SECONDARY));
    host.unbind(&binding("192.0.2.1/24@d0")).unwrap();
    assert!(!shown("d0", "192.0.2.7").is_null());
}

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

#[test]
fn a_dummy_is_created_marked_and_up() {
    fresh_namespace();
    let host = Host::connect().unwrap();
    host.create_dummy("vip0").unwrap();
    let shown = &ip("-d link show dev vip0")[0];
    assert_eq!(shown["linkinfo"]["info_kind"], "dummy", "{shown}");
    assert_eq!(shown["ifalias"], DUMMY_ALIAS, "{shown}");
    assert!(shown["flags"].as_array().unwrap().contains(&Value::from("UP")), "{shown}");
    assert!(link(&host, "vip0").is_ours());

    let again = host.create_dummy("vip0").unwrap_err();
    assert!(
        matches!(&again, Error::InterfaceExists { interface } if interface == "vip0"),
        "{again:?}"
    );
    host.delete_dummy("vip0").unwrap();
    assert_eq!(host.link("vip0").unwrap(), None);
}

#[test]
fn a_dummy_of_evenkeel_is_brought_up_and_only_ipv6_must_be_bound_again() {
    fresh_namespace();
    let host = Host::connect().unwrap();
    host.create_dummy("vip0").unwrap();
    let [four, six] = ["192.0.2.1", "2001:db8::1"].map(|address| address.parse().unwrap());
    let binding = |address| Binding::host(address, "vip0");
    host.bind(&binding(four)).unwrap();
    host.bind(&binding(six)).unwrap();
    let bound = || -> Vec<IpAddr> {
        let all = host.addresses().unwrap().into_iter();
        let of_it = all.filter(|it| it.interface == "vip0" && [four, six].contains(&it.address));
        of_it.map(|it| it.address).collect()
    };
    let is_local = |address: IpAddr| {
        let family = if address.is_ipv6() { "-6" } else { "-4" };
        let routes = run(&format!("ip {family} route show table local"));
        routes.lines().any(|line| line.starts_with(&format!("local {address} ")))
    };
    // The kernel creates the route of an IPv6 address some time after the address.
    let becomes_local = |address| {
        (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(2));
            is_local(address)
        })
    };
    assert!(is_local(four) && becomes_local(six));
    run("ip link set vip0 down");
    assert_eq!(bound(), [four]);
    assert!(is_local(four) && !is_local(six));
    for _ in 0..2 {
        host.bring_up_dummy("vip0").unwrap();
        assert!(link(&host, "vip0").up);
        assert_eq!(bound(), [four]);
    }
    host.bind(&binding(six)).unwrap();
    assert!(is_local(four) && becomes_local(six));
    let error = host.bring_up_dummy("vip9").unwrap_err();
    assert!(matches!(error, Error::InterfaceMissing { .. }), "{error:?}");
}

#[test]
fn a_device_that_evenkeel_did_not_create_is_neither_brought_up_nor_deleted() {
    let host = host_with_dummy();
    run("ip link set d0 down");
    run("ip link add v0 type veth peer name v1");
    run(&format!("ip link set v0 alias {DUMMY_ALIAS}"));
    for name in ["d0", "v0", "lo"] {
        for refused in [host.bring_up_dummy(name), host.delete_dummy(name)] {
            let error = refused.unwrap_err();
            assert!(
                matches!(&error, Error::NotOurs { interface } if interface == name),
                "{error:?}"
            );
        }
        assert!(host.link(name).unwrap().is_some());
    }
    assert!(!link(&host, "d0").up);
}

#[test]
fn a_name_that_the_kernel_would_expand_is_refused() {
    fresh_namespace();
    let host = Host::connect().unwrap();
    let before = host.links().unwrap();
    assert!(matches!(host.create_dummy("vip%d").unwrap_err(), Error::InvalidName { .. }));
    assert_eq!(host.links().unwrap(), before);
}

#[test]
fn a_missing_capability_is_named_and_nothing_is_changed() {
    let host = host_with_dummy();
    // The cable exists as long as its other end.
    let _away = wire::pair();
    host.bind(&binding("192.0.2.1/32@d0")).unwrap();
    let held = capabilities(None).unwrap();
    let mut fewer = held;
    fewer.effective = CapabilitySet::empty();
    set_capabilities(None, fewer).unwrap();
    let outcomes = [
        host.bind(&binding("192.0.2.2/32@d0")),
        host.unbind(&binding("192.0.2.1/32@d0")),
        host.create_dummy("vip0"),
    ];
    let announced = host.announce("192.0.2.1".parse().unwrap(), "near");
    let seen = host.addresses();
    set_capabilities(None, held).unwrap();

    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert!(
            matches!(&error, Error::NotPermitted { capability: Capability::NetAdmin, .. }),
            "{error:?}"
        );
    }
    let error = announced.unwrap_err();
    assert!(
        matches!(&error, Error::NotPermitted { capability: Capability::NetRaw, .. }),
        "{error:?}"
    );
    assert_eq!(error.to_string(), "cannot announce 192.0.2.1 on near without CAP_NET_RAW");
    assert!(seen.unwrap().iter().any(Address::is_ours), "reading needs no capability");
    assert_eq!(host.link("vip0").unwrap(), None);
    assert!(!shown("d0", "192.0.2.1").is_null());
    assert!(shown("d0", "192.0.2.2").is_null());
}

#[test]
fn nothing_is_announced_without_neighbours() {
    let host = host_with_dummy();
    host.create_dummy("vip0").unwrap();
    run("ip link add near type veth peer name far");
    let vip: IpAddr = "192.0.2.1".parse().unwrap();
    let on = |interface: &str| host.announce(vip, interface).unwrap();
    assert_eq!(on("lo"), Announcement::NotNeeded(NotNeeded::Loopback));
    assert_eq!(on("d0"), Announcement::NotNeeded(NotNeeded::Dummy));
    assert_eq!(on("vip0"), Announcement::NotNeeded(NotNeeded::Dummy));
    assert_eq!(on("near"), Announcement::NotNeeded(NotNeeded::Down));
    run("ip link set near up");
    assert_eq!(on("near"), Announcement::NotNeeded(NotNeeded::NoCarrier));
    run("ip link set far up");
    settled(|| link(&host, "near").running);
    assert_eq!(on("near"), Announcement::Announced);
    run("ip link set near arp off");
    assert_eq!(on("near"), Announcement::NotNeeded(NotNeeded::NoArp));
}

#[test]
fn a_connection_belongs_to_the_namespace_in_which_it_was_created() {
    let host = host_with_dummy();
    let home = this_namespace();
    fresh_namespace();
    let error = host.announce("192.0.2.1".parse().unwrap(), "d0").unwrap_err();
    assert!(matches!(error, Error::OtherNamespace { .. }), "{error:?}");
    // Requests over the socket alone still reach the first namespace.
    host.bind(&binding("192.0.2.1/32@d0")).unwrap();
    enter_namespace(&home);
    assert!(!shown("d0", "192.0.2.1").is_null());
}

#[test]
fn a_namespace_is_identified_by_its_name_or_its_inode() {
    assert_eq!(Namespace::current().unwrap().label(), "init", "where the tests start");
    fresh_namespace();
    let nameless = Namespace::current().unwrap();
    assert!(!nameless.initial && nameless.name.is_none(), "{nameless:?}");
    assert_eq!(nameless.label(), format!("net-{}", nameless.identity.inode));

    run("ip netns add evenkeel-blue");
    enter_namespace(&std::fs::File::open("/run/netns/evenkeel-blue").unwrap());
    let named = Namespace::current().unwrap();
    run("ip netns delete evenkeel-blue");
    assert_eq!(named.label(), "evenkeel-blue");
    assert_ne!(named.identity.inode, nameless.identity.inode);
}
