//! Watches the files that a spec is read from, and takes their fingerprint.
//!
//! These are two mechanisms, of which one may fail. inotify is the fast one: a change takes effect at
//! once. [`FileWatcher::fingerprint`] is the reliable one: checked at every resync, it detects each change
//! within a resync interval even if inotify missed it. inotify misses, always or sometimes:
//! - changes by another machine on a network filesystem, and changes below a file that is a mount
//!   point of its own ([`FileWatcher::rearm`] reports both);
//! - a change through another hard link of the file, or through a memory mapping of it;
//! - that a directory further up is moved away, or that one is removed while it is the working
//!   directory of a process (the removal of its files before that is reported);
//! - everything while the limits of inotify are used up (also reported).
//!
//! Directories are watched, not files: editors and deployments replace files by new ones, and a watch
//! would stay with the old one. This module reads no contents and does not decide when to read: that
//! is the task of [`Debounce`](crate::debounce::Debounce). For it this module also tracks which files a
//! program is writing in place ([`FileWatcher::open_writers`]), as far as inotify reports it: programs that
//! wrote before a directory was watched, as at the start, are unknown until they write again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{Config, ErrorKind, INotifyWatcher, RecursiveMode, Watcher as _};

use super::event_filter::{EventFilter, StaleWatches};
use super::fingerprint::Fingerprint;
use super::mount_monitor::Mounts;
use super::watch_set::{Identity, WatchSet};

/// How many times in a row the directories are looked up while they keep changing.
const ROUNDS: usize = 8;

/// The files and directories that a spec is read from.
///
/// After every event and at every resync the caller calls [`Self::rearm`], then
/// [`Self::fingerprint`]. In this order nothing is missed: changes before the watches are set are in
/// the fingerprint, changes after that cause an event.
#[derive(Debug)]
pub(super) struct FileWatcher {
    places: Vec<PathBuf>,
    event_filter: Arc<EventFilter>,
    watcher: Option<INotifyWatcher>,
    mounts: Option<Mounts>,
    watched: BTreeMap<PathBuf, Identity>,
}

impl FileWatcher {
    /// Creates a watcher, which watches nothing before the first [`Self::rearm`]. The places are those
    /// of the command line: files, directories, or paths that do not exist yet.
    ///
    /// `on_change` is called after an event that may have changed the files, and then not again before
    /// the next [`Self::rearm`], so that a file that is replaced all the time does not flood the
    /// caller. It is called from other threads, or from `rearm`, and must not block.
    pub(super) fn new(places: Vec<PathBuf>, on_change: impl Fn() + Send + Sync + 'static) -> Self {
        let event_filter = Arc::new(EventFilter::new(on_change));
        Self { places, event_filter, watcher: None, mounts: None, watched: BTreeMap::new() }
    }

    /// Determines which directories to watch and watches them. Returns a message for each part of the
    /// files that inotify cannot watch completely; every call tries these again.
    pub(super) fn rearm(&mut self) -> Vec<String> {
        // Events from here on are reported again.
        let stale = self.event_filter.rearm();
        let mut unreliable = BTreeSet::new();
        self.begin(&mut unreliable);
        self.renew(&stale);
        let mut failed = BTreeMap::new();
        for _ in 0..ROUNDS {
            let watch_set = WatchSet::of(&self.places);
            self.event_filter.set_interests(watch_set.interests());
            // Directories that were created during the lookup caused no event: the lookup is repeated
            // until it finds everything watched.
            if self.watches_all(&watch_set, &failed) {
                unreliable.extend(failed.into_values().map(|(_, why)| why));
                unreliable.extend(watch_set.unreliable);
                return unreliable.into_iter().collect();
            }
            self.watch(&watch_set, &mut failed);
        }
        // They change faster than they can be looked up: the caller tries again.
        self.event_filter.signal();
        unreliable.extend(failed.into_values().map(|(_, why)| why));
        unreliable.into_iter().collect()
    }

    /// Takes the fingerprint of the files: one `stat` per file, and the names in each directory.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.places)
    }

    /// Returns the spec files that a program has modified in place and not closed since, as far as
    /// events show. It may be wrong in both directions, so a caller must not wait for it without a
    /// limit.
    pub(super) fn open_writers(&self) -> Vec<PathBuf> {
        self.event_filter.open_writers()
    }

    fn begin(&mut self, unreliable: &mut BTreeSet<String>) {
        if self.watcher.is_none() {
            let event_filter = Arc::clone(&self.event_filter);
            match INotifyWatcher::new(move |event| event_filter.event(&event), Config::default()) {
                Ok(watcher) => self.watcher = Some(watcher),
                Err(error) => {
                    unreliable
                        .insert(format!("cannot watch the spec files: {}", error_text(&error)));
                }
            }
        }
        if self.mounts.is_none() {
            let event_filter = Arc::clone(&self.event_filter);
            match Mounts::start(move || event_filter.mounts_changed()) {
                Ok(mounts) => self.mounts = Some(mounts),
                Err(error) => {
                    unreliable.insert(format!("cannot watch mounts and unmounts: {error}"));
                }
            }
        }
    }

    /// Renews stale watches, and only these: while a directory is not watched, events of its files are
    /// lost.
    ///
    /// The library drops a watch when it reads that a directory of that name was removed or moved
    /// away, even if the event is old and the watch belongs to a new directory, and with it the
    /// watches of all directories below. It keeps a watch that the kernel dropped with its filesystem.
    fn renew(&mut self, stale: &StaleWatches) {
        let is_stale =
            |path: &Path| stale.directories.iter().any(|directory| path.starts_with(directory));
        let watched = std::mem::take(&mut self.watched);
        let (gone, mut stored) =
            watched.into_iter().partition::<BTreeMap<_, _>, _>(|(path, _)| is_stale(path));
        for path in gone.into_keys() {
            self.unwatch(&path);
        }
        if stale.all {
            // Requested again, a watch that exists stays without a gap, and one that the kernel
            // dropped is created. If the path leads to another directory now, the old watch has to be
            // removed first: that happens when the directories are looked up.
            stored.retain(|path, identity| {
                Identity::of(path) != Some(*identity) || self.watch_again(path)
            });
        }
        self.watched = stored;
    }

    fn watch_again(&mut self, path: &Path) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        let is_watched = watcher.watch(path, RecursiveMode::NonRecursive).is_ok();
        if !is_watched {
            self.unwatch(path);
        }
        is_watched
    }

    fn unwatch(&mut self, path: &Path) {
        if let Some(watcher) = &mut self.watcher {
            // An error means that it was not watched any more.
            drop(watcher.unwatch(path));
        }
    }

    fn watches_all(&self, watch_set: &WatchSet, failed: &Failed) -> bool {
        let known = |path, identity| {
            self.watched.get(path) == Some(&identity)
                || failed.get(path).is_some_and(|(failed, _)| *failed == identity)
        };
        self.watcher.is_none()
            || watch_set.directories.iter().all(|(path, it)| known(path, it.identity))
                && self.watched.keys().all(|path| watch_set.directories.contains_key(path))
    }

    fn watch(&mut self, watch_set: &WatchSet, failed: &mut Failed) {
        let identity_in_set = |path: &Path| watch_set.directories.get(path).map(|it| it.identity);
        let (stay, go) =
            std::mem::take(&mut self.watched).into_iter().partition::<BTreeMap<_, _>, _>(
                |(path, identity)| identity_in_set(path) == Some(*identity),
            );
        self.watched = stay;
        // All of them first: a directory that was moved has the same watch under both names.
        for path in go.into_keys() {
            self.unwatch(&path);
        }
        failed.retain(|path, (identity, _)| identity_in_set(path) == Some(*identity));
        let Some(watcher) = &mut self.watcher else { return };
        for (path, directory) in &watch_set.directories {
            if self.watched.contains_key(path) || failed.contains_key(path) {
                continue;
            }
            match watcher.watch(path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path.clone(), directory.identity);
                }
                Err(error) => {
                    let why = format!("cannot watch {}: {}", path.display(), error_text(&error));
                    failed.insert(path.clone(), (directory.identity, why));
                }
            }
        }
    }
}

/// The directories that could not be watched, and why.
type Failed = BTreeMap<PathBuf, (Identity, String)>;

fn error_text(error: &notify::Error) -> String {
    // inotify(7): the user's limits are the errors EMFILE and ENOSPC.
    const EMFILE: i32 = rustix::io::Errno::MFILE.raw_os_error();
    match &error.kind {
        ErrorKind::MaxFilesWatch => {
            "this user has reached the limit fs.inotify.max_user_watches".to_owned()
        }
        ErrorKind::Io(error) if error.raw_os_error() == Some(EMFILE) => {
            "this user has reached the limit fs.inotify.max_user_instances, or the process its limit \
             of open files"
                .to_owned()
        }
        ErrorKind::Io(error) => error.to_string(),
        ErrorKind::PathNotFound => "it has been removed".to_owned(),
        ErrorKind::Generic(message) => message.clone(),
        ErrorKind::WatchNotFound | ErrorKind::InvalidConfig(_) => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
