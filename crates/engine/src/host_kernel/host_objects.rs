//! Reads and changes host objects, each kind with the functions of the host crate.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_host::{
    Error, Ip6tnlMode, Link, LinkTunnel, Route, TablesUnavailable, TunnelDriver as HostDriver,
};
use evenkeel_model::{
    Family, FouEncapsulation, FouPort, FouPortValue, HostObject, HostObjectKind, HostRoute,
    HostValue, LiveHostObject, LiveHostObjects, MacAddress, Neighbour, NeighbourValue, Owner,
    RouteValue, TunnelDevice, TunnelDeviceValue, TunnelDriver, TunnelMode,
};

use evenkeel_ipvs::modules;
use tracing::debug;

use super::{HostKernel, Objects, host_error, other_kind, packet_rules};
use crate::error::KernelError;
use crate::warning::ExecutionWarning;

impl HostKernel {
    /// Reads the host objects of these kinds, given the interfaces. The tunnel devices are among those.
    pub(super) fn read_host_objects(
        &mut self,
        kinds: &BTreeSet<HostObjectKind>,
        links: &[Link],
    ) -> Result<LiveHostObjects, KernelError> {
        let mut objects = Objects::new();
        let mut read = kinds.clone();
        let mut unavailable = BTreeMap::new();
        for kind in kinds {
            match kind {
                HostObjectKind::Route => {
                    let read = self.host.host_routes();
                    let read = read.map_err(|error| host_error("reading the routes", error))?;
                    read.into_iter().for_each(|found| insert_route(&mut objects, found));
                }
                HostObjectKind::Neighbour => {
                    let read = self.host.neighbours();
                    let read = read.map_err(|error| host_error("reading the neighbours", error))?;
                    objects.extend(read.into_iter().filter_map(neighbour));
                }
                HostObjectKind::DefaultRoute => self.read_default_routes(&mut objects)?,
                HostObjectKind::TunnelDevice => {
                    objects.extend(links.iter().filter_map(tunnel_device));
                }
                HostObjectKind::FouPort => {
                    let read = self.host.fou_ports();
                    let read = read.map_err(|error| host_error("reading the fou ports", error))?;
                    objects.extend(read.into_iter().map(|found| self.fou_port(found)));
                }
                HostObjectKind::ArpRules | HostObjectKind::SourceNat => {
                    match self.read_packet_rules(*kind, &mut objects) {
                        Ok(()) => {}
                        Err(Error::TablesUnavailable { why, .. }) => {
                            unavailable.insert(*kind, why.to_string().into());
                            // Without the program, rules may be there all the same.
                            if matches!(why, TablesUnavailable::NoProgram(_)) {
                                read.remove(kind);
                                let recorded = self.journalled.host_objects.iter();
                                let unread = recorded.filter_map(packet_rules::unread);
                                objects.extend(unread.filter(|(it, _)| it.kind() == *kind));
                            }
                        }
                        Err(error) => return Err(host_error("reading the packet rules", error)),
                    }
                }
            }
        }
        Ok(LiveHostObjects { read, objects, unavailable })
    }

    /// Adds a host object.
    pub(super) fn add_host_object(
        &mut self,
        object: &HostObject,
        value: &HostValue,
    ) -> Result<(), Error> {
        match (object, value) {
            // The only value of a route is its source, which is its destination.
            (HostObject::Route(HostRoute { destination, interface }), HostValue::Route(_)) => {
                self.host.add_host_route(*destination, interface)
            }
            (HostObject::Neighbour(it), HostValue::Neighbour(NeighbourValue { mac })) => {
                self.host.add_neighbour(it.address, &it.interface, mac.0)
            }
            (HostObject::DefaultRoute(it), HostValue::DefaultRoute(value)) => {
                self.add_default_route(*it, value)
            }
            (HostObject::TunnelDevice(device), HostValue::TunnelDevice(value)) => {
                let driver = host_driver(device)?;
                self.host.add_tunnel(driver, host_mode(driver, *value))
            }
            (HostObject::FouPort(FouPort { port, family }), HostValue::FouPort(_)) => {
                self.add_fou_port(*port, *family == Family::Ipv6)?;
                self.journalled.host_objects.insert(object.clone());
                Ok(())
            }
            (HostObject::ArpRules(_) | HostObject::SourceNat(_), value) => {
                self.set_packet_rules(object, value)
            }
            (_, _) => Err(other_kind(object)),
        }
    }

    /// Edits a host object of evenkeel, or a default route of anyone, which must still be as `before`.
    pub(super) fn edit_host_object(
        &mut self,
        object: &HostObject,
        before: &HostValue,
        after: &HostValue,
        warnings: &mut Vec<ExecutionWarning>,
    ) -> Result<(), Error> {
        match (object, after) {
            // An atomic replacement could hit a route of another program.
            (HostObject::Route(_), HostValue::Route(_)) => {
                self.delete_host_object(object)?;
                self.add_host_object(object, after)
            }
            (HostObject::Neighbour(it), HostValue::Neighbour(NeighbourValue { mac })) => {
                self.host.replace_neighbour(it.address, &it.interface, mac.0)
            }
            (HostObject::DefaultRoute(it), HostValue::DefaultRoute(after)) => match before {
                HostValue::DefaultRoute(before) => {
                    self.edit_default_route(*it, before, after, warnings)
                }
                _ => Err(other_kind(object)),
            },
            (HostObject::TunnelDevice(device), HostValue::TunnelDevice(value)) => {
                let driver = host_driver(device)?;
                match host_mode(driver, *value) {
                    Some(mode) => self.host.edit_tunnel(driver, mode),
                    None => Ok(()),
                }
            }
            (HostObject::ArpRules(_) | HostObject::SourceNat(_), value) => {
                self.set_packet_rules(object, value)
            }
            // The kernel has no edit for it.
            (HostObject::FouPort(_), HostValue::FouPort(_)) => {
                self.delete_host_object(object)?;
                self.add_host_object(object, after)
            }
            (_, _) => Err(other_kind(object)),
        }
    }

    /// Deletes a host object of evenkeel.
    pub(super) fn delete_host_object(&mut self, object: &HostObject) -> Result<(), Error> {
        match object {
            HostObject::Route(HostRoute { destination, interface }) => {
                self.host.delete_host_route(*destination, interface)
            }
            HostObject::Neighbour(Neighbour { address, interface }) => {
                self.host.delete_neighbour(*address, interface)
            }
            HostObject::DefaultRoute(route) => self.delete_default_route(*route),
            HostObject::TunnelDevice(device) => self.host.delete_tunnel(host_driver(device)?),
            HostObject::FouPort(FouPort { port, family }) => {
                self.host.delete_fou_port(*port, *family == Family::Ipv6)?;
                self.journalled.host_objects.remove(object);
                Ok(())
            }
            HostObject::ArpRules(rules) => self.host.delete_arp_rules(rules.address),
            HostObject::SourceNat(source_nat) => {
                let deleted = (packet_rules::connections(source_nat)?, None);
                self.host.change_source_nat(&BTreeMap::from([deleted]))
            }
        }
    }

    /// Adds a FOU port; if the kernel cannot unpack UDP packets yet, the module is loaded first.
    fn add_fou_port(&mut self, port: u16, is_ipv6: bool) -> Result<(), Error> {
        match self.host.add_fou_port(port, is_ipv6) {
            Err(Error::FouUnavailable { object }) => match modules::load("fou") {
                Ok(()) => self.host.add_fou_port(port, is_ipv6),
                Err(error) => {
                    debug!(%error, "the module fou cannot be loaded");
                    Err(Error::FouUnavailable { object })
                }
            },
            outcome => outcome,
        }
    }

    /// Converts a FOU port as read. The kernel stores no mark of who added it.
    fn fou_port(&self, found: evenkeel_host::FouPort) -> (HostObject, LiveHostObject) {
        let family = if found.is_ipv6 { Family::Ipv6 } else { Family::Ipv4 };
        let encapsulation =
            if found.is_gue { FouEncapsulation::Gue } else { FouEncapsulation::Direct };
        let port = HostObject::from(FouPort { port: found.port, family });
        let ours = self.journalled.host_objects.contains(&port);
        let owner = if ours { Owner::Evenkeel } else { Owner::Other };
        (port, LiveHostObject { owner, value: FouPortValue { encapsulation }.into() })
    }
}

/// Converts a tunnel device as read; `None` for any other interface, and for one that is down, which
/// receives nothing.
fn tunnel_device(link: &Link) -> Option<(HostObject, LiveHostObject)> {
    let LinkTunnel { driver, protocol, is_any_to_any: _, .. } = link.tunnel.as_ref()?;
    if link.name != driver.device() || !link.up {
        return None;
    }
    let owner = if link.has_our_alias() { Owner::Evenkeel } else { Owner::Other };
    // Of all drivers, `IPPROTO_IPIP`, `IPPROTO_IPV6` and 0 for both.
    let mode = match (driver, protocol) {
        (HostDriver::Ipip, 0 | 4) => TunnelMode::Ipip,
        (HostDriver::Sit, 0 | 41) => TunnelMode::Ip6ip,
        (HostDriver::Ip6tnl, 41) => TunnelMode::Ip6ip6,
        (HostDriver::Ip6tnl, 4) => TunnelMode::Ipip6,
        (HostDriver::Ip6tnl, 0) => TunnelMode::Any,
        (HostDriver::Gre | HostDriver::Ip6gre, _) => TunnelMode::Gre,
        (HostDriver::Ipip | HostDriver::Sit | HostDriver::Ip6tnl, _) => TunnelMode::Other,
    };
    let device = TunnelDevice { interface: link.name.as_str().into() };
    Some((device.into(), LiveHostObject { owner, value: TunnelDeviceValue { mode }.into() }))
}

/// Converts the driver of a device. An edited plan or journal may name another interface.
fn host_driver(device: &TunnelDevice) -> Result<HostDriver, Error> {
    match device.driver() {
        Some(TunnelDriver::Ipip) => Ok(HostDriver::Ipip),
        Some(TunnelDriver::Sit) => Ok(HostDriver::Sit),
        Some(TunnelDriver::Ip6tnl) => Ok(HostDriver::Ip6tnl),
        Some(TunnelDriver::Gre) => Ok(HostDriver::Gre),
        Some(TunnelDriver::Ip6gre) => Ok(HostDriver::Ip6gre),
        None => Err(Error::Impossible {
            object: format!("tunnel device {device}"),
            why: "no driver has a device of that name".to_owned(),
        }),
    }
}

/// Converts a mode; only ip6tnl0 has a choice.
fn host_mode(driver: HostDriver, value: TunnelDeviceValue) -> Option<Ip6tnlMode> {
    let is_any = value.mode == TunnelMode::Any;
    let mode = if is_any { Ip6tnlMode::Any } else { Ip6tnlMode::Ip6ip6 };
    (driver == HostDriver::Ip6tnl).then_some(mode)
}

/// Inserts a route as read. If several lead through one interface, with different metrics, evenkeel's
/// own counts.
fn insert_route(objects: &mut Objects, found: Route) {
    let value = HostValue::Route(RouteValue { source: found.source });
    let owner = if found.is_ours() { Owner::Evenkeel } else { Owner::Other };
    let route = HostRoute { destination: found.destination, interface: found.interface.into() };
    let live = LiveHostObject { owner, value };
    match owner {
        Owner::Evenkeel => drop(objects.insert(route.into(), live)),
        Owner::Other => drop(objects.entry(route.into()).or_insert(live)),
    }
}

/// Converts an entry as read. One without a MAC address is on no interface that a spec can name.
fn neighbour(found: evenkeel_host::Neighbour) -> Option<(HostObject, LiveHostObject)> {
    let owner = if found.is_ours() { Owner::Evenkeel } else { Owner::Other };
    let value = HostValue::from(MacAddress(found.mac?));
    let neighbour = Neighbour { address: found.address, interface: found.interface.into() };
    Some((neighbour.into(), LiveHostObject { owner, value }))
}
