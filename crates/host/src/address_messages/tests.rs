use rtnetlink::packet_core::Emitable;

use super::*;
use crate::address::AddressScope;

fn binding(text: &str) -> Binding {
    let (address, prefix) = text.split_once('/').unwrap();
    Binding {
        address: address.parse().unwrap(),
        prefix: prefix.parse().unwrap(),
        interface: "eth0".into(),
    }
}

fn bytes(message: &AddressMessage) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

fn live(text: &str, index: u32, flags: AddressFlags) -> Address {
    let Binding { address, prefix, interface } = binding(text);
    Address {
        address,
        peer: None,
        prefix,
        index,
        interface,
        protocol: None,
        flags,
        scope: AddressScope::Universe,
        label: None,
    }
}

#[test]
fn host_lengths_bring_no_route_and_ipv6_ones_are_never_a_source() {
    assert_eq!(binding("192.0.2.1/32").flags().to_string(), "noprefixroute");
    assert_eq!(binding("2001:db8::1/128").flags().to_string(), "nodad deprecated noprefixroute");
}

#[test]
fn a_written_prefix_brings_its_route() {
    assert_eq!(binding("192.0.2.1/24").flags().to_string(), "");
    assert_eq!(binding("2001:db8::1/64").flags().to_string(), "nodad");
}

#[test]
fn an_ipv4_host_binding_is_these_bytes() {
    #[rustfmt::skip]
    let expected = [
        2, 32, 0, 0, 5, 0, 0, 0,
        8, 0, 1, 0, 192, 0, 2, 1,               // IFA_ADDRESS
        8, 0, 2, 0, 192, 0, 2, 1,               // IFA_LOCAL
        8, 0, 8, 0, 0, 2, 0, 0,                 // IFA_FLAGS: noprefixroute
        5, 0, 11, 0, EVENKEEL_PROTOCOL, 0, 0, 0, // IFA_PROTO
    ];
    assert_eq!(bytes(&binding("192.0.2.1/32").to_add(5, None)), expected);
}

#[test]
fn an_ipv6_host_binding_is_preferred_for_no_time_and_valid_for_ever() {
    let bytes = bytes(&binding("2001:db8::1/128").to_add(5, None));
    #[rustfmt::skip]
    let tail = [
        8, 0, 8, 0, 0x22, 2, 0, 0,              // IFA_FLAGS: nodad, deprecated, noprefixroute
        5, 0, 11, 0, EVENKEEL_PROTOCOL, 0, 0, 0,
        20, 0, 6, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, // IFA_CACHEINFO
    ];
    assert_eq!(bytes[..8], [10, 128, 0, 0, 5, 0, 0, 0]);
    assert_eq!(bytes[48..], tail);
}

#[test]
fn a_label_is_sent_with_its_closing_zero() {
    let bytes = bytes(&binding("192.0.2.1/32").to_add(5, Some("eth2:0")));
    let label = [11, 0, 3, 0, b'e', b't', b'h', b'2', b':', b'0', 0, 0];
    assert_eq!(bytes[bytes.len() - 12..], label);
}

#[test]
fn an_ipv6_subnet_binding_stays_preferred() {
    let message = binding("2001:db8::1/64").to_add(5, None);
    let limited = message
        .attributes
        .iter()
        .any(|attribute| matches!(attribute, AddressAttribute::CacheInfo(_)));
    assert!(!limited);
}

#[test]
fn a_prefix_longer_than_the_address_is_invalid() {
    for (text, valid) in [
        ("192.0.2.1/32", true),
        ("192.0.2.1/33", false),
        ("2001:db8::1/128", true),
        ("2001:db8::1/129", false),
    ] {
        assert_eq!(binding(text).is_valid(), valid, "{text}");
    }
}

#[test]
fn a_primary_takes_the_secondaries_of_its_subnet_along() {
    let addresses = [
        live("192.0.2.1/24", 2, AddressFlags::PERMANENT),
        live("192.0.2.7/24", 2, AddressFlags::SECONDARY),
        // None of these goes with it: another interface, another subnet, another prefix, a primary.
        live("192.0.2.8/24", 3, AddressFlags::SECONDARY),
        live("198.51.100.7/24", 2, AddressFlags::SECONDARY),
        live("192.0.2.9/25", 2, AddressFlags::SECONDARY),
        live("192.0.2.10/32", 2, AddressFlags::PERMANENT),
    ];
    let expected: IpAddr = "192.0.2.7".parse().unwrap();
    assert_eq!(binding("192.0.2.1/24").secondaries(2, &addresses), [expected]);
}

#[test]
fn a_secondary_takes_nothing_along() {
    let addresses = [
        live("192.0.2.1/24", 2, AddressFlags::PERMANENT),
        live("192.0.2.7/24", 2, AddressFlags::SECONDARY),
        live("192.0.2.8/24", 2, AddressFlags::SECONDARY),
    ];
    assert!(binding("192.0.2.7/24").secondaries(2, &addresses).is_empty());
}

#[test]
fn an_ipv6_address_takes_nothing_along() {
    let addresses = [
        live("2001:db8::1/64", 2, AddressFlags::PERMANENT),
        live("2001:db8::2/64", 2, AddressFlags::SECONDARY),
    ];
    assert!(binding("2001:db8::1/64").secondaries(2, &addresses).is_empty());
}

#[test]
fn each_secondary_is_listed_with_the_primary_of_its_subnet() {
    let addresses = [
        live("192.0.2.1/24", 2, AddressFlags::PERMANENT),
        live("192.0.2.2/25", 2, AddressFlags::PERMANENT),
        live("192.0.2.7/24", 2, AddressFlags::SECONDARY),
        live("192.0.2.8/25", 2, AddressFlags::SECONDARY),
        live("192.0.2.3/24", 3, AddressFlags::PERMANENT),
        live("192.0.2.9/24", 3, AddressFlags::SECONDARY),
        // IPv6 marks temporary addresses with the same bit.
        live("2001:db8::1/64", 2, AddressFlags::PERMANENT),
        live("2001:db8::2/64", 2, AddressFlags::SECONDARY),
    ];
    let found: Vec<[String; 2]> = secondaries(&addresses)
        .into_iter()
        .map(|it| [it.address, it.primary].map(|it| it.address.to_string()))
        .collect();
    assert_eq!(
        found,
        [["192.0.2.7", "192.0.2.1"], ["192.0.2.8", "192.0.2.2"], ["192.0.2.9", "192.0.2.3"],]
    );
}
