//! Caches the texts of a loaded spec, and releases large ones.
//!
//! The texts are seldom needed again, and those of a large spec use as much memory as the parsed
//! spec. So the text of a large file can be released, but the file is kept open, and read again when its
//! text is needed. A hash ensures that the text is still the same.

use std::borrow::Cow;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Seek};
use std::path::PathBuf;

use evenkeel_spec::Source;

use super::bounded_read::bounded;
use crate::error::SourceError;

/// The size in bytes from which a text is released.
const LARGE: usize = 64 << 10;

/// All texts of a spec, in their order.
#[derive(Debug, Default)]
pub struct SourceCache {
    /// Released texts are empty here.
    sources: Vec<Source>,
    /// The files of large texts that can be read again, by the index of their texts.
    files: Vec<(usize, OpenFile)>,
    /// The released texts, by their index.
    released: Vec<(usize, Released)>,
}

/// A file that was read. It stays open, so that replacing the file does not lose the text.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) file: File,
    pub(super) path: PathBuf,
}

/// A text that is only in its file.
#[derive(Debug)]
struct Released {
    file: OpenFile,
    length: usize,
    hash: u64,
}

impl SourceCache {
    /// Adds a text, with its file if that can be read again. The file of a small text is closed.
    pub(super) fn push(&mut self, source: Source, file: Option<OpenFile>) {
        let index = self.sources.len();
        let file = file.filter(|_| source.text.len() >= LARGE);
        self.files.extend(file.map(|file| (index, file)));
        self.sources.push(source);
    }

    /// Returns the texts; none must have been released.
    pub(super) fn into_sources(self) -> Vec<Source> {
        self.sources
    }

    /// Releases the texts that are large and in a file that can be read again.
    #[must_use]
    pub fn release(mut self) -> Self {
        for (index, file) in std::mem::take(&mut self.files) {
            let text = std::mem::take(&mut self.sources[index].text);
            let (length, hash) = (text.len(), hash(&text));
            self.released.push((index, Released { file, length, hash }));
        }
        self
    }

    /// Returns all texts; reads the released ones again.
    ///
    /// # Errors
    /// [`SourceError::Unreadable`], also for a file that was changed in place meanwhile, whose text is
    /// lost.
    pub fn read(&self) -> Result<Cow<'_, [Source]>, SourceError> {
        if self.released.is_empty() {
            return Ok(Cow::Borrowed(&self.sources));
        }
        let mut sources = self.sources.clone();
        for (index, released) in &self.released {
            let fail =
                |source| SourceError::Unreadable { path: released.file.path.clone(), source };
            sources[*index].text = released.read().map_err(fail)?;
        }
        Ok(Cow::Owned(sources))
    }
}

impl Released {
    fn read(&self) -> io::Result<Vec<u8>> {
        let mut file = &self.file.file;
        file.rewind()?;
        let text = bounded(file, self.length as u64, self.length)?;
        if text.len() == self.length && hash(&text) == self.hash {
            return Ok(text);
        }
        Err(io::Error::other("it was changed after it was first read; run the command again"))
    }
}

fn hash(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A cache with a released text in a file of that name.
    fn released(path: &std::path::Path) -> (SourceCache, Vec<Source>) {
        let text = b"# large\n".repeat(LARGE / 4);
        fs::write(path, &text).expect("a file");
        let file = File::open(path).expect("it is there");
        let sources = vec![Source::new("-", "small"), Source::new("large", text)];
        let mut cache = SourceCache::default();
        cache.push(sources[0].clone(), None);
        cache.push(sources[1].clone(), Some(OpenFile { file, path: path.to_owned() }));
        (cache.release(), sources)
    }

    #[test]
    fn a_released_text_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let (texts, sources) = released(&folder.path().join("large.yaml"));
        assert!(texts.sources[1].text.is_empty(), "it is released");
        for _ in 0..2 {
            assert_eq!(texts.read().expect("it is there"), sources);
        }
    }

    #[test]
    fn the_text_of_a_replaced_or_removed_file_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("large.yaml");
        let (texts, sources) = released(&path);
        fs::write(folder.path().join("next"), "another").expect("a file");
        fs::rename(folder.path().join("next"), &path).expect("it is replaced");
        assert_eq!(texts.read().expect("it is there"), sources);
        fs::remove_file(&path).expect("it is removed");
        assert_eq!(texts.read().expect("it is there"), sources);
    }

    #[test]
    fn a_file_changed_in_place_is_an_error_and_never_another_text() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("large.yaml");
        let (texts, sources) = released(&path);
        for changed in [b"# Large\n".repeat(LARGE / 4), sources[1].text[1..].to_vec()] {
            fs::write(&path, changed).expect("a file");
            assert!(matches!(texts.read(), Err(SourceError::Unreadable { .. })));
        }
    }
}
