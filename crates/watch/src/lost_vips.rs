//! Binds lost VIPs again at once, whatever the reconciler is doing: reading a spec that is being written, or
//! a table of thousands of services.
//!
//! The reconciler publishes which VIPs may be bound again without another plan ([`KeptVips`]); the thread that
//! receives the address events binds those that are gone ([`Rebinder`]), and reports it to the reconciler,
//! whose next pass reads everything. It never does more than that pass would:
//!
//! - It binds only VIPs that the last admitted plan keeps and that evenkeel had bound: none while the daemon is
//!   paused, observes or an apply is not confirmed, none of another program, none with a conflict or a failure.
//!   Before a pass unbinds a VIP, it withdraws all of that interface.
//! - It binds a VIP once until the next pass, which counts it: a conflict is detected as without it.
//! - While another process holds the lock, it binds nothing; the reconciler makes its pass as soon as the lock
//!   is free. While a pass of this daemon holds the lock, it binds under that lock.
//! - If another process has written the journal since the VIPs were published, it binds nothing: that process
//!   may have unbound the VIP.
//! - It opens nothing: its connection and the sockets of the lock stay open. So it works when no descriptor is left.
//! - It leaves VIPs of a real server to the passes, which first make sure that no ARP request for them is
//!   answered.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evenkeel_control::LockError;
use evenkeel_engine::{JournalVersion, Journalled, Kernel, KernelError, ReadRequest, StateDir};
use evenkeel_host::Change;
use evenkeel_model::{Binding, Live};
use evenkeel_plan::Op;
use tracing::{debug, warn};

use crate::reconciler::Connect;

/// The VIPs that may be bound again without another plan, with the operation that does so.
pub(crate) type Rebinds = BTreeMap<Binding, Op>;

/// What the reconciler and the thread of the address events share.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeptVips(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    rebinds: Rebinds,
    /// The journal's file when they were published.
    journal: Option<JournalVersion>,
    /// Whether a pass of this daemon holds the lock.
    is_in_pass: bool,
}

/// The lock that a pass holds. While it does, lost VIPs are bound again under the same lock.
pub(crate) struct PassLock<G> {
    guard: Option<G>,
    kept: KeptVips,
}

impl KeptVips {
    fn get(&self) -> MutexGuard<'_, Kept> {
        // No invariant spans two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock for a pass, as `take` does. If another writer was there since the VIPs were published, or
    /// an apply is pending, none is bound again until the pass publishes them.
    ///
    /// # Errors
    /// Those of `take`.
    pub(crate) fn lock_for_pass<K: Kernel>(
        &self,
        state: &StateDir,
        take: impl FnOnce() -> Result<Option<K::LockGuard>, LockError>,
    ) -> Result<Option<PassLock<K::LockGuard>>, LockError> {
        // Held meanwhile, so that the lock is not found held by the other thread.
        let mut kept = self.get();
        let Some(guard) = take()? else { return Ok(None) };
        if !kept.is_current::<K>(state, &guard) {
            kept.rebinds.clear();
        }
        kept.is_in_pass = true;
        Ok(Some(PassLock { guard: Some(guard), kept: self.clone() }))
    }

    /// Publishes the VIPs at the end of a pass that still holds the lock.
    pub(crate) fn publish(&self, rebinds: Rebinds, state: &StateDir) {
        let journal = state.journal_version();
        let mut kept = self.get();
        (kept.rebinds, kept.journal) = (rebinds, journal);
    }

    /// Keeps those of the published VIPs that `is_kept` accepts, at the end of a pass that still holds the lock and
    /// failed before it had found which VIPs are bound. It may have written the journal, which no other writer has
    /// done.
    pub(crate) fn keep(&self, is_kept: impl Fn(&Binding) -> bool, state: &StateDir) {
        let journal = state.journal_version();
        let mut kept = self.get();
        kept.rebinds.retain(|binding, _| is_kept(binding));
        kept.journal = journal;
    }

    /// Publishes the same VIPs again after a probe found the host unchanged.
    pub(crate) fn publish_again(&self, rebinds: Rebinds) {
        self.get().rebinds = rebinds;
    }

    /// Withdraws the VIPs of every interface on which these steps unbind an address: with it, the kernel may
    /// delete others for a moment.
    pub(crate) fn withdraw(&self, steps: &[Op]) {
        let unbound = steps.iter().filter_map(|op| match op {
            Op::Unbind { binding, .. } => Some(&binding.interface),
            _ => None,
        });
        let interfaces: std::collections::BTreeSet<_> = unbound.collect();
        if !interfaces.is_empty() {
            self.get().rebinds.retain(|binding, _| !interfaces.contains(&binding.interface));
        }
    }

    /// Withdraws all.
    pub(crate) fn clear(&self) {
        self.get().rebinds.clear();
    }
}

impl Kept {
    /// Whether no other writer was there since the VIPs were published, and no apply is pending.
    fn is_current<K: Kernel>(&self, state: &StateDir, guard: &K::LockGuard) -> bool {
        self.journal == state.journal_version() && K::check_none_pending(Some(guard)).is_ok()
    }
}

impl<G> PassLock<G> {
    /// The lock itself.
    pub(crate) fn guard(&self) -> Option<&G> {
        self.guard.as_ref()
    }
}

impl<G> Drop for PassLock<G> {
    fn drop(&mut self) {
        let mut kept = self.kept.get();
        kept.is_in_pass = false;
        // While the other thread waits, so that it does not find the lock held.
        drop(self.guard.take());
    }
}

/// Binds lost VIPs again.
pub(crate) struct Rebinder<K: Kernel> {
    connect: Connect<K>,
    /// Open from the start, so that it needs no descriptor later.
    kernel: Option<K>,
    /// The lock of the passes, whose sockets stay open.
    lock: K::Lock,
    kept: KeptVips,
    state: StateDir,
}

impl<K: Kernel> Rebinder<K> {
    pub(crate) fn new(
        mut connect: Connect<K>,
        lock: K::Lock,
        kept: KeptVips,
        state: StateDir,
    ) -> Self {
        // Without a kernel, the passes fail too, and report it.
        let kernel = connect(Journalled::default()).ok();
        Self { connect, kernel, lock, kept, state }
    }

    /// Binds the VIPs that this change removed, as far as they may be bound again, and returns what was done.
    pub(crate) fn rebind(&mut self, change: &Change) -> Vec<Op> {
        if change.gone.is_empty() && !change.lost {
            return Vec::new();
        }
        let kept = self.kept.clone();
        let mut kept = kept.get();
        match self.rebind_kept(change, &mut kept) {
            Ok(done) => done,
            Err(error) => {
                // The pass that follows fails with it too, and reports it.
                debug!("a lost VIP is left to the next pass: {error}");
                self.kernel = None;
                Vec::new()
            }
        }
    }

    fn rebind_kept(&mut self, change: &Change, kept: &mut Kept) -> Result<Vec<Op>, KernelError> {
        let Self { connect, kernel, lock, state, .. } = self;
        let is_gone = |binding: &Binding| change.gone.contains(&binding.address);
        if !kept.rebinds.keys().any(|binding| change.lost || is_gone(binding)) {
            return Ok(Vec::new());
        }
        let _lock = match kept.is_in_pass {
            true => None,
            false => {
                let left = |why: &str| {
                    debug!("a lost VIP is left to the next pass: {why}");
                    Ok(Vec::new())
                };
                let guard = match K::try_lock(lock) {
                    Ok(Some(guard)) => guard,
                    Ok(None) => return left("another process has the lock"),
                    Err(error) => return left(&error.to_string()),
                };
                if !kept.is_current::<K>(state, &guard) {
                    kept.rebinds.clear();
                    return left("another process has written the journal, or an apply is pending");
                }
                Some(guard)
            }
        };
        let kernel = match kernel {
            Some(kernel) => kernel,
            empty => empty.insert(connect(Journalled::default())?),
        };
        let mut live = Live::default();
        if change.lost {
            kernel.read_namespace(&ReadRequest::default(), &mut live)?;
        }
        let is_lost = |binding: &Binding| {
            is_gone(binding) || change.lost && live.bound_at(binding).next().is_none()
        };
        let all = mem::take(&mut kept.rebinds);
        let (lost, others) = all.into_iter().partition(|(binding, _)| is_lost(binding));
        kept.rebinds = others;
        let lost: Rebinds = lost;
        let lost: Vec<Op> = lost.into_values().collect();
        let replies = kernel.execute(&lost)?;
        for warning in &replies.warnings {
            warn!("{warning}");
        }
        let done = lost.into_iter().enumerate();
        let done = done.filter(|(place, _)| !replies.exceptions.contains_key(place));
        Ok(done.map(|(_, op)| op).collect())
    }
}
