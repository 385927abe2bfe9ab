//! The real kernel: IPVS over generic netlink, addresses over rtnetlink.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_host::Host;
use evenkeel_ipvs::{self as ipvs, Client, Command, Interrupted, modules};
use evenkeel_model::statistics::{ServiceStatistics, Statistics};
use evenkeel_model::{Binding, Link, Live, Owner, RealServers, Service, ServiceKey};
use evenkeel_plan::Op;
use rustix::io::Errno;

use crate::translate::{
    real_server, real_server_statistics, service_config, service_key, sync_daemon, timeouts,
    traffic, wire_destination, wire_key, wire_service, wire_service_key, wire_sync_daemon,
    wire_sync_state, wire_timeouts,
};
use crate::{Exception, Kernel, KernelError, Refused, Replies, Sysctls};

/// Addresses with who bound them, and interfaces.
type Addresses = (BTreeMap<Binding, Owner>, Option<BTreeMap<Box<str>, Link>>);

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

    /// Reads the table; each real server is handed to `each` as well.
    fn table(
        &mut self,
        each: impl FnMut(ServiceKey, &ipvs::codec::DestinationReply<'_>),
        mut each_service: impl FnMut(ServiceKey, &ipvs::codec::ServiceReply<'_>),
    ) -> Result<BTreeMap<ServiceKey, Service>, KernelError> {
        let mut services = BTreeMap::new();
        let read = self.ipvs.for_each_service(|reply| {
            if let Some(key) = service_key(&reply.service.key) {
                each_service(key, &reply);
                let config = service_config(&reply.service);
                services.insert(key, Service { config, real_servers: RealServers::new() });
            }
        });
        read.map_err(|error| ipvs_error("reading the IPVS table", error))?;
        self.fill(&mut services, each)?;
        Ok(services)
    }

    /// Reads the real servers of those services, and drops the services that are gone by now.
    fn fill(
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

    fn real_servers(
        &mut self,
        service: &ServiceKey,
        mut each: impl FnMut(&ipvs::codec::DestinationReply<'_>),
    ) -> Result<RealServers, KernelError> {
        let mut listed = Vec::new();
        let read = self.ipvs.for_each_destination(&wire_service_key(service), |reply| {
            each(&reply);
            listed.push(real_server(&reply.destination));
        });
        read.map_err(|error| ipvs_error("reading the real servers of a service", error))?;
        // The kernel lists the newest first.
        Ok(listed.into_iter().rev().collect())
    }

    fn exists(&mut self, service: &ServiceKey) -> Result<bool, KernelError> {
        let answer = self.ipvs.service(&wire_service_key(service));
        let answer = answer.map_err(|error| ipvs_error("reading a service", error))?;
        Ok(answer.is_some())
    }

    /// Addresses with who bound them, and interfaces.
    fn addresses(&mut self) -> Result<Addresses, KernelError> {
        let links = self.host.links();
        let links = links.map_err(|error| host_error("reading the interfaces", error))?;
        let addresses = self.host.addresses();
        let addresses = addresses.map_err(|error| host_error("reading the addresses", error))?;
        // A kernel that keeps the mark shows its own on the loopback address, if nowhere else.
        let keeps_marks = addresses.iter().any(|address| address.protocol.is_some());
        let mut owned = BTreeMap::new();
        for address in addresses {
            let is_ours = address.is_ours();
            let binding = Binding {
                address: address.address,
                interface: address.interface.into(),
                prefix: address.prefix,
            };
            let ours = is_ours || !keeps_marks && self.journalled.contains(&binding);
            owned.insert(binding, if ours { Owner::Evenkeel } else { Owner::Other });
        }
        let links = links.into_iter().map(|link| {
            let dummy = link.is_dummy();
            (link.name.into(), Link { up: link.up, dummy })
        });
        Ok((owned, Some(links.collect())))
    }

    /// Carries out operations on the table, the first of which stands at `first` in the list.
    fn execute_ipvs(
        &mut self,
        ops: &[Op],
        first: usize,
        replies: &mut Replies,
    ) -> Result<(), KernelError> {
        let exceptions = &mut replies.exceptions;
        if ops.iter().any(|op| command(op).is_none()) {
            // A name longer than the kernel's fields. Nothing is sent, so that no answer can be
            // taken for another operation's.
            let refused = || Exception::Refused(Errno::INVAL.into());
            exceptions.extend((first..first + ops.len()).map(|place| (place, refused())));
            return Ok(());
        }
        let (refusals, unknown, cause) = match self.ipvs.execute(ops.iter().filter_map(command)) {
            Ok(refusals) => (refusals, ops.len()..ops.len(), None),
            Err(Interrupted { source: error @ ipvs::Error::PermissionDenied { .. }, .. }) => {
                return Err(ipvs_error("writing the IPVS table", error));
            }
            Err(Interrupted { refusals, unknown, source }) => (refusals, unknown, Some(source)),
        };
        for place in unknown.start..ops.len() {
            let is_lost = place < unknown.end;
            let exception = if is_lost { Exception::Lost } else { Exception::NotSent };
            exceptions.insert(first + place, exception);
        }
        for ipvs::CommandRefusal { index, refusal } in refusals {
            let refused = Refused {
                errno: Errno::from_raw_os_error(refusal.errno),
                message: refusal.message,
            };
            exceptions.insert(first + index, Exception::Refused(refused));
        }
        if let Some(cause) = cause {
            replies.warnings.push(format!("a batch was interrupted: {cause}"));
        }
        Ok(())
    }

    /// Carries out one operation on anything but the table.
    fn execute_single(
        &mut self,
        op: &Op,
        place: usize,
        replies: &mut Replies,
    ) -> Result<(), KernelError> {
        let refused = match op {
            Op::AddModule { module } => load(module),
            Op::EditTimeouts { before, after } => {
                ipvs_refusal(self.ipvs.set_timeouts(&wire_timeouts(*before, *after)))?
            }
            Op::AddSync { state, after } => match wire_sync_daemon(*state, after) {
                Some(daemon) => ipvs_refusal(self.ipvs.start_daemon(&daemon))?,
                None => Some(Errno::NODEV.into()),
            },
            Op::DeleteSync { state, .. } => {
                ipvs_refusal(self.ipvs.stop_daemon(wire_sync_state(*state)))?
            }
            Op::EditSysctl { key, after, .. } => {
                host_answer(evenkeel_host::set_sysctl(key, after))?
            }
            Op::AddDummy { interface } => host_answer(self.host.create_dummy(interface))?,
            Op::Bind { binding } => host_answer(self.bind(binding, &mut replies.warnings))?,
            Op::Unbind { binding } => host_answer(self.host.unbind(&host_binding(binding)))?,
            Op::AddService { .. }
            | Op::EditService { .. }
            | Op::DeleteService { .. }
            | Op::AddRealServer { .. }
            | Op::EditRealServer { .. }
            | Op::DeleteRealServer { .. } => None,
        };
        replies.exceptions.extend(refused.map(|refused| (place, Exception::Refused(refused))));
        Ok(())
    }

    /// Binds and announces. An announcement that fails costs the neighbours' caches a while, not
    /// the binding: it is a warning.
    fn bind(
        &mut self,
        binding: &Binding,
        warnings: &mut Vec<String>,
    ) -> Result<(), evenkeel_host::Error> {
        self.host.bind(&host_binding(binding))?;
        self.journalled.insert(binding.clone());
        if let Err(error) = self.host.announce(binding.address, &binding.interface) {
            warnings.push(format!("{binding} is bound, but not announced: {error}"));
        }
        Ok(())
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

/// Loads a module. Where there is nothing to load it with, as in most containers, it may still be
/// built in, and the kernel decides when it is needed.
fn load(module: &str) -> Option<Refused> {
    match modules::load(module) {
        Ok(()) | Err(modules::ModuleError::NoModprobe { .. }) => None,
        Err(error) => {
            Some(Refused { errno: Errno::NOENT, message: Some(error.to_string().into()) })
        }
    }
}

/// The refusal of a single request, if it was refused.
fn ipvs_refusal(answer: Result<(), ipvs::Error>) -> Result<Option<Refused>, KernelError> {
    match answer {
        Ok(()) => Ok(None),
        Err(ipvs::Error::Refused(refusal)) => Ok(Some(Refused {
            errno: Errno::from_raw_os_error(refusal.errno),
            message: refusal.message,
        })),
        Err(error) => Err(ipvs_error("writing to IPVS", error)),
    }
}

/// The refusal of a change to the host, if it was refused.
fn host_answer(answer: Result<(), evenkeel_host::Error>) -> Result<Option<Refused>, KernelError> {
    match answer {
        Ok(()) => Ok(None),
        Err(error @ evenkeel_host::Error::NotPermitted { .. }) => {
            Err(host_error("changing the host", error))
        }
        Err(error) => Ok(Some(host_refusal(&error))),
    }
}

/// The message of an operation on the table; `None` for an operation on anything else.
fn command(op: &Op) -> Option<Command> {
    Some(match op {
        Op::AddService { key, after } => Command::NewService(wire_service(key, after)?),
        Op::EditService { key, after, .. } => Command::SetService(wire_service(key, after)?),
        Op::DeleteService { key, .. } => Command::DeleteService(wire_service_key(key)),
        Op::AddRealServer { service, key, after } => {
            Command::NewDestination(wire_service_key(service), wire_destination(key, after))
        }
        Op::EditRealServer { service, key, after, .. } => {
            Command::SetDestination(wire_service_key(service), wire_destination(key, after))
        }
        Op::DeleteRealServer { service, key, .. } => {
            Command::DeleteDestination(wire_service_key(service), wire_key(key))
        }
        Op::AddModule { .. }
        | Op::EditSysctl { .. }
        | Op::EditTimeouts { .. }
        | Op::AddSync { .. }
        | Op::DeleteSync { .. }
        | Op::AddDummy { .. }
        | Op::Bind { .. }
        | Op::Unbind { .. } => return None,
    })
}

fn host_binding(binding: &Binding) -> evenkeel_host::Binding {
    let Binding { address, interface, prefix } = binding;
    evenkeel_host::Binding { address: *address, prefix: *prefix, interface: interface.to_string() }
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

/// The refusal as an error number, with the words of the host crate where the number alone would
/// not tell.
fn host_refusal(error: &evenkeel_host::Error) -> Refused {
    use evenkeel_host::Error;
    match error {
        Error::AlreadyBound(_) | Error::InterfaceExists { .. } => Errno::EXIST.into(),
        Error::NotBound(_) => Errno::ADDRNOTAVAIL.into(),
        Error::InterfaceMissing { .. } => Errno::NODEV.into(),
        Error::Refused { source, .. } | Error::DummyUnavailable { source, .. } => Refused {
            errno: Errno::from_raw_os_error(source.errno),
            message: source.message.as_deref().map(Into::into),
        },
        Error::WouldDropSecondaries { .. } => {
            Refused { errno: Errno::BUSY, message: Some(error.to_string().into()) }
        }
        Error::Io { source, .. } => match source.raw_os_error() {
            Some(errno) => Errno::from_raw_os_error(errno).into(),
            None => Refused { errno: Errno::IO, message: Some(source.to_string().into()) },
        },
        other => Refused { errno: Errno::IO, message: Some(other.to_string().into()) },
    }
}
