//! Marks a network namespace while an apply in it is pending.
//!
//! The journal records a pending apply, but there is one journal per state directory, and one table
//! for all of them. So the watchdog that rolls an unconfirmed apply back has a [claim](crate::claim) on
//! the network namespace while it waits, as a writer has the [lock](crate::Lock) during a pass: every
//! writer finds it, whatever state directory it uses, and also when the journal is lost.

use std::io;
use std::thread;
use std::time::Duration;

use thiserror::Error;

use crate::abstract_socket::Owner;
use crate::claim::{Claim, Role};
use crate::lock::LockGuard;
use crate::peer::Process;

/// A watchdog whose apply was confirmed notices it within this time
/// ([`PendingMarker::POLL_INTERVAL`]).
const GRACE_PERIOD: Duration = Duration::from_secs(1);

/// Marks that an apply is pending, until it is dropped or the process ends.
#[derive(Debug)]
pub struct PendingMarker {
    claim: Claim,
}

/// Why a process whose journal has no pending apply may not change anything.
#[derive(Debug, Error)]
pub enum PendingElsewhere {
    /// An apply is pending that is not in its journal. The process, if it can be identified, rolls it
    /// back at its deadline.
    #[error("{}", text(.0.as_ref()))]
    Found(Option<Process>),
    /// The system does not show whether one is pending.
    #[error("cannot find out whether an apply is pending in this network namespace")]
    Unknown(#[source] io::Error),
}

/// How many connections are accepted at a time: any process may connect, and as often as it likes.
const MAX_ACCEPTED: usize = 1000;

impl PendingMarker {
    /// How often the holder of a marker checks its pending apply, and calls [`Self::maintain`].
    pub const POLL_INTERVAL: Duration = Duration::from_millis(200);

    /// Takes the marker of the calling thread's network namespace.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] while another process holds it;
    /// [`io::ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    pub fn begin() -> io::Result<Self> {
        Self::of(Role::PENDING)
    }

    /// Keeps the holder identifiable, however many processes have found the marker.
    pub fn maintain(&self) {
        // The kernel has identified this process to them already.
        for _ in 0..MAX_ACCEPTED {
            if self.claim.listener().accept().is_err() {
                break;
            }
        }
    }

    /// Whether a process holds the marker of the calling thread's network namespace; false where the
    /// system does not show it.
    pub fn is_held() -> bool {
        Role::PENDING.holders().is_ok_and(|holders| !holders.is_empty())
    }

    /// Checks that no apply is pending, for callers whose own journal has none. If the lock showed no pending
    /// apply when it was taken, nothing is read.
    ///
    /// # Errors
    /// One is pending, and still is after the time in which its watchdog would notice a
    /// confirmation; or the system does not show it.
    pub fn check_none(lock: Option<&LockGuard>) -> Result<(), PendingElsewhere> {
        match lock {
            Some(lock) if !lock.was_pending() => Ok(()),
            _ => Self::check_none_of(Role::PENDING),
        }
    }

    fn of(role: Role) -> io::Result<Self> {
        let claim = role.claim()?.ok_or(io::ErrorKind::AddrInUse)?;
        claim.listener().set_nonblocking(true)?;
        Ok(Self { claim })
    }

    fn check_none_of(role: Role) -> Result<(), PendingElsewhere> {
        let mut waited = Duration::ZERO;
        loop {
            let holder = match role.owner().map_err(PendingElsewhere::Unknown)? {
                Owner::None => return Ok(()),
                Owner::Process(holder) => holder,
            };
            if waited >= GRACE_PERIOD {
                return Err(PendingElsewhere::Found(holder));
            }
            thread::sleep(Self::POLL_INTERVAL / 2);
            waited += Self::POLL_INTERVAL / 2;
        }
    }
}

fn text(holder: Option<&Process>) -> String {
    let who = holder.map_or_else(|| "another process".to_owned(), ToString::to_string);
    format!(
        "an unconfirmed apply that is not in this journal is active in this network namespace: \
         {who} rolls it back at its deadline; with the --state-dir of that apply, \
         `evenkeel confirm` keeps it and `evenkeel confirm --abort` rolls it back now"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abstract_socket::backlog;
    use crate::claim::may_claim;

    /// A marker for one test; `None` where this process may hold none.
    fn role(of: &str) -> Option<Role> {
        may_claim().then(|| Role::PENDING.for_test(of))
    }

    #[test]
    fn a_marker_is_reported_and_can_be_held_only_once() {
        let Some(role) = role("pending-one") else { return };
        PendingMarker::check_none_of(role).expect("none is pending");
        let marker = PendingMarker::of(role).expect("it is free");
        let taken = PendingMarker::of(role).expect_err("it is taken");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let pending = PendingMarker::check_none_of(role).expect_err("one waits");
        let message = pending.to_string();
        assert!(message.contains(&format!("process {} of user", std::process::id())), "{message}");
        assert!(message.contains("evenkeel confirm --abort"), "{message}");
        drop(marker);
        PendingMarker::check_none_of(role).expect("none is pending");
    }

    #[test]
    fn a_lock_shows_a_marker_that_was_there_before_it() {
        use crate::claim::Claim;
        let Some(role) = role("pending-lock") else { return };
        let lock = || -> Claim {
            let lock = Role::LOCK.for_test("pending-lock").claim().expect("it can be asked for");
            lock.expect("it is free")
        };
        assert!(!lock().was_beside(role));
        let marker = PendingMarker::of(role).expect("it is free");
        assert!(lock().was_beside(role));
        drop(marker);
        assert!(!lock().was_beside(role));
    }

    #[test]
    fn a_marker_that_is_about_to_be_dropped_is_waited_for() {
        let Some(role) = role("pending-moment") else { return };
        let marker = PendingMarker::of(role).expect("it is free");
        let ending = thread::spawn(move || {
            thread::sleep(2 * PendingMarker::POLL_INTERVAL);
            drop(marker);
        });
        PendingMarker::check_none_of(role).expect("none is pending");
        ending.join().expect("it ends");
    }

    #[test]
    fn a_maintained_marker_stays_identifiable() {
        let Some(role) = role("pending-often") else { return };
        let marker = PendingMarker::of(role).expect("it is free");
        let owner = || role.owner().expect("it can be asked for");
        for _ in 0..backlog() + 2 {
            assert_ne!(owner(), Owner::None);
        }
        assert_eq!(owner(), Owner::Process(None), "held, but the backlog is full");
        marker.maintain();
        assert!(matches!(owner(), Owner::Process(Some(_))));
    }
}
