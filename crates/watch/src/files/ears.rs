//! What of all that inotify tells is passed on.
//!
//! A watched directory also tells of files that are none of the spec's, such as an editor's swap
//! files or everything else in `/tmp`, and of our own reading. None of that may wake anybody.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, EventKind};

use super::signature::is_spec;

/// Passes on what matters, once.
pub(super) struct Ears {
    heard: Box<dyn Fn() + Send + Sync>,
    /// Something was passed on since [`Self::listen_again`].
    stirred: AtomicBool,
    /// By watched directory. Not to be held while speaking with the watcher, whose thread may be
    /// waiting for it.
    interests: Mutex<BTreeMap<PathBuf, Interest>>,
}

/// Which names in a directory matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Interest {
    pub(super) names: BTreeSet<OsString>,
    /// Each that makes a spec file.
    pub(super) specs: bool,
}

impl Ears {
    pub(super) fn new(heard: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            heard: Box::new(heard),
            stirred: AtomicBool::new(false),
            interests: Mutex::default(),
        }
    }

    /// Something happened that matters.
    pub(super) fn stir(&self) {
        if !self.stirred.swap(true, Ordering::AcqRel) {
            (self.heard)();
        }
    }

    /// Passes on the next event again. Tells whether one was since the last time.
    pub(super) fn listen_again(&self) -> bool {
        self.stirred.swap(false, Ordering::AcqRel)
    }

    /// From now on, these matter.
    pub(super) fn attend(&self, interests: BTreeMap<PathBuf, Interest>) {
        *self.interests() = interests;
    }

    /// An event of inotify, or an error in reading them.
    pub(super) fn event(&self, event: &notify::Result<notify::Event>) {
        let matters = match event {
            Ok(event) => is_change(event.kind) && self.concerns(event),
            Err(_) => true,
        };
        if matters {
            self.stir();
        }
    }

    fn concerns(&self, event: &notify::Event) -> bool {
        // Without a path: events were lost.
        if event.paths.is_empty() || event.need_rescan() {
            return true;
        }
        let interests = self.interests();
        let matters = |path: &PathBuf| {
            // A watched directory itself, even where nobody asked for it: the watcher may have
            // dropped its watch.
            interests.contains_key(path)
                || names(path).is_some_and(|(directory, name)| {
                    interests.get(directory).is_some_and(|interest| interest.covers(name))
                })
        };
        event.paths.iter().any(matters)
    }

    fn interests(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Interest>> {
        self.interests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Interest {
    pub(super) fn add(&mut self, other: Self) {
        let Self { names, specs } = other;
        self.names.extend(names);
        self.specs |= specs;
    }

    fn covers(&self, name: &OsStr) -> bool {
        self.names.contains(name) || self.specs && is_spec(name)
    }
}

impl fmt::Debug for Ears {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { heard: _, stirred, interests } = self;
        let mut it = f.debug_struct("Ears");
        it.field("stirred", stirred).field("interests", interests).finish_non_exhaustive()
    }
}

fn names(path: &Path) -> Option<(&Path, &OsStr)> {
    Some((path.parent()?, path.file_name()?))
}

/// Whether it is more than somebody's reading, such as our own.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}
