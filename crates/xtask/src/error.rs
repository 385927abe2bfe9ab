//! The errors of a task, and how they are printed.

use std::error::Error as _;
use std::io;

/// Why a task failed.
#[derive(Debug)]
pub(crate) enum Error {
    /// The lab failed.
    Lab(evenkeel_lab::Error),
    /// A program could not be started.
    Start(String, io::Error),
    /// A program failed, and printed the reason itself.
    Failed(String),
    /// A check failed; the text says which.
    Claim(String),
}

impl From<evenkeel_lab::Error> for Error {
    fn from(error: evenkeel_lab::Error) -> Self {
        Self::Lab(error)
    }
}

impl Error {
    /// Prints the error, its causes and, where there is one, the remedy.
    pub(crate) fn print(&self) {
        match self {
            Self::Lab(error) => {
                eprintln!("error: {error}");
                let mut cause = error.source();
                while let Some(error) = cause {
                    eprintln!("caused by: {error}");
                    cause = error.source();
                }
                if matches!(error, evenkeel_lab::Error::NoApt) {
                    eprintln!(
                        "hint: set EVENKEEL_LAB_KERNEL to a User-Mode Linux program and \
                         EVENKEEL_LAB_MODULES to the folder with its modules.dep"
                    );
                }
            }
            Self::Start(program, error) => {
                eprintln!("error: cannot run {program}\ncaused by: {error}")
            }
            Self::Failed(program) => eprintln!("error: {program} failed"),
            Self::Claim(text) => eprintln!("error: {text}"),
        }
    }
}
