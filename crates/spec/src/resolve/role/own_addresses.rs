//! Resolves the addresses by which a director or a gateway is recognized.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::path::{At, Path};
use crate::recovering_de::{Field, List};
use crate::resolve::{Diagnostics, not_unicast};
use crate::spec::Address;

/// The addresses of one host of a list.
pub(super) struct OwnAddresses {
    /// The addresses, with their places.
    pub(super) addresses: BTreeMap<IpAddr, Path>,
    /// Whether some of them could not be read.
    pub(super) is_doubtful: bool,
}

/// Reads the `addresses` of a host. `kind` is what the host is, such as `director`; `taken` returns where
/// another host has an address already.
pub(super) fn own_addresses(
    written: &Field<List<Address>>,
    kind: &str,
    taken: impl Fn(&IpAddr) -> Option<Path>,
    at: &At<'_>,
    diagnostics: &mut Diagnostics,
) -> OwnAddresses {
    if written.is_absent() {
        diagnostics
            .error(at, format!("the {kind} has no `addresses`"))
            .remedy("list its own addresses, such as `addresses: [192.0.2.2]`");
    }
    let mut own = OwnAddresses { addresses: BTreeMap::new(), is_doubtful: written.is_bad() };
    let Some(list) = written.value() else { return own };
    own.is_doubtful |= list.has_bad();
    let at = at.key("addresses");
    if list.0.is_empty() {
        diagnostics
            .error(&at, format!("the {kind} has no address"))
            .remedy("list its own addresses: a host is recognized by them");
    }
    for (index, address) in list.values() {
        let (at, address) = (at.item(index), address.0);
        if let Some(why) = not_unicast(address)
            .or(address.is_loopback().then_some("is a loopback address"))
            .or(is_link_local(address).then_some("is a link-local address"))
        {
            diagnostics
                .error(&at, format!("{address} {why}"))
                .remedy("list addresses that only this host has");
            continue;
        }
        if let Some(first) = taken(&address).or_else(|| own.addresses.get(&address).cloned()) {
            diagnostics
                .error(&at, format!("{address} is listed twice among the addresses of {kind}s"))
                .remedy(format!("each address belongs to one {kind}: keep one of them"))
                .related(first, "first written here");
            continue;
        }
        own.addresses.insert(address, at.path());
    }
    own
}

/// Whether it is an address that several hosts may have, on different links.
pub(super) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
