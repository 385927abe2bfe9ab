//! What the engine needs of a kernel.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::statistics::Statistics;
use evenkeel_model::{Desired, Live, Service, ServiceKey};
use evenkeel_plan::Op;
use rustix::io::Errno;

use crate::{Journal, KernelError};

/// A network namespace of a kernel with IPVS, real or in memory.
///
/// Both kinds are held to the same behaviour. Reads are never partial: one that fails is an
/// error, not a shorter list.
pub trait Kernel {
    /// Reads everything a plan depends on, with what the request names.
    ///
    /// # Errors
    /// Anything that kept it from reading all of it.
    fn observe(&mut self, request: &ReadRequest) -> Result<Live, KernelError>;

    /// Reads the same, and the counters beside it.
    ///
    /// # Errors
    /// As [`Self::observe`].
    fn observe_with_statistics(
        &mut self,
        request: &ReadRequest,
    ) -> Result<(Live, Statistics), KernelError>;

    /// Reads some services; the ones that do not exist are absent from the answer.
    ///
    /// # Errors
    /// As [`Self::observe`].
    fn services(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
    ) -> Result<BTreeMap<ServiceKey, Service>, KernelError>;

    /// Reads the same services, and their counters beside them.
    ///
    /// # Errors
    /// As [`Self::observe`].
    fn services_with_statistics(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
    ) -> Result<(BTreeMap<ServiceKey, Service>, Statistics), KernelError>;

    /// Reads all that is not a service into `live`, in place of what stands there.
    ///
    /// # Errors
    /// As [`Self::observe`].
    fn read_namespace(&mut self, request: &ReadRequest, live: &mut Live)
    -> Result<(), KernelError>;

    /// Carries out the operations in their order. One that is refused does not stop the others:
    /// the caller passes only operations that may follow each other's failure.
    ///
    /// # Errors
    /// The kernel could not be reached at all.
    fn execute(&mut self, ops: &[Op]) -> Result<Replies, KernelError>;
}

/// What is read beside the table only where it is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadRequest {
    /// The keys of sysctls.
    pub sysctls: BTreeSet<Box<str>>,
    /// Whether host routes are read.
    pub routes: bool,
}

impl ReadRequest {
    /// Nothing of it.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was read into that state before.
    pub fn again(live: &Live) -> Self {
        Self { sysctls: live.sysctls.keys().cloned().collect(), routes: live.routes.is_some() }
    }

    /// What evenkeel did in that namespace.
    pub fn for_journal(journal: &Journal) -> Self {
        let sysctls = journal.record.sysctls.keys().cloned().collect();
        Self { sysctls, routes: !journal.routes.is_empty() }
    }

    /// Adds what a spec depends on.
    #[must_use]
    pub fn with_spec(mut self, desired: &Desired) -> Self {
        self.sysctls.extend(desired.sysctls.keys().cloned());
        self.routes |= desired.vips.values().any(|vip| vip.route);
        self
    }
}

impl FromIterator<Box<str>> for ReadRequest {
    /// Those sysctls alone.
    fn from_iter<I: IntoIterator<Item = Box<str>>>(keys: I) -> Self {
        Self { sysctls: keys.into_iter().collect(), routes: false }
    }
}

impl Extend<Box<str>> for ReadRequest {
    /// Adds sysctls.
    fn extend<I: IntoIterator<Item = Box<str>>>(&mut self, keys: I) {
        self.sysctls.extend(keys);
    }
}

/// The answers to a list of operations. Nearly all of them are "done", in tens of thousands on a
/// large table, so only the others are kept.
#[derive(Debug, Default)]
pub struct Replies {
    /// The operations that were not simply done, by their place in the list.
    pub exceptions: BTreeMap<usize, Exception>,
    /// What did not keep an operation from being done, but should be known.
    pub warnings: Vec<String>,
}

/// An answer to one operation that is not "done".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exception {
    /// The kernel refused it.
    Refused(Refused),
    /// The answer was lost: it may or may not be done, and only reading again can tell.
    Lost,
    /// It was not sent, because of what became of the ones before it.
    NotSent,
}

/// The kernel's no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The error number.
    pub errno: Errno,
    /// The kernel's own words, where it sent any.
    pub message: Option<Box<str>>,
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        Self { errno, message: None }
    }
}
