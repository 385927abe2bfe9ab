//! A daemon to be measured.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::error::Error;

/// It is killed at the end.
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
        // It may have ended by itself, which was reported already.
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}
