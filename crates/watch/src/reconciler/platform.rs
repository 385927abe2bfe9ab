//! What the keeper asks of a kernel beside reading and changing it. Of the one in memory it asks the
//! same, in tests.

use std::collections::BTreeSet;

use evenkeel_engine::{HostKernel, Kernel, KernelError, Lock, LockError, ReadRequest, TableDigest};
use evenkeel_model::{Binding, Live, ServiceKey};

/// Connects to a kernel; the addresses are those that the journal knows as evenkeel's.
pub(crate) type Connect<K> = Box<dyn FnMut(BTreeSet<Binding>) -> Result<K, KernelError> + Send>;

/// A network namespace that can be kept: a kernel, and a cheap look at it.
pub(crate) trait Platform: Kernel + Sized {
    /// What a later look is compared with.
    type TableDigest;

    /// The right to change it.
    type LockGuard;

    /// As [`HostKernel::table_digest`].
    fn probe(&mut self) -> Result<Self::TableDigest, KernelError>;

    /// As [`HostKernel::is_unchanged`].
    fn is_unchanged(
        &mut self,
        table_digest: &Self::TableDigest,
        live: &Live,
        not_in_proc: &BTreeSet<ServiceKey>,
        request: &ReadRequest,
    ) -> Result<bool, KernelError>;

    /// As [`HostKernel::reannounce`].
    fn reannounce(&mut self, vips: &[&Binding]) -> Result<Vec<String>, KernelError>;

    /// As [`HostKernel::set_journalled`].
    fn set_journalled(&mut self, bindings: BTreeSet<Binding>);

    /// As [`Lock::acquire`].
    fn lock() -> Result<Self::LockGuard, LockError>;

    /// As [`Lock::try_acquire`].
    fn try_lock() -> Result<Option<Self::LockGuard>, LockError>;
}

impl Platform for HostKernel {
    type TableDigest = TableDigest;
    type LockGuard = Lock;

    fn probe(&mut self) -> Result<TableDigest, KernelError> {
        self.probe()
    }

    fn is_unchanged(
        &mut self,
        table_digest: &TableDigest,
        live: &Live,
        not_in_proc: &BTreeSet<ServiceKey>,
        request: &ReadRequest,
    ) -> Result<bool, KernelError> {
        self.is_unchanged(table_digest, live, not_in_proc, request)
    }

    fn reannounce(&mut self, vips: &[&Binding]) -> Result<Vec<String>, KernelError> {
        self.reannounce(vips)
    }

    fn set_journalled(&mut self, bindings: BTreeSet<Binding>) {
        self.set_journalled(bindings);
    }

    fn lock() -> Result<Lock, LockError> {
        Lock::acquire()
    }

    fn try_lock() -> Result<Option<Lock>, LockError> {
        Lock::try_acquire()
    }
}
