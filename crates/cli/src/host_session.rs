//! The session of a command with its host: namespace, lock, journal and kernel.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use evenkeel_engine::{Holder, HostKernel, Journal, Lock, LockError, ReadRequest, StateDir};
use evenkeel_host::Namespace;
use evenkeel_model::statistics::Statistics;
use evenkeel_model::{Desired, Live};

use crate::args::GlobalArgs;
use crate::error::Error;
use crate::output::Output;

/// The kernel of this host, with the journal of the network namespace.
pub(crate) struct HostSession {
    pub(crate) kernel: HostKernel,
    pub(crate) state: StateDir,
    pub(crate) journal: Journal,
    /// Held until dropped; `None` for a command that changes nothing.
    pub(crate) lock: Option<Lock>,
}

/// How a command accesses the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Changes and writes nothing; needs no lock.
    Read,
    /// Asks, and then changes something: takes no lock yet ([`HostSession::begin_writing`]), and fails
    /// while an apply is pending.
    Ask,
    /// May change something: takes the lock, and fails while an apply is pending.
    Write,
    /// Confirms or rolls back the pending apply, if there is one: takes the lock.
    ConfirmPending,
}

impl HostSession {
    /// Reads the journal and connects to the kernel.
    ///
    /// A command that may change something takes the lock first, so that the journal stays current.
    pub(crate) fn connect(
        global: &GlobalArgs,
        access: Access,
        output: &mut Output,
    ) -> Result<Self, Error> {
        let state = state_dir(global)?;
        let is_writer = matches!(access, Access::Write | Access::ConfirmPending);
        let lock = if is_writer { Some(lock()?) } else { None };
        let (mut journal, warning) = state.read(is_writer)?;
        if let Some(warning) = warning {
            output.warning(&warning);
        }
        print_notices(&mut journal, is_writer.then_some(&state), output)?;
        match journal.check_writable(now()) {
            Err(unconfirmed) if access == Access::Read => output.warning(unconfirmed.to_string()),
            Err(_) if access == Access::ConfirmPending => {}
            checked => checked?,
        }
        let kernel = HostKernel::connect(journal.addresses.clone())?;
        Ok(Self { kernel, state, journal, lock })
    }

    /// Takes the lock after a question was answered, and reads the journal again.
    pub(crate) fn begin_writing(&mut self) -> Result<(), Error> {
        self.lock = Some(lock()?);
        // A warning about it was printed before the question.
        let (mut journal, _) = self.state.read(false)?;
        journal.drop_stale_pending();
        journal.check_writable(now())?;
        self.journal = journal;
        Ok(())
    }
}

/// How long a command waits for a pass of the daemon.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Takes the lock. Waits for a daemon, which holds it only during its passes.
fn lock() -> Result<Lock, LockError> {
    let held = match Lock::acquire() {
        Err(LockError::Held(Some(holder))) if is_daemon(&holder) => holder,
        other => return other,
    };
    let end = Instant::now() + LOCK_TIMEOUT;
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
        if let Some(lock) = Lock::try_acquire()? {
            return Ok(lock);
        }
    }
    Err(LockError::Held(Some(held)))
}

fn is_daemon(holder: &Holder) -> bool {
    holder.command.as_ref().is_some_and(|line| line.split_whitespace().any(|word| word == "watch"))
}

/// Enters the network namespace of `--netns`, and returns the directory of its journal.
pub(crate) fn state_dir(global: &GlobalArgs) -> Result<StateDir, Error> {
    enter(global)?;
    Ok(StateDir::of(&global.state_dir, namespace()?))
}

/// Enters the network namespace of `--netns`, if there is one.
pub(crate) fn enter(global: &GlobalArgs) -> Result<(), Error> {
    match &global.netns {
        Some(name) => Namespace::enter(name).map_err(Error::Namespace),
        None => Ok(()),
    }
}

/// The network namespace of this thread.
pub(crate) fn namespace() -> Result<Namespace, Error> {
    Namespace::current().map_err(Error::Namespace)
}

/// Prints the notices in the journal. A writer, which passes `state`, also removes them.
fn print_notices(
    journal: &mut Journal,
    state: Option<&StateDir>,
    output: &mut Output,
) -> Result<(), Error> {
    journal.drop_stale_pending();
    let notices = std::mem::take(&mut journal.notices);
    for notice in &notices {
        output.warning(notice);
    }
    if !notices.is_empty()
        && let Some(state) = state
    {
        state.write(journal)?;
    }
    Ok(())
}

/// Seconds since 1970; 0 if the clock is before that.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl HostSession {
    /// What a plan for the spec depends on: what the spec names, and what evenkeel did for an
    /// earlier spec.
    pub(crate) fn read_request(&self, desired: &Desired) -> ReadRequest {
        ReadRequest::for_journal(&self.journal).with_spec(desired)
    }
}

/// The live state of `--live FILE`: a snapshot with its counters; `none` is an empty host.
pub(crate) fn from_file(path: &Path, output: &Output) -> Result<(Live, Option<Statistics>), Error> {
    if path == Path::new("none") {
        return Ok((Live::default(), None));
    }
    let snapshot = crate::input::snapshot(path, output)?;
    let statistics = snapshot.statistics().cloned();
    Ok((snapshot.into_live(), statistics))
}
