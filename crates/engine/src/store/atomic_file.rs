//! Replaces files atomically and durably: a reader sees the old file or the whole new one at any
//! time, also after a loss of power.
//!
//! The new content is written to a temporary file beside the old one, flushed, and renamed; then the
//! directory is flushed. The temporary file is always a new one: what has its name is removed, never
//! opened, so that neither a leftover nor a link that someone put there can redirect the bytes.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};

use rustix::fs::{Mode, OFlags, fchmod, openat};
use rustix::io::Errno;

use super::{Directory, FileError};

/// Only root, or the user that evenkeel runs as, may read what evenkeel writes: the values of a spec's
/// parameters may be secrets. The umask does not matter.
const MODE: Mode = Mode::from_raw_mode(0o600);

/// What a file is for. In both cases only its owner may read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileUse {
    /// Evenkeel's own, below the state directory: it has one writer at a time, which removes what a
    /// killed one left.
    State,
    /// Written for the user, in any directory: several processes may write it at the same time, so each
    /// has a temporary file of its own.
    Export,
}

impl Directory {
    /// Replaces a file with the concatenated parts. A link of that name is replaced itself.
    ///
    /// # Errors
    /// The file cannot be written: then the old one is unchanged, and no partial file is left. Or the
    /// directory cannot be flushed: then the new one is in place, and may be lost with the power.
    pub fn replace(
        &self,
        name: impl AsRef<OsStr>,
        file_use: FileUse,
        parts: &[&[u8]],
    ) -> Result<(), FileError> {
        let write = |file: &mut File| parts.iter().try_for_each(|part| file.write_all(part));
        self.replace_with(name.as_ref(), file_use, write)
    }

    fn replace_with(
        &self,
        name: &OsStr,
        file_use: FileUse,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), FileError> {
        let temporary = file_use.temporary_name(name);
        let mut file = self.create_file(&temporary)?;
        // A full disk may be reported only by the flush.
        let written = write(&mut file)
            .and_then(|()| file.sync_all())
            .map_err(self.failed("write", &temporary))
            .and_then(|()| self.rename(&temporary, name).map_err(self.failed("replace", name)));
        if let Err(error) = written {
            // A partial file is useless and takes up space, which may be what is missing. The error to
            // report is the earlier one.
            let _removed = self.remove(&temporary);
            return Err(error);
        }
        self.flush()
    }

    /// Creates a file, in place of one that has this name.
    fn create_file(&self, name: &OsStr) -> Result<File, FileError> {
        // EXCL opens nothing that exists, and so follows no link.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let create = || openat(&self.handle, name, flags, MODE);
        let created = match create() {
            Err(Errno::EXIST) => {
                let removed = self.remove(name).map_err(io::Error::from);
                removed.and_then(|_| Ok(create()?))
            }
            created => created.map_err(io::Error::from),
        };
        let file = File::from(created.map_err(self.failed("write", name))?);
        // The umask may have taken the owner's permissions.
        fchmod(&file, MODE).map_err(self.failed("write", name))?;
        Ok(file)
    }
}

impl FileUse {
    fn temporary_name(self, name: &OsStr) -> OsString {
        let mut temporary = name.to_owned();
        match self {
            Self::State => temporary.push(".new"),
            Self::Export => temporary.push(format!(".{}.new", std::process::id())),
        }
        temporary
    }
}

#[cfg(test)]
mod tests;
