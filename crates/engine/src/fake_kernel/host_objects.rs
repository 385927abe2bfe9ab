//! Host objects in memory, refused where the real kernel refuses them.

use std::net::IpAddr;

use evenkeel_model::{
    Binding, DefaultRoute, DefaultRouteValue, HostObject, HostRoute, HostValue, Link, Live,
    LiveHostObject, Owner, RouteValue, TunnelDriver, entries_of,
};
use rustix::io::Errno;

use super::FakeKernel;
use crate::kernel::ReadRequest;

impl FakeKernel {
    /// Adds a host object as the host crate does.
    pub(super) fn add_host_object(
        &mut self,
        object: &HostObject,
        value: &HostValue,
    ) -> Result<(), Errno> {
        object.interface().map_or(Ok(()), |it| self.require_interface(it))?;
        if !value.can_be_set() {
            return Err(Errno::IO);
        }
        if self.live.host_objects.get(object).is_some() {
            return Err(Errno::EXIST);
        }
        if let Some(address) = object.exclusive_address() {
            self.check_exclusive(object, address)?;
        }
        if let HostObject::Route(route) = object {
            self.check_source(object, route.destination)?;
            let mut links = self.live.links.iter().flatten();
            if links.any(|(name, link)| Some(&**name) == object.interface() && !link.up) {
                return Err(Errno::NETDOWN);
            }
        }
        let live = LiveHostObject::set_to(value.clone());
        self.live.host_objects.objects.insert(object.clone(), live);
        self.set_tunnel_link(object, true);
        Ok(())
    }

    /// Replaces a default route as the host crate does, which reads it first.
    pub(super) fn replace_default_route(
        &mut self,
        route: DefaultRoute,
        before: &HostValue,
        after: &HostValue,
    ) -> Result<(), Errno> {
        let found = self.live.host_objects.objects.get_mut(&route.into()).ok_or(Errno::BUSY)?;
        if found.value != *before {
            return Err(Errno::BUSY);
        }
        let owner = match after {
            HostValue::DefaultRoute(DefaultRouteValue::Found(_)) => Owner::Other,
            _ => Owner::Evenkeel,
        };
        *found = LiveHostObject { owner, value: after.clone() };
        Ok(())
    }

    /// Deletes a host object that evenkeel added.
    pub(super) fn delete_host_object(&mut self, object: &HostObject) -> Result<(), Errno> {
        object.interface().map_or(Ok(()), |it| self.require_interface(it))?;
        self.check_unused(object)?;
        match self.live.host_objects.get(object) {
            Some(live) if live.owner == Owner::Evenkeel => {
                self.live.host_objects.objects.remove(object);
                self.set_tunnel_link(object, false);
                Ok(())
            }
            _ => Err(Errno::SRCH),
        }
    }

    /// Checks that no other object of this kind has the address (`fib_table_insert`, `fib6_add`).
    fn check_exclusive(&self, object: &HostObject, address: IpAddr) -> Result<(), Errno> {
        // Only routes are exclusive.
        let first = HostRoute { destination: address, interface: "".into() };
        let mut others = self.live.host_objects.objects.range(HostObject::from(first)..);
        let is_other =
            |it: &HostObject| it.kind() == object.kind() && it.exclusive_address() == Some(address);
        let is_any = others.next().is_some_and(|(it, _)| is_other(it));
        if is_any { Err(Errno::BUSY) } else { Ok(()) }
    }

    /// Whether a sysctl is of a tunnel device that exists.
    pub(super) fn is_sysctl_of_tunnel(&self, key: &str) -> bool {
        let mut links = self.live.links.iter().flatten();
        links.any(|(name, _)| {
            let of_link = key.split('.').nth(3).is_some_and(|it| *it == **name);
            of_link && TunnelDriver::of_device(name).is_some()
        })
    }

    /// Sets the interface of a tunnel device up or down. The kernel keeps it when it is deleted
    /// (`ip_tunnel_dellink`).
    fn set_tunnel_link(&mut self, object: &HostObject, up: bool) {
        let Some(interface) = object.device() else { return };
        let created = || Link { up, dummy: false, owner: Owner::Other };
        let links = self.live.links.get_or_insert_default();
        links.entry(interface.into()).or_insert_with(created).up = up;
    }

    /// Checks that no address is on a tunnel device.
    fn check_unused(&self, object: &HostObject) -> Result<(), Errno> {
        let Some(device) = object.device() else { return Ok(()) };
        let is_used = self.live.addresses.keys().any(|it| *it.interface == *device);
        if is_used { Err(Errno::BUSY) } else { Ok(()) }
    }

    /// Checks that a route has a source (`fib_valid_prefsrc`).
    fn check_source(&self, object: &HostObject, destination: IpAddr) -> Result<(), Errno> {
        // IPv4 accepts any address of the host as a source, IPv6 one of the interface.
        let is_source = |binding: &Binding| {
            binding.address.is_ipv4() || Some(&*binding.interface) == object.interface()
        };
        let is_any = self.live.bound(destination).any(|(binding, _)| is_source(binding));
        if is_any { Ok(()) } else { Err(Errno::INVAL) }
    }

    /// Deletes the IPv4 routes whose source address is gone, and removes the source from those of
    /// IPv6 (`fib_sync_down_addr`, `fib6_remove_prefsrc`).
    pub(super) fn forget_sources(&mut self) {
        let Live { host_objects, addresses, .. } = &mut self.live;
        let is_gone = |source: IpAddr| entries_of(addresses, source).next().is_none();
        host_objects.objects.retain(|_, live| match &mut live.value {
            HostValue::Route(RouteValue { source }) => match source.filter(|it| is_gone(*it)) {
                Some(gone) => {
                    *source = None;
                    gone.is_ipv6()
                }
                None => true,
            },
            _ => true,
        });
    }

    /// Deletes the IPv4 neighbour entries of an interface that has lost its last IPv4 address
    /// (`fib_disable_ip`).
    pub(super) fn forget_neighbours(&mut self, unbound: &Binding) {
        let has_ipv4 = self
            .live
            .addresses
            .keys()
            .any(|it| it.interface == unbound.interface && it.address.is_ipv4());
        if unbound.address.is_ipv4() && !has_ipv4 {
            self.live.host_objects.objects.retain(|object, _| match object {
                HostObject::Neighbour(it) => {
                    it.interface != unbound.interface || !it.address.is_ipv4()
                }
                _ => true,
            });
        }
    }

    /// Returns the state as it is read: with the host objects that were requested.
    pub(super) fn read(&self, request: &ReadRequest) -> Live {
        let mut live = self.live.clone();
        live.host_objects.read.clone_from(&request.host_objects);
        live.host_objects.objects.retain(|it, _| request.host_objects.contains(&it.kind()));
        self.foreign.disown(&mut live);
        let routed = live.local_by_route.take().unwrap_or_default();
        let unbound = request.unbound_addresses(&live);
        live.local_by_route = unbound.map(|all| all.intersection(&routed).copied().collect());
        live
    }
}
