//! Who listens to files in a folder of its own, and hands that change them.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::files::{Files, Signature};

/// What is heard comes within this time, or not at all.
pub(super) const SOON: Duration = Duration::from_secs(3);
/// For so long nothing is heard where nothing is to be.
pub(super) const SILENCE: Duration = Duration::from_millis(60);

/// A daemon that only looks when it hears something.
pub(super) struct Listener {
    pub(super) root: TempDir,
    pub(super) files: Files,
    pub(super) heard: Receiver<()>,
    pub(super) calls: Arc<AtomicUsize>,
}

impl Listener {
    /// Of those places in a new folder that was prepared.
    pub(super) fn of(places: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        prepare(root.path());
        let places = places.iter().map(|place| root.path().join(place)).collect();
        let (tell, heard) = channel();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let files = Files::new(places, move || {
            counted.fetch_add(1, Ordering::SeqCst);
            // The receiver is gone once the test is over.
            let _ = tell.send(());
        });
        let mut listener = Self { root, files, heard, calls };
        assert!(listener.files.rearm().is_empty());
        listener
    }

    /// Of a file `spec.yaml`.
    pub(super) fn of_file() -> Self {
        Self::of(&["spec.yaml"], |root| write(&root.join("spec.yaml"), "first"))
    }

    /// Makes a change, and waits until hearing alone has led to what it made of the files.
    #[track_caller]
    pub(super) fn hears(&mut self, change: impl FnOnce(&Path)) {
        let before = self.files.signature();
        change(self.root.path());
        let after = self.files.signature();
        assert_ne!(before, after, "the change is one of the files");
        self.follows(&after);
    }

    /// Makes a change after which the files are as before, but not the way to them.
    #[track_caller]
    pub(super) fn hears_of_the_way(&mut self, change: impl FnOnce(&Path)) {
        change(self.root.path());
        self.heard.recv_timeout(SOON).expect("it is heard");
        self.files.rearm();
        self.calms_down();
    }

    #[track_caller]
    fn follows(&mut self, after: &Signature) {
        loop {
            self.heard.recv_timeout(SOON).expect("it is heard");
            self.files.rearm();
            if self.files.signature() == *after {
                break;
            }
        }
        self.calms_down();
    }

    /// More may be on its way.
    #[track_caller]
    pub(super) fn calms_down(&mut self) {
        let deadline = Instant::now() + SOON;
        while self.heard.recv_timeout(SILENCE).is_ok() {
            assert!(Instant::now() < deadline, "it hears something all the time");
            self.files.rearm();
        }
    }

    #[track_caller]
    pub(super) fn hears_nothing(&mut self, act: impl FnOnce(&Path)) {
        let before = self.files.signature();
        act(self.root.path());
        assert!(self.heard.recv_timeout(SILENCE).is_err(), "nothing is heard");
        assert_eq!(self.files.signature(), before);
    }
}

pub(super) fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("a file is written");
}

/// Writes another file and puts it in the place of the one that is there.
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
