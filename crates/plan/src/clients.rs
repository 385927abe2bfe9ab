//! Which services and addresses of a plan may have clients in common, found without comparing each with each.
//!
//! The packets of a fwmark service may have any address of its family.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use evenkeel_model::{Family, ServiceKey};

/// The first of those services on an address.
pub(crate) fn first_on(keys: &BTreeSet<ServiceKey>, address: IpAddr) -> Option<&ServiceKey> {
    let first = keys.range(ServiceKey::first_on(address)..).next();
    first.filter(|key| key.vip() == Some(address))
}

/// Whether clients of that address may be those of one of the services ([`ServiceKey::may_be_reached_by`]).
pub(crate) fn reaches_any(keys: &BTreeSet<ServiceKey>, address: IpAddr) -> bool {
    first_on(keys, address).is_some() || first_marked(keys, address.into()).is_some()
}

/// Whether clients of one of those addresses may be the service's ([`ServiceKey::may_be_reached_by`]).
pub(crate) fn is_reached_by_any(key: &ServiceKey, addresses: &BTreeSet<IpAddr>) -> bool {
    match (key.vip(), key.family()) {
        (Some(vip), _) => addresses.contains(&vip),
        (None, Family::Ipv4) => addresses.first().is_some_and(IpAddr::is_ipv4),
        (None, Family::Ipv6) => addresses.last().is_some_and(IpAddr::is_ipv6),
    }
}

/// Whether a service may have clients in common with one of the others.
pub(crate) fn may_share_with_any(key: &ServiceKey, others: &BTreeSet<ServiceKey>) -> bool {
    let family = key.family();
    match key.vip() {
        Some(vip) => reaches_any(others, vip),
        None => has_address(others, family) || first_marked(others, family).is_some(),
    }
}

fn first_marked(keys: &BTreeSet<ServiceKey>, family: Family) -> Option<&ServiceKey> {
    let first = keys.range(ServiceKey::first_marked(family)..).next();
    first.filter(|key| key.vip().is_none() && key.family() == family)
}

/// Whether one of the services has an address of that family. Addresses of IPv4 come first.
fn has_address(keys: &BTreeSet<ServiceKey>, family: Family) -> bool {
    let first = match family {
        Family::Ipv4 => keys.first(),
        Family::Ipv6 => keys.range(ServiceKey::first_on(Ipv6Addr::UNSPECIFIED.into())..).next(),
    };
    first.is_some_and(|key| key.vip().is_some() && key.family() == family)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            (1_u8..4).prop_map(|last| IpAddr::from([192, 0, 2, last])),
            (1_u16..4).prop_map(|last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last])),
        ]
    }

    fn any_service() -> impl Strategy<Value = ServiceKey> {
        let protocol = evenkeel_model::Protocol::Tcp;
        prop_oneof![
            (any_address(), 0_u16..3).prop_map(move |(address, port)| ServiceKey::Address {
                address,
                port,
                protocol
            }),
            (any::<bool>(), 0_u32..3).prop_map(|(is_ipv4, fwmark)| {
                let family = if is_ipv4 { Family::Ipv4 } else { Family::Ipv6 };
                ServiceKey::Fwmark { family, fwmark }
            }),
        ]
    }

    /// Whether two services may have clients in common.
    fn may_share(one: &ServiceKey, other: &ServiceKey) -> bool {
        match (one.vip(), other.vip()) {
            (Some(vip), _) => other.may_be_reached_by(vip),
            (_, Some(vip)) => one.may_be_reached_by(vip),
            (None, None) => one.family() == other.family(),
        }
    }

    proptest! {
        #[test]
        fn a_search_finds_what_a_look_at_each_finds(
            key in any_service(),
            address in any_address(),
            keys in prop::collection::btree_set(any_service(), 0..4),
            addresses in prop::collection::btree_set(any_address(), 0..3),
        ) {
            let on_it = keys.iter().find(|it| it.vip() == Some(address));
            prop_assert_eq!(first_on(&keys, address), on_it);
            let is_reached = keys.iter().any(|it| it.may_be_reached_by(address));
            prop_assert_eq!(reaches_any(&keys, address), is_reached);
            let is_reached = addresses.iter().any(|it| key.may_be_reached_by(*it));
            prop_assert_eq!(is_reached_by_any(&key, &addresses), is_reached);
            let shares = keys.iter().any(|it| may_share(&key, it));
            prop_assert_eq!(may_share_with_any(&key, &keys), shares);
        }
    }
}
