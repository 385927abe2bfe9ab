//! What evenkeel remembers of a namespace: that it was applied there, what it bound, which spec it
//! put in force last, which apply waits for its confirmation.
//!
//! The journal decides nothing about the IPVS table: that is the spec's `scope` alone, so that a
//! lost disk loses nothing. It lives in `<state-dir>/<namespace>/journal.json`, and beside it, in
//! a file of their own, the texts of the last applied spec ([`texts`]): every command reads the
//! one, and only plans with changes need the other. How both are kept whole is in [`file`].

mod adoption;
mod file;
mod texts;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use evenkeel_model::Binding;
use evenkeel_plan::{Adopted, Record};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::file::{Problem, VERSION};
use crate::{Clock, Pending, Targeted, Unconfirmed, vigil};

pub use adoption::EarlierSpecs;
pub use texts::{LastSpec, LostSpec, StoredSpec, StoredText};

/// What is remembered of one network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// What plans depend on.
    pub record: Record,
    /// The addresses that evenkeel bound; written down before they are bound.
    pub addresses: BTreeSet<Binding>,
    /// The dummy devices that evenkeel created.
    pub dummies: BTreeSet<Box<str>>,
    /// The last spec that was applied; its texts are read by [`StateDir::last_spec`].
    pub spec: Option<StoredSpec>,
    /// The spec that is being applied, whose texts are on disk already. It becomes `spec` when
    /// that is done ([`Self::spec_is_applied`]).
    pub next: Option<StoredSpec>,
    /// What was applied to single services since.
    #[serde(default, skip_serializing_if = "Targeted::is_empty")]
    pub targeted: Targeted,
    /// What an apply to single services asks that is neither done nor taken back yet.
    #[serde(default, skip_serializing_if = "Targeted::is_empty")]
    pub attempted: Targeted,
    /// The objects that were there before evenkeel and that it governs now.
    #[serde(default, skip_serializing_if = "Adopted::is_empty")]
    pub adopted: Adopted,
    /// The apply that waits for its confirmation.
    pub pending: Option<Pending>,
    /// What happened while nobody looked on; the next command says it, and the next one that
    /// changes something takes it out.
    pub notice: Option<String>,
}

/// The folder that holds a namespace's journal.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

/// What there is of a journal.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// No file.
    Nothing,
    /// A file that cannot be understood, and what is wrong with it.
    Damaged(String),
    /// A journal as it was written.
    Whole(Box<Journal>),
}

/// The journal, or the texts beside it, could not be read or written.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The system did not let it be read or written.
    #[error("cannot {tried} {}", path.display())]
    Failed {
        /// What was to be done.
        tried: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Why it could not be done.
        #[source]
        source: io::Error,
    },
    /// A later version of evenkeel wrote it; what it says is not known, and yet not lost.
    #[error(
        "a newer evenkeel wrote {}: it is a journal of version {version}, and this build reads up to \
         {VERSION}",
        path.display()
    )]
    Newer {
        /// The journal.
        path: PathBuf,
        /// The version of its format.
        version: u32,
    },
}

impl JournalError {
    fn new(tried: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Failed { tried, path, source }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Failed { .. } => {
                "make the state directory writable, with room in it, or name another with --state-dir"
            }
            Self::Newer { .. } => {
                "use the evenkeel that wrote it, or a later one; or move that file away, and this one \
                 knows nothing of earlier applies: what they bound and what sysctls were before"
            }
        }
    }
}

impl Journal {
    /// The spec that was being applied is in force.
    pub fn spec_is_applied(&mut self) {
        if let Some(spec) = self.next.take() {
            self.spec = Some(spec);
        }
    }

    /// The spec of the attempt that did not finish, as [`StateDir::last_spec`] takes it.
    pub fn of_attempt(&self) -> Option<Self> {
        let spec = self.next.clone()?;
        Some(Self { spec: Some(spec), ..Self::default() })
    }

    /// Whether something may be changed, at that time in seconds since 1970.
    ///
    /// # Errors
    /// An apply waits for its confirmation, here or under another state directory
    /// ([`Vigil`](crate::Vigil)). One of an earlier boot waits for nothing any more:
    /// [`Self::forget_moot`].
    pub fn check_writable(&self, now: u64) -> Result<(), Unconfirmed> {
        match &self.pending {
            Some(pending) if pending.is_of_this_boot() => Err(Unconfirmed(pending.words(now))),
            _ => vigil::check_none(),
        }
    }

    /// The last spec whose steps were all carried out, whether or not that is confirmed yet.
    pub(crate) fn spec_in_force(&self) -> Option<&StoredSpec> {
        let waits = self.pending.as_ref().is_some_and(Pending::is_done);
        self.next.as_ref().filter(|_| waits).or(self.spec.as_ref())
    }

    /// What stands over that spec: what was applied to single services.
    pub fn targeted_in_force(&self) -> Targeted {
        let mut targeted = self.targeted.clone();
        if let Some(pending) = self.pending.as_ref().filter(|pending| pending.is_done()) {
            // A whole spec leaves nothing to stand over it.
            if pending.targeted.is_empty() {
                targeted = Targeted::default();
            }
            targeted.extend(pending.targeted.clone());
        }
        targeted
    }

    /// Takes out an unconfirmed apply of an earlier boot, and puts what became of it into the
    /// notice.
    pub fn forget_moot(&mut self) {
        if let Some(pending) = self.pending.take_if(|pending| !pending.is_of_this_boot()) {
            self.add_notice(&pending.moot());
        }
    }

    /// Has the next command say that, beside what it has to say already.
    pub fn add_notice(&mut self, words: &str) {
        match &mut self.notice {
            Some(notice) => {
                notice.push_str("; ");
                notice.push_str(words);
            }
            None => self.notice = Some(words.to_owned()),
        }
    }
}

impl StateDir {
    /// The folder of that namespace below the state directory. Nothing is created yet.
    pub fn new(state_dir: &Path, namespace: &str) -> Self {
        Self(state_dir.join(namespace))
    }

    /// The folder itself; whatever else is kept of the namespace lies beside the journal.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Reads the journal; an empty one where there is none.
    ///
    /// A file that cannot be understood is set aside under another name when `set_aside` is true,
    /// and the second value says so in words.
    ///
    /// # Errors
    /// The file is there and cannot be read, or cannot be set aside, or a newer evenkeel wrote it.
    pub fn read(&self, set_aside: bool) -> Result<(Journal, Option<String>), JournalError> {
        let problem = match self.find()? {
            Found::Nothing => return Ok((Journal::default(), None)),
            Found::Whole(journal) => return Ok((*journal, None)),
            Found::Damaged(problem) => problem,
        };
        let path = self.path();
        let mut words = format!("the journal {} {problem}", path.display());
        if set_aside {
            let aside = self.free_name();
            fs::rename(&path, &aside).map_err(JournalError::new("set aside", &path))?;
            words.push_str(&format!("; it is now {}", aside.display()));
        }
        words.push_str(
            "; no longer known are the last applied spec, the sysctls' values before, drains, \
             adopted objects, an apply that waits for confirmation, and the addresses bound on a \
             kernel before 5.18",
        );
        Ok((Journal::default(), Some(words)))
    }

    /// Reads what there is, and leaves it as it is. What is in it began at times of the wall's
    /// clock as that goes now.
    ///
    /// # Errors
    /// The file is there and cannot be read, or a newer evenkeel wrote it.
    pub fn find(&self) -> Result<Found, JournalError> {
        let path = self.path();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(JournalError::new("read", &path)(error)),
        };
        match file::parse(&text) {
            Ok(mut journal) => {
                journal.record.drains.rebase(&Clock::start().now());
                Ok(Found::Whole(Box::new(journal)))
            }
            Err(Problem::Newer(version)) => Err(JournalError::Newer { path, version }),
            Err(Problem::Damage(words)) => Ok(Found::Damaged(words)),
        }
    }

    /// A name for a damaged journal that no earlier one has: `journal.json.damaged`,
    /// `journal.json.damaged.2`.
    fn free_name(&self) -> PathBuf {
        let numbered = (2..).map(|number| format!("json.damaged.{number}"));
        let mut names = std::iter::once("json.damaged".to_owned()).chain(numbered);
        let is_free = |path: &PathBuf| path.symlink_metadata().is_err();
        let free = names.find_map(|name| Some(self.path().with_extension(name)).filter(is_free));
        free.unwrap_or_else(|| self.path().with_extension("json.damaged"))
    }

    /// Writes the journal so that a crash leaves either the old or the new one, and then removes
    /// the texts that it no longer refers to.
    ///
    /// # Errors
    /// The folder cannot be created or the file not written; the old journal is still there.
    pub fn write(&self, journal: &Journal) -> Result<(), JournalError> {
        self.create()?;
        let [header, body] = file::written(journal).map_err(JournalError::new("write", &self.0))?;
        file::replace(&self.path(), &[&header, &body])?;
        self.remove_other_texts(journal);
        Ok(())
    }

    fn create(&self) -> Result<(), JournalError> {
        fs::create_dir_all(&self.0).map_err(JournalError::new("create", &self.0))
    }

    fn path(&self) -> PathBuf {
        self.0.join("journal.json")
    }
}

/// What parameters came to, by the text between their braces: `env:CLUSTER`.
pub type ParameterValues = BTreeMap<Box<str>, Box<str>>;

#[cfg(test)]
mod tests;
