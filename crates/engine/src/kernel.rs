//! The interface through which evenkeel reads and changes a kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::RandomState;
use std::net::IpAddr;

use evenkeel_control::{LockError, PendingElsewhere};
use evenkeel_host::Capability;
use evenkeel_model::statistics::Statistics;
use evenkeel_model::{
    Binding, DISABLE_IPV6, Desired, Family, ForeignMarks, HostObject, HostObjectKind, Live,
    LocalSessions, PROMOTE_SECONDARIES, Service, ServiceKey, interface_sysctl,
};
use evenkeel_plan::{MasterSysctl, Op};
use rustix::io::Errno;

use crate::error::KernelError;
use crate::journal::Journal;
use crate::probe::TableDigest;
use crate::warning::ExecutionWarning;

/// A network namespace of a kernel with IPVS, real or in memory.
///
/// The same tests hold both kinds to the same behaviour. Reads are never partial: one that fails is
/// an error, not a shorter list.
///
/// Functions take it as `&mut dyn Kernel`, so that each exists once in the program. Only what takes
/// the lock names the type.
pub trait Kernel {
    /// The lock of the network namespace of the thread that first takes it. One that was taken is taken
    /// again without another descriptor.
    type Lock: Clone + Default + Send + 'static
    where
        Self: Sized;

    /// Excludes other writers of the network namespace until it is dropped.
    type LockGuard
    where
        Self: Sized;

    /// Takes the lock without waiting for it.
    ///
    /// # Errors
    /// As [`Lock::acquire`](evenkeel_control::Lock::acquire).
    fn lock(lock: &Self::Lock) -> Result<Self::LockGuard, LockError>
    where
        Self: Sized;

    /// Takes the lock without waiting for it and without asking who holds it; `None` while another
    /// process holds it.
    ///
    /// # Errors
    /// As [`Lock::try_acquire`](evenkeel_control::Lock::try_acquire).
    fn try_lock(lock: &Self::Lock) -> Result<Option<Self::LockGuard>, LockError>
    where
        Self: Sized;

    /// Checks that no apply of another journal is pending in the network namespace.
    ///
    /// # Errors
    /// As [`PendingMarker::check_none`](evenkeel_control::PendingMarker::check_none).
    fn check_none_pending(lock: Option<&Self::LockGuard>) -> Result<(), PendingElsewhere>
    where
        Self: Sized;

    /// Whether the calling thread has this capability in effect. True where it cannot be determined,
    /// because a system-call filter forbids it: then the kernel's refusals report what is missing.
    fn has_capability(&self, capability: Capability) -> bool;

    /// Reads which interfaces have no neighbours that an address could be announced to.
    ///
    /// # Errors
    /// The interfaces cannot be read.
    fn silent_interfaces(&mut self) -> Result<BTreeSet<Box<str>>, KernelError>;

    /// Sets what the journal records as evenkeel's, for what the kernel stores no mark of.
    fn set_journalled(&mut self, journalled: Journalled);

    /// Reads everything a plan depends on, including what the request names.
    ///
    /// # Errors
    /// Something could not be read.
    fn observe(&mut self, request: &ReadRequest) -> Result<Live, KernelError>;

    /// Reads the same and the counters.
    ///
    /// # Errors
    /// As [`Self::observe`].
    fn observe_with_statistics(
        &mut self,
        request: &ReadRequest,
    ) -> Result<(Live, Statistics), KernelError>;

    /// Reads some services; those that do not exist are absent from the result.
    ///
    /// # Errors
    /// As [`Self::observe`].
    fn services(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
    ) -> Result<BTreeMap<ServiceKey, Service>, KernelError>;

    /// Reads some services and their counters.
    ///
    /// # Errors
    /// As [`Self::observe`].
    fn services_with_statistics(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
    ) -> Result<(BTreeMap<ServiceKey, Service>, Statistics), KernelError>;

    /// Reads the sessions of programs on the host over these addresses. A protocol whose sessions cannot be
    /// read is in the result, with the reason: no plan depends on them.
    fn local_sessions(&mut self, addresses: &BTreeSet<IpAddr>) -> LocalSessions;

    /// Reads everything that is not a service into `live`, replacing what it contains.
    ///
    /// # Errors
    /// As [`Self::observe`].
    fn read_namespace(&mut self, request: &ReadRequest, live: &mut Live)
    -> Result<(), KernelError>;

    /// Executes the operations in order. A refused operation does not stop the others: the caller
    /// passes only operations that may follow each other's failure.
    ///
    /// # Errors
    /// The kernel could not be reached at all.
    fn execute(&mut self, ops: &[Op]) -> Result<Replies, KernelError>;

    /// Resets the counters and rates of these services and of their real servers to 0; connections
    /// stay. The replies are in the order of the services. Of services that do not exist, it is
    /// refused with `ESRCH`.
    ///
    /// # Errors
    /// As [`Self::execute`].
    fn zero(&mut self, services: &BTreeSet<ServiceKey>) -> Result<Replies, KernelError>;

    /// Announces the VIPs whose interfaces came up, or changed their hardware address, between
    /// readings since the last call. Interfaces that were up at the first reading do not count.
    /// Returns a message for each VIP that could not be announced.
    ///
    /// # Errors
    /// The addresses cannot be read.
    fn reannounce(&mut self, vips: &[&Binding]) -> Result<Vec<String>, KernelError>;

    /// Digests `/proc/net/ip_vs` with these keys.
    ///
    /// # Errors
    /// The file cannot be read.
    fn digest_table(&mut self, keys: &RandomState) -> Result<TableDigest, KernelError>;

    /// Takes a digest of the table for [`Self::is_unchanged`]. Call it before the reading that is
    /// passed to `is_unchanged`: then a change between the two counts as a change, whereas in the
    /// opposite order it would be missed.
    ///
    /// With the real kernel it takes three system calls and one for each page of the file, which
    /// holds about sixty real servers: 34 of them for 200 services of 10. It must be called in the
    /// network namespace that was connected, like everything that reads `/proc`.
    ///
    /// # Errors
    /// The file cannot be read.
    fn probe(&mut self) -> Result<TableDigest, KernelError> {
        self.digest_table(&RandomState::new())
    }

    /// Whether everything is still as in `live`, as far as a probe can see: the table as it was at
    /// that probe; the services in `not_in_proc`, which are dumped; and everything that is not a
    /// service, including what the request names. Statistics are not compared.
    ///
    /// With the real kernel it takes as many system calls as a probe, and for the services in
    /// `not_in_proc` and everything else what a complete reading takes for them: two for the list of
    /// services (or, up to eight services in `not_in_proc`, two for each), two for the real servers
    /// of each, and about thirty.
    ///
    /// # Errors
    /// Something could not be read.
    fn is_unchanged(
        &mut self,
        digest: &TableDigest,
        live: &Live,
        not_in_proc: &BTreeSet<ServiceKey>,
        request: &ReadRequest,
    ) -> Result<bool, KernelError> {
        if !self.digest_table(digest.keys())?.is_same(digest) {
            return Ok(false);
        }
        if !not_in_proc.is_empty() {
            let found = self.services(not_in_proc)?;
            if not_in_proc.iter().any(|key| found.get(key) != live.services.get(key)) {
                return Ok(false);
            }
        }
        let mut now = Live::default();
        self.read_namespace(request, &mut now)?;
        Ok(now.same_beside_services(live))
    }
}

/// What the journal records as evenkeel's. It decides where the kernel stores no mark: of FOU ports, and
/// of addresses before Linux 5.18; and about marked objects that evenkeel left to another program. Packet
/// rules that are recorded count as there while no program can read them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journalled {
    /// The addresses.
    pub addresses: BTreeSet<Binding>,
    /// The host objects.
    pub host_objects: BTreeSet<HostObject>,
    /// What has evenkeel's mark and is another program's.
    pub foreign: ForeignMarks,
}

impl From<&Journal> for Journalled {
    fn from(journal: &Journal) -> Self {
        let Journal { addresses, host_objects, record, .. } = journal;
        Self {
            addresses: addresses.clone(),
            host_objects: host_objects.clone(),
            foreign: record.handed_over.clone(),
        }
    }
}

/// What is read only if it is needed, beside everything that is always read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadRequest {
    /// The keys of sysctls.
    pub sysctls: BTreeSet<Box<str>>,
    /// The kinds of host objects that are read: reading routes takes a dump of the main table.
    pub host_objects: BTreeSet<HostObjectKind>,
    /// The sysctls with side effects. The sysctls that the kernel rewrites with one of them, which are
    /// several for each interface, are read too, unless it already has the value of the spec.
    pub masters: BTreeSet<MasterSysctl>,
    /// The values that every spec asks of them; `None` without a spec.
    pub master_values: Option<BTreeMap<MasterSysctl, Box<str>>>,
    /// The interfaces of the sync daemons that the spec asks for.
    pub sync_links: BTreeSet<Box<str>>,
    /// The addresses of the spec's services. Routes of type `local` are read only where no interface that is up has
    /// one of them: they take a dump of all tables.
    pub service_addresses: BTreeSet<IpAddr>,
}

impl ReadRequest {
    /// Requests nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests what was read into that state before.
    pub fn again(live: &Live) -> Self {
        Self {
            sysctls: live.sysctls.keys().chain(live.sysctl_obstacles.keys()).cloned().collect(),
            host_objects: live.host_objects.read.clone(),
            sync_links: live.sync_links.keys().cloned().collect(),
            ..Self::default()
        }
    }

    /// Requests what evenkeel did in that namespace.
    pub fn for_journal(journal: &Journal) -> Self {
        let sysctls = journal.record.sysctls.keys().cloned().collect();
        let host_objects = journal.host_objects.iter().map(HostObject::kind).collect();
        let recorded = journal.record.sysctls.keys().chain(journal.record.side_effects.keys());
        let masters = recorded.filter_map(|key| MasterSysctl::of(key)).collect();
        Self { sysctls, host_objects, masters, ..Self::default() }
    }

    /// Adds what a spec depends on.
    #[must_use]
    pub fn with_spec(mut self, desired: &Desired) -> Self {
        self.sysctls.extend(desired.sysctls.keys().cloned());
        self.sysctls.extend(sysctls_of_vips(desired));
        let daemons = desired.sync.iter().flat_map(BTreeMap::values);
        self.sync_links.extend(daemons.map(|daemon| daemon.interface.clone()));
        let values = desired.sysctls.iter();
        let values = values.filter_map(|(key, it)| Some((MasterSysctl::of(key)?, it.clone())));
        let mut values: BTreeMap<MasterSysctl, Box<str>> = values.collect();
        self.masters.extend(values.keys().copied());
        if let Some(others) = &self.master_values {
            values.retain(|master, value| others.get(master) == Some(&*value));
        }
        self.master_values = Some(values);
        self.host_objects.extend(desired.host_objects.keys().map(HostObject::kind));
        self.service_addresses.extend(desired.services.keys().filter_map(ServiceKey::vip));
        // The default routes are compared with those that NAT needs, and a plan warns of another.
        if !desired.expected_gateways.is_empty() {
            self.host_objects.insert(HostObjectKind::DefaultRoute);
        }
        self
    }

    /// Returns the requested addresses of services that no interface that is up has; `None` if none was
    /// requested.
    pub(crate) fn unbound_addresses(&self, live: &Live) -> Option<BTreeSet<IpAddr>> {
        let addresses = Some(&self.service_addresses).filter(|all| !all.is_empty())?;
        Some(
            addresses
                .iter()
                .copied()
                .filter(|it| live.bound_and_up(*it).next().is_none())
                .collect(),
        )
    }

    /// Returns the masters whose side effects are read, as `value` reads sysctls.
    ///
    /// # Errors
    /// Those of `value`.
    pub(crate) fn masters_to_read<E>(
        &self,
        mut value: impl FnMut(&str) -> Result<Option<Box<str>>, E>,
    ) -> Result<Vec<MasterSysctl>, E> {
        let mut found = Vec::new();
        for master in &self.masters {
            let asked = self.master_values.as_ref().and_then(|values| values.get(master));
            let now = value(master.key())?;
            if now.is_some() && now.as_ref() != asked {
                found.push(*master);
            }
        }
        Ok(found)
    }
}

/// The sysctls on which it depends whether the kernel binds and unbinds the VIPs of a spec as it is asked.
fn sysctls_of_vips(desired: &Desired) -> BTreeSet<Box<str>> {
    let mut keys = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for (Binding { address, interface, prefix }, vip) in &desired.vips {
        let family = Family::from(*address);
        let (name, further) = match family {
            // An address alone in its subnet is neither primary nor secondary of another one.
            Family::Ipv4 if *prefix == 32 => continue,
            Family::Ipv4 => (PROMOTE_SECONDARIES, Some("all")),
            Family::Ipv6 => (DISABLE_IPV6, vip.dummy.then_some("default")),
        };
        if seen.insert((family, interface, further)) {
            let places = [Some(&**interface), further].into_iter().flatten();
            keys.extend(places.map(|place| interface_sysctl(family, place, name).into()));
        }
    }
    keys
}

impl FromIterator<Box<str>> for ReadRequest {
    /// Requests only those sysctls.
    fn from_iter<I: IntoIterator<Item = Box<str>>>(keys: I) -> Self {
        Self { sysctls: keys.into_iter().collect(), ..Self::default() }
    }
}

impl Extend<Box<str>> for ReadRequest {
    /// Adds sysctls.
    fn extend<I: IntoIterator<Item = Box<str>>>(&mut self, keys: I) {
        self.sysctls.extend(keys);
    }
}

/// The results of a list of operations. Nearly all of them are "done", tens of thousands on a large
/// table, so only the others are stored.
#[derive(Debug, Default)]
pub struct Replies {
    /// The operations that were not simply done, by their index in the list.
    pub exceptions: BTreeMap<usize, Exception>,
    /// What did not prevent an operation but should be reported.
    pub warnings: Vec<ExecutionWarning>,
}

/// A result of one operation other than "done".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exception {
    /// The kernel refused it.
    Refused(Refused),
    /// The reply was lost: the operation may or may not be done, which only reading again can show.
    Lost,
    /// It was not sent, because of the results of earlier operations.
    NotSent,
    /// Nothing was done: the kernel does it itself when a later operation needs it. Only of modules.
    LeftToKernel,
}

/// A refusal by the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The error number.
    pub errno: Errno,
    /// The kernel's own message, if it sent one.
    pub message: Option<Box<str>>,
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        Self { errno, message: None }
    }
}
