//! The real kernel: IPVS over generic netlink, addresses over rtnetlink. [`read`] reads it, [`write`]
//! executes operations, [`host_objects`] does both for
//! host objects ([`packet_rules`] for packet rules), [`reannounce`] announces VIPs again when a link comes up.

mod default_routes;
mod host_objects;
mod packet_rules;
mod read;
mod reannounce;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::hash::RandomState;
use std::io;
use std::net::IpAddr;

use evenkeel_control::{Lock, LockError, LockGuard, PendingElsewhere, PendingMarker};
use evenkeel_host::{
    Action, Capabilities, Capability, ConnectedSocket, Error, Host, SocketProtocol, SysctlReading,
    connected_sockets,
};
use evenkeel_ipvs::{self as ipvs, Client, Command};
use evenkeel_model::statistics::Statistics;
use evenkeel_model::{
    Binding, HostObject, Live, LiveHostObject, LocalSession, LocalSessions, Protocol, Service,
    ServiceKey, SysctlObstacle, TunnelDriver,
};
use evenkeel_plan::Op;

use self::reannounce::LinkTracker;
use crate::convert::{real_server, real_server_statistics, wire_service_key};
use crate::error::{KernelError, error_chain};
use crate::kernel::{Journalled, Kernel, ReadRequest, Replies};
use crate::probe::TableDigest;
use crate::take_back::take_back;

/// The IPVS table of the calling thread's network namespace.
const TABLE: &str = "/proc/thread-self/net/ip_vs";
/// What the kernel shows of that network namespace.
const NETWORK: &str = "/proc/thread-self/net";

/// Host objects as read.
type Objects = BTreeMap<HostObject, LiveHostObject>;

/// Whether a host needs IPVS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IpvsUse {
    /// A director: without IPVS in its kernel nothing works.
    #[default]
    Required,
    /// A host that is only a real server: while its kernel has no IPVS, its table is known to be empty.
    IfPresent,
}

/// The network namespace of the thread that connected.
#[derive(Debug)]
pub struct HostKernel {
    /// `None` if the kernel has no IPVS and the host needs none.
    ipvs: Option<Client>,
    host: Host,
    /// What the journal records as evenkeel's, for what the kernel stores no mark of.
    journalled: Journalled,
    /// The buffer of probes.
    table: Vec<u8>,
    link_tracker: LinkTracker,
}

impl HostKernel {
    /// Connects to the kernel, and loads the module ip_vs if it is not loaded yet.
    ///
    /// # Errors
    /// [`KernelError::NoIpvs`], [`KernelError::NotPermitted`], or a socket fails.
    pub fn connect(journalled: Journalled) -> Result<Self, KernelError> {
        Self::connect_for(IpvsUse::Required, journalled)
    }

    /// Connects to the kernel as [`Self::connect`] does, but loads no module for a host that needs no
    /// IPVS. Without IPVS the table is empty, without timeouts and sync daemons; an operation on it loads
    /// the module.
    ///
    /// # Errors
    /// As [`Self::connect`]; with [`IpvsUse::IfPresent`] never [`KernelError::NoIpvs`].
    pub fn connect_for(ipvs_use: IpvsUse, journalled: Journalled) -> Result<Self, KernelError> {
        let ipvs = match ipvs_use {
            IpvsUse::IfPresent if is_absent() => None,
            IpvsUse::IfPresent | IpvsUse::Required => {
                let client = Client::connect();
                Some(client.map_err(|error| ipvs_error("connecting to IPVS", error))?)
            }
        };
        let host = Host::connect().map_err(|error| host_error("connecting to rtnetlink", error))?;
        Ok(Self { ipvs, host, journalled, table: Vec::new(), link_tracker: LinkTracker::default() })
    }
}

impl Kernel for HostKernel {
    type Lock = Lock;
    type LockGuard = LockGuard;

    fn lock(lock: &Lock) -> Result<LockGuard, LockError> {
        lock.acquire()
    }

    fn try_lock(lock: &Lock) -> Result<Option<LockGuard>, LockError> {
        lock.try_acquire()
    }

    fn check_none_pending(lock: Option<&LockGuard>) -> Result<(), PendingElsewhere> {
        PendingMarker::check_none(lock)
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

    fn set_journalled(&mut self, journalled: Journalled) {
        self.journalled = journalled;
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

    fn local_sessions(&mut self, addresses: &BTreeSet<IpAddr>) -> LocalSessions {
        let mut found = LocalSessions::default();
        for of in SocketProtocol::ALL {
            let protocol = Protocol::from(of as u16);
            match connected_sockets(of, addresses) {
                Ok(sockets) => {
                    let session = |ConnectedSocket { local, remote }| LocalSession {
                        protocol,
                        local,
                        remote,
                    };
                    found.sessions.extend(sockets.into_iter().map(session));
                }
                Err(error) => {
                    found.unread.insert(protocol, error_chain(&error));
                }
            }
        }
        found
    }

    fn read_namespace(
        &mut self,
        request: &ReadRequest,
        live: &mut Live,
    ) -> Result<(), KernelError> {
        let links = self.read_addresses(live)?;
        live.local_by_route = match request.unbound_addresses(live) {
            Some(unbound) if !unbound.is_empty() => {
                let found = self.host.local_by_route(&unbound);
                Some(found.map_err(|error| host_error("reading the local routes", error))?)
            }
            unbound => unbound,
        };
        self.read_ipvs_settings(live)?;
        let is_of_daemon = |name: &str| {
            request.sync_links.contains(name)
                || live.sync.values().any(|daemon| *daemon.interface == *name)
        };
        let of_daemons = links.iter().filter(|link| is_of_daemon(&link.name));
        live.sync_links = of_daemons.map(|link| (link.name.as_str().into(), link.index)).collect();
        live.sysctls.clear();
        live.host_objects = self.read_host_objects(&request.host_objects, &links)?;
        let mut keys = request.sysctls.clone();
        for master in request.masters_to_read(master_value)? {
            let interfaces = evenkeel_host::sysctl_interfaces(master.family());
            let interfaces =
                interfaces.map_err(|error| host_error("reading the sysctls", error))?;
            keys.extend(master.side_effects(interfaces.iter().map(String::as_str)));
        }
        live.sysctl_obstacles.clear();
        for key in keys {
            let obstacle = match read_sysctl(&key)? {
                SysctlReading::Missing => None,
                SysctlReading::Value { value, is_fixed } => {
                    live.sysctls.insert(key.clone(), value.into());
                    is_fixed.then_some(SysctlObstacle::Fixed)
                }
                SysctlReading::Directory => Some(SysctlObstacle::Directory),
                SysctlReading::Unreadable(error) => {
                    Some(SysctlObstacle::Unreadable(error.to_string().into()))
                }
            };
            if let Some(obstacle) = obstacle.filter(|_| request.sysctls.contains(&key)) {
                live.sysctl_obstacles.insert(key, obstacle);
            }
        }
        live.sysctls_read_only = read_only_sysctls(&request.sysctls)
            .map_err(|error| host_error("reading the sysctls", error))?;
        let modules = evenkeel_host::modules("ip_vs");
        let modules = modules.map_err(|error| host_error("reading the modules", error))?;
        live.modules = Some(modules.into_iter().map(Into::into).collect());
        self.journalled.foreign.disown(live);
        Ok(())
    }

    fn execute(&mut self, ops: &[Op]) -> Result<Replies, KernelError> {
        ops.iter().for_each(|op| take_back(&mut self.journalled.foreign, op));
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
        let digest = match File::open(TABLE) {
            Ok(file) => TableDigest::read(file, &mut self.table, keys),
            Err(error) if self.ipvs.is_none() && error.kind() == io::ErrorKind::NotFound => {
                TableDigest::read(io::empty(), &mut self.table, keys)
            }
            Err(error) => Err(error),
        };
        digest.map_err(|source| KernelError::Failed {
            tried: "reading /proc/net/ip_vs",
            source: source.into(),
        })
    }
}

/// An edited plan may give an object a value of another kind.
fn other_kind(object: &HostObject) -> Error {
    let what = "its value is of another kind".to_owned();
    Error::Malformed { action: Action::Add(object.to_string()), what }
}

/// Whether the kernel has no IPVS now. Looking up the family would make the kernel load the module; a
/// loaded one has its table below `/proc` in every network namespace.
fn is_absent() -> bool {
    let is_missing = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
    std::fs::metadata(TABLE).is_err_and(is_missing) && std::fs::metadata(NETWORK).is_ok()
}

/// Returns the sysctl whose value one of a tunnel device has when its driver creates the device: until
/// then it is read in its place, so that the journal has a value from before, and the device, which stays
/// with its driver, gets that back.
fn default_of_tunnel(key: &str) -> Option<String> {
    let (family, rest) = key.strip_prefix("net.")?.split_once(".conf.")?;
    let (interface, name) = rest.split_once('.')?;
    TunnelDriver::of_device(interface)?;
    Some(format!("net.{family}.conf.default.{name}"))
}

/// Returns which of these sysctls cannot be set. Where those of the network can be, none is looked at
/// singly.
fn read_only_sysctls(
    keys: &BTreeSet<Box<str>>,
) -> Result<BTreeSet<Box<str>>, evenkeel_host::Error> {
    let mut found = BTreeSet::new();
    if keys.is_empty() || !evenkeel_host::sysctl_is_read_only("net")? {
        return Ok(found);
    }
    for key in keys {
        if evenkeel_host::sysctl_is_read_only(key)? {
            found.insert(key.clone());
        }
    }
    Ok(found)
}

/// Reads a sysctl, or what one of a tunnel device has before the device exists.
fn read_sysctl(key: &str) -> Result<SysctlReading, KernelError> {
    let read = |key: &str| {
        evenkeel_host::read_sysctl(key).map_err(|error| host_error("reading the sysctls", error))
    };
    match (read(key)?, default_of_tunnel(key)) {
        (SysctlReading::Missing, Some(default)) => read(&default),
        (reading, _) => Ok(reading),
    }
}

/// Reads the value of a sysctl with side effects; `None` if the kernel shows none.
fn master_value(key: &str) -> Result<Option<Box<str>>, KernelError> {
    Ok(match read_sysctl(key)? {
        SysctlReading::Value { value, is_fixed: _ } => Some(value.into()),
        _ => None,
    })
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
