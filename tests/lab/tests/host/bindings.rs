//! Tests binding and unbinding of addresses.

use std::net::IpAddr;
use std::process::Command;

use evenkeel_host::{AddressFlags, EVENKEEL_PROTOCOL, Error, Host};
use evenkeel_lab_tests::{fresh_namespace, run};
use serde_json::Value;

use super::*;

/// Whether the kernel's raw entries contain our IFA_PROTO attribute: `ip` of Debian 12 has no name
/// for it, but saves unknown attributes.
fn carries_our_protocol(interface: &str) -> bool {
    let saved = Command::new("ip").args(["addr", "save", "dev", interface]).output().unwrap();
    assert!(saved.status.success(), "{saved:?}");
    saved.stdout.windows(5).any(|attribute| attribute == [5, 0, 11, 0, EVENKEEL_PROTOCOL])
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
