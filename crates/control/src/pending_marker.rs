//! Marks a network namespace while an apply in it is pending.
//!
//! The journal records a pending apply, but there is one journal per state directory, and one table
//! for all of them. So the watchdog that rolls an unconfirmed apply back holds a name of the network
//! namespace while it waits, as a writer holds the [lock](crate::Lock) during a pass: every writer
//! finds it, whatever state directory it uses, and also when the journal is lost.

use std::io;
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use thiserror::Error;

use crate::abstract_socket::{Name, Owner};
use crate::peer::Process;

/// A watchdog whose apply was confirmed notices it within this time
/// ([`PendingMarker::POLL_INTERVAL`]).
const GRACE_PERIOD: Duration = Duration::from_secs(1);

/// Marks that an apply is pending, until it is dropped or the process ends.
#[derive(Debug)]
pub struct PendingMarker {
    bound: UnixListener,
}

/// An apply is pending that is not in the journal of the process that looked for it. The process, if
/// it can be identified, rolls it back at its deadline.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", text(.0.as_ref()))]
pub struct PendingElsewhere(pub Option<Process>);

impl PendingMarker {
    /// How often the holder of a marker checks its pending apply, and calls [`Self::maintain`].
    pub const POLL_INTERVAL: Duration = Duration::from_millis(200);

    /// Takes the marker of the calling thread's network namespace.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] while another process holds it.
    pub fn begin() -> io::Result<Self> {
        Self::with_name(&Name::PENDING)
    }

    /// Keeps the holder identifiable, however many processes have found the marker.
    pub fn maintain(&self) {
        // The kernel has identified this process to them already.
        while self.bound.accept().is_ok() {}
    }

    /// Checks that no apply is pending, for callers whose own journal has none.
    ///
    /// # Errors
    /// One is pending, and still is after the time in which its watchdog would notice a
    /// confirmation.
    pub fn check_none() -> Result<(), PendingElsewhere> {
        Self::check_none_with_name(&Name::PENDING)
    }

    fn with_name(name: &Name) -> io::Result<Self> {
        let bound = name.bind()?.ok_or(io::ErrorKind::AddrInUse)?;
        bound.set_nonblocking(true)?;
        Ok(Self { bound })
    }

    fn check_none_with_name(name: &Name) -> Result<(), PendingElsewhere> {
        let mut waited = Duration::ZERO;
        loop {
            let Owner::Process(holder) = name.owner() else { return Ok(()) };
            if waited >= GRACE_PERIOD {
                return Err(PendingElsewhere(holder));
            }
            thread::sleep(Self::POLL_INTERVAL / 2);
            waited += Self::POLL_INTERVAL / 2;
        }
    }
}

fn text(holder: Option<&Process>) -> String {
    let who = holder.map_or_else(|| "another process".to_owned(), ToString::to_string);
    let untrusted = match holder.is_none_or(Process::is_trusted) {
        true => "",
        false => ", which is neither root nor the current user,",
    };
    format!(
        "an unconfirmed apply that is not in this journal is active in this network namespace: \
         {who}{untrusted} rolls it back at its deadline; with the --state-dir of that apply, \
         `evenkeel confirm` keeps it and `evenkeel confirm --abort` rolls it back now"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abstract_socket::backlog;

    #[test]
    fn a_marker_is_reported_and_can_be_held_only_once() {
        let name = Name::for_test("pending-one");
        assert_eq!(PendingMarker::check_none_with_name(&name), Ok(()));
        let marker = PendingMarker::with_name(&name).expect("it is free");
        let taken = PendingMarker::with_name(&name).expect_err("it is taken");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let pending = PendingMarker::check_none_with_name(&name).expect_err("one waits");
        let message = pending.to_string();
        assert!(message.contains(&format!("process {} of user", std::process::id())), "{message}");
        assert!(message.contains("evenkeel confirm --abort"), "{message}");
        drop(marker);
        assert_eq!(PendingMarker::check_none_with_name(&name), Ok(()));
    }

    #[test]
    fn a_marker_that_is_about_to_be_dropped_is_waited_for() {
        let name = Name::for_test("pending-moment");
        let marker = PendingMarker::with_name(&name).expect("it is free");
        let ending = thread::spawn(move || {
            thread::sleep(2 * PendingMarker::POLL_INTERVAL);
            drop(marker);
        });
        assert_eq!(PendingMarker::check_none_with_name(&name), Ok(()));
        ending.join().expect("it ends");
    }

    #[test]
    fn a_maintained_marker_stays_identifiable() {
        let name = Name::for_test("pending-often");
        let marker = PendingMarker::with_name(&name).expect("it is free");
        for _ in 0..backlog() + 2 {
            assert_ne!(name.owner(), Owner::None);
        }
        assert_eq!(name.owner(), Owner::Process(None), "held, but the backlog is full");
        marker.maintain();
        assert!(matches!(name.owner(), Owner::Process(Some(_))));
    }

    #[test]
    fn an_untrusted_holder_is_named_as_such() {
        let untrusted = Process { pid: Some(7), uid: 12_345, command: Some("nc -lU".into()) };
        let message = PendingElsewhere(Some(untrusted)).to_string();
        assert!(
            message.contains("(`nc -lU`), which is neither root nor the current user"),
            "{message}"
        );
        let unknown = PendingElsewhere(None).to_string();
        assert!(unknown.contains("namespace: another process rolls it back"), "{unknown}");
    }
}
