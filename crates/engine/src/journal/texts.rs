//! The texts of the last applied spec, in a file of their own.
//!
//! The file is named by the digest of its bytes and is never changed; the journal says which one
//! counts, and how it is cut into texts. It is written before the journal refers to it, so that no
//! journal ever names a file that was not complete.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::file::{hexadecimal, replace};
use super::{Journal, JournalError, ParameterValues, StateDir};

/// How the names of these files begin.
const PREFIX: &str = "spec-";

/// A spec whose texts are on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredSpec {
    /// SHA-256 of all texts, one behind the other, in hexadecimal digits.
    pub digest: Box<str>,
    /// The texts, in their order.
    pub texts: Vec<StoredText>,
    /// What the parameters in them came to.
    pub parameters: ParameterValues,
}

/// One text of a spec, by what is known of it without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredText {
    /// The name it went by.
    pub name: Box<str>,
    /// How many bytes it has.
    pub length: u64,
}

/// The last applied spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastSpec {
    /// Its texts by their names, in their order.
    pub texts: Vec<(String, Vec<u8>)>,
    /// What the parameters in them came to.
    pub parameters: ParameterValues,
}

/// The texts of the last applied spec are lost. That is no reason to stop: nothing is known of the
/// last spec then.
#[derive(Debug, Error)]
#[error(
    "the last applied spec is no longer known: {} {problem}; the next apply that ends well writes \
     it anew", path.display()
)]
pub struct LostSpec {
    path: PathBuf,
    problem: String,
}

impl StateDir {
    /// Brings the texts of the spec that is about to be applied to disk, and makes it the
    /// journal's `next`; the journal itself is left to be written. When the last applied spec is
    /// the same, there is no `next`, and nothing is written.
    ///
    /// # Errors
    /// The folder or the file cannot be written; the journal is as before.
    pub fn store_spec(
        &self,
        journal: &mut Journal,
        texts: &[(&str, &[u8])],
        parameters: &ParameterValues,
    ) -> Result<(), JournalError> {
        let is_same = |spec: &StoredSpec| {
            spec.describes(texts, parameters) && holds(&self.texts(spec), texts).unwrap_or(false)
        };
        if journal.spec.as_ref().is_some_and(is_same) {
            journal.next = None;
            return Ok(());
        }
        let spec = StoredSpec::new(texts, parameters);
        self.create()?;
        let bytes: Vec<&[u8]> = texts.iter().map(|(_, text)| *text).collect();
        replace(&self.texts(&spec), &bytes)?;
        journal.next = Some(spec);
        Ok(())
    }

    /// The last applied spec, be it confirmed or not; `None` where there is none.
    ///
    /// # Errors
    /// Its texts are gone or damaged, which is worth a warning.
    pub fn last_spec(&self, journal: &Journal) -> Result<Option<LastSpec>, LostSpec> {
        let Some(spec) = journal.spec_in_force() else { return Ok(None) };
        let path = self.texts(spec);
        let read = match read(&path, spec) {
            Ok(Some(texts)) => return Ok(Some(texts)),
            Ok(None) => "is damaged".to_owned(),
            Err(error) => format!("cannot be read: {error}"),
        };
        Err(LostSpec { path, problem: read })
    }

    /// Removes the texts that the journal does not refer to, parts of them included.
    pub(super) fn remove_other_texts(&self, journal: &Journal) {
        let is_referred_to = |name: &str| {
            let specs = [&journal.spec, &journal.next].into_iter().flatten();
            specs.into_iter().any(|spec| name.strip_prefix(PREFIX) == Some(&spec.digest))
        };
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(PREFIX)
                && !is_referred_to(&name)
                && let Err(error) = fs::remove_file(entry.path())
            {
                // It only takes up room, and the next writer tries again.
                tracing::debug!(path = %entry.path().display(), %error, "not removed");
            }
        }
    }

    pub(super) fn texts(&self, spec: &StoredSpec) -> PathBuf {
        self.folder.join(format!("{PREFIX}{}", spec.digest))
    }
}

impl StoredSpec {
    /// That of those texts, which are not on disk yet.
    pub fn new(texts: &[(&str, &[u8])], parameters: &ParameterValues) -> Self {
        let mut digest = Sha256::new();
        for (_, text) in texts {
            digest.update(text);
        }
        let texts = texts
            .iter()
            .map(|(name, text)| StoredText { name: (*name).into(), length: text.len() as u64 });
        Self {
            digest: hexadecimal(&digest.finalize()).into(),
            texts: texts.collect(),
            parameters: parameters.clone(),
        }
    }

    /// Whether texts of these names and lengths, with these values, are what it stands for; what
    /// is in them is not looked at.
    fn describes(&self, texts: &[(&str, &[u8])], parameters: &ParameterValues) -> bool {
        let alike = |(stored, (name, text)): (&StoredText, &(&str, &[u8]))| {
            *stored.name == **name && stored.length == text.len() as u64
        };
        self.parameters == *parameters
            && self.texts.len() == texts.len()
            && self.texts.iter().zip(texts).all(alike)
    }
}

/// Whether a file is those texts, one behind the other. It is compared piece by piece, which costs
/// less than a digest.
fn holds(path: &Path, texts: &[(&str, &[u8])]) -> io::Result<bool> {
    let mut file = BufReader::with_capacity(64 * 1024, File::open(path)?);
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

/// The texts of a spec; `None` where they are not what the journal says.
fn read(path: &Path, spec: &StoredSpec) -> io::Result<Option<LastSpec>> {
    let mut file = File::open(path)?;
    let lengths = spec.texts.iter().map(|text| text.length);
    let length = lengths.fold(0, u64::saturating_add);
    // Before the lengths are trusted with memory.
    if file.metadata()?.len() != length {
        return Ok(None);
    }
    let mut digest = Sha256::new();
    let mut texts = Vec::with_capacity(spec.texts.len());
    for StoredText { name, length } in &spec.texts {
        let mut text = Vec::with_capacity(usize::try_from(*length).unwrap_or_default());
        (&mut file).take(*length).read_to_end(&mut text)?;
        digest.update(&text);
        texts.push((name.to_string(), text));
    }
    let is_whole = hexadecimal(&digest.finalize()) == *spec.digest;
    Ok(is_whole.then(|| LastSpec { texts, parameters: spec.parameters.clone() }))
}
