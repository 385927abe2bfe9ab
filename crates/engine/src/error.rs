//! Errors of a pass.

use std::error::Error;

use thiserror::Error as ThisError;

/// The kernel could not be read or written.
#[derive(Debug, ThisError)]
pub enum KernelError {
    /// A capability is missing.
    #[error("{tried} needs {capability}")]
    NotPermitted {
        /// What was tried.
        tried: &'static str,
        /// The capability, by its name in capabilities(7).
        capability: &'static str,
        /// The kernel's refusal.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The kernel has no IPVS.
    #[error("IPVS is not available")]
    NoIpvs(#[source] Box<dyn Error + Send + Sync>),
    /// Anything else.
    #[error("{tried} failed")]
    Failed {
        /// What was tried.
        tried: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// An error and its causes in one line of text.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
