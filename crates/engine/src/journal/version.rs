//! Detects that another process has written the journal.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::StateDir;

/// Identifies a version of the journal's file: each writing replaces the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalVersion {
    inode: u64,
    /// Since 1970.
    seconds: i64,
    nanoseconds: i64,
    length: u64,
}

impl StateDir {
    /// Returns which version of the journal's file is there; `None` where there is none, or it cannot be
    /// determined.
    pub fn journal_version(&self) -> Option<JournalVersion> {
        let file = fs::symlink_metadata(self.path()).ok()?;
        Some(JournalVersion {
            inode: file.ino(),
            seconds: file.mtime(),
            nanoseconds: file.mtime_nsec(),
            length: file.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Journal;

    #[test]
    fn each_writing_makes_another_version() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::new(folder.path(), "init");
        assert_eq!(state.journal_version(), None);
        let mut versions = Vec::new();
        for _ in 0..3 {
            state.write(&Journal::default()).expect("it can be written");
            let version = state.journal_version();
            assert!(version.is_some() && version == state.journal_version());
            assert_ne!(versions.last(), Some(&version));
            versions.push(version);
        }
    }
}
