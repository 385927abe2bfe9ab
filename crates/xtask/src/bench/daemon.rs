//! Starts the daemon that is measured.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::error::Error;

/// A running daemon, which is killed when dropped.
pub(super) struct Daemon(Child);

impl Daemon {
    /// Starts `evenkeel watch` with these arguments in the calling thread's namespace.
    pub(super) fn start(evenkeel: &Path, arguments: &[&str]) -> Result<Self, Error> {
        let daemon = Command::new(evenkeel)
            .arg("watch")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        daemon.map(Self).map_err(|error| Error::Start("evenkeel watch".to_owned(), error))
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // If it has ended by itself, that was reported already.
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}
