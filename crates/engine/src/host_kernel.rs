//! The real kernel: IPVS over generic netlink, addresses over rtnetlink. How it is read is in
//! [`read`], a first look at it in [`probe`], how operations are carried out in [`write`], what is
//! announced anew in [`reannounce`].

mod probe;
mod read;
mod reannounce;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_host::Host;
use evenkeel_ipvs::{self as ipvs, Client};
use evenkeel_model::statistics::Statistics;
use evenkeel_model::{Binding, Live, Service, ServiceKey};
use evenkeel_plan::Op;

use self::reannounce::LinkTracker;
pub use probe::{TableDigest, not_in_proc};

use crate::convert::{real_server, real_server_statistics, sync_daemon, timeouts};
use crate::{Kernel, KernelError, ReadRequest, Replies};

/// The network namespace of the thread that connected.
#[derive(Debug)]
pub struct HostKernel {
    ipvs: Client,
    host: Host,
    /// The addresses that the journal knows as evenkeel's, for kernels that keep no mark.
    journalled: BTreeSet<Binding>,
    /// What glances are read through.
    table: Vec<u8>,
    link_tracker: LinkTracker,
}

impl HostKernel {
    /// Connects; loads the module ip_vs where the kernel does not have it yet.
    ///
    /// # Errors
    /// [`KernelError::NoIpvs`], [`KernelError::NotPermitted`], or a socket that fails.
    pub fn connect(journalled: BTreeSet<Binding>) -> Result<Self, KernelError> {
        let ipvs = Client::connect().map_err(|error| ipvs_error("connecting to IPVS", error))?;
        let host = Host::connect().map_err(|error| host_error("connecting to rtnetlink", error))?;
        Ok(Self { ipvs, host, journalled, table: Vec::new(), link_tracker: LinkTracker::default() })
    }

    /// Takes note of the addresses that the journal knows as evenkeel's by now.
    pub fn set_journalled(&mut self, journalled: BTreeSet<Binding>) {
        self.journalled = journalled;
    }
}

impl Kernel for HostKernel {
    fn observe(&mut self, request: &ReadRequest) -> Result<Live, KernelError> {
        let mut services = self.listed(|_, _| ())?;
        self.fill(&mut services, |_, _| ())?;
        let mut live = Live { services, ..Live::default() };
        self.read_namespace(request, &mut live)?;
        Ok(live)
    }

    fn observe_with_statistics(
        &mut self,
        request: &ReadRequest,
    ) -> Result<(Live, Statistics), KernelError> {
        let mut statistics = Statistics::default();
        let mut services = self
            .listed(|key, traffic| statistics.services.entry(key).or_default().traffic = traffic)?;
        self.fill(&mut services, |service, reply| count(&mut statistics, service, reply))?;
        let mut live = Live { services, ..Live::default() };
        self.read_namespace(request, &mut live)?;
        Ok((live, statistics))
    }

    fn services(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
    ) -> Result<BTreeMap<ServiceKey, Service>, KernelError> {
        let mut services = self.chosen(keys, |_, _| ())?;
        self.fill(&mut services, |_, _| ())?;
        Ok(services)
    }

    fn services_with_statistics(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
    ) -> Result<(BTreeMap<ServiceKey, Service>, Statistics), KernelError> {
        let mut statistics = Statistics::default();
        let mut services = self.chosen(keys, |key, traffic| {
            statistics.services.entry(key).or_default().traffic = traffic;
        })?;
        self.fill(&mut services, |service, reply| count(&mut statistics, service, reply))?;
        Ok((services, statistics))
    }

    fn read_namespace(
        &mut self,
        request: &ReadRequest,
        live: &mut Live,
    ) -> Result<(), KernelError> {
        self.read_addresses(live)?;
        let read = self.ipvs.timeouts();
        live.timeouts =
            Some(timeouts(read.map_err(|error| ipvs_error("reading the timeouts", error))?));
        let daemons = self.ipvs.daemons();
        let daemons = daemons.map_err(|error| ipvs_error("reading the sync daemons", error))?;
        live.sync = daemons.iter().filter_map(|entry| sync_daemon(&entry.daemon)).collect();
        live.sysctls.clear();
        live.routes = if request.routes { Some(self.read_routes()?) } else { None };
        for key in &request.sysctls {
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

/// Notes the counters of a real server.
fn count(
    statistics: &mut Statistics,
    service: ServiceKey,
    reply: &ipvs::codec::DestinationReply<'_>,
) {
    let counted = reply.statistics().unwrap_or_default();
    let counted = real_server_statistics(reply.connections, &counted);
    let real_servers = &mut statistics.services.entry(service).or_default().real_servers;
    real_servers.insert(real_server(&reply.destination).0, counted);
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
