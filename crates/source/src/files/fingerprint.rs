//! Fingerprints of the spec files: their metadata, without their contents.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::spec_files::is_spec;
use crate::source::Revision;

/// The names and metadata of the spec files at one time. Equal fingerprints mean equal contents if at
/// least a tick of the clock that the kernel stamps files with (10 ms at most) lies between the last
/// change and the earlier of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fingerprint(Vec<(PathBuf, Seen)>);

/// What was found at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// A directory whose spec files follow. Its own metadata does not matter.
    Directory,
    File(Stamp),
    /// Its metadata could not be read: missing, not permitted.
    Error(io::ErrorKind),
}

/// The metadata that changes when a file is written, replaced, or gets another owner or other
/// permissions; for a symbolic link, that of its target.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprint {
    pub(super) fn of(places: &[PathBuf]) -> Self {
        let mut all = Vec::new();
        for place in places {
            match fs::metadata(place) {
                Ok(metadata) if metadata.is_dir() => directory(place, &mut all),
                Ok(metadata) => all.push((place.clone(), Seen::File(Stamp::of(&metadata)))),
                Err(error) => all.push((place.clone(), Seen::Error(error.kind()))),
            }
        }
        Self(all)
    }
}

fn directory(place: &Path, all: &mut Vec<(PathBuf, Seen)>) {
    let entries = match fs::read_dir(place) {
        Ok(entries) => entries,
        Err(error) => {
            all.push((place.to_owned(), Seen::Error(error.kind())));
            return;
        }
    };
    all.push((place.to_owned(), Seen::Directory));
    let first = all.len();
    for entry in entries {
        match entry {
            Ok(entry) if is_spec(&entry.file_name()) => {
                let path = entry.path();
                match fs::metadata(&path) {
                    Ok(metadata) if metadata.is_dir() => {}
                    Ok(metadata) => all.push((path, Seen::File(Stamp::of(&metadata)))),
                    Err(error) => all.push((path, Seen::Error(error.kind()))),
                }
            }
            Ok(_) => {}
            Err(error) => all.push((place.to_owned(), Seen::Error(error.kind()))),
        }
    }
    all[first..].sort_by(|(one, _), (other, _)| one.cmp(other));
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl From<Fingerprint> for Revision {
    /// Encodes it without loss: each path is preceded by its length, and each kind of entry by a byte.
    fn from(Fingerprint(entries): Fingerprint) -> Self {
        let mut bytes = Vec::with_capacity(entries.len() * 128);
        for (path, seen) in entries {
            let path = path.as_os_str().as_bytes();
            bytes.extend(path.len().to_ne_bytes());
            bytes.extend(path);
            match seen {
                Seen::Directory => bytes.push(b'd'),
                Seen::File(stamp) => {
                    let Stamp { device, inode, size, modified, changed } = stamp;
                    bytes.push(b'f');
                    bytes.extend([device, inode, size].map(u64::to_ne_bytes).as_flattened());
                    let times = [modified.0, modified.1, changed.0, changed.1];
                    bytes.extend(times.map(i64::to_ne_bytes).as_flattened());
                }
                Seen::Error(kind) => {
                    let kind = format!("{kind:?}");
                    bytes.push(b'e');
                    bytes.extend(kind.len().to_ne_bytes());
                    bytes.extend(kind.as_bytes());
                }
            }
        }
        bytes.into()
    }
}
