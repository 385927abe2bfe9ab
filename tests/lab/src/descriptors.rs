//! Limits how many descriptors another process may open.

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

/// How often to look which descriptors are free, and how long to wait before each look.
const SAMPLES: usize = 50;
const PAUSE: Duration = Duration::from_millis(10);

/// A process with few descriptors; it has its former limit again when this is dropped.
#[derive(Debug)]
pub struct FewDescriptors {
    process: Option<Pid>,
    before: Rlimit,
}

impl FewDescriptors {
    /// Leaves a process that many descriptors that it can still open; `None` if it has ended.
    ///
    /// # Panics
    /// Panics if the process cannot be limited.
    #[must_use]
    pub fn leave(pid: u32, left: usize) -> Option<Self> {
        let process = Pid::from_raw(pid.cast_signed());
        // The kernel refuses "no maximum" for descriptors, even from root.
        let maximum = getrlimit(Resource::Nofile).maximum;
        // The lowest of several, as the process may be closing a descriptor just now, such as that of the
        // connection that answered the last `status`.
        let limits = (0..SAMPLES).map(|_| {
            sleep(PAUSE);
            limit_that_leaves(pid, left)
        });
        let current = limits.min().flatten()?;
        let limit = Rlimit { current: Some(current), maximum };
        match prlimit(process, Resource::Nofile, limit) {
            Ok(before) => Some(Self { process, before }),
            Err(Errno::SRCH) => None,
            Err(error) => panic!("process {pid} cannot be limited: {error}"),
        }
    }
}

impl Drop for FewDescriptors {
    fn drop(&mut self) {
        // It may have ended meanwhile.
        let _restored = prlimit(self.process, Resource::Nofile, self.before);
    }
}

/// Returns the limit with which a process can open `left` descriptors more; `None` if it has ended.
fn limit_that_leaves(pid: u32, left: usize) -> Option<u64> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let open = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let open: BTreeSet<u64> = open.collect();
    let mut free = (0..).filter(|number| !open.contains(number));
    free.nth(left)
}

#[test]
fn a_limit_leaves_that_many_descriptors() {
    let limit = limit_that_leaves(std::process::id(), 0).expect("it runs");
    let open = fs::read_dir("/proc/self/fd").expect("a folder").count();
    assert!(limit > 2 && limit <= open as u64, "{limit}, {open}");
    assert!(limit_that_leaves(std::process::id(), 3).expect("it runs") >= limit + 3);
}
