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

use crate::lock::asked;
use crate::{Holder, Unconfirmed};

/// The name, without the zero byte that makes it abstract.
const NAME: &[u8] = b"evenkeel/pending";

/// One that waits for nothing any more notices that within this time ([`Vigil::LOOK`]).
const PATIENCE: Duration = Duration::from_secs(1);

/// That an apply waits for its confirmation, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Vigil {
    listener: UnixListener,
}

impl Vigil {
    /// Who keeps one looks this often at what it waits for.
    pub const LOOK: Duration = Duration::from_millis(200);

    /// Tells so in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] while another process does.
    pub fn begin() -> io::Result<Self> {
        Self::of_name(NAME)
    }

    /// Sends away those who asked who it is. The kernel has told them, and keeps only so many
    /// questions that nobody took notice of.
    pub fn dismiss(&self) {
        while self.listener.accept().is_ok() {}
    }

    fn of_name(name: &[u8]) -> io::Result<Self> {
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
        let Some(holder) = asked(name) else { return Ok(()) };
        if waited >= PATIENCE {
            return Err(Unconfirmed(words(holder.as_ref())));
        }
        thread::sleep(Vigil::LOOK / 2);
        waited += Vigil::LOOK / 2;
    }
}

fn words(holder: Option<&Holder>) -> String {
    let who = holder.map_or_else(|| "another process".to_owned(), ToString::to_string);
    let stranger = match holder.is_none_or(Holder::is_trusted) {
        true => "",
        false => ", which is neither root nor who runs this",
    };
    format!(
        "an apply with --confirm waits in this network namespace that the journal here does not \
         know of: {who}{stranger} takes it back when its time is over; with the --state-dir of that \
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
    fn as_long_as_one_waits_everyone_is_told_who_and_nobody_else_can() {
        let name = name("one");
        assert_eq!(check_none_of_name(&name), Ok(()));
        let vigil = Vigil::of_name(&name).expect("it is free");
        let taken = Vigil::of_name(&name).expect_err("it is taken");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let Unconfirmed(words) = check_none_of_name(&name).expect_err("one waits");
        assert!(words.contains(&format!("process {} of user", std::process::id())), "{words}");
        assert!(words.contains("evenkeel confirm --abort"), "{words}");
        drop(vigil);
        assert_eq!(check_none_of_name(&name), Ok(()));
    }

    #[test]
    fn one_that_ends_in_a_moment_is_waited_for() {
        let name = name("moment");
        let vigil = Vigil::of_name(&name).expect("it is free");
        let ending = thread::spawn(move || {
            thread::sleep(2 * Vigil::LOOK);
            drop(vigil);
        });
        assert_eq!(check_none_of_name(&name), Ok(()));
        ending.join().expect("it ends");
    }

    #[test]
    fn however_often_it_is_asked_it_can_be_asked_again() {
        let name = name("often");
        let vigil = Vigil::of_name(&name).expect("it is free");
        let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("a limit");
        let limit: usize = limit.trim().parse().expect("a number");
        for _ in 0..limit + 2 {
            assert!(asked(&name).is_some());
        }
        assert_eq!(asked(&name), Some(None), "somebody is there, and who is not told any more");
        vigil.dismiss();
        assert!(asked(&name).is_some_and(|holder| holder.is_some()));
    }

    #[test]
    fn a_stranger_is_called_one() {
        let stranger = Holder { pid: Some(7), uid: 12_345, command: Some("nc -lU".into()) };
        let words = words(Some(&stranger));
        assert!(words.contains("(`nc -lU`), which is neither root nor who runs this"), "{words}");
    }
}
