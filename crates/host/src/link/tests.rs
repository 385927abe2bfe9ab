use super::*;

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// `struct ifinfomsg` of an Ethernet device, then the attributes.
fn link(index: u32, flags: u32, attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend(1_u16.to_ne_bytes());
    bytes.extend(index.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(attributes.concat());
    bytes
}

#[test]
fn a_dummy_with_our_alias_is_ours() {
    let payload = link(
        9,
        // IFF_UP, IFF_BROADCAST, IFF_RUNNING, IFF_NOARP and IFF_LOWER_UP: a dummy device that is up.
        0x1 | 0x2 | 0x40 | 0x80 | 0x1_0000,
        &[
            attribute(IFLA_IFNAME, b"vip0\0"),
            attribute(IFLA_MTU, &1500_u32.to_ne_bytes()),
            attribute(IFLA_ADDRESS, &[2, 0, 0, 0, 0, 9]),
            attribute(IFLA_OPERSTATE, &[0]),
            attribute(IFLA_IFALIAS, b"evenkeel\0"),
            attribute(IFLA_LINKINFO, &attribute(IFLA_INFO_KIND, b"dummy\0")),
        ],
    );
    let decoded = Link::decode(&payload).unwrap();
    let expected = Link {
        index: 9,
        name: "vip0".into(),
        kind: Some("dummy".into()),
        up: true,
        running: true,
        loopback: false,
        point_to_point: false,
        no_arp: true,
        ethernet: true,
        operational: OperationalState::Unknown,
        alias: Some("evenkeel".into()),
        mtu: 1500,
        hardware_address: vec![2, 0, 0, 0, 0, 9],
        tunnel: None,
    };
    assert_eq!(decoded, expected);
    assert!(decoded.is_ours());
}

#[test]
fn kind_and_alias_are_both_needed_to_be_ours() {
    let name = attribute(IFLA_IFNAME, b"x\0");
    let alias = attribute(IFLA_IFALIAS, b"evenkeel\0");
    let dummy = attribute(IFLA_LINKINFO, &attribute(IFLA_INFO_KIND, b"dummy\0"));
    let veth = attribute(IFLA_LINKINFO, &attribute(IFLA_INFO_KIND, b"veth\0"));
    for attributes in
        [vec![name.clone(), dummy], vec![name.clone(), alias.clone()], vec![name, alias, veth]]
    {
        assert!(!Link::decode(&link(1, 0, &attributes)).unwrap().is_ours());
    }
}

#[test]
fn a_link_runs_only_with_a_carrier_that_is_in_use() {
    let name = attribute(IFLA_IFNAME, b"eth0\0");
    for (flags, running) in [(0x1, false), (0x41, false), (0x1_0001, false), (0x1_0041, true)] {
        let decoded = Link::decode(&link(1, flags, std::slice::from_ref(&name))).unwrap();
        assert_eq!(decoded.running, running, "{flags:#x}");
    }
}

#[test]
fn an_attribute_of_unknown_type_and_shape_hides_nothing() {
    let payload = link(3, 0, &[attribute(0x3fff, &[1, 2, 3]), attribute(IFLA_IFNAME, b"eth0\0")]);
    assert_eq!(Link::decode(&payload).unwrap().name, "eth0");
}

#[test]
fn a_link_cut_short_is_an_error() {
    let payload = link(3, 0, &[attribute(IFLA_IFNAME, b"eth0\0")]);
    for length in 0..payload.len() - 3 {
        assert!(Link::decode(&payload[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn every_operational_state_has_its_own_word() {
    let states: Vec<_> = (0..=7).map(OperationalState::from).collect();
    for (value, state) in states.iter().enumerate() {
        assert_eq!(states.iter().filter(|other| *other == state).count(), 1, "{value}");
    }
    assert_eq!(OperationalState::from(6), OperationalState::Up);
}

#[test]
fn names_that_the_kernel_would_refuse_or_rewrite_are_refused_first() {
    for name in ["", ".", "..", "a/b", "a b", "a:1", "dummy%d", "a\0", "a\x0b", "sixteen-byte-nam"]
    {
        assert!(matches!(check_name(name), Err(Error::InvalidName { .. })), "{name:?}");
    }
    for name in ["eth0", "fifteen-bytes-n", "br-0.100", "ü"] {
        assert!(check_name(name).is_ok(), "{name:?}");
    }
}
