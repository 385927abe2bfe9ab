//! Detects mounts and unmounts.
//!
//! inotify does not report a mount over a watched directory, and the library does not report that a
//! watched filesystem was unmounted. poll(2) on `/proc/self/mountinfo` returns at every change of the
//! mount namespace (proc_pid_mountinfo(5)).

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::thread;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

/// Monitors mounts until it is dropped.
#[derive(Debug)]
pub(super) struct Mounts {
    stop: Arc<OwnedFd>,
}

impl Mounts {
    /// Starts a thread that calls `changed` at every change.
    pub(super) fn start(changed: impl Fn() + Send + 'static) -> io::Result<Self> {
        let mounts = File::open("/proc/self/mountinfo")?;
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let stopped = Arc::clone(&stop);
        thread::Builder::new()
            .name("mounts".to_owned())
            .spawn(move || wait_for_changes(&mounts, &stopped, changed))?;
        Ok(Self { stop })
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        // It cannot fail: the counter is far from its limit.
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
    }
}

fn wait_for_changes(mounts: &File, stop: &OwnedFd, changed: impl Fn()) {
    loop {
        let mut fds = [PollFd::new(mounts, PollFlags::PRI), PollFd::new(stop, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => return,
        }
        if !fds[1].revents().is_empty() {
            return;
        }
        changed();
    }
}
