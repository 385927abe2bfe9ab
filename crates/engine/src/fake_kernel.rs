//! A kernel that keeps its state in memory and refuses what the real one refuses.
//!
//! It exists for property and fault tests: ten thousand passes take seconds, and any operation
//! can be made to fail. It does not replace the real kernel; the same tests run against both.

mod addresses;
mod host_objects;
mod proc_table;
mod shared;
mod sysctls;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::RandomState;
use std::net::IpAddr;

use evenkeel_control::{LockError, PendingElsewhere};
use evenkeel_host::Capability;
use evenkeel_model::statistics::{Statistics, Traffic};
use evenkeel_model::{
    Binding, Family, ForeignMarks, Forward, HostObject, Link, Live, LocalSessions, MAX_WEIGHT,
    Netmask, Owner, RealServer, RealServerKey, Scheduler, Service, ServiceConfig, ServiceKey,
    SyncDaemon, SyncState, Tunnel, TunnelKind,
};
use evenkeel_plan::{Object, Op};
use rustix::io::Errno;

pub use shared::SharedKernel;

use crate::error::KernelError;
use crate::kernel::{Exception, Journalled, Kernel, ReadRequest, Replies};
use crate::probe::TableDigest;
use crate::take_back::take_back;

/// A network namespace in memory.
#[derive(Debug, Default)]
pub struct FakeKernel {
    /// Its state. A test may change it at any time, as another program would.
    pub live: Live,
    /// The capabilities that the process lacks; with the default it has all.
    pub missing_capabilities: BTreeSet<Capability>,
    /// The schedulers it does not have.
    pub missing_schedulers: BTreeSet<Scheduler>,
    /// The faults to inject, by the number of the operation since the start, from 0.
    pub faults: BTreeMap<usize, Fault>,
    /// The object of every operation it received, in order.
    pub received: Vec<Object>,
    /// The sysctls that it forbids to set, as most containers do.
    pub read_only_sysctls: BTreeSet<Box<str>>,
    /// Its counters.
    pub statistics: Statistics,
    /// The sessions of programs on the host.
    pub sessions: LocalSessions,
    /// How often the sessions were read.
    pub session_reads: usize,
    /// How many connections of each real server end between two readings of the counters.
    pub ending: u32,
    /// The operations of another program, by the number of the reading of the counters that they
    /// precede, from 0.
    pub interference: BTreeMap<usize, Vec<Op>>,
    /// How often the counters were read.
    pub counter_reads: usize,
    /// How often the whole state was read.
    pub complete_reads: usize,
    /// What has evenkeel's mark and is another program's.
    pub foreign: ForeignMarks,
    /// Nothing can be read or written.
    pub is_unreachable: bool,
}

/// A fault of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The operation is refused and not done.
    Refuse(Errno),
    /// The operation is done and the reply is lost.
    LoseReply,
    /// An edit of a service is refused because its scheduler is missing, after the old one was unbound
    /// (`ip_vs_edit_service`); any other operation is refused.
    Unschedule,
    /// The kernel cannot be reached any more from this operation on, until
    /// [`FakeKernel::is_unreachable`] is reset.
    Vanish,
}

impl FakeKernel {
    /// Creates a namespace in this state.
    pub fn new(live: Live) -> Self {
        Self { live, ..Self::default() }
    }

    /// Sets the number of active connections of the real server 198.51.100.`last`.
    pub fn connect(&mut self, service: ServiceKey, last: u8, active_connections: u32) {
        let address = [198, 51, 100, last].into();
        let key = RealServerKey { address, port: service.port() };
        let counted = self.statistics.services.entry(service).or_default();
        counted.real_servers.entry(key).or_default().active_connections = active_connections;
    }

    fn reach(&self, tried: &'static str) -> Result<(), KernelError> {
        if self.is_unreachable {
            let source = Box::new(std::io::Error::from(std::io::ErrorKind::NotConnected));
            return Err(KernelError::Failed { tried, source });
        }
        Ok(())
    }

    fn apply_op(&mut self, op: &Op) -> Result<(), Errno> {
        match op {
            Op::AddModule { module } => {
                let modules = self.live.modules.get_or_insert_default();
                let scheduler = module.strip_prefix("ip_vs_").and_then(Scheduler::new);
                if scheduler.is_some_and(|it| self.missing_schedulers.contains(&it)) {
                    return Err(Errno::NOENT);
                }
                modules.insert(module.clone());
                Ok(())
            }
            Op::EditSysctl { key, after, .. } | Op::RestoreSysctl { key, after, .. } => {
                // The sysctls of a tunnel device exist with it.
                if !self.live.sysctls.contains_key(key) && self.is_sysctl_of_tunnel(key) {
                    self.live.sysctls.insert(key.clone(), after.clone());
                }
                self.set_sysctl(key, after)
            }
            Op::EditTimeouts { after, .. } => {
                self.live.timeouts = Some(*after);
                Ok(())
            }
            Op::AddSync { state, after } => self.add_sync(*state, after),
            Op::DeleteSync { state, .. } => {
                self.live.sync.remove(state).map(drop).ok_or(Errno::SRCH)
            }
            Op::AddDummy { interface } => self.add_dummy(interface),
            Op::EditDummy { interface } => {
                let links = self.live.links.get_or_insert_default();
                let link = links.get_mut(interface).ok_or(Errno::NODEV)?;
                if link.owner == Owner::Other {
                    return Err(Errno::IO);
                }
                link.up = true;
                Ok(())
            }
            Op::DeleteDummy { interface } => {
                let links = self.live.links.get_or_insert_default();
                links.remove(interface).ok_or(Errno::NODEV)?;
                self.live.addresses.retain(|binding, _| binding.interface != *interface);
                self.live.labels.retain(|binding, _| binding.interface != *interface);
                self.live.secondaries.retain(|binding, _| binding.interface != *interface);
                self.live.host_objects.objects.retain(|it, _| it.interface() != Some(&**interface));
                self.forget_sources();
                Ok(())
            }
            Op::AddService { key, after } => self.add_service(*key, after),
            Op::EditService { key, after, .. } => self.edit_service(key, after),
            Op::DeleteService { key, .. } => {
                self.live.services.remove(key).map(drop).ok_or(Errno::SRCH)
            }
            Op::AddRealServer { service, key, after } => self.add_real_server(service, key, after),
            Op::EditRealServer { service, key, after, .. } => {
                self.edit_real_server(service, key, after)
            }
            Op::DrainRealServer { service, key, before, .. } => {
                self.edit_real_server(service, key, &before.drained())
            }
            Op::DeleteRealServer { service, key, .. } => {
                let service = self.live.services.get_mut(service).ok_or(Errno::SRCH)?;
                service.real_servers.remove(key).map(drop).ok_or(Errno::NOENT)
            }
            Op::Bind { binding, label } => self.bind(binding, label.as_deref()),
            Op::Unbind { binding, .. } => self.unbind(binding),
            Op::AddHostObject { object, after } => self.add_host_object(object, after),
            Op::EditHostObject { object: HostObject::DefaultRoute(route), before, after } => {
                self.replace_default_route(*route, before, after)
            }
            // In place: a device is not set down in between.
            Op::EditHostObject { object: object @ HostObject::TunnelDevice(_), after, .. } => {
                let found = self.live.host_objects.objects.get_mut(object);
                found.ok_or(Errno::SRCH)?.value.clone_from(after);
                Ok(())
            }
            Op::EditHostObject { object, after, .. } => {
                self.delete_host_object(object)?;
                self.add_host_object(object, after)
            }
            Op::DeleteHostObject { object, .. } => self.delete_host_object(object),
        }
    }

    /// Starts a sync daemon as `start_sync_thread` and `ip_vs_genl_new_daemon` do, which choose values
    /// that are not set.
    fn add_sync(&mut self, state: SyncState, daemon: &SyncDaemon) -> Result<(), Errno> {
        let mixed = |(key, service): (&ServiceKey, &Service)| {
            let other = |(it, _): (&RealServerKey, _)| Family::from(it.address) != key.family();
            service.real_servers.iter().any(other)
        };
        if self.live.services.iter().any(mixed) {
            return Err(Errno::INVAL);
        }
        if self.live.sync.contains_key(&state) {
            return Err(Errno::EXIST);
        }
        if self.live.links.as_ref().is_some_and(|links| !links.contains_key(&daemon.interface)) {
            return Err(Errno::NODEV);
        }
        let running = SyncDaemon {
            max_length: daemon.max_length.or(Some(1472)),
            group: daemon.group.or(Some([224, 0, 0, 81].into())),
            port: daemon.port.or(Some(8848)),
            ttl: daemon.ttl.or(Some(1)),
            ..daemon.clone()
        };
        self.live.sync.insert(state, running);
        Ok(())
    }

    fn add_dummy(&mut self, interface: &str) -> Result<(), Errno> {
        let links = self.live.links.get_or_insert_default();
        if links.contains_key(interface) {
            return Err(Errno::EXIST);
        }
        links.insert(interface.into(), Link { up: true, dummy: true, owner: Owner::Evenkeel });
        Ok(())
    }

    fn add_service(&mut self, key: ServiceKey, config: &ServiceConfig) -> Result<(), Errno> {
        if self.live.services.contains_key(&key) {
            return Err(Errno::EXIST);
        }
        self.check_service(key, config)?;
        let config = stored(key, config.clone());
        self.live.services.insert(key, Service { config, real_servers: Default::default() });
        Ok(())
    }

    fn edit_service(&mut self, key: &ServiceKey, config: &ServiceConfig) -> Result<(), Errno> {
        if !self.live.services.contains_key(key) {
            return Err(Errno::SRCH);
        }
        self.check_service(*key, config)?;
        let service = self.live.services.get_mut(key).ok_or(Errno::SRCH)?;
        service.config = stored(*key, config.clone());
        Ok(())
    }

    /// Checks what `ip_vs_add_service` and `ip_vs_edit_service` check.
    fn check_service(&self, key: ServiceKey, config: &ServiceConfig) -> Result<(), Errno> {
        if self.missing_schedulers.contains(&config.scheduler) {
            return Err(Errno::NOENT);
        }
        match config.persistence.map(|persistence| persistence.netmask) {
            Some(Netmask::V6(length)) if key.family() == Family::Ipv6 => match length {
                1..=128 => Ok(()),
                _ => Err(Errno::INVAL),
            },
            _ => Ok(()),
        }
    }

    fn add_real_server(
        &mut self,
        service: &ServiceKey,
        key: &RealServerKey,
        real_server: &RealServer,
    ) -> Result<(), Errno> {
        let family = service.family();
        let is_reachable = self.is_local(key.address) || self.is_unicast(key.address);
        let service = self.live.services.get_mut(service).ok_or(Errno::SRCH)?;
        check_values(family, key, real_server)?;
        if service.real_servers.get(key).is_some() {
            return Err(Errno::EXIST);
        }
        if !is_reachable {
            return Err(Errno::INVAL);
        }
        service.real_servers.insert(*key, *real_server);
        Ok(())
    }

    /// Whether `ip_vs_new_dest` accepts it as the address of another host.
    fn is_unicast(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => {
                let is_unspecified = address.is_unspecified();
                let special = is_unspecified || address.is_multicast() || address.is_broadcast();
                !special && !addresses::is_broadcast(&self.live.addresses, address)
            }
            IpAddr::V6(address) => {
                let is_mapped = address.to_ipv4_mapped().is_some();
                let special = is_mapped || address.is_multicast() || address.is_unspecified();
                !special && !address.is_unicast_link_local()
            }
        }
    }

    fn edit_real_server(
        &mut self,
        service: &ServiceKey,
        key: &RealServerKey,
        real_server: &RealServer,
    ) -> Result<(), Errno> {
        let family = service.family();
        let service = self.live.services.get_mut(service).ok_or(Errno::SRCH)?;
        check_values(family, key, real_server)?;
        let live = service.real_servers.get_mut(key).ok_or(Errno::NOENT)?;
        *live = *real_server;
        Ok(())
    }
}

/// Returns the configuration as the kernel stores it. A netmask of the other family cannot be sent;
/// the netmask of a whole address is sent instead.
fn stored(key: ServiceKey, mut config: ServiceConfig) -> ServiceConfig {
    if let Some(persistence) = &mut config.persistence
        && persistence.netmask.family() != key.family()
    {
        persistence.netmask = Netmask::host(key.family());
    }
    config
}

/// Checks what `ip_vs_genl_set_cmd`, `ip_vs_add_dest` and `ip_vs_edit_dest` check.
fn check_values(
    service: Family,
    key: &RealServerKey,
    real_server: &RealServer,
) -> Result<(), Errno> {
    let RealServer { forward, weight, upper_threshold, lower_threshold } = real_server;
    let tunnel = match forward {
        Forward::Tun(tunnel) => Some(tunnel),
        _ => None,
    };
    if Family::from(key.address) != service && tunnel.is_none() {
        return Err(Errno::INVAL);
    }
    if *weight > MAX_WEIGHT || lower_threshold > upper_threshold {
        return Err(Errno::RANGE);
    }
    match tunnel {
        Some(Tunnel { kind: TunnelKind::Gue, port: 0, .. }) => Err(Errno::INVAL),
        _ => Ok(()),
    }
}

impl Kernel for FakeKernel {
    type Lock = ();
    type LockGuard = ();

    fn lock((): &()) -> Result<(), LockError> {
        Ok(())
    }

    fn try_lock((): &()) -> Result<Option<()>, LockError> {
        Ok(Some(()))
    }

    fn check_none_pending(_lock: Option<&()>) -> Result<(), PendingElsewhere> {
        Ok(())
    }

    fn has_capability(&self, capability: Capability) -> bool {
        !self.missing_capabilities.contains(&capability)
    }

    fn silent_interfaces(&mut self) -> Result<BTreeSet<Box<str>>, KernelError> {
        self.reach("reading")?;
        let links = self.live.links.iter().flatten();
        let silent = links.filter(|(name, link)| !link.up || link.dummy || &***name == "lo");
        Ok(silent.map(|(name, _)| name.clone()).collect())
    }

    /// It stores the owner of everything; only what was handed over needs the journal.
    fn set_journalled(&mut self, journalled: Journalled) {
        self.foreign = journalled.foreign;
    }

    fn observe(&mut self, request: &ReadRequest) -> Result<Live, KernelError> {
        self.reach("reading")?;
        self.complete_reads += 1;
        Ok(self.read(request))
    }

    fn observe_with_statistics(
        &mut self,
        request: &ReadRequest,
    ) -> Result<(Live, Statistics), KernelError> {
        self.reach("reading")?;
        Ok((self.read(request), self.statistics.clone()))
    }

    fn services(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
    ) -> Result<BTreeMap<ServiceKey, Service>, KernelError> {
        self.reach("reading")?;
        let found =
            keys.iter().filter_map(|key| Some((*key, self.live.services.get(key)?.clone())));
        Ok(found.collect())
    }

    fn services_with_statistics(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
    ) -> Result<(BTreeMap<ServiceKey, Service>, Statistics), KernelError> {
        for op in self.interference.remove(&self.counter_reads).unwrap_or_default() {
            // The simulated interfering writer may fail; that is irrelevant to the test.
            let _refused = self.apply_op(&op);
        }
        self.counter_reads += 1;
        let services = self.services(keys)?;
        let counted = self.statistics.clone();
        for service in self.statistics.services.values_mut() {
            for real_server in service.real_servers.values_mut() {
                let active = &mut real_server.active_connections;
                *active = active.saturating_sub(self.ending);
            }
        }
        Ok((services, counted))
    }

    fn local_sessions(&mut self, addresses: &BTreeSet<IpAddr>) -> LocalSessions {
        self.session_reads += 1;
        let mut found = self.sessions.clone();
        found.sessions.retain(|it| addresses.contains(&it.local.ip()));
        found
    }

    fn read_namespace(
        &mut self,
        request: &ReadRequest,
        live: &mut Live,
    ) -> Result<(), KernelError> {
        self.reach("reading")?;
        let services = std::mem::take(&mut live.services);
        *live = Live { services, ..self.read(request) };
        Ok(())
    }

    fn execute(&mut self, ops: &[Op]) -> Result<Replies, KernelError> {
        ops.iter().for_each(|op| take_back(&mut self.foreign, op));
        let mut replies = Replies::default();
        for (place, op) in ops.iter().enumerate() {
            let number = self.received.len();
            self.is_unreachable |= self.faults.get(&number) == Some(&Fault::Vanish);
            self.reach("writing")?;
            self.received.push(op.object());
            let is_left = matches!(op, Op::AddModule { .. })
                && self.missing_capabilities.contains(&Capability::SysModule);
            let exception = match self.faults.get(&number).copied() {
                None if is_left => Some(Exception::LeftToKernel),
                Some(Fault::Refuse(errno)) => Some(Exception::Refused(errno.into())),
                Some(Fault::LoseReply) => {
                    // Done or refused: the reply is lost in both cases.
                    let _refused = self.apply_op(op);
                    Some(Exception::Lost)
                }
                Some(Fault::Unschedule) => {
                    if let Op::EditService { key, .. } = op
                        && let Some(service) = self.live.services.get_mut(key)
                    {
                        service.config.scheduler = Scheduler::none();
                    }
                    Some(Exception::Refused(Errno::NOENT.into()))
                }
                Some(Fault::Vanish) | None => {
                    self.apply_op(op).err().map(|errno| Exception::Refused(errno.into()))
                }
            };
            replies.exceptions.extend(exception.map(|exception| (place, exception)));
        }
        Ok(replies)
    }

    fn zero(&mut self, services: &BTreeSet<ServiceKey>) -> Result<Replies, KernelError> {
        self.reach("writing")?;
        let mut replies = Replies::default();
        for (place, key) in services.iter().enumerate() {
            if !self.live.services.contains_key(key) {
                replies.exceptions.insert(place, Exception::Refused(Errno::SRCH.into()));
            } else if let Some(counted) = self.statistics.services.get_mut(key) {
                counted.traffic = Traffic::default();
                counted.real_servers.values_mut().for_each(|it| it.traffic = Traffic::default());
            }
        }
        Ok(replies)
    }

    /// Announces nothing: it has no neighbours.
    fn reannounce(&mut self, _: &[&Binding]) -> Result<Vec<String>, KernelError> {
        self.reach("reading")?;
        Ok(Vec::new())
    }

    fn digest_table(&mut self, keys: &RandomState) -> Result<TableDigest, KernelError> {
        self.reach("reading")?;
        let text = proc_table::text(&self.live.services, &self.statistics);
        let digest = TableDigest::read(text.as_bytes(), &mut Vec::new(), keys);
        digest.map_err(|error| KernelError::Failed { tried: "reading", source: error.into() })
    }
}
