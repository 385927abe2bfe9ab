//! A watcher of files in its own directory, and helpers that change them.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::files::fingerprint::Fingerprint;
use crate::files::watcher::FileWatcher;

/// Events arrive within this time, or not at all.
pub(super) const SOON: Duration = Duration::from_secs(3);
/// How long to wait to be sure that there is no event.
pub(super) const MAX_SILENCE: Duration = Duration::from_millis(60);

/// A watcher that takes fingerprints only after events.
pub(super) struct Listener {
    pub(super) root: TempDir,
    pub(super) files: FileWatcher,
    pub(super) events: Receiver<()>,
    pub(super) calls: Arc<AtomicUsize>,
}

impl Listener {
    /// Watches these paths in a new directory that was prepared.
    pub(super) fn of(places: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        prepare(root.path());
        let places = places.iter().map(|place| root.path().join(place)).collect();
        let (sender, events) = channel();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let files = FileWatcher::new(places, move || {
            counted.fetch_add(1, Ordering::SeqCst);
            // The receiver is gone once the test is over.
            let _ = sender.send(());
        });
        let mut listener = Self { root, files, events, calls };
        assert!(listener.files.rearm().is_empty());
        listener
    }

    /// Watches a file `spec.yaml`.
    pub(super) fn of_file() -> Self {
        Self::of(&["spec.yaml"], |root| write(&root.join("spec.yaml"), "first"))
    }

    /// Makes a change, and asserts that events alone lead to the fingerprint after it.
    #[track_caller]
    pub(super) fn gets_event(&mut self, change: impl FnOnce(&Path)) {
        let before = self.files.fingerprint();
        change(self.root.path());
        let after = self.files.fingerprint();
        assert_ne!(before, after, "the change is one of the files");
        self.follows(&after);
    }

    /// Makes a change after which the files are as before, but not the path to them.
    #[track_caller]
    pub(super) fn notices_path_changes(&mut self, change: impl FnOnce(&Path)) {
        change(self.root.path());
        self.events.recv_timeout(SOON).expect("an event");
        self.files.rearm();
        self.calms_down();
    }

    #[track_caller]
    fn follows(&mut self, after: &Fingerprint) {
        loop {
            self.events.recv_timeout(SOON).expect("an event");
            self.files.rearm();
            if self.files.fingerprint() == *after {
                break;
            }
        }
        self.calms_down();
    }

    /// Waits until no more events arrive.
    #[track_caller]
    pub(super) fn calms_down(&mut self) {
        let deadline = Instant::now() + SOON;
        while self.events.recv_timeout(MAX_SILENCE).is_ok() {
            assert!(Instant::now() < deadline, "events never end");
            self.files.rearm();
        }
    }

    #[track_caller]
    pub(super) fn gets_nothing(&mut self, act: impl FnOnce(&Path)) {
        let before = self.files.fingerprint();
        act(self.root.path());
        assert!(self.events.recv_timeout(MAX_SILENCE).is_err(), "an event");
        assert_eq!(self.files.fingerprint(), before);
    }
}

pub(super) fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("a file is written");
}

/// Writes another file and renames it over the existing one.
pub(super) fn replace(path: &Path, text: &str) {
    let new = path.with_file_name(".new");
    write(&new, text);
    fs::rename(new, path).expect("a file is renamed");
}

pub(super) fn append(path: &Path, text: &str) {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new().append(true).open(path).expect("a file is opened");
    file.write_all(text.as_bytes()).expect("a file is written");
}
