//! Fingerprints of the spec files: their metadata, without their contents.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The names and metadata of the spec files at one time. Equal fingerprints mean equal contents if at
/// least a tick of the clock that the kernel stamps files with (10 ms at most) lies between the last
/// change and the earlier of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint(Vec<(PathBuf, Seen)>);

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

/// Whether a file of this name in a directory is a part of the spec. Hidden files are not: editors
/// create such temporary files, and Kubernetes the directories behind its symbolic links.
pub fn is_spec(name: &OsStr) -> bool {
    let extension = Path::new(name).extension();
    extension.is_some_and(|it| it == "yaml" || it == "yml")
        && !name.as_encoded_bytes().starts_with(b".")
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
