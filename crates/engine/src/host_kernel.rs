//! The real kernel: IPVS over generic netlink, addresses over rtnetlink. How it is read is in
//! [`read`], how operations are carried out in [`write`].

mod read;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_host::Host;
use evenkeel_ipvs::{self as ipvs, Client};
use evenkeel_model::statistics::{ServiceStatistics, Statistics};
use evenkeel_model::{Binding, Live, RealServers, Service, ServiceKey};
use evenkeel_plan::Op;

use crate::translate::{
    real_server, real_server_statistics, service_config, service_key, sync_daemon, timeouts,
    traffic, wire_service_key,
};
use crate::{Kernel, KernelError, Replies, Sysctls};

/// The network namespace of the thread that connected.
#[derive(Debug)]
pub struct HostKernel {
    ipvs: Client,
    host: Host,
    /// The addresses that the journal knows as evenkeel's, for kernels that keep no mark.
    journalled: BTreeSet<Binding>,
}

impl HostKernel {
    /// Connects; loads the module ip_vs where the kernel does not have it yet.
    ///
    /// # Errors
    /// [`KernelError::NoIpvs`], [`KernelError::NotPermitted`], or a socket that fails.
    pub fn connect(journalled: BTreeSet<Binding>) -> Result<Self, KernelError> {
        let ipvs = Client::connect().map_err(|error| ipvs_error("connecting to IPVS", error))?;
        let host = Host::connect().map_err(|error| host_error("connecting to rtnetlink", error))?;
        Ok(Self { ipvs, host, journalled })
    }
}

impl Kernel for HostKernel {
    fn observe(&mut self, sysctls: &Sysctls) -> Result<Live, KernelError> {
        let mut live = Live { services: self.table(|_, _| (), |_, _| ())?, ..Live::default() };
        self.surroundings(sysctls, &mut live)?;
        Ok(live)
    }

    fn observe_with_statistics(
        &mut self,
        sysctls: &Sysctls,
    ) -> Result<(Live, Statistics), KernelError> {
        let (mut by_service, mut by_real_server) = (Vec::new(), Vec::new());
        let services = self.table(
            |service, reply| {
                let counted = reply.statistics().unwrap_or_default();
                let key = real_server(&reply.destination).0;
                let counted = real_server_statistics(reply.connections, &counted);
                by_real_server.push((service, key, counted));
            },
            |service, reply| {
                by_service.push((service, traffic(&reply.statistics().unwrap_or_default())));
            },
        )?;
        let mut statistics = Statistics::default();
        for (service, traffic) in by_service {
            let real_servers = BTreeMap::new();
            statistics.services.insert(service, ServiceStatistics { traffic, real_servers });
        }
        for (service, key, counted) in by_real_server {
            if let Some(service) = statistics.services.get_mut(&service) {
                service.real_servers.insert(key, counted);
            }
        }
        let mut live = Live { services, ..Live::default() };
        self.surroundings(sysctls, &mut live)?;
        Ok((live, statistics))
    }

    fn services(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
    ) -> Result<BTreeMap<ServiceKey, Service>, KernelError> {
        // One reading of the whole list costs less than asking for many services one by one.
        const SINGLE_QUESTIONS: usize = 8;
        let mut services = BTreeMap::new();
        let mut add = |key, service: &ipvs::Service| {
            let config = service_config(service);
            services.insert(key, Service { config, real_servers: RealServers::new() });
        };
        if keys.len() <= SINGLE_QUESTIONS {
            for key in keys {
                let answer = self.ipvs.service(&wire_service_key(key));
                let answer = answer.map_err(|error| ipvs_error("reading a service", error))?;
                if let Some(entry) = answer {
                    add(*key, &entry.service);
                }
            }
        } else {
            let read = self.ipvs.for_each_service(|reply| {
                if let Some(key) = service_key(&reply.service.key).filter(|it| keys.contains(it)) {
                    add(key, &reply.service);
                }
            });
            read.map_err(|error| ipvs_error("reading the IPVS table", error))?;
        }
        self.fill(&mut services, |_, _| ())?;
        Ok(services)
    }

    fn surroundings(&mut self, sysctls: &Sysctls, live: &mut Live) -> Result<(), KernelError> {
        (live.addresses, live.links) = self.addresses()?;
        let read = self.ipvs.timeouts();
        live.timeouts =
            Some(timeouts(read.map_err(|error| ipvs_error("reading the timeouts", error))?));
        let daemons = self.ipvs.daemons();
        let daemons = daemons.map_err(|error| ipvs_error("reading the sync daemons", error))?;
        live.sync = daemons.iter().filter_map(|entry| sync_daemon(&entry.daemon)).collect();
        live.sysctls.clear();
        for key in sysctls {
            let value = evenkeel_host::sysctl(key);
            let value = value.map_err(|error| host_error("reading the sysctls", error))?;
            live.sysctls.extend(value.map(|value| (key.clone(), value.into())));
        }
        let modules = evenkeel_host::modules("ip_vs");
        let modules = modules.map_err(|error| host_error("reading the modules", error))?;
        live.modules = Some(modules.into_iter().map(Into::into).collect());
        Ok(())
    }

    fn execute(&mut self, ops: &[Op]) -> Result<Replies, KernelError> {
        let mut replies = Replies::default();
        let mut first = 0;
        for run in ops.chunk_by(|one, next| one.service().is_some() == next.service().is_some()) {
            if run[0].service().is_some() {
                self.execute_ipvs(run, first, &mut replies)?;
            } else {
                for (place, op) in run.iter().enumerate() {
                    self.execute_single(op, first + place, &mut replies)?;
                }
            }
            first += run.len();
        }
        Ok(replies)
    }
}

fn ipvs_error(tried: &'static str, error: ipvs::Error) -> KernelError {
    let source = Box::new(error);
    match *source {
        ipvs::Error::ModuleMissing { .. } => KernelError::NoIpvs(source),
        ipvs::Error::PermissionDenied { .. } => {
            KernelError::NotPermitted { tried, capability: "CAP_NET_ADMIN", source }
        }
        _ => KernelError::Failed { tried, source },
    }
}

fn host_error(tried: &'static str, error: evenkeel_host::Error) -> KernelError {
    let source = Box::new(error);
    match *source {
        evenkeel_host::Error::NotPermitted { .. } => {
            KernelError::NotPermitted { tried, capability: "CAP_NET_ADMIN", source }
        }
        _ => KernelError::Failed { tried, source },
    }
}
