//! Tests of the values of parameters.

use evenkeel_host::{AddressFlags, AddressScope, EVENKEEL_PROTOCOL};

use super::*;

/// An address of the host's own.
pub(crate) fn on(interface: &str, address: &str) -> Address {
    Address {
        address: address.parse().expect("an address"),
        peer: None,
        prefix: 24,
        index: 1,
        interface: interface.to_owned(),
        protocol: None,
        flags: AddressFlags::PERMANENT,
        scope: AddressScope::Universe,
        label: None,
    }
}

/// Parameters of a host whose addresses the function returns.
pub(crate) fn with_addresses(
    addresses: impl FnMut() -> Result<Vec<Address>, String> + Send + 'static,
) -> HostParameters {
    HostParameters::with_reader(BTreeMap::new(), Box::new(addresses))
}

fn found(
    all: &[Address],
    interface: &str,
    family: Option<Family>,
    journalled: &BTreeSet<Binding>,
) -> Option<String> {
    first_own(all, interface, family, journalled).map(|it| it.address.to_string())
}

#[test]
fn the_first_address_is_the_hosts_own_and_ipv4_before_ipv6() {
    let vip = Address { protocol: Some(EVENKEEL_PROTOCOL), ..on("eth0", "2001:db8::1") };
    let local = Address { scope: AddressScope::Link, ..on("eth0", "fe80::1") };
    let old = Address { flags: AddressFlags::DEPRECATED, ..on("eth0", "2001:db8::2") };
    let own = [on("eth1", "10.0.0.1"), on("eth0", "2001:db8::3"), on("eth0", "192.0.2.1")];
    let all = [vec![vip.clone(), local.clone(), old], own.to_vec()].concat();
    let found = |interface, family| found(&all, interface, family, &BTreeSet::new());
    assert_eq!(found("eth0", None).as_deref(), Some("192.0.2.1"));
    assert_eq!(found("eth0", Some(Family::Ipv6)).as_deref(), Some("2001:db8::3"));
    assert_eq!(found("eth1", None).as_deref(), Some("10.0.0.1"));
    assert_eq!(found("eth1", Some(Family::Ipv6)), None);
    assert_eq!(found("eth9", None), None);
    assert_eq!(first_own(&[vip, local], "eth0", None, &BTreeSet::new()), None);
}

#[test]
fn an_address_that_is_added_later_changes_nothing() {
    let found = |all: &[Address], family| found(all, "eth0", family, &BTreeSet::new());
    // As the kernel lists them: the latest IPv6 address comes first.
    let four = ["192.0.2.1", "192.0.2.2"].map(|address| on("eth0", address));
    assert_eq!(found(&four, None).as_deref(), Some("192.0.2.1"));
    let six = ["fd00::3", "2001:db8::2", "2001:db8::1"].map(|address| on("eth0", address));
    assert_eq!(found(&six, None).as_deref(), Some("2001:db8::1"));
    assert_eq!(found(&six[..2], Some(Family::Ipv6)).as_deref(), Some("2001:db8::2"));
}

#[test]
fn a_temporary_address_and_a_duplicate_are_never_the_value() {
    for flag in [AddressFlags::SECONDARY, AddressFlags::DADFAILED] {
        let unusable = Address { flags: flag, ..on("eth0", "2001:db8::2") };
        let all = [unusable.clone(), on("eth0", "2001:db8::1"), unusable];
        let found = |all: &[Address]| found(all, "eth0", None, &BTreeSet::new());
        assert_eq!(found(&all).as_deref(), Some("2001:db8::1"));
        assert_eq!(found(&all[..1]), None);
    }
    // In IPv4 the same bit marks further addresses of a subnet.
    let secondary = Address { flags: AddressFlags::SECONDARY, ..on("eth0", "192.0.2.2") };
    assert_eq!(found(&[secondary], "eth0", None, &BTreeSet::new()).as_deref(), Some("192.0.2.2"));
}

#[test]
fn on_a_kernel_without_marks_the_journal_shows_which_addresses_are_not_the_hosts_own() {
    let all = [on("eth0", "192.0.2.9"), on("eth0", "192.0.2.1")];
    let binding = Binding {
        address: "192.0.2.9".parse().expect("an address"),
        interface: "eth0".into(),
        prefix: 24,
    };
    let journalled = BTreeSet::from([binding.clone()]);
    assert_eq!(found(&all, "eth0", None, &journalled).as_deref(), Some("192.0.2.1"));
    let elsewhere = BTreeSet::from([Binding { interface: "eth1".into(), ..binding }]);
    assert_eq!(found(&all, "eth0", None, &elsewhere).as_deref(), Some("192.0.2.9"));
    // Such a kernel says itself what evenkeel bound; another program bound this one anew.
    let marked = [all[0].clone(), Address { protocol: Some(1), ..on("lo", "127.0.0.1") }];
    assert_eq!(found(&marked, "eth0", None, &journalled).as_deref(), Some("192.0.2.9"));
}

#[test]
fn addresses_are_read_once_until_they_are_refreshed() {
    let mut count = 0;
    let mut parameters = with_addresses(move || {
        count += 1;
        Ok(vec![on("eth0", &format!("192.0.2.{count}"))])
    });
    let address = Parameter::Host { interface: "eth0", family: None };
    for last in ["1", "2"] {
        for _ in 0..2 {
            let value = parameters.value(address).expect("it is readable");
            assert_eq!(value, Some(format!("192.0.2.{last}")));
        }
        parameters.refresh();
    }
    let used = parameters.take_used();
    assert_eq!(used.keys().map(ToString::to_string).collect::<Vec<_>>(), ["host:eth0"]);
    let current = parameters.current(&used);
    assert_eq!(current.values().next(), Some(&ParameterValue::Value("192.0.2.3".into())));
    assert_eq!(parameters.take_used(), ParameterReadings::new(), "a comparison uses nothing");
}

#[test]
fn assignments_that_no_spec_requests_are_unused() {
    let set = ["a", "b"].map(|name| (name.to_owned(), "1".to_owned()));
    let parameters = HostParameters::new(set.into(), None);
    assert_eq!(parameters.value(Parameter::Set("b")), Ok(Some("1".to_owned())));
    assert_eq!(parameters.value(Parameter::Set("c")), Ok(None));
    assert_eq!(parameters.unused(), ["a"]);
}
