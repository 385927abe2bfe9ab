//! Why a file was not read or written.

use std::io;
use std::path::{Path, PathBuf};

use evenkeel_model::printable_name;
use thiserror::Error;

/// A file or directory could not be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// A file operation failed.
    #[error("cannot {tried} {}", printable_name(&path.to_string_lossy()))]
    Failed {
        /// The operation.
        tried: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A symbolic link is in the place of a file or directory.
    #[error("{} is a symbolic link, and evenkeel follows none below its state directory", printable_name(&path.to_string_lossy()))]
    Symlink {
        /// The link.
        path: PathBuf,
    },
    /// A directory, a pipe, a device or a socket is in the place of a file.
    #[error("cannot read {}: it is not a regular file", printable_name(&path.to_string_lossy()))]
    NotRegular {
        /// What is in the place of the file.
        path: PathBuf,
    },
}

impl FileError {
    /// A failed operation on that file, for `map_err`.
    pub fn new<E: Into<io::Error>>(
        tried: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> Self + use<E> {
        let path = path.to_owned();
        move |source| Self::Failed { tried, path, source: source.into() }
    }

    /// What the user can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Failed { source, .. } if is_wrong_kind(source) => {
                "check who put a file or a directory there, and move it away, or name another state \
                 directory with --state-dir"
            }
            Self::Failed { .. } => {
                "make the state directory writable, with room in it, or name another with --state-dir"
            }
            Self::Symlink { .. } => {
                "check who put the link there, and move what it points to into its place; only the \
                 state directory as a whole (--state-dir) may be a link"
            }
            Self::NotRegular { .. } => "check who put it there, and remove it",
        }
    }

    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Failed { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Whether a directory is in the place of a file, or a file in that of a directory.
fn is_wrong_kind(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory)
}

impl From<FileError> for io::Error {
    /// The cause alone, for callers that name the file themselves.
    fn from(error: FileError) -> Self {
        match error {
            FileError::Failed { source, .. } => source,
            FileError::Symlink { .. } | FileError::NotRegular { .. } => Self::other(error),
        }
    }
}
