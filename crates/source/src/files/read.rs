//! Reads the texts of specs from files, directories and stdin.

use std::io;
use std::path::{Path, PathBuf};

use evenkeel_host::{AnonymousPipes, InputFile, InputFileError};
use evenkeel_spec::{Source, SourceKind};

use super::bounded_read::bounded;
use super::source_cache::{OpenFile, SourceCache};
use super::spec_files::of_directory;
use crate::error::SourceError;

/// Reads the texts at these paths, in order; `-` is stdin, which can be read only once.
///
/// # Errors
/// A path that cannot be read, or a directory without a spec.
pub fn read(places: &[PathBuf]) -> Result<SourceCache, SourceError> {
    // A pipe, such as a shell's `<(...)`, is read as stdin is.
    read_with(places, AnonymousPipes::Accepted, SourceKind::Spec)
}

/// Reads a snapshot as [`read`] does; it may be longer than a spec.
///
/// # Errors
/// As [`read`].
pub fn read_snapshot(place: &Path) -> Result<SourceCache, SourceError> {
    read_with(&[place.to_owned()], AnonymousPipes::Accepted, SourceKind::Snapshot)
}

/// Reads them as [`read`] does, for a caller that reads again: a pipe might block the daemon forever.
pub(super) fn read_regular(places: &[PathBuf]) -> Result<SourceCache, SourceError> {
    read_with(places, AnonymousPipes::Refused, SourceKind::Spec)
}

fn read_with(
    places: &[PathBuf],
    pipes: AnonymousPipes,
    kind: SourceKind,
) -> Result<SourceCache, SourceError> {
    let mut texts = SourceCache::default();
    for place in places {
        if place == Path::new("-") {
            texts.push(stdin(kind)?, None);
        } else if place.is_dir() {
            for path in of_directory(place)? {
                read_file(&path, AnonymousPipes::Refused, kind, &mut texts)?;
            }
        } else {
            read_file(place, pipes, kind, &mut texts)?;
        }
    }
    Ok(texts)
}

/// Reads a single file, up to little more than the maximum length; the rest would be discarded.
fn read_file(
    path: &Path,
    pipes: AnonymousPipes,
    kind: SourceKind,
    texts: &mut SourceCache,
) -> Result<(), SourceError> {
    let fail = |error| match error {
        InputFileError::NotRegular => SourceError::NotRegular { path: path.to_owned() },
        InputFileError::Io(source) => SourceError::Unreadable { path: path.to_owned(), source },
    };
    let opened = InputFile::open(path, pipes).map_err(fail)?;
    let most = kind.most() as u64;
    // One byte more than it may have shows that it is too long.
    let text = opened.read(most + 1).map_err(fail)?;
    let length = (opened.is_regular && opened.length > most).then_some(opened.length);
    let file = opened.is_regular.then(|| OpenFile { file: opened.file, path: path.to_owned() });
    texts.push(Source { name: path.display().to_string(), text, kind, length }, file);
    Ok(())
}

fn stdin(kind: SourceKind) -> Result<Source, SourceError> {
    let fail = |source| SourceError::Unreadable { path: "-".into(), source };
    let text = bounded(io::stdin().lock(), 0, kind.most()).map_err(fail)?;
    Ok(Source { kind, ..Source::new("<stdin>", text) })
}
