//! Stores the texts of the last applied spec in a file of their own.
//!
//! The file is named after the digest of its bytes and never changes; the journal says which file
//! is current, and where its texts begin and end. The file is written before the journal refers to
//! it, so that the journal never names an incomplete file.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;

use evenkeel_plan::has_end_mark;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{Journal, JournalError, ParameterValues};
use crate::error_chain;
use crate::store::{Directory, FileError, RegularFile, StateDir, hexadecimal};

/// The prefix of these file names.
const PREFIX: &str = "spec-";

/// A spec whose texts are on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredSpec {
    /// SHA-256 of the concatenated texts, in hexadecimal digits.
    pub digest: Box<str>,
    /// The texts, in their order.
    pub texts: Vec<StoredText>,
    /// The values of the parameters in them.
    pub parameters: ParameterValues,
}

/// The metadata of one text of a spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredText {
    /// Its name.
    pub name: Box<str>,
    /// How many bytes it has.
    pub length: u64,
    /// Whether it ends with an end mark ([`evenkeel_plan::has_end_mark`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub end_mark: bool,
}

/// The last applied spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSpecTexts {
    /// Its texts by their names, in their order.
    pub texts: Vec<(String, Vec<u8>)>,
    /// The values of the parameters in them.
    pub parameters: ParameterValues,
}

/// The texts of the last applied spec are lost.
///
/// This is no reason to stop; plans are then made without the last applied spec.
#[derive(Debug, Error)]
#[error(
    "the last applied spec is not available: {} {problem}; the next successful apply stores it \
     again", path.display()
)]
pub struct SpecUnavailable {
    path: PathBuf,
    problem: String,
}

impl StateDir {
    /// Writes the texts of the spec that is about to be applied, and makes it the journal's `next`.
    ///
    /// Does not write the journal itself. If the last applied spec is the same, `next` is `None` and
    /// nothing is written.
    ///
    /// # Errors
    /// The directory or the file cannot be written; the journal is unchanged.
    pub fn store_spec(
        &self,
        journal: &mut Journal,
        texts: &[(&str, &[u8])],
        parameters: &ParameterValues,
    ) -> Result<(), JournalError> {
        let is_same = |spec: &StoredSpec| {
            // A file that cannot be read is written again.
            let open = || self.open_file(&spec.file_name()).ok().flatten();
            spec.describes(texts, parameters)
                && open().is_some_and(|opened| holds(opened.file, texts).unwrap_or(false))
        };
        if journal.spec.as_ref().is_some_and(is_same) {
            journal.next = None;
            return Ok(());
        }
        let spec = StoredSpec::new(texts, parameters);
        let bytes: Vec<&[u8]> = texts.iter().map(|(_, text)| *text).collect();
        self.replace_file(&spec.file_name(), &bytes)?;
        journal.next = Some(spec);
        Ok(())
    }

    /// Returns when the texts of the last applied spec were stored, in seconds since 1970: when they were
    /// applied for the first time; `None` if it is not known.
    pub fn spec_stored(&self, journal: &Journal) -> Option<u64> {
        let RegularFile { file, .. } =
            self.open_file(&journal.spec.as_ref()?.file_name()).ok().flatten()?;
        let modified = file.metadata().ok()?.modified().ok()?;
        Some(modified.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
    }

    /// Reads the last applied spec, confirmed or not; `None` where there is none.
    ///
    /// # Errors
    /// Its texts are missing or damaged; callers print this as a warning.
    pub fn last_spec(&self, journal: &Journal) -> Result<Option<StoredSpecTexts>, SpecUnavailable> {
        let Some(spec) = journal.active_spec() else { return Ok(None) };
        let path = self.folder().join(spec.file_name());
        let problem = match self.open_file(&spec.file_name()) {
            Ok(Some(opened)) => match read(opened, spec) {
                Ok(Some(texts)) => return Ok(Some(texts)),
                Ok(None) => "is damaged".to_owned(),
                Err(error) => format!("cannot be read: {error}"),
            },
            Ok(None) => "is missing".to_owned(),
            Err(FileError::Failed { source, .. }) => format!("cannot be read: {source}"),
            Err(FileError::Symlink { .. }) => "is a symbolic link".to_owned(),
            Err(FileError::NotRegular { .. }) => "is not a regular file".to_owned(),
        };
        Err(SpecUnavailable { path, problem })
    }
}

/// Removes spec texts that the journal does not refer to, including partial files.
pub(super) fn remove_other_texts(directory: &Directory, journal: &Journal) {
    let is_referred_to = |name: &str| {
        let specs = [&journal.spec, &journal.next].into_iter().flatten();
        specs.into_iter().any(|spec| name.strip_prefix(PREFIX) == Some(&spec.digest))
    };
    // What is not removed only takes up space, and the next writer tries again.
    let report = |error| tracing::debug!(error = error_chain(&error), "not removed");
    let names = directory.names().map_err(report).unwrap_or_default();
    for name in names {
        let text = name.to_string_lossy();
        if text.starts_with(PREFIX) && !is_referred_to(&text) {
            let _removed = directory.remove(&name).map_err(report);
        }
    }
}

impl StoredSpec {
    /// The metadata of texts that are not on disk yet.
    pub fn new(texts: &[(&str, &[u8])], parameters: &ParameterValues) -> Self {
        let mut digest = Sha256::new();
        for (_, text) in texts {
            digest.update(text);
        }
        let texts = texts.iter().map(|(name, text)| StoredText {
            name: (*name).into(),
            length: text.len() as u64,
            end_mark: has_end_mark(text),
        });
        Self {
            digest: hexadecimal(&digest.finalize()).into(),
            texts: texts.collect(),
            parameters: parameters.clone(),
        }
    }

    pub(super) fn file_name(&self) -> String {
        format!("{PREFIX}{}", self.digest)
    }

    /// Whether the texts have the recorded names and lengths, and the parameters the recorded
    /// values; does not compare the contents.
    fn describes(&self, texts: &[(&str, &[u8])], parameters: &ParameterValues) -> bool {
        let alike = |(stored, (name, text)): (&StoredText, &(&str, &[u8]))| {
            *stored.name == **name && stored.length == text.len() as u64
        };
        self.parameters == *parameters
            && self.texts.len() == texts.len()
            && self.texts.iter().zip(texts).all(alike)
    }
}

/// Whether a file consists of the concatenated texts. Compares in pieces, which costs less than a
/// digest.
fn holds(file: File, texts: &[(&str, &[u8])]) -> io::Result<bool> {
    let mut file = BufReader::with_capacity(64 * 1024, file);
    let mut piece = [0; 16 * 1024];
    for (_, text) in texts {
        for expected in text.chunks(piece.len()) {
            let found = &mut piece[..expected.len()];
            file.read_exact(found)?;
            if found != expected {
                return Ok(false);
            }
        }
    }
    Ok(file.read(&mut piece)? == 0)
}

/// Reads the texts of a spec; `None` where they do not match the journal.
fn read(opened: RegularFile, spec: &StoredSpec) -> io::Result<Option<StoredSpecTexts>> {
    let RegularFile { mut file, length: found } = opened;
    let lengths = spec.texts.iter().map(|text| text.length);
    let length = lengths.fold(0, u64::saturating_add);
    // Checked before memory is allocated for these lengths.
    if found != length {
        return Ok(None);
    }
    let mut digest = Sha256::new();
    let mut texts = Vec::with_capacity(spec.texts.len());
    for StoredText { name, length, end_mark: _ } in &spec.texts {
        let mut text = Vec::with_capacity(usize::try_from(*length).unwrap_or_default());
        (&mut file).take(*length).read_to_end(&mut text)?;
        digest.update(&text);
        texts.push((name.to_string(), text));
    }
    let is_complete = hexadecimal(&digest.finalize()) == *spec.digest;
    Ok(is_complete.then(|| StoredSpecTexts { texts, parameters: spec.parameters.clone() }))
}
