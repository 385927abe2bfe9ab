//! A host, and the session of a use case with it: kernel, journal and lock.

use std::time::{Duration, Instant};

use evenkeel_control::{LockError, Process};
use evenkeel_engine::{Journal, Journalled, Kernel, KernelError, ReadRequest, StateDir};
use evenkeel_model::Desired;

use crate::confirm::roll_back_due;
use crate::error::WorkflowError;
use crate::event::{Event, EventSink};
use crate::health::HealthMode;
use crate::wall_clock::now;

/// Connects to a kernel, with what the journal records as evenkeel's.
type Connect<'a, K> = dyn FnMut(Journalled) -> Result<K, KernelError> + 'a;

/// The network namespace of a host: the calling thread's.
pub struct Host<'a, K> {
    /// Where its journal is.
    pub state: StateDir,
    /// Connects to its kernel.
    pub connect: Box<Connect<'a, K>>,
    /// What plans do about health checks.
    pub health: HealthMode,
}

/// A use case's access to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Changes and writes nothing; needs no lock.
    Read,
    /// Prepares a change, without the lock; fails while an apply may still be confirmed. One that is
    /// overdue is rolled back first, with the lock.
    Review,
    /// May change something: takes the lock, and fails while an apply may still be confirmed. One that is
    /// overdue is rolled back first.
    Write,
    /// Confirms or rolls back the pending apply, if there is one: takes the lock.
    ConfirmPending,
}

/// The kernel of a host, with the journal of the network namespace.
pub struct Session<K: Kernel> {
    /// The kernel.
    pub kernel: K,
    /// Where the journal is.
    pub state: StateDir,
    /// The journal as read, or as last written by this session.
    pub journal: Journal,
    /// What plans do about health checks.
    pub health: HealthMode,
    /// Held until the session ends; `None` if it changes nothing.
    pub lock: Option<K::LockGuard>,
}

impl<K: Kernel> Host<'_, K> {
    /// Reads the journal and connects to the kernel. A use case that may change something takes the
    /// lock first, so that the journal stays current, and rolls back a pending apply that is overdue.
    ///
    /// # Errors
    /// The lock is held, the journal cannot be read, an apply is pending, or the kernel cannot be
    /// reached.
    pub fn open(
        &mut self,
        access: Access,
        events: &mut dyn EventSink,
    ) -> Result<Session<K>, WorkflowError> {
        let is_writer = matches!(access, Access::Write | Access::ConfirmPending);
        let lock = if is_writer { Some(lock::<K>()?) } else { None };
        let (mut journal, warning) = self.state.read(is_writer)?;
        if let Some(warning) = warning {
            events.emit(Event::JournalDamaged(warning));
        }
        self.report_notices(&mut journal, is_writer, events)?;
        if access == Access::Write && journal.pending_elsewhere().is_some() {
            for state in self.state.overdue_elsewhere(now())? {
                let (mut theirs, _) = state.read(false)?;
                let mut kernel = (self.connect)(Journalled::from(&theirs))?;
                let notice = roll_back_due(&mut kernel, &state, &mut theirs)?;
                notice.into_iter().for_each(|notice| events.emit(Event::Notice(notice)));
            }
            (journal, _) = self.state.read(false)?;
        }
        let is_due = journal.pending.as_ref().is_some_and(|pending| pending.is_due(now()));
        if is_due && access == Access::Review {
            // With the lock, it is rolled back; without it, it may have been meanwhile.
            drop(self.open(Access::Write, events)?);
            (journal, _) = self.state.read(false)?;
        } else if is_due && access == Access::Write {
            let mut kernel = (self.connect)(Journalled::from(&journal))?;
            let notice = roll_back_due(&mut kernel, &self.state, &mut journal)?;
            notice.into_iter().for_each(|notice| events.emit(Event::Notice(notice)));
        }
        match journal.check_writable::<K>(now(), lock.as_ref()) {
            Err(unconfirmed) if matches!(access, Access::Review | Access::Write) => {
                return Err(unconfirmed.into());
            }
            Err(unconfirmed) if access == Access::Read => {
                events.emit(Event::Unconfirmed(unconfirmed));
            }
            _ => {}
        }
        let kernel = (self.connect)(Journalled::from(&journal))?;
        let health = self.health.clone();
        Ok(Session { kernel, state: self.state.clone(), journal, health, lock })
    }

    /// Reports the notices in the journal. A writer also removes them.
    fn report_notices(
        &self,
        journal: &mut Journal,
        is_writer: bool,
        events: &mut dyn EventSink,
    ) -> Result<(), WorkflowError> {
        journal.drop_stale_pending();
        let notices = std::mem::take(&mut journal.notices);
        let is_any = !notices.is_empty();
        notices.into_iter().for_each(|notice| events.emit(Event::Notice(notice)));
        if is_any && is_writer {
            self.state.write(journal)?;
        }
        Ok(())
    }
}

impl<K: Kernel> Session<K> {
    /// Returns what a plan for the spec depends on: what the spec names, and what evenkeel did for an
    /// earlier spec.
    pub fn read_request(&self, desired: &Desired) -> ReadRequest {
        ReadRequest::for_journal(&self.journal).with_spec(desired)
    }
}

/// How long a use case waits for a pass of the daemon.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Takes the lock. Waits for a daemon, which holds it only during its passes, and for a process that
/// released it meanwhile or only tried to take it.
fn lock<K: Kernel>() -> Result<K::LockGuard, LockError> {
    let lock = K::Lock::default();
    let held = match K::lock(&lock) {
        Err(LockError::Held(holder)) if holder.as_ref().is_none_or(is_daemon) => holder,
        other => return other,
    };
    let end = Instant::now() + LOCK_TIMEOUT;
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
        if let Some(guard) = K::try_lock(&lock)? {
            return Ok(guard);
        }
    }
    Err(LockError::Held(held))
}

fn is_daemon(holder: &Process) -> bool {
    holder.command.as_ref().is_some_and(|line| line.split_whitespace().any(|word| word == "watch"))
}
