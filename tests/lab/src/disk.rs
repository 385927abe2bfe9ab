//! A small disk that can be filled.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::run;

/// A mounted tmpfs, unmounted on drop.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Creates a folder and mounts a disk of this size on it.
    ///
    /// # Panics
    /// Panics if the folder exists, or without the privilege to mount.
    #[must_use]
    pub fn mount(folder: PathBuf, kib: u32) -> Self {
        fs::create_dir(&folder).expect("a new folder");
        run(&format!("mount -t tmpfs -o size={kib}k none {}", folder.display()));
        Self(folder)
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Leaves no room until the returned file is removed.
    ///
    /// # Panics
    /// Panics if the file cannot be created.
    #[must_use]
    pub fn fill(&self) -> PathBuf {
        let ballast = self.0.join("ballast");
        let mut file = File::create(&ballast).expect("a file");
        while file.write_all(&[0; 4096]).is_ok() {}
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run(&format!("umount -l {}", self.0.display()));
    }
}
