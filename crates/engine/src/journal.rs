//! What evenkeel remembers of a namespace: that it was applied there, and what it bound.
//!
//! The journal decides nothing about the IPVS table: that is the spec's `scope` alone, so that a
//! lost disk loses nothing. It lives in `<state-dir>/<namespace>/journal.json`, is written by
//! rename and flushed to disk, and one that cannot be understood is set aside.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use evenkeel_model::Binding;
use evenkeel_plan::Record;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The version of the file that this build writes, and the only one it reads.
const VERSION: u32 = 1;

/// What is remembered of one network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    version: u32,
    /// What plans depend on.
    pub record: Record,
    /// The addresses that evenkeel bound; written down before they are bound.
    pub addresses: BTreeSet<Binding>,
    /// The dummy devices that evenkeel created.
    pub dummies: BTreeSet<Box<str>>,
}

/// The folder that holds a namespace's journal.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

/// The journal could not be read or written.
#[derive(Debug, Error)]
#[error("cannot {tried} {path}")]
pub struct JournalError {
    tried: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl StateDir {
    /// The folder of that namespace below the state directory. Nothing is created yet.
    pub fn new(state_dir: &Path, namespace: &str) -> Self {
        Self(state_dir.join(namespace))
    }

    /// Reads the journal; an empty one where there is none.
    ///
    /// A file that cannot be understood is set aside under another name when `set_aside` is true,
    /// and the second value says so in words.
    ///
    /// # Errors
    /// The file is there and cannot be read, or cannot be set aside.
    pub fn read(&self, set_aside: bool) -> Result<(Journal, Option<String>), JournalError> {
        let path = self.path();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((Journal::default(), None));
            }
            Err(source) => return Err(JournalError { tried: "read", path, source }),
        };
        let problem = match serde_json::from_slice::<Journal>(&text) {
            Ok(journal) if journal.version == VERSION => return Ok((journal, None)),
            Ok(journal) => format!("has version {}; this build reads {VERSION}", journal.version),
            Err(error) => format!("is damaged: {error}"),
        };
        let mut words = format!("the journal {} {problem}", path.display());
        if set_aside {
            let aside = path.with_extension("json.damaged");
            if let Err(source) = fs::rename(&path, &aside) {
                return Err(JournalError { tried: "set aside", path, source });
            }
            words.push_str(&format!("; it is now {}", aside.display()));
        }
        words.push_str(
            "; addresses bound on a kernel before 5.18 are no longer known as evenkeel's",
        );
        Ok((Journal::default(), Some(words)))
    }

    /// Writes the journal so that a crash leaves either the old or the new one.
    ///
    /// # Errors
    /// The folder cannot be created or the file not written.
    pub fn write(&self, journal: &Journal) -> Result<(), JournalError> {
        let fail = |tried, path: &Path| {
            let path = path.to_owned();
            move |source| JournalError { tried, path, source }
        };
        let mut journal = journal.clone();
        journal.version = VERSION;
        fs::create_dir_all(&self.0).map_err(fail("create", &self.0))?;
        let fresh = self.path().with_extension("json.new");
        let write = || {
            let mut file = File::create(&fresh)?;
            file.write_all(&serde_json::to_vec_pretty(&journal)?)?;
            file.write_all(b"\n")?;
            file.sync_all()
        };
        write().map_err(fail("write", &fresh))?;
        fs::rename(&fresh, self.path()).map_err(fail("replace", &self.path()))?;
        let sync = File::open(&self.0).and_then(|folder| folder.sync_all());
        sync.map_err(fail("flush", &self.0))
    }

    fn path(&self) -> PathBuf {
        self.0.join("journal.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Journal {
        Journal {
            version: VERSION,
            record: Record { applied: true, ..Record::default() },
            addresses: BTreeSet::from([Binding::host([192, 0, 2, 1].into(), "eth0")]),
            dummies: BTreeSet::from(["vips".into()]),
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::new(folder.path(), "init");
        assert_eq!(state.read(true).expect("no file is no error"), (Journal::default(), None));
        state.write(&example()).expect("it can be written");
        assert_eq!(state.read(true).expect("it can be read"), (example(), None));
    }

    #[test]
    fn a_damaged_journal_is_set_aside_and_said_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::new(folder.path(), "init");
        state.write(&example()).expect("it can be written");
        let text = fs::read(state.path()).expect("it is there");
        for length in 0..text.len() - 2 {
            fs::write(state.path(), &text[..length]).expect("it can be cut");
            let (journal, warning) = state.read(true).expect("damage is no error");
            assert_eq!(journal, Journal::default());
            assert!(warning.is_some_and(|words| words.contains("damaged")));
            assert!(!state.path().exists(), "set aside");
        }
    }

    #[test]
    fn a_reader_that_changes_nothing_leaves_a_damaged_journal_where_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::new(folder.path(), "init");
        state.write(&example()).expect("it can be written");
        fs::write(state.path(), "{").expect("it can be damaged");
        assert!(state.read(false).expect("damage is no error").1.is_some());
        assert!(state.path().exists());
    }
}
