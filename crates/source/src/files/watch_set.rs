//! Determines which directories must be watched so that no change of the files is missed.
//!
//! A path may lead over symbolic links, any of which may be changed to lead elsewhere, as a Kubernetes
//! ConfigMap does with its `..data`. So each directory in which the path meets a link or ends is
//! watched, for the name by which the path continues there. If a part of the path does not exist yet,
//! the last existing directory is watched, and its parent as well, since a directory that lost its
//! files may be about to be removed.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::event_filter::Interest;
use super::spec_files::is_spec;
use super::unreliable_fs;

/// The maximum number of symbolic links in a path, as in the kernel (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// The directories to watch, as they are now.
#[derive(Debug, Default)]
pub(super) struct WatchSet {
    /// By path without symbolic links; each directory once, even if it has several paths.
    pub(super) directories: BTreeMap<PathBuf, Directory>,
    /// What inotify misses in spite of the watches, a message each.
    pub(super) unreliable: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Directory {
    pub(super) identity: Identity,
    interest: Interest,
}

/// Identifies a directory by device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity(u64, u64);

impl Identity {
    /// Returns the identity of the directory that the path leads to now; `None` if it cannot be read.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self(metadata.dev(), metadata.ino()))
    }
}

impl WatchSet {
    pub(super) fn of(places: &[PathBuf]) -> Self {
        let mut search = Search::default();
        for place in places {
            search.place(place);
        }
        let Search { found, mut unreliable } = search;
        let mut directories: BTreeMap<PathBuf, Directory> = BTreeMap::new();
        let mut paths: BTreeMap<Identity, PathBuf> = BTreeMap::new();
        for (path, interest) in found {
            // If it is gone already, the next lookup does not find it.
            let Some(identity) = Identity::of(&path) else { continue };
            // inotify has one watch per directory, and reports events with one path.
            let path = paths.entry(identity).or_insert(path);
            if let Some(known) = directories.get_mut(path) {
                known.interest.add(interest);
                continue;
            }
            unreliable.extend(unreliable_fs::filesystem(path));
            directories.insert(path.clone(), Directory { identity, interest });
        }
        Self { directories, unreliable }
    }

    pub(super) fn interests(&self) -> BTreeMap<PathBuf, Interest> {
        let directories = self.directories.iter();
        directories.map(|(path, it)| (path.clone(), it.interest.clone())).collect()
    }
}

#[derive(Default)]
struct Search {
    found: BTreeMap<PathBuf, Interest>,
    unreliable: Vec<String>,
}

impl Search {
    fn place(&mut self, place: &Path) {
        let here = if place.is_absolute() { Ok("/".into()) } else { fs::canonicalize(".") };
        let here = match here {
            Ok(here) => here,
            Err(error) => {
                self.unreliable.push(format!(
                    "cannot watch {}: the working directory is unknown: {error}",
                    place.display()
                ));
                return;
            }
        };
        match self.follow(here, place) {
            Some(end) if end.is_dir() => self.directory(&end),
            Some(end) => self.unreliable.extend(unreliable_fs::file(&end)),
            None => {}
        }
    }

    /// Adds a directory whose spec files belong to the spec.
    fn directory(&mut self, path: &Path) {
        self.found.entry(path.to_owned()).or_default().specs = true;
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let mut is_empty = true;
        for entry in entries.filter(|entry| is_spec(&entry.file_name())) {
            is_empty = false;
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                self.follow(path.to_owned(), Path::new(&entry.file_name()));
            }
        }
        if is_empty {
            self.watch_parent(path);
        }
    }

    /// Resolves a path and records where its resolution may change. Returns the path without symbolic
    /// links, if it exists.
    fn follow(&mut self, mut here: PathBuf, path: &Path) -> Option<PathBuf> {
        let mut ahead = Vec::new();
        push_components(&mut ahead, path);
        let mut links = 0;
        while let Some(step) = ahead.pop() {
            match step.as_encoded_bytes() {
                b"/" => here = PathBuf::from("/"),
                b"." => {}
                b".." => {
                    here.pop();
                }
                _ => {
                    let next = here.join(&step);
                    let Ok(metadata) = fs::symlink_metadata(&next) else {
                        self.note(&here, &step);
                        self.watch_parent(&here);
                        return None;
                    };
                    if metadata.is_symlink() {
                        self.note(&here, &step);
                        links += 1;
                        let target = fs::read_link(&next).ok().filter(|_| links <= MOST_LINKS)?;
                        push_components(&mut ahead, &target);
                    } else if metadata.is_dir() {
                        here = next;
                    } else {
                        self.note(&here, &step);
                        // A file in place of a directory ends the path.
                        return ahead.is_empty().then_some(next);
                    }
                }
            }
        }
        Some(here)
    }

    fn note(&mut self, directory: &Path, name: &OsStr) {
        self.found.entry(directory.to_owned()).or_default().names.insert(name.to_owned());
    }

    /// Watches for the directory itself in its parent.
    fn watch_parent(&mut self, directory: &Path) {
        if let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) {
            self.note(parent, name);
        }
    }
}

/// Pushes the components of a path onto the stack of components to resolve, whose top is the next.
fn push_components(ahead: &mut Vec<OsString>, path: &Path) {
    let first = ahead.len();
    ahead.extend(path.components().map(|it| it.as_os_str().to_owned()));
    ahead[first..].reverse();
}
