//! What a gateway gets: for each VIP a permanent neighbour entry with the MAC address of its director.
//!
//! VIPs that another program binds have none: it may move them to another director, which the entry would
//! not follow.

use std::collections::BTreeSet;
use std::net::IpAddr;

use evenkeel_model::{
    Binding, Desired, Director, DirectorMac, HostInputs, HostObject, MacAddress, Neighbour,
    OwnGateway, RoleProblem,
};

use super::ClusterSpec;

impl ClusterSpec {
    /// Returns the VIPs with the directors that bind them.
    pub(super) fn vips_with_directors(&self) -> impl Iterator<Item = (&Binding, &Director)> {
        let directors = &self.cluster.directors;
        let only = (directors.len() == 1).then(|| &directors[0]);
        self.whole.vips.keys().filter_map(move |binding| {
            let named = self.on.get(binding);
            let director = match named {
                Some(name) => directors.iter().find(|it| it.name == *name),
                None => only,
            };
            Some((binding, director?))
        })
    }

    /// Adds the entries of a gateway.
    ///
    /// # Errors
    /// The interface is not known by which packets for a VIP leave, or the MAC address that they are
    /// sent to.
    pub(super) fn add_neighbours(
        &self,
        inputs: &HostInputs,
        desired: &mut Desired,
    ) -> Result<(), RoleProblem> {
        let Some(gateway) = desired.roles.gateway.clone() else { return Ok(()) };
        for (Binding { address, .. }, director) in self.vips_with_directors() {
            // A missing one is reported already.
            let Some(mac) = director.mac else { continue };
            let interface = interface_to(director, *address, &gateway, inputs)?;
            let mac = match mac {
                DirectorMac::Given(mac) => mac,
                DirectorMac::Learned => learned(director, &interface, inputs)?,
            };
            let neighbour = Neighbour { address: *address, interface };
            desired.host_objects.insert(HostObject::from(neighbour), mac.into());
        }
        Ok(())
    }
}

/// Returns the interface by which packets for a VIP reach its director: the one in a network of the
/// director, and of several the one in the network of the VIP. It is empty if no interface is known.
fn interface_to(
    director: &Director,
    vip: IpAddr,
    gateway: &OwnGateway,
    inputs: &HostInputs,
) -> Result<Box<str>, RoleProblem> {
    if inputs.addresses.iter().all(|own| own.interface.is_empty()) {
        return Ok("".into());
    }
    let facing = director.addresses.iter().flat_map(|address| inputs.interfaces_to(*address));
    let facing: BTreeSet<&str> = facing.collect();
    let of_vip: BTreeSet<&str> =
        inputs.interfaces_to(vip).filter(|interface| facing.contains(interface)).collect();
    match (facing.first(), of_vip.first()) {
        (None, _) => Err(RoleProblem::NoSharedNetwork {
            gateway: gateway.name.clone(),
            director: director.name.clone(),
        }),
        (Some(interface), _) if facing.len() == 1 => Ok((*interface).into()),
        (_, Some(interface)) if of_vip.len() == 1 => Ok((*interface).into()),
        _ => Err(RoleProblem::SeveralInterfaces {
            director: director.name.clone(),
            vip,
            interfaces: facing.into_iter().map(Into::into).collect(),
        }),
    }
}

/// Returns the MAC address that was learned from an address of the director on that interface, of
/// whichever family. Without an interface, nothing is learned.
fn learned(
    director: &Director,
    interface: &str,
    inputs: &HostInputs,
) -> Result<MacAddress, RoleProblem> {
    if interface.is_empty() {
        return Ok(MacAddress::UNKNOWN);
    }
    let is_on_it = |address: &&IpAddr| inputs.interfaces_to(**address).any(|it| it == interface);
    let addresses: BTreeSet<IpAddr> = director.addresses.iter().filter(is_on_it).copied().collect();
    match addresses.iter().find_map(|address| inputs.macs.get(address)) {
        Some(mac) => Ok(*mac),
        None => Err(RoleProblem::UnknownMac {
            director: director.name.clone(),
            addresses,
            interface: interface.into(),
        }),
    }
}
