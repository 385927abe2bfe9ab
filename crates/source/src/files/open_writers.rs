//! Tracks by inotify events which files a program is writing in place.
//!
//! inotify does not report who has a file open, only that its content was modified and that a
//! program which had it open for writing closed it. So a file counts as being written from the
//! first modification until the next such close. Two cases remain: with several writers of one file
//! the first close counts, until another one modifies it again; and some changes come without a
//! close (`truncate(2)` by path, a time set by path, a mapping into memory). Therefore the answer
//! may delay the reading of a file, but must not prevent it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};

/// Files that were modified and not closed for writing since.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OpenWriters(BTreeSet<PathBuf>);

impl OpenWriters {
    /// Applies an event of a spec file.
    pub(super) fn event(&mut self, kind: EventKind, path: &Path) {
        match kind {
            EventKind::Modify(ModifyKind::Data(_)) => {
                // Most events are of a file that is known to be written.
                if !self.0.contains(path) {
                    self.0.insert(path.to_owned());
                }
            }
            // The file that has the path after one of the latter three was not modified by it: a new
            // file, a link, a file that was written elsewhere.
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Create(_)
            | EventKind::Remove(_)
            | EventKind::Modify(ModifyKind::Name(_)) => {
                self.0.remove(path);
            }
            EventKind::Any | EventKind::Access(_) | EventKind::Modify(_) | EventKind::Other => {}
        }
    }

    /// Removes all other files.
    pub(super) fn retain(&mut self, mut is_kept: impl FnMut(&Path) -> bool) {
        self.0.retain(|path| is_kept(path));
    }

    /// Removes all files, because events were lost.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the files in order.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.0.iter().cloned().collect()
    }
}
