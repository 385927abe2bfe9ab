//! A handle to a directory. Its files are opened, renamed and removed by name, relative to the
//! handle, so that nothing that is put into the path meanwhile can redirect an operation.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, DirEntry, FileType, FlockOperation, Mode, OFlags, chmodat, flock, fstat,
    fsync, mkdirat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::FileError;

/// The handle serves to find names only, which takes no permission to list the directory.
const HANDLE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The directory in which evenkeel keeps its state unless a user names another one.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/evenkeel";

/// The mode of evenkeel's directories.
const PRIVATE: Mode = Mode::from_raw_mode(0o700);

/// An open directory.
#[derive(Debug)]
pub struct Directory {
    pub(super) handle: OwnedFd,
    path: PathBuf,
}

/// A regular file that is open for reading.
#[derive(Debug)]
pub(crate) struct RegularFile {
    pub(crate) file: File,
    /// Its size in bytes when it was opened.
    pub(crate) length: u64,
}

impl Directory {
    /// Opens a directory that the user named; symbolic links in its path are followed.
    ///
    /// # Errors
    /// There is none, or it cannot be accessed.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let handle = openat(CWD, path, HANDLE, Mode::empty());
        let handle = handle.map_err(FileError::new("open", path))?;
        Ok(Self { handle, path: path.to_owned() })
    }

    /// Opens a directory that the user named, and creates it if there is none, for its owner alone. One that
    /// exists keeps its mode, unless it is the default one: it may be a directory of something else.
    pub(super) fn create(path: &Path) -> Result<Self, FileError> {
        let exists = path.is_dir();
        if !exists {
            create_durably(path).map_err(FileError::new("create", path))?;
            // Whatever the umask made of it.
            let changed = chmodat(CWD, path, PRIVATE, AtFlags::empty());
            changed.map_err(FileError::new("create", path))?;
        }
        let directory = Self::open(path)?;
        if path == Path::new(DEFAULT_STATE_DIR) {
            directory.close_to_others()?;
        }
        Ok(directory)
    }

    /// Opens a directory in this one.
    pub(super) fn open_child(&self, name: &str) -> Result<Self, FileError> {
        self.child(name, "open")
    }

    /// Opens a directory in this one, and creates it if there is none. Only its owner may use it: one that
    /// others may use, as earlier versions or another umask made it, is closed to them, with its files.
    pub(super) fn create_child(&self, name: &str) -> Result<Self, FileError> {
        match mkdirat(&self.handle, name, PRIVATE) {
            Ok(()) => {
                // The umask may have taken the owner's permissions.
                let complete = chmodat(&self.handle, name, PRIVATE, AtFlags::empty());
                complete.map_err(self.failed("create", name))?;
                self.flush()?;
            }
            Err(Errno::EXIST) => {}
            Err(error) => return Err(self.failed("create", name)(error)),
        }
        let child = self.child(name, "create")?;
        if child.close_to_others()? {
            child.close_files()?;
        }
        Ok(child)
    }

    /// Leaves a directory to its owner alone; `false` if it was so already, or is another user's.
    fn close_to_others(&self) -> Result<bool, FileError> {
        let found = fstat(&self.handle).map_err(FileError::new("protect", &self.path))?;
        let mode = Mode::from_raw_mode(found.st_mode);
        let is_private = (mode & Mode::from_raw_mode(0o077)).is_empty();
        if is_private || found.st_uid != geteuid().as_raw() {
            return Ok(false);
        }
        // The handle serves names only: its own mode cannot be changed by it.
        let changed = chmodat(&self.handle, ".", PRIVATE, AtFlags::empty());
        changed.map_err(FileError::new("protect", &self.path))?;
        Ok(true)
    }

    /// Leaves the regular files of the directory to their owner alone.
    fn close_files(&self) -> Result<(), FileError> {
        for name in self.names()? {
            let Ok(found) = statat(&self.handle, &*name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let is_file = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
            if is_file && found.st_mode & 0o077 != 0 {
                let mode = Mode::from_raw_mode(0o600);
                let closed = chmodat(&self.handle, &*name, mode, AtFlags::empty());
                closed.map_err(self.failed("protect", &name))?;
            }
        }
        Ok(())
    }

    fn child(&self, name: &str, tried: &'static str) -> Result<Self, FileError> {
        match openat(&self.handle, name, HANDLE | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(handle) => Ok(Self { handle, path: self.path_of(name) }),
            // What the kernel calls a link that is to be a directory.
            Err(Errno::NOTDIR) if self.is_symlink(name) => Err(self.symlink(name)),
            Err(error) => Err(self.failed(tried, name)(error)),
        }
    }

    /// Opens a regular file for reading. Anything else is refused: opening a pipe may never return, and
    /// reading a device never end, while the caller holds the lock of the network namespace.
    pub(super) fn open_file(&self, name: &str) -> Result<RegularFile, FileError> {
        // With NONBLOCK, opening a pipe does not wait for its writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.handle, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::LOOP) => return Err(self.symlink(name)),
            // What the kernel calls opening a socket.
            Err(Errno::NXIO) => return Err(self.not_regular(name)),
            Err(error) => return Err(self.failed("read", name)(error)),
        };
        let metadata = file.metadata().map_err(self.failed("read", name))?;
        match metadata.is_file() {
            true => Ok(RegularFile { file, length: metadata.len() }),
            false => Err(self.not_regular(name)),
        }
    }

    /// Whether something has this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Renames a file within the directory; replaces what has the new name, link or file.
    pub(crate) fn rename(
        &self,
        from: impl AsRef<OsStr>,
        to: impl AsRef<OsStr>,
    ) -> Result<(), io::Error> {
        Ok(renameat(&self.handle, from.as_ref(), &self.handle, to.as_ref())?)
    }

    /// Removes a file, or a link itself; `false` where there is none.
    pub(crate) fn remove(&self, name: impl AsRef<OsStr>) -> Result<bool, FileError> {
        match unlinkat(&self.handle, name.as_ref(), AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(self.failed("remove", name)(error)),
        }
    }

    /// The names of its entries, `.` and `..` among them.
    pub(crate) fn names(&self) -> Result<Vec<OsString>, FileError> {
        let names = self.readable().and_then(Dir::new).and_then(|entries| {
            let name = |entry: DirEntry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
            entries.map(|entry| entry.map(name)).collect()
        });
        names.map_err(FileError::new("list", &self.path))
    }

    /// Makes its entries durable: files that were renamed to, created or removed.
    pub(super) fn flush(&self) -> Result<(), FileError> {
        let flushed = self.readable().and_then(|readable| match fsync(&readable) {
            // A filesystem that cannot flush a directory, as some network filesystems.
            Err(Errno::INVAL) => Ok(()),
            flushed => flushed,
        });
        flushed.map_err(FileError::new("flush", &self.path))
    }

    /// Blocks other processes and threads that do the same until the result is dropped.
    pub(super) fn lock(&self) -> Result<OwnedFd, FileError> {
        let locked = self.readable().and_then(|readable| {
            rustix::io::retry_on_intr(|| flock(&readable, FlockOperation::LockExclusive))?;
            Ok(readable)
        });
        locked.map_err(FileError::new("lock", &self.path))
    }

    /// The directory opened for more than names.
    fn readable(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(&self.handle, ".", flags, Mode::empty())
    }

    fn path_of(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.path.join(name.as_ref())
    }

    /// A failed operation on a file in this directory, for `map_err`.
    pub(super) fn failed<E: Into<io::Error>, N: AsRef<OsStr>>(
        &self,
        tried: &'static str,
        name: N,
    ) -> impl FnOnce(E) -> FileError + use<E, N> {
        FileError::new(tried, &self.path_of(name))
    }

    fn symlink(&self, name: &str) -> FileError {
        FileError::Symlink { path: self.path_of(name) }
    }

    fn not_regular(&self, name: &str) -> FileError {
        FileError::NotRegular { path: self.path_of(name) }
    }

    fn is_symlink(&self, name: &str) -> bool {
        statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Symlink)
    }
}

/// Creates a directory and its missing parents. Each of them is durable only once the directory that
/// it is in is flushed.
fn create_durably(path: &Path) -> Result<(), io::Error> {
    let parent = path.parent().map(|it| if it == Path::new("") { Path::new(".") } else { it });
    let created = match (fs::create_dir(path), parent) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound && parent != path => {
            create_durably(parent)?;
            fs::create_dir(path)
        }
        (created, _) => created,
    };
    match created {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => parent.map_or(Ok(()), |parent| Ok(Directory::open(parent)?.flush()?)),
    }
}

#[cfg(test)]
mod tests;
