//! Marks a network namespace while an apply in it is pending.
//!
//! The journal records a pending apply, but there is one journal per state directory, and one table
//! for all of them. So the watchdog that rolls an unconfirmed apply back holds an abstract unix
//! socket while it waits, as [`crate::lock`] does during a pass: every writer in the namespace finds
//! it, whatever state directory it uses, and also when the journal is lost. The kernel frees the
//! name when the process ends.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::thread;
use std::time::Duration;

use crate::lock::probe_holder;
use crate::{Holder, Unconfirmed};

/// The name, without the zero byte that makes it abstract.
const NAME: &[u8] = b"evenkeel/pending";

/// A watchdog whose apply was confirmed notices it within this time
/// ([`PendingMarker::POLL_INTERVAL`]).
const GRACE_PERIOD: Duration = Duration::from_secs(1);

/// Marks that an apply is pending, until it is dropped or the process ends.
#[derive(Debug)]
pub struct PendingMarker {
    listener: UnixListener,
}

impl PendingMarker {
    /// How often the holder of a marker checks its pending apply.
    pub const POLL_INTERVAL: Duration = Duration::from_millis(200);

    /// Takes the marker of the calling thread's network namespace.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] while another process holds it.
    pub fn begin() -> io::Result<Self> {
        Self::with_name(NAME)
    }

    /// Closes queued probe connections, before the socket's backlog is full. The kernel has
    /// identified this process to their peers already.
    pub fn drain_backlog(&self) {
        while self.listener.accept().is_ok() {}
    }

    fn with_name(name: &[u8]) -> io::Result<Self> {
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener })
    }
}

/// Checks that no apply is pending, for callers whose own journal has none.
///
/// # Errors
/// One is pending, and still is after the time in which its watchdog would notice a confirmation.
pub(crate) fn check_none() -> Result<(), Unconfirmed> {
    check_none_of_name(NAME)
}

fn check_none_of_name(name: &[u8]) -> Result<(), Unconfirmed> {
    let mut waited = Duration::ZERO;
    loop {
        let Some(holder) = probe_holder(name) else { return Ok(()) };
        if waited >= GRACE_PERIOD {
            return Err(Unconfirmed(unconfirmed_text(holder.as_ref())));
        }
        thread::sleep(PendingMarker::POLL_INTERVAL / 2);
        waited += PendingMarker::POLL_INTERVAL / 2;
    }
}

fn unconfirmed_text(holder: Option<&Holder>) -> String {
    let who = holder.map_or_else(|| "another process".to_owned(), ToString::to_string);
    let untrusted = match holder.is_none_or(Holder::is_trusted) {
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

    /// A name for this test alone: the tests share a network namespace.
    fn name(of: &str) -> Vec<u8> {
        format!("evenkeel/pending/test/{of}/{}", std::process::id()).into_bytes()
    }

    #[test]
    fn a_marker_is_reported_and_can_be_held_only_once() {
        let name = name("one");
        assert_eq!(check_none_of_name(&name), Ok(()));
        let marker = PendingMarker::with_name(&name).expect("it is free");
        let taken = PendingMarker::with_name(&name).expect_err("it is taken");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let Unconfirmed(message) = check_none_of_name(&name).expect_err("one waits");
        assert!(message.contains(&format!("process {} of user", std::process::id())), "{message}");
        assert!(message.contains("evenkeel confirm --abort"), "{message}");
        drop(marker);
        assert_eq!(check_none_of_name(&name), Ok(()));
    }

    #[test]
    fn a_marker_that_is_about_to_be_dropped_is_waited_for() {
        let name = name("moment");
        let marker = PendingMarker::with_name(&name).expect("it is free");
        let ending = thread::spawn(move || {
            thread::sleep(2 * PendingMarker::POLL_INTERVAL);
            drop(marker);
        });
        assert_eq!(check_none_of_name(&name), Ok(()));
        ending.join().expect("it ends");
    }

    #[test]
    fn a_drained_backlog_accepts_probes_again() {
        let name = name("often");
        let marker = PendingMarker::with_name(&name).expect("it is free");
        let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("a limit");
        let limit: usize = limit.trim().parse().expect("a number");
        for _ in 0..limit + 2 {
            assert!(probe_holder(&name).is_some());
        }
        assert_eq!(probe_holder(&name), Some(None), "held, but the backlog is full");
        marker.drain_backlog();
        assert!(probe_holder(&name).is_some_and(|holder| holder.is_some()));
    }

    #[test]
    fn an_untrusted_holder_is_named_as_such() {
        let untrusted = Holder { pid: Some(7), uid: 12_345, command: Some("nc -lU".into()) };
        let message = unconfirmed_text(Some(&untrusted));
        assert!(
            message.contains("(`nc -lU`), which is neither root nor the current user"),
            "{message}"
        );
    }
}
