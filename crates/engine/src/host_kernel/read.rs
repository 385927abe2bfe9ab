//! Reads the IPVS table, and the addresses with their owners.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_host::Address;
use evenkeel_ipvs as ipvs;
use evenkeel_model::statistics::Traffic;
use evenkeel_model::{Binding, Link, Live, Owner, RealServers, Service, ServiceKey};

use super::{HostKernel, host_error, ipvs_error};
use crate::convert::{
    real_server, service_config, service_key, sync_daemon, timeouts, traffic, wire_service_key,
};
use crate::error::KernelError;

impl HostKernel {
    /// Lists the services, still without their real servers, and passes their traffic to `each`.
    pub(super) fn listed(
        &mut self,
        mut each: impl FnMut(ServiceKey, Traffic),
    ) -> Result<BTreeMap<ServiceKey, Service>, KernelError> {
        let mut services = BTreeMap::new();
        let Some(ipvs) = &mut self.ipvs else { return Ok(services) };
        let read = ipvs.for_each_service(|reply| {
            if let Some(key) = service_key(&reply.service.key) {
                each(key, traffic(&reply.statistics().unwrap_or_default()));
                services.insert(key, without_real_servers(&reply.service));
            }
        });
        read.map_err(|error| ipvs_error("reading the IPVS table", error))?;
        Ok(services)
    }

    /// Lists the existing ones of these services, as [`Self::listed`].
    pub(super) fn chosen(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
        mut each: impl FnMut(ServiceKey, Traffic),
    ) -> Result<BTreeMap<ServiceKey, Service>, KernelError> {
        // Reading the whole list costs less than requesting many services one by one.
        const SINGLE_REQUESTS: usize = 8;
        let mut services = BTreeMap::new();
        let Some(ipvs) = &mut self.ipvs else { return Ok(services) };
        if keys.len() > SINGLE_REQUESTS {
            let read = ipvs.for_each_service(|reply| {
                if let Some(key) = service_key(&reply.service.key).filter(|it| keys.contains(it)) {
                    each(key, traffic(&reply.statistics().unwrap_or_default()));
                    services.insert(key, without_real_servers(&reply.service));
                }
            });
            read.map_err(|error| ipvs_error("reading the IPVS table", error))?;
            return Ok(services);
        }
        for key in keys {
            let answer = ipvs.service(&wire_service_key(key));
            let answer = answer.map_err(|error| ipvs_error("reading a service", error))?;
            if let Some(entry) = answer {
                each(*key, traffic(&entry.statistics));
                services.insert(*key, without_real_servers(&entry.service));
            }
        }
        Ok(services)
    }

    /// Reads the real servers of these services, and removes services that no longer exist.
    pub(super) fn fill(
        &mut self,
        services: &mut BTreeMap<ServiceKey, Service>,
        mut each: impl FnMut(ServiceKey, &ipvs::codec::DestinationReply<'_>),
    ) -> Result<(), KernelError> {
        let mut vanished = Vec::new();
        for (key, service) in services.iter_mut() {
            service.real_servers = self.real_servers(key, |reply| each(*key, reply))?;
            // For a service that has just been deleted the kernel returns an empty list.
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
        let Some(ipvs) = &mut self.ipvs else { return Ok(RealServers::new()) };
        let mut listed = Vec::with_capacity(16);
        let read = ipvs.for_each_destination(&wire_service_key(service), |reply| {
            each(&reply);
            listed.push(real_server(&reply.destination));
        });
        read.map_err(|error| ipvs_error("reading the real servers of a service", error))?;
        // The kernel lists the newest first.
        Ok(listed.into_iter().rev().collect())
    }

    pub(super) fn exists(&mut self, service: &ServiceKey) -> Result<bool, KernelError> {
        let Some(ipvs) = &mut self.ipvs else { return Ok(false) };
        let answer = ipvs.service(&wire_service_key(service));
        let answer = answer.map_err(|error| ipvs_error("reading a service", error))?;
        Ok(answer.is_some())
    }

    /// Reads the timeouts and sync daemons into `live`.
    pub(super) fn read_ipvs_settings(&mut self, live: &mut Live) -> Result<(), KernelError> {
        (live.timeouts, live.sync) = Default::default();
        let Some(ipvs) = &mut self.ipvs else { return Ok(()) };
        let read = ipvs.timeouts();
        live.timeouts =
            Some(timeouts(read.map_err(|error| ipvs_error("reading the timeouts", error))?));
        let daemons = ipvs.daemons();
        let daemons = daemons.map_err(|error| ipvs_error("reading the sync daemons", error))?;
        live.sync = daemons.iter().filter_map(|entry| sync_daemon(&entry.daemon)).collect();
        Ok(())
    }

    /// Returns the client for an operation on IPVS, which needs it.
    pub(super) fn required_ipvs(&mut self) -> Result<&mut ipvs::Client, KernelError> {
        match &mut self.ipvs {
            Some(client) => Ok(client),
            absent => {
                let found = ipvs::Client::connect();
                let found = found.map_err(|error| ipvs_error("connecting to IPVS", error))?;
                Ok(absent.insert(found))
            }
        }
    }

    /// Reads the addresses with their owners and labels, and the interfaces, into `live`. Returns the
    /// interfaces as read.
    pub(super) fn read_addresses(
        &mut self,
        live: &mut Live,
    ) -> Result<Vec<evenkeel_host::Link>, KernelError> {
        let read = self.host.links_and_addresses();
        let (links, addresses) =
            read.map_err(|error| host_error("reading the interfaces and addresses", error))?;
        // A kernel that stores the mark shows its own on the loopback address, if nowhere else.
        let keeps_marks = addresses.iter().any(|address| address.protocol.is_some());
        live.addresses.clear();
        live.labels.clear();
        let secondaries = self.host.dependent_secondaries(&addresses).into_iter();
        live.secondaries =
            secondaries.map(|it| (model_binding(it.address), model_binding(it.primary))).collect();
        for address in addresses {
            let is_ours = address.is_ours();
            let binding = model_binding(&address);
            let label = address.label.filter(|label| *label != address.interface);
            let ours = is_ours || !keeps_marks && self.journalled.addresses.contains(&binding);
            live.labels.extend(label.map(|label| (binding.clone(), label.into())));
            live.addresses.insert(binding, if ours { Owner::Evenkeel } else { Owner::Other });
        }
        self.link_tracker.update(&links);
        let named = links.iter().map(|link| {
            let owner = if link.is_ours() { Owner::Evenkeel } else { Owner::Other };
            let dummy = link.is_dummy();
            (link.name.as_str().into(), Link { up: link.up, dummy, owner })
        });
        live.links = Some(named.collect());
        Ok(links)
    }
}

fn model_binding(address: &Address) -> Binding {
    let Address { address, interface, prefix, .. } = address;
    Binding { address: *address, interface: interface.as_str().into(), prefix: *prefix }
}

fn without_real_servers(service: &ipvs::Service) -> Service {
    Service { config: service_config(service), real_servers: RealServers::new() }
}
