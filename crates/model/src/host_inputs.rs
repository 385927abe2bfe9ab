//! What a spec needs to know of a host to determine its roles.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::{FormerRole, MacAddress, RequestedRole};

/// What the roles of a host depend on, beside the spec. Its text is recorded with a spec, so that the
/// spec means the same when it is read again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostInputs {
    /// The role that the user requests; `None` leaves it to the spec.
    pub requested: Option<RequestedRole>,
    /// What the host was before and no director, as its journal says; `None` if it was a director or
    /// nothing.
    pub former: Option<FormerRole>,
    /// The host's own addresses that concern the spec: those that it lists, and those on a network of
    /// a listed one. VIPs that evenkeel bound are none of them.
    pub addresses: Vec<OwnAddress>,
    /// The MAC addresses that a gateway learned, by the addresses of directors whose spec asks for that.
    pub macs: BTreeMap<IpAddr, MacAddress>,
    /// Other addresses of the host, for messages; filled in only if it has none of those.
    pub others: BTreeSet<IpAddr>,
}

/// An address of a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnAddress {
    /// The address with its network.
    pub network: IpNet,
    /// The interface's name; empty if it is not known.
    pub interface: Box<str>,
}

impl HostInputs {
    /// Those of a host that has exactly these addresses, on unknown interfaces.
    pub fn of_addresses(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let own = |address: IpAddr| OwnAddress { network: address.into(), interface: "".into() };
        Self { addresses: addresses.into_iter().map(own).collect(), ..Self::default() }
    }

    /// Returns the addresses without their networks.
    pub fn own(&self) -> BTreeSet<IpAddr> {
        self.addresses.iter().map(|own| own.network.addr()).collect()
    }

    /// Returns the interfaces of the smallest network that has an address, as the kernel would choose.
    pub fn interfaces_to(&self, address: IpAddr) -> impl Iterator<Item = &str> {
        let networks =
            move || self.addresses.iter().filter(move |own| own.network.contains(&address));
        let longest = networks().map(|own| own.network.prefix_len()).max();
        networks()
            .filter(move |own| Some(own.network.prefix_len()) == longest)
            .map(|own| &*own.interface)
    }
}

impl fmt::Display for HostInputs {
    /// Writes `role=auto was=gateway 192.0.2.254/24@eth0 mac=192.0.2.2@02:00:00:00:00:02`; `others` are
    /// left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requested = self.requested.map(|it| format!("role={it}"));
        let was = self.former.map(|it| format!("was={}", it.role()));
        let own = self.addresses.iter().map(|own| format!("{}@{}", own.network, own.interface));
        let macs = self.macs.iter().map(|(address, mac)| format!("mac={address}@{mac}"));
        let parts: Vec<String> = requested.into_iter().chain(was).chain(own).chain(macs).collect();
        f.write_str(&parts.join(" "))
    }
}

/// The text is not one that [`HostInputs`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidHostInputs;

impl FromStr for HostInputs {
    type Err = InvalidHostInputs;

    fn from_str(text: &str) -> Result<Self, InvalidHostInputs> {
        let mut inputs = Self::default();
        for part in text.split_ascii_whitespace() {
            if let Some(role) = part.strip_prefix("role=") {
                inputs.requested = Some(RequestedRole::from_name(role).ok_or(InvalidHostInputs)?);
            } else if let Some(role) = part.strip_prefix("was=") {
                inputs.former = Some(FormerRole::from_name(role).ok_or(InvalidHostInputs)?);
            } else if let Some(learned) = part.strip_prefix("mac=") {
                let (address, mac) = learned.split_once('@').ok_or(InvalidHostInputs)?;
                let address = address.parse().map_err(|_| InvalidHostInputs)?;
                let mac = mac.parse().map_err(|_| InvalidHostInputs)?;
                inputs.macs.insert(address, mac);
            } else {
                let (network, interface) = part.split_once('@').ok_or(InvalidHostInputs)?;
                let network = network.parse().map_err(|_| InvalidHostInputs)?;
                inputs.addresses.push(OwnAddress { network, interface: interface.into() });
            }
        }
        Ok(inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    #[test]
    fn the_text_of_inputs_is_read_as_the_same_inputs() {
        let own = |network: &str, interface: &str| OwnAddress {
            network: network.parse().expect("a network"),
            interface: interface.into(),
        };
        let addresses = vec![own("192.0.2.11/24", "eth0"), own("2001:db8::11/64", "eth0.5@x")];
        let macs = BTreeMap::from([
            ("192.0.2.2".parse().expect("an address"), MacAddress([2, 0, 0, 0, 0, 2])),
            ("2001:db8::2".parse().expect("an address"), MacAddress([2, 0, 0, 0, 0, 0xff])),
        ]);
        for requested in [None, Some(RequestedRole::Auto)]
            .into_iter()
            .chain(Role::ALL.map(RequestedRole::Exactly).map(Some))
        {
            for former in FormerRole::ALL.map(Some).into_iter().chain([None]) {
                for macs in [macs.clone(), BTreeMap::new()] {
                    let addresses = addresses.clone();
                    let others = BTreeSet::new();
                    let inputs = HostInputs { requested, former, addresses, macs, others };
                    assert_eq!(inputs.to_string().parse(), Ok(inputs));
                }
            }
        }
        assert_eq!("".parse(), Ok(HostInputs::default()));
        let inputs =
            HostInputs { addresses: vec![own("10.0.0.1/32", "")], ..HostInputs::default() };
        assert_eq!(inputs.to_string(), "10.0.0.1/32@");
        assert_eq!(inputs.to_string().parse(), Ok(inputs));
        for wrong in ["role=none", "was=director", "10.0.0.1/24", "10.0.0.1/33@eth0", "x"]
            .into_iter()
            .chain(["mac=192.0.2.2", "mac=192.0.2.2@02:00", "mac=192.0.2@02:00:00:00:00:02"])
        {
            assert_eq!(wrong.parse::<HostInputs>(), Err(InvalidHostInputs), "{wrong}");
        }
    }
}
