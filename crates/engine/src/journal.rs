//! The journal of a network namespace: whether a spec was applied, what evenkeel bound and created,
//! the last applied spec, and a pending apply.
//!
//! The journal does not decide what evenkeel may change in the IPVS table; only the spec's `scope`
//! does, so that no service is lost with a disk. It is stored in
//! `<state-dir>/<namespace>/journal.json`. The texts of the last applied spec are in a file beside it
//! ([`spec_store`]), because every command reads the journal, but only plans with changes need the
//! texts. [`file`] keeps both intact; [`namespace`] decides what remains of a journal in another
//! namespace of the same name; [`owners`] reads those of the other owners of the namespace.

mod adoption;
mod file;
mod namespace;
mod owners;
mod spec_store;
mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use evenkeel_host::NamespaceIdentity;
use evenkeel_model::{Binding, FormerRole, HostObject};
use evenkeel_plan::{Adopted, MadeObjects, PriorState};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::file::{Problem, VERSION};
use crate::store::{FileError, FileUse, StateDir};
use crate::{Clock, Kernel, Notice, PartialApplies, Pending, Unconfirmed};

pub use adoption::EarlierSpecs;
pub use spec_store::{SpecUnavailable, StoredSpec, StoredSpecTexts, StoredText};
pub use version::JournalVersion;

/// The journal of one network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// The namespace it was written in; `None` where an earlier version wrote it, or a writer that
    /// knew only the name ([`StateDir::new`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NamespaceIdentity>,
    /// The record of earlier applies that plans depend on.
    pub record: PriorState,
    /// The addresses that evenkeel bound; recorded before they are bound.
    pub addresses: BTreeSet<Binding>,
    /// The host objects that evenkeel added; recorded before they are added. A kind of host object is
    /// read only while there is one of it here, or a spec asks for one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub host_objects: BTreeSet<HostObject>,
    /// The dummy devices that evenkeel created.
    pub dummies: BTreeSet<Box<str>>,
    /// The last applied spec; [`StateDir::last_spec`] reads its texts.
    pub spec: Option<StoredSpec>,
    /// The spec that is being applied; its texts are already on disk. It becomes `spec` when the
    /// apply is done ([`Self::promote_next_spec`]).
    pub next: Option<StoredSpec>,
    /// What was applied to single services since `spec` was applied.
    #[serde(default, skip_serializing_if = "PartialApplies::is_empty")]
    pub targeted: PartialApplies,
    /// What an apply to single services asks for that is neither done nor rolled back yet.
    #[serde(default, skip_serializing_if = "PartialApplies::is_empty")]
    pub attempted: PartialApplies,
    /// The adopted objects: they existed before evenkeel, which manages them now.
    #[serde(default, skip_serializing_if = "Adopted::is_empty")]
    pub adopted: Adopted,
    /// The apply that is not confirmed yet.
    pub pending: Option<Pending>,
    /// What happened in the background. The next command prints it; the next command that may change
    /// something removes it.
    #[serde(
        default,
        alias = "notice",
        deserialize_with = "crate::notice::deserialize",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub notices: Vec<Notice>,
}

/// The name of the file.
const NAME: &str = "journal.json";

/// The result of looking for a journal.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// No file.
    Nothing,
    /// A file that cannot be parsed, and what is wrong with it.
    Damaged(String),
    /// An intact journal.
    Valid(Box<Journal>),
}

/// The journal, or the spec texts beside it, could not be read or written.
#[derive(Debug, Error)]
pub enum JournalError {
    /// A file operation failed, or a symbolic link is in the place of a file or directory.
    #[error(transparent)]
    File(#[from] FileError),
    /// A later version of evenkeel wrote the journal. It is kept, since only its content is unknown.
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
    /// The directory belongs to the namespace that has the name now, which is not the one of this
    /// process.
    #[error(
        "network namespace {name} was deleted and recreated while this process was in the old one: \
         {} belongs to the new one",
        folder.display()
    )]
    Replaced {
        /// The name under `/run/netns`.
        name: String,
        /// The directory of the journal.
        folder: PathBuf,
    },
}

impl JournalError {
    /// What the user can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::File(error) => error.remedy(),
            Self::Newer { .. } => {
                "use the evenkeel that wrote it, or a later one; or move the file away, but then earlier \
                 bindings and sysctl values are no longer tracked"
            }
            Self::Replaced { .. } => "restart the process; it then works in the new namespace",
        }
    }
}

impl Journal {
    /// The objects that it lists as made by evenkeel.
    pub fn made(&self) -> MadeObjects<'_> {
        let Self { addresses, host_objects, dummies, adopted, .. } = self;
        MadeObjects { addresses, host_objects, dummies, adopted }
    }

    /// Makes the spec that was being applied the last applied one.
    pub fn promote_next_spec(&mut self) {
        if let Some(spec) = self.next.take() {
            self.record.end_marks = spec.texts.iter().any(|text| text.end_mark);
            self.spec = Some(spec);
        }
    }

    /// A journal whose last applied spec is that of the unfinished attempt, for
    /// [`StateDir::last_spec`]; `None` without such an attempt.
    pub fn of_attempt(&self) -> Option<Self> {
        let spec = self.next.clone()?;
        Some(Self { spec: Some(spec), ..Self::default() })
    }

    /// Returns what the host is and no director, or was before the spec listed it no longer
    /// ([`evenkeel_model::roles`]).
    pub fn former_role(&self) -> Option<FormerRole> {
        self.record.real_server.former
    }

    /// Checks that changes are allowed, at `now` in seconds since 1970, with the lock of a caller that has it.
    ///
    /// # Errors
    /// An apply is pending, here or under another state directory
    /// ([`PendingMarker`]), or the system does not show whether one is. One of an earlier boot does not count:
    /// [`Self::drop_stale_pending`].
    pub fn check_writable<K: Kernel>(
        &self,
        now: u64,
        lock: Option<&K::LockGuard>,
    ) -> Result<(), Unconfirmed> {
        match &self.pending {
            Some(pending) if pending.is_of_this_boot() => {
                Err(Unconfirmed(pending.description(now)))
            }
            // The rollback of another owner's may restore what both ask for by then.
            _ => match self.pending_elsewhere() {
                Some(pending) => Err(Unconfirmed(pending)),
                None => K::check_none_pending(lock)
                    .map_err(|error| Unconfirmed(crate::error_chain(&error))),
            },
        }
    }

    /// The values of the parameters of the last applied spec; `None` where there is none.
    pub fn applied_parameters(&self) -> Option<&ParameterValues> {
        self.active_spec().map(|spec| &spec.parameters)
    }

    /// The last spec whose steps were all executed, confirmed or not.
    pub fn active_spec(&self) -> Option<&StoredSpec> {
        let is_pending = self.pending.as_ref().is_some_and(Pending::is_done);
        self.next.as_ref().filter(|_| is_pending).or(self.spec.as_ref())
    }

    /// What was applied to single services since; it takes precedence over the active spec.
    pub fn active_partial_applies(&self) -> PartialApplies {
        let mut targeted = self.targeted.clone();
        if let Some(pending) = self.pending.as_ref().filter(|pending| pending.is_done()) {
            // A whole spec replaces all partial applies before it.
            if pending.targeted.is_empty() {
                targeted = PartialApplies::default();
            }
            targeted.extend(pending.targeted.clone());
        }
        targeted
    }

    /// Removes an unconfirmed apply of an earlier boot and reports it in a notice.
    pub fn drop_stale_pending(&mut self) {
        if let Some(pending) = self.pending.take_if(|pending| !pending.is_of_this_boot()) {
            self.notices.push(pending.loss_notice());
        }
    }
}

impl StateDir {
    /// Reads the journal; an empty one where there is no file.
    ///
    /// A file that cannot be parsed is renamed when `set_aside` is true; the second value is a
    /// warning about it.
    ///
    /// # Errors
    /// The file exists and cannot be read or renamed, or a newer evenkeel wrote it.
    pub fn read(&self, set_aside: bool) -> Result<(Journal, Option<String>), JournalError> {
        let others = self.other_owners()?;
        let (mut journal, warning) = self.read_own(set_aside)?;
        journal.record.others = others;
        Ok((journal, warning))
    }

    fn read_own(&self, set_aside: bool) -> Result<(Journal, Option<String>), JournalError> {
        let problem = match self.find()? {
            Found::Nothing => return Ok((self.empty(), None)),
            Found::Valid(journal) => return Ok((*journal, None)),
            Found::Damaged(problem) => problem,
        };
        let mut message = format!("the journal {} {problem}", self.path().display());
        if set_aside {
            let aside = self.folder().join(self.set_aside()?);
            message.push_str(&format!("; it was renamed to {}", aside.display()));
        }
        message.push_str(
            "; lost are the last applied spec, the original values of sysctls, replaced default routes, \
             drains, adopted objects, a pending apply, routes and neighbour entries that no spec lists any more, and the \
             addresses bound on a kernel before 5.18",
        );
        Ok((self.empty(), Some(message)))
    }

    /// Reads the journal, without those of other owners, and leaves the file unchanged.
    ///
    /// The start times of drains are converted to the current wall clock. What belongs to another
    /// namespace of the same label is left out ([`namespace`]).
    ///
    /// # Errors
    /// The file exists and cannot be read, a newer evenkeel wrote it, or the namespace that has the
    /// name now is not the one of this process.
    pub fn find(&self) -> Result<Found, JournalError> {
        let Some(text) = self.read_file(NAME)? else { return Ok(Found::Nothing) };
        match file::parse(&text) {
            Ok(mut journal) => {
                let now = Clock::start().now();
                journal.record.drains.rebase(&now);
                journal.record.real_server.rebase(&now);
                journal.pending.iter_mut().for_each(|pending| pending.rebase(&now));
                Ok(Found::Valid(Box::new(self.as_read_here(journal)?)))
            }
            Err(Problem::Newer(version)) => Err(JournalError::Newer { path: self.path(), version }),
            Err(Problem::Damage(message)) => Ok(Found::Damaged(message)),
        }
    }

    /// Renames a damaged journal to an unused name, which is returned: `journal.json.damaged`,
    /// `journal.json.damaged.2`.
    fn set_aside(&self) -> Result<String, FileError> {
        let directory = self.create()?;
        let first = format!("{NAME}.damaged");
        let numbered = (2..).map(|number| format!("{first}.{number}"));
        let mut names = std::iter::once(first.clone()).chain(numbered);
        let aside = names.find(|name| !directory.has(name)).unwrap_or(first);
        let renamed = directory.rename(NAME, &aside);
        renamed.map_err(FileError::new("set aside", &self.path()))?;
        Ok(aside)
    }

    /// Writes the journal atomically, and then removes the spec texts that it no longer refers to.
    ///
    /// A crash leaves either the old or the new journal.
    ///
    /// # Errors
    /// The directory cannot be created or the file not written, or the namespace that has the name
    /// now is not the one of this process; the old journal is kept.
    pub fn write(&self, journal: &Journal) -> Result<(), JournalError> {
        self.check_not_replaced()?;
        let directory = self.create()?;
        let journal = &*self.as_written_here(journal);
        let [header, body] =
            file::written(journal).map_err(FileError::new("write", &self.path()))?;
        directory.replace(NAME, FileUse::State, &[&header, &body])?;
        spec_store::remove_other_texts(&directory, journal);
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.folder().join(NAME)
    }
}

/// The values of parameters, by the text between their braces: `env:CLUSTER`.
pub type ParameterValues = BTreeMap<Box<str>, Box<str>>;

#[cfg(test)]
mod earlier_versions;
#[cfg(test)]
mod tests;
