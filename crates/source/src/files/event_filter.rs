//! Filters inotify events down to those that affect the spec.
//!
//! A watched directory also reports events of other files, such as an editor's swap files or
//! everything else in `/tmp`, and of the daemon's own reading. These must not wake the reconciler.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};

use super::open_writers::OpenWriters;
use super::spec_files::is_spec;

/// Signals relevant events, once until it is rearmed.
pub(super) struct EventFilter {
    on_change: Box<dyn Fn() + Send + Sync>,
    /// Whether a signal was sent since [`Self::rearm`].
    is_signalled: AtomicBool,
    /// Must not be locked during calls to the watcher, whose thread may be waiting for it.
    state: Mutex<State>,
}

/// What events are compared with, and what they changed.
#[derive(Debug, Default)]
struct State {
    /// The relevant names by watched directory.
    interests: BTreeMap<PathBuf, Interest>,
    writers: OpenWriters,
    stale: StaleWatches,
}

/// Watches that may no longer exist, or may belong to another directory than the one that the path
/// leads to now, which the path alone does not show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StaleWatches {
    /// Any watch may be stale: filesystems were mounted or unmounted, or events were lost.
    pub(super) all: bool,
    /// These directories were removed or moved; the watcher may also have dropped the watches of the
    /// directories below them.
    pub(super) directories: BTreeSet<PathBuf>,
}

/// The relevant names in a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Interest {
    pub(super) names: BTreeSet<OsString>,
    /// Every name of a spec file is relevant.
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

    /// Signals that something relevant happened.
    pub(super) fn signal(&self) {
        if !self.is_signalled.swap(true, Ordering::AcqRel) {
            (self.on_change)();
        }
    }

    /// Allows the next signal. Returns the watches that became stale since the last call.
    pub(super) fn rearm(&self) -> StaleWatches {
        // First, so that a watch which becomes stale after this call is signalled.
        self.is_signalled.store(false, Ordering::Release);
        std::mem::take(&mut self.state().stale)
    }

    /// Sets the relevant names.
    pub(super) fn set_interests(&self, interests: BTreeMap<PathBuf, Interest>) {
        let mut state = self.state();
        state.interests = interests;
        let State { interests, writers, stale: _ } = &mut *state;
        writers.retain(|path| covers(interests, path));
    }

    /// Returns the spec files that a program has modified and not closed since.
    pub(super) fn open_writers(&self) -> Vec<PathBuf> {
        self.state().writers.paths()
    }

    /// Handles that filesystems were mounted or unmounted.
    pub(super) fn mounts_changed(&self) {
        self.state().stale.all = true;
        self.signal();
    }

    /// Handles an event of inotify, or an error in reading events.
    pub(super) fn event(&self, event: &notify::Result<notify::Event>) {
        let is_relevant = match event {
            // An event without a path means that events were lost.
            Ok(event) if event.paths.is_empty() || event.need_rescan() => self.events_lost(),
            Ok(event) => is_change(event.kind) && self.changed(event),
            Err(_) => self.events_lost(),
        };
        if is_relevant {
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
        let mut is_relevant = false;
        for path in &event.paths {
            // A watched directory itself is relevant even if its name is not: the watcher may have
            // dropped its watch.
            if interests.contains_key(path) {
                is_relevant = true;
                if is_of_watch(event.kind) {
                    writers.retain(|file| !file.starts_with(path));
                    stale.directories.insert(path.clone());
                }
            }
            if covers(interests, path) {
                is_relevant = true;
                writers.event(event.kind, path);
            }
        }
        is_relevant
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
        it.field("is_signalled", is_signalled).field("state", state).finish_non_exhaustive()
    }
}

/// Whether a path is one of the relevant names in its directory.
fn covers(interests: &BTreeMap<PathBuf, Interest>, path: &Path) -> bool {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return false };
    interests.get(directory).is_some_and(|interest| interest.covers(name))
}

/// Whether it is more than a read access, such as the daemon's own.
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

/// Whether an event of a watched directory itself means that its watch must be renewed. A change of
/// its permissions does not, and the creation of a watched directory follows its removal.
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
