//! The errors of the lab.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why the lab could not be set up, or why a guest returned no result.
///
/// A command that ran in the guest and failed is no error: see [`crate::Outcome`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be used.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was tried, as a verb: "read", "create".
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// A program that the lab needs could not be started.
    #[error("cannot run {program}")]
    Program {
        /// The program's name.
        program: String,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// A program that the lab needs ran and failed.
    #[error("{program} failed ({status}): {stderr}")]
    ProgramFailed {
        /// The program and its arguments.
        program: String,
        /// Its exit status.
        status: String,
        /// Its standard error.
        stderr: String,
    },
    /// There is no apt-get to fetch the kernel with.
    #[error("no apt-get on this machine to fetch a User-Mode Linux kernel with")]
    NoApt,
    /// The packages hold no kernel where one was expected.
    #[error("no {what} below {}", below.display())]
    NotInPackages {
        /// What was looked for.
        what: &'static str,
        /// Where.
        below: PathBuf,
    },
    /// A path that the guest's kernel command line cannot carry.
    #[error("the path {} holds a space or a quote, which a kernel command line cannot carry", .0.display())]
    Unbootable(PathBuf),
    /// The guest did not end in time and was killed.
    #[error("the guest was killed after {} s; the last lines of its console:\n{console}", after.as_secs())]
    TimedOut {
        /// The limit.
        after: Duration,
        /// The end of the guest's console.
        console: String,
    },
    /// The guest ended without reporting the status of its command.
    #[error("the guest died ({status}); the last lines of its console:\n{console}")]
    Died {
        /// How the kernel's process ended.
        status: String,
        /// The end of the guest's console.
        console: String,
    },
    /// The guest came up but could not be made ready, or could not start the command.
    #[error("the guest refused the job: {0}")]
    Refused(String),
    /// The guest's output could not be forwarded.
    #[error("cannot pass on what the guest wrote")]
    Output(#[source] io::Error),
    /// A step inside the guest failed.
    #[error("{what}")]
    Step {
        /// What was tried.
        what: String,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
}

/// Adds context to an [`io::Error`].
pub(crate) trait Context<T> {
    /// Names the file and what was tried with it.
    fn on(self, what: &'static str, path: impl Into<PathBuf>) -> Result<T, Error>;
    /// Names what was tried.
    fn step(self, what: impl Into<String>) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn on(self, what: &'static str, path: impl Into<PathBuf>) -> Result<T, Error> {
        self.map_err(|error| Error::File { what, path: path.into(), source: error.into() })
    }

    fn step(self, what: impl Into<String>) -> Result<T, Error> {
        self.map_err(|error| Error::Step { what: what.into(), source: error.into() })
    }
}
