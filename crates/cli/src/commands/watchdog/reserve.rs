//! File descriptors set aside for the rollback, which opens sockets, files and pipes at a moment at which
//! there may be none left.

use std::fs::File;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than a rollback has open at the same time.
const COUNT: usize = 32;

/// The limit of the process that suffices for a rollback.
const LIMIT: u64 = 256;

/// Descriptors that are set aside.
#[derive(Debug)]
pub(super) struct Reserve {
    files: Vec<File>,
}

impl Reserve {
    /// Sets them aside. To be called early, so that they have low numbers, which stay usable if the limit of
    /// the process is lowered.
    pub(super) fn new() -> Self {
        let mut reserve = Self { files: Vec::with_capacity(COUNT) };
        reserve.fill();
        reserve
    }

    /// Sets aside as many as the system permits.
    pub(super) fn fill(&mut self) {
        while self.files.len() < COUNT {
            let Ok(file) = File::open("/dev/null") else { return };
            self.files.push(file);
        }
    }

    /// Releases them for use, and raises the limit of the process if it is low and may be raised.
    pub(super) fn release(&mut self) {
        self.files.clear();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        if current.is_some_and(|current| current < LIMIT) {
            // Raising the maximum needs CAP_SYS_RESOURCE.
            let maximum = maximum.map(|maximum| maximum.max(LIMIT));
            let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(LIMIT), maximum });
            if raised.is_err() {
                let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
                let _refused = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
            }
        }
    }
}
