//! Reading the table, and the addresses with who bound them.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_ipvs as ipvs;
use evenkeel_model::statistics::Traffic;
use evenkeel_model::{
    Binding, HostRoute, Link, Live, LiveRoute, Owner, RealServers, Service, ServiceKey,
};

use super::{HostKernel, host_error, ipvs_error};
use crate::KernelError;
use crate::convert::{real_server, service_config, service_key, traffic, wire_service_key};

impl HostKernel {
    /// Lists the services, without their real servers as yet; their traffic is handed to `each`.
    pub(super) fn listed(
        &mut self,
        mut each: impl FnMut(ServiceKey, Traffic),
    ) -> Result<BTreeMap<ServiceKey, Service>, KernelError> {
        let mut services = BTreeMap::new();
        let read = self.ipvs.for_each_service(|reply| {
            if let Some(key) = service_key(&reply.service.key) {
                each(key, traffic(&reply.statistics().unwrap_or_default()));
                services.insert(key, without_real_servers(&reply.service));
            }
        });
        read.map_err(|error| ipvs_error("reading the IPVS table", error))?;
        Ok(services)
    }

    /// Lists those of the services that exist, as [`Self::listed`].
    pub(super) fn chosen(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
        mut each: impl FnMut(ServiceKey, Traffic),
    ) -> Result<BTreeMap<ServiceKey, Service>, KernelError> {
        // One reading of the whole list costs less than asking for many services one by one.
        const SINGLE_QUESTIONS: usize = 8;
        let mut services = BTreeMap::new();
        if keys.len() > SINGLE_QUESTIONS {
            let read = self.ipvs.for_each_service(|reply| {
                if let Some(key) = service_key(&reply.service.key).filter(|it| keys.contains(it)) {
                    each(key, traffic(&reply.statistics().unwrap_or_default()));
                    services.insert(key, without_real_servers(&reply.service));
                }
            });
            read.map_err(|error| ipvs_error("reading the IPVS table", error))?;
            return Ok(services);
        }
        for key in keys {
            let answer = self.ipvs.service(&wire_service_key(key));
            let answer = answer.map_err(|error| ipvs_error("reading a service", error))?;
            if let Some(entry) = answer {
                each(*key, traffic(&entry.statistics));
                services.insert(*key, without_real_servers(&entry.service));
            }
        }
        Ok(services)
    }

    /// Reads the real servers of those services, and drops the services that are gone by now.
    pub(super) fn fill(
        &mut self,
        services: &mut BTreeMap<ServiceKey, Service>,
        mut each: impl FnMut(ServiceKey, &ipvs::codec::DestinationReply<'_>),
    ) -> Result<(), KernelError> {
        let mut vanished = Vec::new();
        for (key, service) in services.iter_mut() {
            service.real_servers = self.real_servers(key, |reply| each(*key, reply))?;
            // A service that has just been deleted answers with an empty list.
            if service.real_servers.is_empty() && !self.exists(key)? {
                vanished.push(*key);
            }
        }
        for key in vanished {
            services.remove(&key);
        }
        Ok(())
    }

    pub(super) fn real_servers(
        &mut self,
        service: &ServiceKey,
        mut each: impl FnMut(&ipvs::codec::DestinationReply<'_>),
    ) -> Result<RealServers, KernelError> {
        let mut listed = Vec::with_capacity(16);
        let read = self.ipvs.for_each_destination(&wire_service_key(service), |reply| {
            each(&reply);
            listed.push(real_server(&reply.destination));
        });
        read.map_err(|error| ipvs_error("reading the real servers of a service", error))?;
        // The kernel lists the newest first.
        Ok(listed.into_iter().rev().collect())
    }

    pub(super) fn exists(&mut self, service: &ServiceKey) -> Result<bool, KernelError> {
        let answer = self.ipvs.service(&wire_service_key(service));
        let answer = answer.map_err(|error| ipvs_error("reading a service", error))?;
        Ok(answer.is_some())
    }

    /// Reads addresses with who bound them, their labels, and interfaces into `live`.
    pub(super) fn read_addresses(&mut self, live: &mut Live) -> Result<(), KernelError> {
        let read = self.host.links_and_addresses();
        let (links, addresses) =
            read.map_err(|error| host_error("reading the interfaces and addresses", error))?;
        // A kernel that keeps the mark shows its own on the loopback address, if nowhere else.
        let keeps_marks = addresses.iter().any(|address| address.protocol.is_some());
        live.addresses.clear();
        live.labels.clear();
        for address in addresses {
            let is_ours = address.is_ours();
            let label = address.label.filter(|label| *label != address.interface);
            let binding = Binding {
                address: address.address,
                interface: address.interface.into(),
                prefix: address.prefix,
            };
            let ours = is_ours || !keeps_marks && self.journalled.contains(&binding);
            live.labels.extend(label.map(|label| (binding.clone(), label.into())));
            live.addresses.insert(binding, if ours { Owner::Evenkeel } else { Owner::Other });
        }
        self.link_tracker.update(&links);
        let links = links.into_iter().map(|link| {
            let owner = if link.is_ours() { Owner::Evenkeel } else { Owner::Other };
            let dummy = link.is_dummy();
            (link.name.into(), Link { up: link.up, dummy, owner })
        });
        live.links = Some(links.collect());
        Ok(())
    }
}

impl HostKernel {
    /// Reads the host routes with who added them. Of several through one interface, which differ in
    /// their metric, evenkeel's own counts.
    pub(super) fn read_routes(&mut self) -> Result<BTreeMap<HostRoute, LiveRoute>, KernelError> {
        let read = self.host.host_routes();
        let read = read.map_err(|error| host_error("reading the routes", error))?;
        let mut routes = BTreeMap::new();
        for found in read {
            let owner = if found.is_ours() { Owner::Evenkeel } else { Owner::Other };
            let route =
                HostRoute { destination: found.destination, interface: found.interface.into() };
            let found = LiveRoute { owner, source: found.source };
            match owner {
                Owner::Evenkeel => {
                    routes.insert(route, found);
                }
                Owner::Other => {
                    routes.entry(route).or_insert(found);
                }
            }
        }
        Ok(routes)
    }
}

fn without_real_servers(service: &ipvs::Service) -> Service {
    Service { config: service_config(service), real_servers: RealServers::new() }
}
