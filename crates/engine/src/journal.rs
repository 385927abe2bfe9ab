//! What evenkeel remembers of a namespace: that it was applied there, what it bound, which spec it
//! put in force last, which apply waits for its confirmation.
//!
//! The journal decides nothing about the IPVS table: that is the spec's `scope` alone, so that a
//! lost disk loses nothing. It lives in `<state-dir>/<namespace>/journal.json`, and beside it, in
//! a file of their own, the texts of the last applied spec ([`spec_store`]): every command reads the
//! one, and only plans with changes need the other. How both are kept whole is in [`file`], what
//! is left of a journal in another namespace of the same name in [`namespace`].

mod adoption;
mod file;
mod namespace;
mod spec_store;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use evenkeel_host::{Namespace, NamespaceIdentity};
use evenkeel_model::{Binding, HostRoute};
use evenkeel_plan::{Adopted, PriorState};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::file::{Problem, VERSION};
use crate::{Clock, PartialApplies, Pending, Unconfirmed, pending_marker};

pub use adoption::EarlierSpecs;
pub use spec_store::{SpecUnavailable, StoredSpec, StoredSpecTexts, StoredText};

/// What is remembered of one network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// The namespace it was written in; `None` where an earlier version wrote it, or whoever did
    /// knew only the name ([`StateDir::new`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NamespaceIdentity>,
    /// What plans depend on.
    pub record: PriorState,
    /// The addresses that evenkeel bound; written down before they are bound.
    pub addresses: BTreeSet<Binding>,
    /// The routes that evenkeel added; written down before they are added. Routes are read only while
    /// there are some, or a spec asks for one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub routes: BTreeSet<HostRoute>,
    /// The dummy devices that evenkeel created.
    pub dummies: BTreeSet<Box<str>>,
    /// The last spec that was applied; its texts are read by [`StateDir::last_spec`].
    pub spec: Option<StoredSpec>,
    /// The spec that is being applied, whose texts are on disk already. It becomes `spec` when
    /// that is done ([`Self::promote_next_spec`]).
    pub next: Option<StoredSpec>,
    /// What was applied to single services since.
    #[serde(default, skip_serializing_if = "PartialApplies::is_empty")]
    pub targeted: PartialApplies,
    /// What an apply to single services asks that is neither done nor taken back yet.
    #[serde(default, skip_serializing_if = "PartialApplies::is_empty")]
    pub attempted: PartialApplies,
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
pub struct StateDir {
    folder: PathBuf,
    /// The namespace that the journal is read and written for; `None` where only its name is known.
    namespace: Option<Namespace>,
}

/// What there is of a journal.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// No file.
    Nothing,
    /// A file that cannot be understood, and what is wrong with it.
    Damaged(String),
    /// A journal as it was written.
    Valid(Box<Journal>),
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
    /// The folder belongs to the namespace that has the name now, and not to the one of this
    /// process.
    #[error(
        "network namespace {name} was deleted and made anew while this process was in the old one: \
         {} belongs to the new one",
        folder.display()
    )]
    Replaced {
        /// The name under `/run/netns`.
        name: String,
        /// The folder of the journal.
        folder: PathBuf,
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
            Self::Replaced { .. } => "start it again: it then works in the new namespace",
        }
    }
}

impl Journal {
    /// The spec that was being applied is in force.
    pub fn promote_next_spec(&mut self) {
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
    /// ([`PendingMarker`](crate::Vigil)). One of an earlier boot waits for nothing any more:
    /// [`Self::drop_stale_pending`].
    pub fn check_writable(&self, now: u64) -> Result<(), Unconfirmed> {
        match &self.pending {
            Some(pending) if pending.is_of_this_boot() => {
                Err(Unconfirmed(pending.description(now)))
            }
            _ => pending_marker::check_none(),
        }
    }

    /// The last spec whose steps were all carried out, whether or not that is confirmed yet.
    pub(crate) fn active_spec(&self) -> Option<&StoredSpec> {
        let waits = self.pending.as_ref().is_some_and(Pending::is_done);
        self.next.as_ref().filter(|_| waits).or(self.spec.as_ref())
    }

    /// What stands over that spec: what was applied to single services.
    pub fn active_partial_applies(&self) -> PartialApplies {
        let mut targeted = self.targeted.clone();
        if let Some(pending) = self.pending.as_ref().filter(|pending| pending.is_done()) {
            // A whole spec leaves nothing to stand over it.
            if pending.targeted.is_empty() {
                targeted = PartialApplies::default();
            }
            targeted.extend(pending.targeted.clone());
        }
        targeted
    }

    /// Takes out an unconfirmed apply of an earlier boot, and puts what became of it into the
    /// notice.
    pub fn drop_stale_pending(&mut self) {
        if let Some(pending) = self.pending.take_if(|pending| !pending.is_of_this_boot()) {
            self.push_notice(&pending.earlier_boot_notice());
        }
    }

    /// Has the next command say that, beside what it has to say already.
    pub fn push_notice(&mut self, message: &str) {
        match &mut self.notice {
            Some(notice) => {
                notice.push_str("; ");
                notice.push_str(message);
            }
            None => self.notice = Some(message.to_owned()),
        }
    }
}

impl StateDir {
    /// The folder of that namespace below the state directory. Nothing is created yet.
    pub fn of(state_dir: &Path, namespace: Namespace) -> Self {
        Self { folder: state_dir.join(namespace.label()), namespace: Some(namespace) }
    }

    /// The folder of the namespace of that label, whichever namespace that is: a journal is read as
    /// it was written. For tests and tools; whoever works in a namespace knows it ([`Self::of`]).
    pub fn new(state_dir: &Path, label: &str) -> Self {
        Self { folder: state_dir.join(label), namespace: None }
    }

    /// The folder itself; whatever else is kept of the namespace lies beside the journal.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What tells the namespace from others of its name; `None` where only the name is known.
    pub fn identity(&self) -> Option<&NamespaceIdentity> {
        self.namespace.as_ref().map(|namespace| &namespace.identity)
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
            Found::Nothing => return Ok((self.empty(), None)),
            Found::Valid(journal) => return Ok((*journal, None)),
            Found::Damaged(problem) => problem,
        };
        let path = self.path();
        let mut message = format!("the journal {} {problem}", path.display());
        if set_aside {
            let aside = self.free_name();
            fs::rename(&path, &aside).map_err(JournalError::new("set aside", &path))?;
            message.push_str(&format!("; it is now {}", aside.display()));
        }
        message.push_str(
            "; no longer known are the last applied spec, the sysctls' values before, drains, \
             adopted objects, an apply that waits for confirmation, and the addresses bound on a \
             kernel before 5.18",
        );
        Ok((self.empty(), Some(message)))
    }

    /// Reads what there is, and leaves it as it is. What is in it began at times of the wall's
    /// clock as that goes now; what belongs to another namespace of the same label is left out
    /// ([`namespace`]).
    ///
    /// # Errors
    /// The file is there and cannot be read, a newer evenkeel wrote it, or the namespace that has
    /// the name now is another one than that of this process.
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
                Ok(Found::Valid(Box::new(self.as_read_here(journal)?)))
            }
            Err(Problem::Newer(version)) => Err(JournalError::Newer { path, version }),
            Err(Problem::Damage(message)) => Ok(Found::Damaged(message)),
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
    /// The folder cannot be created or the file not written, or the namespace that has the name now
    /// is another one than that of this process; the old journal is still there.
    pub fn write(&self, journal: &Journal) -> Result<(), JournalError> {
        self.check_not_replaced()?;
        self.create()?;
        let journal = &*self.as_written_here(journal);
        let [header, body] =
            file::written(journal).map_err(JournalError::new("write", &self.folder))?;
        file::replace(&self.path(), &[&header, &body])?;
        self.remove_other_texts(journal);
        Ok(())
    }

    fn create(&self) -> Result<(), JournalError> {
        fs::create_dir_all(&self.folder).map_err(JournalError::new("create", &self.folder))
    }

    fn path(&self) -> PathBuf {
        self.folder.join("journal.json")
    }
}

/// What parameters came to, by the text between their braces: `env:CLUSTER`.
pub type ParameterValues = BTreeMap<Box<str>, Box<str>>;

#[cfg(test)]
mod tests;
