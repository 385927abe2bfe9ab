//! A kernel in memory that several owners share: a test changes it while another thread or a second
//! connection uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evenkeel_control::{LockError, PendingElsewhere};
use evenkeel_host::Capability;
use evenkeel_model::statistics::Statistics;
use evenkeel_model::{Binding, Live, LocalSessions, Service, ServiceKey};
use evenkeel_plan::Op;

use super::FakeKernel;
use crate::error::KernelError;
use crate::kernel::{Journalled, Kernel, ReadRequest, Replies};
use crate::probe::TableDigest;

/// A shared kernel in memory.
#[derive(Debug, Clone, Default)]
pub struct SharedKernel(Arc<Mutex<FakeKernel>>);

impl SharedKernel {
    /// Shares a kernel.
    pub fn new(kernel: FakeKernel) -> Self {
        Self(Arc::new(Mutex::new(kernel)))
    }

    /// Locks the kernel for its test.
    pub fn get(&self) -> MutexGuard<'_, FakeKernel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kernel for SharedKernel {
    type Lock = ();
    type LockGuard = ();

    fn lock(lock: &()) -> Result<(), LockError> {
        FakeKernel::lock(lock)
    }

    fn try_lock(lock: &()) -> Result<Option<()>, LockError> {
        FakeKernel::try_lock(lock)
    }

    fn check_none_pending(lock: Option<&()>) -> Result<(), PendingElsewhere> {
        FakeKernel::check_none_pending(lock)
    }

    fn has_capability(&self, capability: Capability) -> bool {
        self.get().has_capability(capability)
    }

    fn silent_interfaces(&mut self) -> Result<BTreeSet<Box<str>>, KernelError> {
        self.get().silent_interfaces()
    }

    fn set_journalled(&mut self, journalled: Journalled) {
        self.get().set_journalled(journalled);
    }

    fn observe(&mut self, request: &ReadRequest) -> Result<Live, KernelError> {
        self.get().observe(request)
    }

    fn observe_with_statistics(
        &mut self,
        request: &ReadRequest,
    ) -> Result<(Live, Statistics), KernelError> {
        self.get().observe_with_statistics(request)
    }

    fn services(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
    ) -> Result<BTreeMap<ServiceKey, Service>, KernelError> {
        self.get().services(keys)
    }

    fn services_with_statistics(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
    ) -> Result<(BTreeMap<ServiceKey, Service>, Statistics), KernelError> {
        self.get().services_with_statistics(keys)
    }

    fn local_sessions(&mut self, addresses: &BTreeSet<IpAddr>) -> LocalSessions {
        self.get().local_sessions(addresses)
    }

    fn read_namespace(
        &mut self,
        request: &ReadRequest,
        live: &mut Live,
    ) -> Result<(), KernelError> {
        self.get().read_namespace(request, live)
    }

    fn execute(&mut self, ops: &[Op]) -> Result<Replies, KernelError> {
        self.get().execute(ops)
    }

    fn zero(&mut self, services: &BTreeSet<ServiceKey>) -> Result<Replies, KernelError> {
        self.get().zero(services)
    }

    fn reannounce(&mut self, vips: &[&Binding]) -> Result<Vec<String>, KernelError> {
        self.get().reannounce(vips)
    }

    fn digest_table(&mut self, keys: &RandomState) -> Result<TableDigest, KernelError> {
        self.get().digest_table(keys)
    }
}
