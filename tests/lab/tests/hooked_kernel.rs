//! The kernel of this host with hooks around its calls, to disturb or interrupt a pass at a given
//! point.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::RandomState;
use std::net::IpAddr;

use evenkeel_control::{Lock, LockError, LockGuard, PendingElsewhere};
use evenkeel_engine::{
    HostKernel, Journalled, Kernel, KernelError, ReadRequest, Replies, TableDigest,
};
use evenkeel_host::Capability;
use evenkeel_model::statistics::Statistics;
use evenkeel_model::{Binding, Live, LocalSessions, Service, ServiceKey};
use evenkeel_plan::Op;

/// What a pass reads from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The state of the host or of some services.
    State,
    /// Services and their connections, while they drain.
    Drains,
}

/// Code that runs around the calls to a kernel.
pub(crate) trait Hooks {
    /// Runs before each reading.
    fn before_reading(&mut self, _reading: Reading) {}

    /// Executes operations in place of [`HostKernel::execute`].
    fn execute(&mut self, kernel: &mut HostKernel, ops: &[Op]) -> Result<Replies, KernelError>;
}

/// A kernel with hooks.
pub(crate) struct HookedKernel<H> {
    pub(crate) kernel: HostKernel,
    pub(crate) hooks: H,
}

impl<H: Hooks> Kernel for HookedKernel<H> {
    type Lock = Lock;
    type LockGuard = LockGuard;

    fn lock(lock: &Lock) -> Result<LockGuard, LockError> {
        HostKernel::lock(lock)
    }

    fn try_lock(lock: &Lock) -> Result<Option<LockGuard>, LockError> {
        HostKernel::try_lock(lock)
    }

    fn check_none_pending(lock: Option<&LockGuard>) -> Result<(), PendingElsewhere> {
        HostKernel::check_none_pending(lock)
    }

    fn has_capability(&self, capability: Capability) -> bool {
        self.kernel.has_capability(capability)
    }

    fn silent_interfaces(&mut self) -> Result<BTreeSet<Box<str>>, KernelError> {
        self.kernel.silent_interfaces()
    }

    fn set_journalled(&mut self, journalled: Journalled) {
        self.kernel.set_journalled(journalled);
    }

    fn observe(&mut self, request: &ReadRequest) -> Result<Live, KernelError> {
        self.hooks.before_reading(Reading::State);
        self.kernel.observe(request)
    }

    fn observe_with_statistics(
        &mut self,
        request: &ReadRequest,
    ) -> Result<(Live, Statistics), KernelError> {
        self.hooks.before_reading(Reading::State);
        self.kernel.observe_with_statistics(request)
    }

    fn services(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
    ) -> Result<BTreeMap<ServiceKey, Service>, KernelError> {
        self.hooks.before_reading(Reading::State);
        self.kernel.services(keys)
    }

    fn services_with_statistics(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
    ) -> Result<(BTreeMap<ServiceKey, Service>, Statistics), KernelError> {
        self.hooks.before_reading(Reading::Drains);
        self.kernel.services_with_statistics(keys)
    }

    fn local_sessions(&mut self, addresses: &BTreeSet<IpAddr>) -> LocalSessions {
        self.kernel.local_sessions(addresses)
    }

    fn read_namespace(
        &mut self,
        request: &ReadRequest,
        live: &mut Live,
    ) -> Result<(), KernelError> {
        self.hooks.before_reading(Reading::State);
        self.kernel.read_namespace(request, live)
    }

    fn execute(&mut self, ops: &[Op]) -> Result<Replies, KernelError> {
        self.hooks.execute(&mut self.kernel, ops)
    }

    fn zero(&mut self, services: &BTreeSet<ServiceKey>) -> Result<Replies, KernelError> {
        self.kernel.zero(services)
    }

    fn reannounce(&mut self, vips: &[&Binding]) -> Result<Vec<String>, KernelError> {
        self.kernel.reannounce(vips)
    }

    fn digest_table(&mut self, keys: &RandomState) -> Result<TableDigest, KernelError> {
        self.kernel.digest_table(keys)
    }
}
