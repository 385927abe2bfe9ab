//! Tests evenkeel-host on a real kernel; its effects are read with `ip`.

use std::net::IpAddr;
use std::time::Duration;

use evenkeel_host::{
    Address, Announcement, Binding, Capability, Error, Host, Link, Namespace, NotNeeded,
};
use evenkeel_lab_tests::{enter_namespace, fresh_namespace, run, this_namespace};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use serde_json::Value;

mod bindings;
mod dummies;
mod listing;
mod monitor;
mod neighbour_query;
mod resolution;
mod routes;
mod tunnels;
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
