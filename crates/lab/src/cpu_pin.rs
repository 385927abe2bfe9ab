//! Chooses the one processor that a guest runs on.
//!
//! UML's system calls are several times slower when the host moves it between processors. Guests
//! that run at once take different ones as long as there are any.

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{FlockOperation, flock};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::error::{Context, Error};

/// How many guests of this process share a processor with others.
static SHARED: AtomicUsize = AtomicUsize::new(0);

/// A processor, reserved until dropped.
#[derive(Debug)]
pub(crate) struct CpuPin {
    pub(crate) number: usize,
    /// None if all were reserved and this one is shared.
    _lock: Option<File>,
}

impl CpuPin {
    /// Reserves a free processor among those this process may use; `folder` holds one lock file
    /// each.
    pub(crate) fn take(folder: &Path) -> Result<Self, Error> {
        fs::create_dir_all(folder).on("create", folder)?;
        let set = sched_getaffinity(None).step("cannot ask which processors there are")?;
        let usable: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect();
        for &number in &usable {
            let path = folder.join(number.to_string());
            let file = File::create(&path).on("create", &path)?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                return Ok(Self { number, _lock: Some(file) });
            }
        }
        // The guests of one process take them in turn.
        let turn = SHARED.fetch_add(1, Ordering::Relaxed);
        let shared = (std::process::id() as usize + turn) % usable.len().max(1);
        Ok(Self { number: usable.get(shared).copied().unwrap_or(0), _lock: None })
    }
}

/// Keeps the calling thread, and what it starts, on one processor.
pub(crate) fn pin(number: usize) -> Result<(), Error> {
    let mut set = CpuSet::new();
    set.set(number);
    sched_setaffinity(None, &set).step(format!("cannot stay on processor {number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_processor_is_not_given_twice_while_others_are_free() {
        let folder = tempfile::tempdir().expect("a folder");
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let taken: Vec<CpuPin> =
            (0..count).map(|_| CpuPin::take(folder.path()).expect("a processor")).collect();
        let mut numbers: Vec<usize> = taken.iter().map(|processor| processor.number).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), count);
        // More are shared, not refused, and two of them do not share the same one.
        let shared = [(); 2].map(|()| CpuPin::take(folder.path()).expect("a shared processor"));
        assert!(count == 1 || shared[0].number != shared[1].number);
    }

    #[test]
    fn a_processor_is_free_again_after_its_guest() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = CpuPin::take(folder.path()).expect("a processor").number;
        assert_eq!(CpuPin::take(folder.path()).expect("a processor").number, first);
    }
}
