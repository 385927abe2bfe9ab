//! The real kernel: IPVS over generic netlink, addresses over rtnetlink. [`read`] reads it, [`write`]
//! executes operations, [`host_objects`] does both for
//! host objects, [`reannounce`] announces VIPs again when a link comes up.

mod host_objects;
mod read;
mod reannounce;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::hash::RandomState;

use evenkeel_control::{Lock, LockError, LockGuard};
use evenkeel_host::{Capabilities, Capability, Host};
use evenkeel_ipvs::{self as ipvs, Client, Command};
use evenkeel_model::statistics::Statistics;
use evenkeel_model::{Binding, Live, Service, ServiceKey};
use evenkeel_plan::Op;

use self::reannounce::LinkTracker;
use crate::convert::{
    real_server, real_server_statistics, sync_daemon, timeouts, wire_service_key,
};
use crate::error::KernelError;
use crate::kernel::{Kernel, ReadRequest, Replies};
use crate::probe::TableDigest;

/// The IPVS table of the calling thread's network namespace.
const TABLE: &str = "/proc/thread-self/net/ip_vs";

/// The network namespace of the thread that connected.
#[derive(Debug)]
pub struct HostKernel {
    ipvs: Client,
    host: Host,
    /// The addresses that the journal records as evenkeel's, for kernels that store no mark.
    journalled: BTreeSet<Binding>,
    /// The buffer of probes.
    table: Vec<u8>,
    link_tracker: LinkTracker,
}

impl HostKernel {
    /// Connects to the kernel, and loads the module ip_vs if it is not loaded yet.
    ///
    /// # Errors
    /// [`KernelError::NoIpvs`], [`KernelError::NotPermitted`], or a socket fails.
    pub fn connect(journalled: BTreeSet<Binding>) -> Result<Self, KernelError> {
        let ipvs = Client::connect().map_err(|error| ipvs_error("connecting to IPVS", error))?;
        let host = Host::connect().map_err(|error| host_error("connecting to rtnetlink", error))?;
        Ok(Self { ipvs, host, journalled, table: Vec::new(), link_tracker: LinkTracker::default() })
    }
}

impl Kernel for HostKernel {
    type LockGuard = LockGuard;

    fn lock() -> Result<LockGuard, LockError> {
        Lock::of_namespace().acquire()
    }

    fn try_lock() -> Result<Option<LockGuard>, LockError> {
        Lock::of_namespace().try_acquire()
    }

    fn has_capability(&self, capability: Capability) -> bool {
        Capabilities::current().map_or(true, |capabilities| capabilities.has(capability))
    }

    fn silent_interfaces(&mut self) -> Result<BTreeSet<Box<str>>, KernelError> {
        let links = self.host.links();
        let links = links.map_err(|error| host_error("reading the interfaces", error))?;
        let silent = links.into_iter().filter(|link| link.announcement_source().is_err());
        Ok(silent.map(|link| link.name.into()).collect())
    }

    fn set_journalled(&mut self, bindings: BTreeSet<Binding>) {
        self.journalled = bindings;
    }

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
        live.host_objects = self.read_host_objects(&request.host_objects)?;
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
                self.execute_others(run, first, &mut replies)?;
            }
            first += run.len();
        }
        Ok(replies)
    }

    fn zero(&mut self, services: &BTreeSet<ServiceKey>) -> Result<Replies, KernelError> {
        let mut replies = Replies::default();
        let commands = services.iter().map(|key| Command::ZeroService(wire_service_key(key)));
        self.send_batch(commands, 0..services.len(), &mut replies)?;
        Ok(replies)
    }

    fn reannounce(&mut self, vips: &[&Binding]) -> Result<Vec<String>, KernelError> {
        self.announce_on_new_links(vips)
    }

    fn digest_table(&mut self, keys: &RandomState) -> Result<TableDigest, KernelError> {
        let file = File::open(TABLE);
        let digest = file.and_then(|file| TableDigest::read(file, &mut self.table, keys));
        digest.map_err(|source| KernelError::Failed {
            tried: "reading /proc/net/ip_vs",
            source: source.into(),
        })
    }
}

/// Records the counters of a real server.
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
