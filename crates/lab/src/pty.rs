//! Ties the caller's terminal to a guest's console.
//!
//! The kernel gets one end of a pseudo-terminal and not the terminal itself: it runs in a process
//! group of its own, which must not touch the terminal that another group has in the foreground.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::error::{Context, Error};

/// A terminal in raw mode, every key of which goes to the guest. As before when dropped.
#[derive(Debug)]
pub(crate) struct PtyRelay {
    terminal: File,
    before: Termios,
    master: File,
}

impl PtyRelay {
    /// Takes the terminal over. The second file is the guest's end.
    pub(crate) fn start(terminal: File) -> Result<(Self, File), Error> {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).step("cannot make a terminal")?;
        grantpt(&master).and_then(|()| unlockpt(&master)).step("cannot open up a terminal")?;
        let name = ptsname(&master, Vec::new()).step("cannot name a terminal")?;
        let path = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
        let flags = rustix::fs::OFlags::NOCTTY.bits().cast_signed();
        let guest = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
        let guest = guest.on("open", path)?;
        let before = tcgetattr(&terminal).step("cannot read the terminal's settings")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Now, &raw).step("cannot set the terminal")?;
        Ok((Self { terminal, before, master: File::from(master) }, guest))
    }

    /// Copies the available bytes in both directions.
    pub(crate) fn pass_on(&self) -> io::Result<()> {
        while carry(&self.master, &self.terminal)? | carry(&self.terminal, &self.master)? {}
        Ok(())
    }
}

impl Drop for PtyRelay {
    fn drop(&mut self) {
        // The terminal may be closed; then it needs no settings.
        drop(
            tcsetattr(&self.terminal, OptionalActions::Flush, &self.before)
                .map_err(io::Error::from),
        );
    }
}

/// Copies what can be read without waiting. Returns whether there was anything.
fn carry(mut from: &File, mut to: &File) -> io::Result<bool> {
    let mut one = [PollFd::from_borrowed_fd(from.as_fd(), PollFlags::IN)];
    poll(&mut one, Some(&Timespec::default()))?;
    if !one[0].revents().contains(PollFlags::IN) {
        return Ok(false);
    }
    let mut buffer = [0; 4096];
    let length = match from.read(&mut buffer) {
        // The other end closed, as it does when the guest halts.
        Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => return Ok(false),
        result => result?,
    };
    to.write_all(&buffer[..length])?;
    Ok(length > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pseudo-terminal in place of the user's: the user's side and the program's.
    fn user() -> (File, File) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("an open terminal");
        let name = ptsname(&master, Vec::new()).expect("a name").into_string().expect("UTF-8");
        let flags = rustix::fs::OFlags::NOCTTY.bits().cast_signed();
        let slave = OpenOptions::new().read(true).write(true).custom_flags(flags).open(name);
        (File::from(master), slave.expect("the other end"))
    }

    #[test]
    fn keys_reach_the_guest_uncooked_and_the_terminal_is_as_before_afterwards() {
        let (mut keyboard, terminal) = user();
        let settings = terminal.try_clone().expect("a copy");
        let before = tcgetattr(&settings).expect("settings").local_modes;
        let (relay, mut guest) = PtyRelay::start(terminal).expect("a relay");
        assert_ne!(tcgetattr(&settings).expect("settings").local_modes, before);

        let mut raw = tcgetattr(&guest).expect("settings");
        raw.make_raw();
        tcsetattr(&guest, OptionalActions::Now, &raw).expect("a raw guest, as UML makes it");
        keyboard.write_all(b"\x03x").expect("keys");
        relay.pass_on().expect("a pass");
        let mut two = [0; 2];
        guest.read_exact(&mut two).expect("the keys");
        assert_eq!(&two, b"\x03x");

        guest.write_all(b"ok").expect("output");
        relay.pass_on().expect("a pass");
        keyboard.read_exact(&mut two).expect("the output");
        assert_eq!(&two, b"ok");

        drop(relay);
        assert_eq!(tcgetattr(&settings).expect("settings").local_modes, before);
    }
}
