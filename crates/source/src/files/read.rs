//! Reads the texts of specs from files, directories and stdin.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use evenkeel_spec::Source;

use super::bounded_read::bounded;
use super::source_cache::{OpenFile, SourceCache};
use super::spec_files::of_directory;
use crate::error::SourceError;

/// Reads the texts at these paths, in order; `-` is stdin, which can be read only once.
///
/// # Errors
/// A path that cannot be read, or a directory without a spec.
pub fn read(places: &[PathBuf]) -> Result<SourceCache, SourceError> {
    let mut texts = SourceCache::default();
    for place in places {
        if place == Path::new("-") {
            texts.push(stdin()?, None);
        } else if place.is_dir() {
            for path in of_directory(place)? {
                read_file(&path, &mut texts)?;
            }
        } else {
            read_file(place, &mut texts)?;
        }
    }
    Ok(texts)
}

/// Checks that the spec consists of regular files: reading a pipe might block the daemon forever.
pub(super) fn check_regular(place: &Path) -> Result<(), SourceError> {
    let files = match place.is_dir() {
        true => of_directory(place)?,
        false => vec![place.to_owned()],
    };
    for path in files {
        // A file without accessible metadata cannot be read either, which is reported then.
        if fs::metadata(&path).is_ok_and(|it| !it.is_file()) {
            return Err(SourceError::NotRegular { path });
        }
    }
    Ok(())
}

/// Reads a single file, up to little more than the maximum length of a spec; the rest would be
/// discarded.
fn read_file(path: &Path, texts: &mut SourceCache) -> Result<(), SourceError> {
    let fail = |source| SourceError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    let text = bounded(&file, metadata.len()).map_err(fail)?;
    // A pipe, such as a shell's `<(...)`, can be read only once.
    let file = metadata.is_file().then(|| OpenFile { file, path: path.to_owned() });
    texts.push(Source { name: path.display().to_string(), text }, file);
    Ok(())
}

fn stdin() -> Result<Source, SourceError> {
    let fail = |source| SourceError::Unreadable { path: "-".into(), source };
    let text = bounded(io::stdin().lock(), 0).map_err(fail)?;
    Ok(Source { name: "<stdin>".to_owned(), text })
}
