//! A run's folder: made before a boot and removed after it, or later if its owner was killed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::error::{Context, Error};

const LOCK: &str = "alive";

/// A folder that is locked while its owner runs.
#[derive(Debug)]
pub(crate) struct RunDir {
    folder: TempDir,
    _lock: File,
}

impl RunDir {
    /// Makes a new one below `runs`, and removes those whose owners have ended.
    pub(crate) fn create(runs: &Path) -> Result<Self, Error> {
        fs::create_dir_all(runs).on("create", runs)?;
        // Without this a simultaneous clean-up could remove a folder that is not locked yet.
        let door = runs.with_extension("lock");
        let door = File::create(&door).on("create", &door)?;
        flock(&door, FlockOperation::LockExclusive).on("lock", runs)?;
        sweep(runs)?;
        let folder = TempDir::with_prefix_in("run-", runs).on("create a folder in", runs)?;
        let path = folder.path().join(LOCK);
        let lock = File::create(&path).on("create", &path)?;
        flock(&lock, FlockOperation::LockExclusive).on("lock", &path)?;
        Ok(Self { folder, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

fn sweep(runs: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(runs).on("read", runs)? {
        let path = entry.on("read", runs)?.path();
        let abandoned = match File::open(path.join(LOCK)) {
            Ok(file) => flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok(),
            Err(_) => true,
        };
        if abandoned {
            // Folders left by another user, such as root, are no reason to fail.
            drop(fs::remove_dir_all(&path));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_sweeps_up_dead_runs_and_leaves_living_ones() {
        let folder = tempfile::tempdir().expect("a folder");
        let runs = folder.path().join("runs");
        let alive = RunDir::create(&runs).expect("a run");
        let dead = runs.join("run-dead");
        fs::create_dir(&dead).expect("a folder");
        File::create(dead.join(LOCK)).expect("a lock");
        let next = RunDir::create(&runs).expect("a second run");
        assert!(alive.path().exists() && next.path().exists() && !dead.exists());
        drop((alive, next));
        assert_eq!(fs::read_dir(&runs).expect("the runs").count(), 0);
    }
}
