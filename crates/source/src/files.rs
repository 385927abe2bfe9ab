//! The source of files and directories.

mod bounded_read;
mod event_filter;
mod fingerprint;
mod mount_monitor;
mod open_writers;
mod read;
mod source_cache;
mod spec_files;
mod unreliable_fs;
mod watch_set;
mod watcher;

use std::path::PathBuf;

use evenkeel_spec::Source;

use crate::error::SourceError;
use crate::source::{OnChange, Revision, SpecSource};
use read::read_regular;
use watcher::FileWatcher;

pub use read::{read, read_snapshot};
pub use source_cache::SourceCache;

/// Files and directories as a source. Its revisions are the fingerprints of the files.
#[derive(Debug)]
pub struct FileSource {
    places: Vec<PathBuf>,
    watcher: FileWatcher,
}

impl FileSource {
    /// Opens the source of these paths: files, directories, or paths that do not exist yet.
    pub fn new(places: Vec<PathBuf>, on_change: OnChange) -> Self {
        Self { watcher: FileWatcher::new(places.clone(), on_change), places }
    }
}

impl SpecSource for FileSource {
    fn watch(&mut self) -> Vec<String> {
        self.watcher.rearm()
    }

    fn revision(&mut self) -> Revision {
        self.watcher.fingerprint().into()
    }

    fn open_writers(&self) -> Vec<PathBuf> {
        self.watcher.open_writers()
    }

    fn fetch(&mut self) -> Result<Vec<Source>, SourceError> {
        Ok(read_regular(&self.places)?.into_sources())
    }
}
