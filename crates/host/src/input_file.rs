//! Opens files that a user named, without waiting for ever.
//!
//! Opening a named pipe waits for its writer, opening a device may act (a watchdog starts), and reading
//! either may never end. A few regular files of the kernel, such as `/proc/kmsg`, never end either.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl, fstat, fstatfs, openat};
use rustix::io::Errno;
use thiserror::Error;

/// The kernel's own filesystem of pipes without a name: `PIPEFS_MAGIC` of `linux/magic.h`.
const PIPEFS_MAGIC: u32 = 0x5049_5045;

/// Whether a pipe without a name is accepted: a shell's `<(...)`, `/dev/stdin` behind a `|`. It has a
/// writer, or its end is reached; it can be read once only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnonymousPipes {
    /// As stdin is read.
    Accepted,
    /// For files that are read more than once, or in the place of a whole directory.
    Refused,
}

/// A file that is open for reading.
#[derive(Debug)]
pub struct InputFile {
    /// The file.
    pub file: File,
    /// Its size in bytes when it was opened; 0 for a pipe, and for files that the kernel makes.
    pub length: u64,
    /// Whether it can be read again from its beginning.
    pub is_regular: bool,
}

/// Why a file cannot be read.
#[derive(Debug, Error)]
pub enum InputFileError {
    /// It is a pipe, a device or a socket.
    #[error("it is not a regular file, and reading it may never end")]
    NotRegular,
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<InputFileError> for io::Error {
    fn from(error: InputFileError) -> Self {
        match error {
            InputFileError::Io(error) => error,
            InputFileError::NotRegular => Self::other(error),
        }
    }
}

impl InputFile {
    /// Opens a file for reading; symbolic links are followed.
    ///
    /// # Errors
    /// [`InputFileError`].
    pub fn open(path: &Path, pipes: AnonymousPipes) -> Result<Self, InputFileError> {
        // Before it is opened: opening a device may act.
        if !may_be_opened(fs::metadata(path)?.file_type()) {
            return Err(InputFileError::NotRegular);
        }
        // The file may be replaced after that check; opening does not wait.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = match openat(CWD, path, flags, Mode::empty()) {
            // open(2) of a socket.
            Err(Errno::NXIO) => return Err(InputFileError::NotRegular),
            opened => opened.map_err(io::Error::from)?,
        };
        let found = fstat(&opened).map_err(io::Error::from)?;
        let is_regular = match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => true,
            FileType::Directory => return Err(io::Error::from(Errno::ISDIR).into()),
            FileType::Fifo if pipes == AnonymousPipes::Accepted && is_anonymous(&opened)? => {
                let flags = fcntl_getfl(&opened).map_err(io::Error::from)?;
                fcntl_setfl(&opened, flags - OFlags::NONBLOCK).map_err(io::Error::from)?;
                false
            }
            _ => return Err(InputFileError::NotRegular),
        };
        let length = u64::try_from(found.st_size).unwrap_or_default();
        Ok(Self { file: File::from(opened), length, is_regular })
    }

    /// Reads its text up to that many bytes.
    ///
    /// # Errors
    /// [`InputFileError::NotRegular`] also where the kernel makes a text whose end does not come.
    pub fn read(&self, most: u64) -> Result<Vec<u8>, InputFileError> {
        // One byte more than expected, so that reading to the end does not double the buffer.
        let capacity = usize::try_from(most.min(self.length) + 1).unwrap_or_default();
        let mut text = Vec::with_capacity(capacity);
        match (&self.file).take(most).read_to_end(&mut text) {
            Ok(_) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(InputFileError::NotRegular)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn may_be_opened(kind: fs::FileType) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    kind.is_file() || kind.is_dir() || kind.is_fifo()
}

fn is_anonymous(pipe: impl std::os::fd::AsFd) -> io::Result<bool> {
    // The magic number is 32 bits wide; the type of the field differs among architectures.
    Ok(fstatfs(pipe)?.f_type as u32 == PIPEFS_MAGIC)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    use rustix::fs::mknodat;

    use super::*;

    fn is_refused(path: &Path, pipes: AnonymousPipes) -> bool {
        matches!(InputFile::open(path, pipes), Err(InputFileError::NotRegular))
    }

    #[test]
    fn pipes_with_a_name_sockets_and_devices_are_refused_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let [fifo, socket, link] = ["fifo", "socket", "link"].map(|name| folder.path().join(name));
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
        let _listener = UnixListener::bind(&socket).expect("a socket");
        std::os::unix::fs::symlink(&fifo, &link).expect("a link");
        for path in [&*fifo, &*socket, &*link, Path::new("/dev/zero"), Path::new("/dev/null")] {
            for pipes in [AnonymousPipes::Accepted, AnonymousPipes::Refused] {
                assert!(is_refused(path, pipes), "{}", path.display());
            }
        }
    }

    #[test]
    fn a_pipe_without_a_name_is_read_to_its_end_where_it_is_accepted() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let path = PathBuf::from(format!("/proc/self/fd/{}", reader.as_raw_fd()));
        assert!(is_refused(&path, AnonymousPipes::Refused));
        let opened = InputFile::open(&path, AnonymousPipes::Accepted).expect("it is accepted");
        assert!(!opened.is_regular);
        // Its writer is waited for.
        let writing = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            writer.write_all(b"version: 1").expect("it is read");
        });
        assert_eq!(opened.read(100).expect("its end"), b"version: 1");
        writing.join().expect("it wrote");
    }

    #[test]
    fn a_directory_and_a_missing_file_are_the_systems_errors() {
        let folder = tempfile::tempdir().expect("a folder");
        let kind = |path: &Path| match InputFile::open(path, AnonymousPipes::Accepted) {
            Err(InputFileError::Io(error)) => error.kind(),
            other => panic!("{other:?}"),
        };
        assert_eq!(kind(folder.path()), io::ErrorKind::IsADirectory);
        assert_eq!(kind(&folder.path().join("missing")), io::ErrorKind::NotFound);
    }
}
