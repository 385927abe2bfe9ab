//! Tests dummy devices: created, brought up and deleted.

use std::net::IpAddr;
use std::time::Duration;

use evenkeel_host::{ALIAS, Binding, Error, Host};
use evenkeel_lab_tests::{fresh_namespace, run};
use serde_json::Value;

use super::*;

#[test]
fn a_dummy_is_created_marked_and_up() {
    fresh_namespace();
    let host = Host::connect().unwrap();
    host.create_dummy("vip0").unwrap();
    let shown = &ip("-d link show dev vip0")[0];
    assert_eq!(shown["linkinfo"]["info_kind"], "dummy", "{shown}");
    assert_eq!(shown["ifalias"], ALIAS, "{shown}");
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

/// The kernel takes two requests for a dummy device, and a process may be killed between them.
#[test]
fn a_dummy_that_was_left_unfinished_is_replaced_by_the_next_one() {
    fresh_namespace();
    run("ip link add evenkeel-new type dummy");
    let host = Host::connect().unwrap();
    host.create_dummy("vip0").unwrap();
    let link = link(&host, "vip0");
    assert!(link.is_ours() && link.up, "{link:?}");
    assert_eq!(host.link("evenkeel-new").unwrap(), None);
    // One that is in use is another program's.
    run("ip link add evenkeel-new up type dummy");
    host.create_dummy("vip1").unwrap_err();
    assert!(host.link("evenkeel-new").unwrap().is_some());
    assert_eq!(host.link("vip1").unwrap(), None);
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
    run(&format!("ip link set v0 alias {ALIAS}"));
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
