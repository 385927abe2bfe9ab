//! Who waits in a network namespace for an apply to be confirmed, told to everyone in it.
//!
//! That an apply waits is in its journal, which is one for each state directory, while the table
//! that it changed is one for all. So the process that takes it back when nobody confirms it has
//! an abstract unix socket for as long as it waits, as [`crate::lock`] has for the time of a pass:
//! those who look for it meet it whatever state directory they use, and also where the journal is
//! lost. It is gone with the process.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::thread;
use std::time::Duration;

use crate::lock::probe_holder;
use crate::{Holder, Unconfirmed};

/// The name, without the zero byte that makes it abstract.
const NAME: &[u8] = b"evenkeel/pending";

/// One that waits for nothing any more notices that within this time ([`PendingMarker::POLL_INTERVAL`]).
const PATIENCE: Duration = Duration::from_secs(1);

/// That an apply waits for its confirmation, until it is dropped or the process ends.
#[derive(Debug)]
pub struct PendingMarker {
    listener: UnixListener,
}

impl PendingMarker {
    /// Who keeps one looks this often at what it waits for.
    pub const POLL_INTERVAL: Duration = Duration::from_millis(200);

    /// Tells so in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] while another process does.
    pub fn begin() -> io::Result<Self> {
        Self::with_name(NAME)
    }

    /// Sends away those who asked who it is. The kernel has told them, and keeps only so many
    /// questions that nobody took notice of.
    pub fn drain_backlog(&self) {
        while self.listener.accept().is_ok() {}
    }

    fn with_name(name: &[u8]) -> io::Result<Self> {
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener })
    }
}

/// Whether nobody waits for a confirmation, for one whose own journal knows of no apply that does.
///
/// # Errors
/// Somebody does, and not only because it has yet to notice that its wait is over.
pub(crate) fn check_none() -> Result<(), Unconfirmed> {
    check_none_of_name(NAME)
}

fn check_none_of_name(name: &[u8]) -> Result<(), Unconfirmed> {
    let mut waited = Duration::ZERO;
    loop {
        let Some(holder) = probe_holder(name) else { return Ok(()) };
        if waited >= PATIENCE {
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
        false => ", which is neither root nor who runs this",
    };
    format!(
        "an apply with --confirm waits in this network namespace that the journal here does not \
         know of: {who}{untrusted} takes it back when its time is over; with the --state-dir of that \
         apply, `evenkeel confirm` keeps it and `evenkeel confirm --abort` takes it back now"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name of this test's own: the tests share a network namespace.
    fn name(of: &str) -> Vec<u8> {
        format!("evenkeel/pending/test/{of}/{}", std::process::id()).into_bytes()
    }

    #[test]
    fn while_one_waits_it_is_reported_and_no_other_can_begin() {
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
    fn one_that_ends_in_a_moment_is_waited_for() {
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
    fn however_often_it_is_asked_it_can_be_asked_again() {
        let name = name("often");
        let marker = PendingMarker::with_name(&name).expect("it is free");
        let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("a limit");
        let limit: usize = limit.trim().parse().expect("a number");
        for _ in 0..limit + 2 {
            assert!(probe_holder(&name).is_some());
        }
        assert_eq!(
            probe_holder(&name),
            Some(None),
            "somebody is there, and who is not told any more"
        );
        marker.drain_backlog();
        assert!(probe_holder(&name).is_some_and(|holder| holder.is_some()));
    }

    #[test]
    fn an_untrusted_holder_is_named_as_such() {
        let untrusted = Holder { pid: Some(7), uid: 12_345, command: Some("nc -lU".into()) };
        let message = unconfirmed_text(Some(&untrusted));
        assert!(
            message.contains("(`nc -lU`), which is neither root nor who runs this"),
            "{message}"
        );
    }
}
