//! The files that a spec is read from: hearing that they change, and how they are.
//!
//! Two things, of which one may fail. Hearing (inotify) is the shortcut: it makes a change take
//! effect at once. [`Files::fingerprint`] is the guarantee: whoever looks at it at every resync
//! misses no change for longer than a resync interval, whatever was not heard. These are not, or
//! not always:
//! - what another machine does on a network filesystem, and what happens below a file that is
//!   mounted by itself ([`Files::rearm`] tells of both);
//! - a change through another hard link of the file, or through a mapping of it into memory;
//! - a directory further up that is moved away, or one that is removed while a process works in it
//!   (the files that are removed from it before are heard);
//! - anything while the limits of inotify are used up (also told).
//!
//! Directories are watched and no files: editors and deployments put new files in the place of old
//! ones, and a watch would stay with the old. It reads no contents, and does not say when to read:
//! that is [`Debounce`](crate::debounce::Settle)'s part. For that it also says which files a program is
//! writing in place ([`Files::open_writers`]), as far as inotify reports it: of programs that wrote
//! before a directory was watched, as at the start, nothing is known until they write again.

mod event_filter;
mod fingerprint;
mod mount_monitor;
mod unreliable_fs;
mod watch_set;
mod writers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{Config, ErrorKind, INotifyWatcher, RecursiveMode, Watcher as _};

use self::event_filter::{EventFilter, StaleWatches};
use self::mount_monitor::Mounts;
use self::watch_set::{Identity, WatchSet};

pub(crate) use self::fingerprint::Fingerprint;
pub use self::fingerprint::is_spec;

/// How often the directories are looked up in one go, if they keep changing meanwhile.
const ROUNDS: usize = 8;

/// The files and directories that a spec is read from.
///
/// Its user, whenever something was heard and at every resync: [`Self::rearm`], then
/// [`Self::fingerprint`]. In this order nothing is missed: what happens before the watches are made
/// is in the signature, what happens after it is heard.
#[derive(Debug)]
pub(crate) struct Files {
    places: Vec<PathBuf>,
    event_filter: Arc<EventFilter>,
    watcher: Option<INotifyWatcher>,
    mounts: Option<Mounts>,
    watched: BTreeMap<PathBuf, Identity>,
}

impl Files {
    /// Nothing is watched before the first [`Self::rearm`]. The places are those of the command
    /// line: files, directories, or what does not exist yet.
    ///
    /// `heard` is called when anything happened that may have changed the files, and then not again
    /// before the next [`Self::rearm`], so that a file that is replaced all the time does not flood
    /// anyone. It is called from threads of its own, or from `rearm`; it must not wait for anything.
    pub(crate) fn new(places: Vec<PathBuf>, on_change: impl Fn() + Send + Sync + 'static) -> Self {
        let event_filter = Arc::new(EventFilter::new(on_change));
        Self { places, event_filter, watcher: None, mounts: None, watched: BTreeMap::new() }
    }

    /// Works out anew which directories are to be watched, and watches them. Returns, a sentence
    /// each, what of the files cannot be heard; that is tried again each time.
    pub(crate) fn rearm(&mut self) -> Vec<String> {
        // What happens from here on is heard.
        let stale = self.event_filter.rearm();
        let mut unreliable = BTreeSet::new();
        self.begin(&mut unreliable);
        self.renew(&stale);
        let mut failed = BTreeMap::new();
        for _ in 0..ROUNDS {
            let watch_set = WatchSet::of(&self.places);
            self.event_filter.set_interests(watch_set.interests());
            // What was made while the directories were looked up was not heard: it takes a survey
            // that finds everything watched.
            if self.watches_all(&watch_set, &failed) {
                unreliable.extend(failed.into_values().map(|(_, why)| why));
                unreliable.extend(watch_set.unreliable);
                return unreliable.into_iter().collect();
            }
            self.watch(&watch_set, &mut failed);
        }
        // They change faster than they can be looked up: once more, when the caller comes to it.
        self.event_filter.signal();
        unreliable.extend(failed.into_values().map(|(_, why)| why));
        unreliable.into_iter().collect()
    }

    /// How the files are now: one `stat` a file, and the names in each directory.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.places)
    }

    /// The spec files that a program has modified in place and not closed since, as far as events
    /// tell. It may be wrong in both ways, so nothing may wait for it without a limit.
    pub(crate) fn open_writers(&self) -> Vec<PathBuf> {
        self.event_filter.open_writers()
    }

    fn begin(&mut self, unreliable: &mut BTreeSet<String>) {
        if self.watcher.is_none() {
            let event_filter = Arc::clone(&self.event_filter);
            match INotifyWatcher::new(move |event| event_filter.event(&event), Config::default()) {
                Ok(watcher) => self.watcher = Some(watcher),
                Err(error) => {
                    unreliable.insert(format!(
                        "changes of the spec's files are not heard: {}",
                        in_words(&error)
                    ));
                }
            }
        }
        if self.mounts.is_none() {
            let event_filter = Arc::clone(&self.event_filter);
            match Mounts::listen(move || event_filter.mounts_changed()) {
                Ok(mounts) => self.mounts = Some(mounts),
                Err(error) => {
                    unreliable.insert(format!("mounts and unmounts are not heard: {error}"));
                }
            }
        }
    }

    /// Makes stale watches anew, and only these: while a directory is not watched, events of its
    /// files are lost.
    ///
    /// The library drops a watch by itself when it reads that a directory of that name was removed
    /// or moved away, also if the event is old and the watch is that of a new directory, and with
    /// it those of all directories below. It keeps one that the kernel dropped with its filesystem.
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
            // Asked for again, a watch that exists stays without a gap, and one that the kernel
            // dropped is made. Where the path leads to another directory now, the old watch has to
            // go first: that is done when the directories are looked up.
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
            // An error says that it was not watched any more.
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
                    let why = in_words(&error);
                    let why = format!("changes in {} are not heard: {why}", path.display());
                    failed.insert(path.clone(), (directory.identity, why));
                }
            }
        }
    }
}

/// The directories that could not be watched, and why.
type Failed = BTreeMap<PathBuf, (Identity, String)>;

fn in_words(error: &notify::Error) -> String {
    // inotify(7): the user's limits are the errors EMFILE and ENOSPC.
    const EMFILE: i32 = rustix::io::Errno::MFILE.raw_os_error();
    match &error.kind {
        ErrorKind::MaxFilesWatch => {
            "this user has as many inotify watches as fs.inotify.max_user_watches allows".to_owned()
        }
        ErrorKind::Io(error) if error.raw_os_error() == Some(EMFILE) => {
            "this user has as many inotify instances as fs.inotify.max_user_instances allows, or \
             the process as many open files as it may"
                .to_owned()
        }
        ErrorKind::Io(error) => error.to_string(),
        ErrorKind::PathNotFound => "it was removed meanwhile".to_owned(),
        ErrorKind::Generic(message) => message.clone(),
        ErrorKind::WatchNotFound | ErrorKind::InvalidConfig(_) => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
