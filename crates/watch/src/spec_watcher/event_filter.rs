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

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};

use super::fingerprint::is_spec;
use super::writers::OpenWriters;

/// Passes on what matters, once.
pub(super) struct EventFilter {
    on_change: Box<dyn Fn() + Send + Sync>,
    /// Something was passed on since [`Self::rearm`].
    is_signalled: AtomicBool,
    /// Not to be held while speaking with the watcher, whose thread may be waiting for it.
    state: Mutex<State>,
}

/// What the events are compared with, and what they left behind.
#[derive(Debug, Default)]
struct State {
    /// By watched directory.
    interests: BTreeMap<PathBuf, Interest>,
    writers: OpenWriters,
    stale: StaleWatches,
}

/// Watches that may no longer exist, or no longer be those of their path's directory, though
/// nothing may be seen of it by the path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StaleWatches {
    /// Any watch may have been dropped with its filesystem, or events of that were lost.
    pub(super) all: bool,
    /// These directories were removed or moved; of those below them the watcher may have
    /// dropped the watches too.
    pub(super) directories: BTreeSet<PathBuf>,
}

/// Which names in a directory matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Interest {
    pub(super) names: BTreeSet<OsString>,
    /// Each that makes a spec file.
    pub(super) specs: bool,
}

impl EventFilter {
    pub(super) fn new(on_change: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            on_change: Box::new(on_change),
            is_signalled: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// Something happened that matters.
    pub(super) fn signal(&self) {
        if !self.is_signalled.swap(true, Ordering::AcqRel) {
            (self.on_change)();
        }
    }

    /// Passes on the next event again. Returns which watches became stale since the last time.
    pub(super) fn rearm(&self) -> StaleWatches {
        // First, so that what becomes stale after it was taken is passed on.
        self.is_signalled.store(false, Ordering::Release);
        std::mem::take(&mut self.state().stale)
    }

    /// From now on, these matter.
    pub(super) fn set_interests(&self, interests: BTreeMap<PathBuf, Interest>) {
        let mut state = self.state();
        state.interests = interests;
        let State { interests, writers, stale: _ } = &mut *state;
        writers.retain(|path| covers(interests, path));
    }

    /// The spec files that a program has modified and not closed since.
    pub(super) fn open_writers(&self) -> Vec<PathBuf> {
        self.state().writers.paths()
    }

    /// Filesystems were mounted or unmounted.
    pub(super) fn mounts_changed(&self) {
        self.state().stale.all = true;
        self.signal();
    }

    /// An event of inotify, or an error in reading them.
    pub(super) fn event(&self, event: &notify::Result<notify::Event>) {
        let matters = match event {
            // Without a path: events were lost.
            Ok(event) if event.paths.is_empty() || event.need_rescan() => self.events_lost(),
            Ok(event) => is_change(event.kind) && self.changed(event),
            Err(_) => self.events_lost(),
        };
        if matters {
            self.signal();
        }
    }

    fn events_lost(&self) -> bool {
        let mut state = self.state();
        state.writers.clear();
        state.stale.all = true;
        true
    }

    /// Records a change. Returns whether it concerns the spec.
    fn changed(&self, event: &notify::Event) -> bool {
        let mut state = self.state();
        let State { interests, writers, stale } = &mut *state;
        let mut matters = false;
        for path in &event.paths {
            // A watched directory itself, even where nobody asked for it: the watcher may have
            // dropped its watch.
            if interests.contains_key(path) {
                matters = true;
                if is_of_watch(event.kind) {
                    writers.retain(|file| !file.starts_with(path));
                    stale.directories.insert(path.clone());
                }
            }
            if covers(interests, path) {
                matters = true;
                writers.event(event.kind, path);
            }
        }
        matters
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

impl fmt::Debug for EventFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { on_change: _, is_signalled, state } = self;
        let mut it = f.debug_struct("EventFilter");
        it.field("stirred", is_signalled).field("state", state).finish_non_exhaustive()
    }
}

/// Whether a path is one of the names that matter in its directory.
fn covers(interests: &BTreeMap<PathBuf, Interest>, path: &Path) -> bool {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return false };
    interests.get(directory).is_some_and(|interest| interest.covers(name))
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

/// Whether an event of a watched directory itself means that its watch is to be made anew. A change
/// of its permissions does not, and a directory that is made was removed before, if it was watched.
fn is_of_watch(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(_)
        | EventKind::Create(_)
        | EventKind::Modify(
            ModifyKind::Data(_) | ModifyKind::Metadata(_) | ModifyKind::Any | ModifyKind::Other,
        ) => false,
        EventKind::Any
        | EventKind::Modify(ModifyKind::Name(_))
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}
