//! What the keeper asks of a kernel beside reading and changing it. Of the one in memory it asks the
//! same, in tests.

use std::collections::BTreeSet;

use evenkeel_engine::{Glance, HostKernel, Kernel, KernelError, Lock, LockError, Sysctls};
use evenkeel_model::{Binding, Live, ServiceKey};

/// Connects to a kernel; the addresses are those that the journal knows as evenkeel's.
pub(crate) type Connect<K> = Box<dyn FnMut(BTreeSet<Binding>) -> Result<K, KernelError> + Send>;

/// A network namespace that can be kept: a kernel, and a cheap look at it.
pub(crate) trait Ground: Kernel + Sized {
    /// What a later look is compared with.
    type Glance;

    /// The right to change it.
    type Right;

    /// As [`HostKernel::glance`].
    fn glance(&mut self) -> Result<Self::Glance, KernelError>;

    /// As [`HostKernel::is_unchanged`].
    fn is_unchanged(
        &mut self,
        glance: &Self::Glance,
        live: &Live,
        hidden: &BTreeSet<ServiceKey>,
        sysctls: &Sysctls,
    ) -> Result<bool, KernelError>;

    /// As [`HostKernel::announce_risen`].
    fn announce_risen(&mut self, vips: &[&Binding]) -> Result<Vec<String>, KernelError>;

    /// As [`HostKernel::set_journalled`].
    fn set_journalled(&mut self, bindings: BTreeSet<Binding>);

    /// As [`Lock::acquire`].
    fn lock() -> Result<Self::Right, LockError>;

    /// As [`Lock::try_acquire`].
    fn try_lock() -> Result<Option<Self::Right>, LockError>;
}

impl Ground for HostKernel {
    type Glance = Glance;
    type Right = Lock;

    fn glance(&mut self) -> Result<Glance, KernelError> {
        self.glance()
    }

    fn is_unchanged(
        &mut self,
        glance: &Glance,
        live: &Live,
        hidden: &BTreeSet<ServiceKey>,
        sysctls: &Sysctls,
    ) -> Result<bool, KernelError> {
        self.is_unchanged(glance, live, hidden, sysctls)
    }

    fn announce_risen(&mut self, vips: &[&Binding]) -> Result<Vec<String>, KernelError> {
        self.announce_risen(vips)
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
