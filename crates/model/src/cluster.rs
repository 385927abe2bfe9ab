//! The hosts of a cluster, as a spec lists them, and which of them a host is.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use crate::{FormerRole, HostRoles, MacAddress, OwnDirector, OwnGateway, Role};

/// A director of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Director {
    /// Its name, by which VIPs (`on`) and real servers (`gateway`) refer to it.
    pub name: Box<str>,
    /// Its own addresses; none of them is a VIP.
    pub addresses: BTreeSet<IpAddr>,
    /// The MAC address of its interface that faces the gateways; `None` if the spec has none.
    pub mac: Option<DirectorMac>,
}

/// The MAC address of a director.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectorMac {
    /// This one.
    Given(MacAddress),
    /// The one that a gateway learns from the director's addresses ([`crate::HostInputs::macs`]).
    Learned,
}

/// A Linux router in front of the directors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its name in messages.
    pub name: Box<str>,
    /// Its own addresses; none of them is a VIP.
    pub addresses: BTreeSet<IpAddr>,
}

/// The hosts that a spec lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The directors; empty in a spec that lists none and applies to any director.
    pub directors: Vec<Director>,
    /// The addresses of all real servers.
    pub real_servers: BTreeSet<IpAddr>,
    /// The gateways.
    pub gateways: Vec<Gateway>,
}

impl Cluster {
    /// Whether it is an address of a director, a real server or a gateway.
    pub fn lists(&self, address: &IpAddr) -> bool {
        self.real_servers.contains(address)
            || self.directors.iter().any(|it| it.addresses.contains(address))
            || self.lists_gateway(address)
    }

    /// Whether it is an address of a gateway.
    pub fn lists_gateway(&self, address: &IpAddr) -> bool {
        self.gateways.iter().any(|it| it.addresses.contains(address))
    }

    /// All addresses that [`Self::lists`] returns true for.
    pub fn addresses(&self) -> impl Iterator<Item = &IpAddr> {
        let directors = self.directors.iter().flat_map(|it| &it.addresses);
        let gateways = self.gateways.iter().flat_map(|it| &it.addresses);
        directors.chain(&self.real_servers).chain(gateways)
    }
}

/// The role that a user requests (`--role`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestedRole {
    /// This one, and no other.
    Exactly(Role),
    /// Those that the host's addresses show.
    Auto,
}

impl RequestedRole {
    /// The request of that name; `None` where there is none.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            Self::AUTO => Some(Self::Auto),
            name => Role::from_name(name).map(Self::Exactly),
        }
    }

    /// The name of [`Self::Auto`].
    pub const AUTO: &str = "auto";
}

impl fmt::Display for RequestedRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(role) => role.fmt(f),
            Self::Auto => f.write_str(Self::AUTO),
        }
    }
}

/// Why a host's roles are not known. Texts are made where they are shown, from the cluster and the host's
/// addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleProblem {
    /// No address of the host is one of the spec's.
    NotListed,
    /// The host has addresses of several directors.
    SeveralDirectors(Vec<Box<str>>),
    /// `--role director` on a host that has no address of a director, where the spec lists several.
    UnknownDirector,
    /// `--role real-server` on a host that has no address of a real server.
    NoRealServer,
    /// `--role gateway` on a host that has no address of a gateway.
    NoGateway,
    /// The host has addresses of several gateways of the spec.
    SeveralListedGateways(Vec<Box<str>>),
    /// The host is a gateway, and a director or a real server.
    GatewayAndMore {
        /// The name of the gateway.
        gateway: Box<str>,
        /// What it is beside.
        others: Box<HostRoles>,
    },
    /// The host is a gateway, and no interface of it has a network with an address of a director.
    NoSharedNetwork {
        /// The name of the gateway.
        gateway: Box<str>,
        /// The name of the director.
        director: Box<str>,
    },
    /// The host is a gateway, and several of its interfaces face a director: which one packets for the VIP
    /// leave by is not known.
    SeveralInterfaces {
        /// The name of the director.
        director: Box<str>,
        /// The VIP.
        vip: IpAddr,
        /// The names of the interfaces.
        interfaces: BTreeSet<Box<str>>,
    },
    /// The host is a gateway, and the MAC address of a director, which it is to learn, is not known.
    UnknownMac {
        /// The name of the director.
        director: Box<str>,
        /// Its addresses in networks of the gateway.
        addresses: BTreeSet<IpAddr>,
        /// The interface that faces it.
        interface: Box<str>,
    },
    /// The host is several real servers behind NAT, with different gateways: it has one default route.
    SeveralGateways(BTreeSet<IpAddr>),
}

/// Determines what the host with these addresses is. Without a request, a host is an unnamed director if the
/// spec lists no directors, and what its addresses show otherwise.
///
/// A host with a `former` role never becomes a director unless it is requested or listed: it would bind and
/// announce the VIPs. If it is not listed, it has no role.
///
/// # Errors
/// [`RoleProblem`].
pub fn roles(
    cluster: &Cluster,
    own: &BTreeSet<IpAddr>,
    requested: Option<RequestedRole>,
    former: Option<FormerRole>,
) -> Result<HostRoles, RoleProblem> {
    let requested = requested.unwrap_or(match cluster.directors.is_empty() && former.is_none() {
        true => RequestedRole::Exactly(Role::Director),
        false => RequestedRole::Auto,
    });
    let listed = listed_director(cluster, own);
    let real_server: BTreeSet<IpAddr> = cluster.real_servers.intersection(own).copied().collect();
    match requested {
        RequestedRole::Exactly(Role::Director) => {
            let director = listed?.or_else(|| only_director(cluster));
            let director = director.ok_or(RoleProblem::UnknownDirector)?;
            Ok(HostRoles { director: Some(director), ..HostRoles::NONE })
        }
        RequestedRole::Exactly(Role::RealServer) if real_server.is_empty() => {
            former.map(|_| HostRoles::NONE).ok_or(RoleProblem::NoRealServer)
        }
        RequestedRole::Exactly(Role::RealServer) => {
            Ok(HostRoles { real_server, ..HostRoles::NONE })
        }
        RequestedRole::Exactly(Role::Gateway) => match listed_gateway(cluster, own)? {
            None => former.map(|_| HostRoles::NONE).ok_or(RoleProblem::NoGateway),
            gateway => Ok(HostRoles { gateway, ..HostRoles::NONE }),
        },
        RequestedRole::Auto => {
            let others = HostRoles { director: listed?, real_server, gateway: None };
            match listed_gateway(cluster, own)? {
                None if others != HostRoles::NONE => Ok(others),
                None => former.map(|_| HostRoles::NONE).ok_or(RoleProblem::NotListed),
                Some(OwnGateway { name: gateway, .. }) if others != HostRoles::NONE => {
                    Err(RoleProblem::GatewayAndMore { gateway, others: Box::new(others) })
                }
                gateway => Ok(HostRoles { gateway, ..HostRoles::NONE }),
            }
        }
    }
}

/// Returns the gateway that has one of these addresses; `None` if none has.
fn listed_gateway(
    cluster: &Cluster,
    own: &BTreeSet<IpAddr>,
) -> Result<Option<OwnGateway>, RoleProblem> {
    let found = cluster.gateways.iter().filter_map(|Gateway { name, addresses }| {
        let by = addresses.intersection(own).next().copied()?;
        Some(OwnGateway { name: name.clone(), by })
    });
    let mut found: Vec<OwnGateway> = found.collect();
    match found.len() {
        0 | 1 => Ok(found.pop()),
        _ => {
            let names = found.into_iter().map(|it| it.name);
            Err(RoleProblem::SeveralListedGateways(names.collect()))
        }
    }
}

/// Returns the director that has one of these addresses; `None` if none has.
fn listed_director(
    cluster: &Cluster,
    own: &BTreeSet<IpAddr>,
) -> Result<Option<OwnDirector>, RoleProblem> {
    let found: Vec<OwnDirector> = cluster
        .directors
        .iter()
        .filter_map(|Director { name, addresses, mac: _ }| {
            let by = addresses.intersection(own).next().copied()?;
            Some(OwnDirector::Named { name: name.clone(), by: Some(by) })
        })
        .collect();
    match <[OwnDirector; 1]>::try_from(found) {
        Ok([one]) => Ok(Some(one)),
        Err(none) if none.is_empty() => Ok(None),
        Err(several) => {
            let names = several.into_iter().filter_map(|it| match it {
                OwnDirector::Named { name, .. } => Some(name),
                OwnDirector::Unnamed => None,
            });
            Err(RoleProblem::SeveralDirectors(names.collect()))
        }
    }
}

/// Returns the director that any host with that role is: the unnamed one, or a single one.
fn only_director(cluster: &Cluster) -> Option<OwnDirector> {
    match &cluster.directors[..] {
        [] => Some(OwnDirector::Unnamed),
        [one] => Some(OwnDirector::Named { name: one.name.clone(), by: None }),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
