//! The directory in which evenkeel keeps what it knows of one network namespace.
//!
//! The user names the state directory, and may reach it through symbolic links: `/var/lib/evenkeel`
//! may be one. Everything below it is evenkeel's own and is never opened through a link, so that
//! someone who can write there cannot make a process with privileges read or write another file.

use std::io::Read;
use std::path::{Path, PathBuf};

use evenkeel_host::{Namespace, NamespaceIdentity};
use evenkeel_model::OwnerName;

use super::{Directory, FileError, FileUse, RegularFile};

/// How the directories of owners with a name begin.
const OWNER_PREFIX: &str = "owner-";

/// The directory of one owner in one namespace, below the state directory: `NAMESPACE` of the owner without
/// a name, and `NAMESPACE/owner-NAME` of the others.
#[derive(Debug, Clone)]
pub struct StateDir {
    root: PathBuf,
    label: String,
    owner: OwnerName,
    folder: PathBuf,
    namespace: Option<Namespace>,
}

impl StateDir {
    /// The directory of that namespace below the state directory, of the owner without a name. Creates
    /// nothing.
    pub fn of(state_dir: &Path, namespace: Namespace) -> Self {
        Self { namespace: Some(namespace.clone()), ..Self::new(state_dir, &namespace.label()) }
    }

    /// The directory of that label, without the identity of a namespace: the journal is read as it
    /// was written. For tests and tools; use [`Self::of`] inside a namespace.
    pub fn new(state_dir: &Path, label: &str) -> Self {
        Self {
            root: state_dir.to_owned(),
            label: label.to_owned(),
            owner: OwnerName::default(),
            folder: state_dir.join(label),
            namespace: None,
        }
    }

    /// The directory of another owner in the same namespace.
    #[must_use]
    pub fn of_owner(&self, owner: &OwnerName) -> Self {
        let namespace = self.root.join(&self.label);
        let folder = match owner.as_str() {
            Some(name) => namespace.join(format!("{OWNER_PREFIX}{name}")),
            None => namespace,
        };
        Self { owner: owner.clone(), folder, ..self.clone() }
    }

    /// The owner whose files are read and written.
    pub fn owner(&self) -> &OwnerName {
        &self.owner
    }

    /// The owners that have a directory in this namespace, and the one without a name; in their order. One
    /// whose name another program made up is left out.
    ///
    /// # Errors
    /// The directory cannot be listed, or is a symbolic link.
    pub fn owners(&self) -> Result<Vec<OwnerName>, FileError> {
        let mut found = vec![OwnerName::default()];
        if let Some(root) = if_there(Directory::open(&self.root))?
            && let Some(directory) = if_there(root.open_child(&self.label))?
        {
            let names = directory.names()?;
            let names = names.iter().filter_map(|name| name.to_str()?.strip_prefix(OWNER_PREFIX));
            found.extend(names.filter_map(|name| name.parse().ok()));
            found.sort();
        }
        Ok(found)
    }

    /// The path of the directory, for messages and tests. Its files are accessed with the other
    /// functions only.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The namespace whose files are read and written; `None` where only its name is known.
    pub(crate) fn namespace(&self) -> Option<&Namespace> {
        self.namespace.as_ref()
    }

    /// The identity of the namespace, which differs from others of its name; `None` where only the
    /// name is known.
    pub fn identity(&self) -> Option<&NamespaceIdentity> {
        self.namespace.as_ref().map(|namespace| &namespace.identity)
    }

    /// Reads a file of the namespace; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be read, or it or the directory is a symbolic link.
    pub fn read_file(&self, name: &str) -> Result<Option<Vec<u8>>, FileError> {
        let Some(RegularFile { file, length }) = self.open_file(name)? else { return Ok(None) };
        // `File` itself would ask for its size and its offset before, with a system call each.
        let mut text = Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1);
        file.take(u64::MAX)
            .read_to_end(&mut text)
            .map_err(FileError::new("read", &self.folder.join(name)))?;
        Ok(Some(text))
    }

    /// Opens a file of the namespace for reading; `None` where there is none.
    pub(crate) fn open_file(&self, name: &str) -> Result<Option<RegularFile>, FileError> {
        let Some(directory) = self.open()? else { return Ok(None) };
        if_there(directory.open_file(name))
    }

    /// Replaces a file of the namespace atomically with the concatenated parts. Creates the directory
    /// where there is none.
    ///
    /// # Errors
    /// The file is unchanged, except where the directory cannot be flushed.
    pub fn replace_file(&self, name: &str, parts: &[&[u8]]) -> Result<(), FileError> {
        self.create()?.replace(name, FileUse::State, parts)
    }

    /// Removes a file of the namespace, or a link in its place; there may be none.
    ///
    /// # Errors
    /// It cannot be removed, or the directory is a symbolic link.
    pub fn remove_file(&self, name: &str) -> Result<(), FileError> {
        let Some(directory) = self.open()? else { return Ok(()) };
        if directory.remove(name)? { directory.flush() } else { Ok(()) }
    }

    /// Opens the directory; `None` where there is none.
    pub(crate) fn open(&self) -> Result<Option<Directory>, FileError> {
        let Some(root) = if_there(Directory::open(&self.root))? else { return Ok(None) };
        let Some(namespace) = if_there(root.open_child(&self.label))? else { return Ok(None) };
        match self.owner_folder() {
            Some(name) => if_there(namespace.open_child(&name)),
            None => Ok(Some(namespace)),
        }
    }

    /// Opens the directory, and creates it where there is none.
    pub(crate) fn create(&self) -> Result<Directory, FileError> {
        let namespace = Directory::create(&self.root)?.create_child(&self.label)?;
        match self.owner_folder() {
            Some(name) => namespace.create_child(&name),
            None => Ok(namespace),
        }
    }

    /// The name of the owner's directory in that of the namespace.
    fn owner_folder(&self) -> Option<String> {
        self.owner.as_str().map(|name| format!("{OWNER_PREFIX}{name}"))
    }
}

fn if_there<T>(found: Result<T, FileError>) -> Result<Option<T>, FileError> {
    match found {
        Err(error) if error.is_missing() => Ok(None),
        found => found.map(Some),
    }
}

#[cfg(test)]
mod tests;
