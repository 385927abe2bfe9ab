//! Errors, separated by cause: the socket failed, an answer could not be decoded, or the kernel
//! refused.

use std::io;
use std::ops::Range;
use std::time::Duration;

use thiserror::Error;

use crate::modules::ModuleError;
use crate::{CommandObject, NameError, Operation, Refusal};

/// Why a request failed or has no answer. None of these means an empty table.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel has no IPVS, and the module could not be loaded or did not bring it.
    #[error("the kernel has no IPVS (module ip_vs is not loaded)")]
    ModuleMissing {
        /// Why the module could not be loaded; absent when loading it succeeded to no effect.
        source: Option<ModuleError>,
    },
    /// Every request of the family, reading included, needs the capability CAP_NET_ADMIN in the
    /// initial user namespace (`GENL_ADMIN_PERM`).
    #[error(
        "no permission for {operation} {object}: it needs CAP_NET_ADMIN in the initial user namespace"
    )]
    PermissionDenied {
        /// What was tried.
        operation: Operation,
        /// On what.
        object: CommandObject,
    },
    /// A system call on the socket failed.
    #[error("the netlink socket failed ({action})")]
    Socket {
        /// The step that failed.
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// No answer came in time. Whether a change was made is unknown.
    #[error("no answer from the kernel to {operation} {object} within {limit:?}")]
    Timeout {
        /// What was asked.
        operation: Operation,
        /// Of what.
        object: CommandObject,
        /// How long was waited.
        limit: Duration,
    },
    /// An answer could not be decoded.
    #[error("the kernel's answer to {operation} {object} cannot be decoded")]
    Malformed {
        /// What was asked.
        operation: Operation,
        /// Of what.
        object: CommandObject,
        /// Where decoding failed.
        source: DecodeError,
    },
    /// The kernel refused.
    #[error(transparent)]
    Refused(Refusal),
    /// The receive buffer overflowed and answers are lost (`ENOBUFS`). The operations may have
    /// been done nevertheless: read the table again, repeat nothing.
    #[error("answers to {operation} {object} were lost because the receive buffer overflowed")]
    RepliesLost {
        /// What was asked.
        operation: Operation,
        /// Of what.
        object: CommandObject,
    },
    /// The table changed while it was read, so the reading is incomplete; read again.
    #[error("the table changed while {operation} {object}")]
    DumpInterrupted {
        /// What was read.
        operation: Operation,
        /// Of what.
        object: CommandObject,
    },
    /// A message could not be serialised.
    #[error("a message cannot be encoded")]
    Encode(#[from] EncodeError),
}

impl Error {
    /// Whether the same request may succeed when repeated. A change needs a new reading of the
    /// table first.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::RepliesLost { .. } | Self::DumpInterrupted { .. } => true,
            Self::Refused(refusal) => refusal.is_retryable(),
            Self::ModuleMissing { .. }
            | Self::PermissionDenied { .. }
            | Self::Socket { .. }
            | Self::Malformed { .. }
            | Self::Encode(_) => false,
        }
    }
}

/// Why bytes could not be decoded as a message of the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A message or header reaches past the bytes that are there.
    #[error("a message is cut short")]
    CutMessage,
    /// An attribute reaches past its surroundings.
    #[error("an attribute is cut short")]
    CutAttribute,
    /// The datagram was larger than the receive buffer.
    #[error("a datagram is larger than the receive buffer")]
    CutDatagram,
    /// An attribute has a length its type cannot have.
    #[error("{attribute} has {length} bytes")]
    Length {
        /// The kernel's name of the attribute.
        attribute: &'static str,
        /// Its payload's length.
        length: usize,
    },
    /// A required attribute is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// An address of a family that has no known form.
    #[error("an address of the unknown family {0}")]
    UnknownFamily(u16),
    /// A name that is not one.
    #[error("{attribute} is not a name")]
    Name {
        /// The kernel's name of the attribute.
        attribute: &'static str,
        /// What is wrong with it.
        source: NameError,
    },
    /// A name that is not UTF-8.
    #[error("{0} is not UTF-8")]
    NotUtf8(&'static str),
    /// A message of a type that does not belong into the conversation; holds the type.
    #[error("an unexpected message of type {0}")]
    UnexpectedMessage(u16),
}

/// A message could not be serialised; holds neli's message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct EncodeError(pub(crate) String);

/// A batch that could not be completed. Some of its commands may have been executed.
#[derive(Debug, Error)]
#[error("a batch of changes was interrupted at command {}", unknown.start)]
pub struct Interrupted {
    /// The kernel's refusals among the commands before `unknown`; the others of those were done.
    pub refusals: Vec<CommandRefusal>,
    /// The indices in the batch of the commands whose result is unknown. Commands after the range
    /// were not sent. The range is empty if every result is known.
    pub unknown: Range<usize>,
    /// What happened.
    pub source: Error,
}

/// A command of a batch that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRefusal {
    /// The command's place in the batch, from 0.
    pub index: usize,
    /// The kernel's answer.
    pub refusal: Refusal,
}
