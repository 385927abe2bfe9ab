//! Why there is no spec at the moment.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

use evenkeel_model::printable_name;
use thiserror::Error;

/// Why a source provides no texts.
#[derive(Debug, Error)]
pub enum SourceError {
    /// A file cannot be read.
    #[error("cannot read {}", printable_name(&path.to_string_lossy()))]
    Unreadable {
        /// The file or directory; `-` for stdin.
        path: PathBuf,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// A path leads to a pipe, a device or the like.
    #[error(
        "cannot read {}: it is not a regular file, and reading it may never end",
        printable_name(&path.to_string_lossy())
    )]
    NotRegular {
        /// The path.
        path: PathBuf,
    },
    /// A directory has no spec in it.
    #[error("there is no *.yaml or *.yml file in {}", printable_name(&path.to_string_lossy()))]
    NoSpecInDirectory {
        /// The directory.
        path: PathBuf,
    },
}

impl SourceError {
    /// Whether the same revision may become readable: the system refused (no free descriptors, no
    /// memory, a failing disk, permissions that depend on more than the file). A missing file is not
    /// temporary, because a revision includes whether it exists.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreadable { source, .. } => !matches!(
                source.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::IsADirectory
                    | io::ErrorKind::InvalidFilename
            ),
            Self::NotRegular { .. } | Self::NoSpecInDirectory { .. } => false,
        }
    }
}

/// Why a reading has no spec, for people.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text}")]
pub struct SpecError {
    /// Every problem with its position; or why nothing could be read. Several lines.
    pub text: String,
    /// Whether the error may pass without a change of the source or the parameters. Then the follower
    /// reads again within the interval.
    pub is_temporary: bool,
}

impl From<SourceError> for SpecError {
    fn from(error: SourceError) -> Self {
        let mut text = error.to_string();
        if let Some(cause) = error.source() {
            text.push_str(&format!(": {cause}"));
        }
        Self { text, is_temporary: error.is_temporary() }
    }
}
