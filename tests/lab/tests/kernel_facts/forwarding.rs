//! P53: sysctls that rewrite others.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_host::{set_sysctl, sysctl_interfaces};
use evenkeel_lab_tests::sysctls::{changed, of_interfaces};
use evenkeel_plan::MasterSysctl;

use super::*;

const FORWARD: &str = "net.ipv4.ip_forward";
const ALL: &str = "net.ipv4.conf.all.forwarding";

/// A namespace with several interfaces, one of which has a dot in its name.
fn interfaces() {
    fresh_namespace();
    run("ip link add eth0 up type dummy");
    run("ip link add eth0.100 up type dummy");
    run("ip link add down0 type dummy");
}

/// Sets a sysctl and returns what else changed, with the values after it.
fn effects(key: &str, value: &str) -> BTreeMap<String, String> {
    let before = of_interfaces();
    set_sysctl(key, value).unwrap();
    let changed = changed(&before, &of_interfaces());
    changed.into_iter().map(|(key, (_, after))| (key, after)).collect()
}

/// The keys that evenkeel expects a master to rewrite.
fn expected(master: MasterSysctl) -> BTreeSet<String> {
    let interfaces = sysctl_interfaces(master.family()).unwrap();
    assert!(interfaces.contains(&"eth0/100".to_owned()), "{interfaces:?}");
    let keys = master.side_effects(interfaces.iter().map(String::as_str));
    keys.map(String::from).chain([master.key().to_owned()]).collect()
}

/// Verified: a change of either name sets the forwarding of every interface, up or down, and the
/// opposite for `conf.all.accept_redirects`; other values of it are left. The same value again has no
/// effect.
#[test]
fn p53_ip_forward_rewrites_the_forwarding_of_all_interfaces_and_accept_redirects() {
    interfaces();
    let redirects = "net.ipv4.conf.all.accept_redirects";
    for (key, value, opposite) in
        [(FORWARD, "1", "0"), (ALL, "0", "1"), (ALL, "1", "0"), (FORWARD, "0", "1")]
    {
        set_sysctl(redirects, value).unwrap();
        let found = effects(key, value);
        let mut keys = expected(MasterSysctl::Ipv4Forwarding);
        keys.insert(ALL.to_owned());
        assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), keys, "{key}={value}");
        for (other, now) in found {
            assert_eq!(now, if other == redirects { opposite } else { value }, "{other}");
        }
        let own = "net.ipv4.conf.eth0/100.forwarding";
        set_sysctl(own, opposite).unwrap();
        assert_eq!(effects(key, value), BTreeMap::new(), "the same value again");
        set_sysctl(own, value).unwrap();
    }
    assert_eq!(effects("net.ipv4.conf.eth0.forwarding", "1").len(), 1, "one interface alone");
    assert_eq!(effects("net.ipv4.conf.default.forwarding", "1").len(), 1);
}

/// Verified: any written value is copied, also the one that it had.
#[test]
fn p53_forwarding_of_all_rewrites_that_of_every_interface_in_ipv6() {
    interfaces();
    let key = MasterSysctl::Ipv6Forwarding.key();
    for value in ["1", "0", "1"] {
        let found = effects(key, value);
        let keys: BTreeSet<String> = found.keys().cloned().collect();
        assert_eq!(keys, expected(MasterSysctl::Ipv6Forwarding), "{value}");
        assert!(found.values().all(|now| now == value), "{found:?}");
    }
    set_sysctl("net.ipv6.conf.eth0.forwarding", "0").unwrap();
    assert_eq!(effects(key, "1").len(), 1, "the same value again");
    assert_eq!(effects("net.ipv6.conf.default.forwarding", "0").len(), 1);
}
