//! Refusals by the kernel: errno, object and explanation. The kernel itself explains only malformed
//! attributes, so the meaning of `EEXIST`, `ESRCH` and `ENOENT` is derived here.

use std::fmt;

use nix::errno::Errno;

use crate::{CommandObject, Operation};

/// A request that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked.
    pub operation: Operation,
    /// Of what.
    pub object: CommandObject,
    /// The kernel's error number, positive.
    pub errno: i32,
    /// The kernel's own words (`NLMSGERR_ATTR_MSG`), when it sent some.
    pub message: Option<Box<str>>,
}

/// What an error number means for the operation it answers (`ip_vs_ctl.c`; the table of
/// `ipvs_strerror` in ipvsadm's libipvs).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalReason {
    /// There is an object with this key already.
    Exists,
    /// There is no such service.
    NoService,
    /// The service has no such destination.
    NoDestination,
    /// No sync daemon of this state runs.
    NoSyncDaemon,
    /// There is no interface of this name.
    NoInterface,
    /// The interface has no address from which the sync daemon's group could be reached: a
    /// master's IPv6 address may still be tentative.
    NoAddress,
    /// The sync daemon's group cannot be reached through the interface, which may be down.
    Unreachable,
    /// The scheduler or the persistence engine is neither built in nor loadable. A service that
    /// was being set may have lost its scheduler by it.
    NoScheduler,
    /// The weight is negative to the kernel, the lower threshold above the upper, or a timeout
    /// too long to be counted.
    OutOfRange,
    /// The kernel does not have this address family.
    NoAddressFamily,
    /// The values do not go together: a netmask outside 1 to 128 for IPv6, GUE without a port,
    /// a destination address that is not unicast or not yet reachable (`lo` down), mixed
    /// families other than by tunnel or beside a sync daemon, an unknown protocol, a sync
    /// daemon's group that is not multicast.
    Invalid,
    /// The module was unloaded.
    ModuleGone,
    /// Another change or dump is under way.
    Busy,
    /// Memory ran out.
    NoMemory,
    /// Anything else; see the number.
    Other,
}

impl Refusal {
    /// What the number means for this operation.
    #[must_use]
    pub fn reason(&self) -> RefusalReason {
        match Errno::from_raw(self.errno) {
            Errno::EEXIST => RefusalReason::Exists,
            Errno::ESRCH => match self.operation {
                Operation::StopSyncDaemon => RefusalReason::NoSyncDaemon,
                _ => RefusalReason::NoService,
            },
            Errno::ENOENT => match self.operation {
                Operation::NewService | Operation::SetService => RefusalReason::NoScheduler,
                Operation::SetDestination | Operation::DeleteDestination => {
                    RefusalReason::NoDestination
                }
                _ => RefusalReason::Other,
            },
            Errno::ENODEV if self.operation == Operation::StartSyncDaemon => {
                RefusalReason::NoInterface
            }
            Errno::EADDRNOTAVAIL => RefusalReason::NoAddress,
            Errno::ENETUNREACH => RefusalReason::Unreachable,
            Errno::ERANGE => RefusalReason::OutOfRange,
            // The one thing that can be wrong with timeouts.
            Errno::EINVAL if self.operation == Operation::SetTimeouts => RefusalReason::OutOfRange,
            Errno::EAFNOSUPPORT => RefusalReason::NoAddressFamily,
            Errno::EINVAL => RefusalReason::Invalid,
            Errno::ENOPROTOOPT => RefusalReason::ModuleGone,
            Errno::EBUSY | Errno::EAGAIN | Errno::EINTR => RefusalReason::Busy,
            Errno::ENOMEM | Errno::ENOBUFS => RefusalReason::NoMemory,
            _ => RefusalReason::Other,
        }
    }

    /// The number's name, such as `EEXIST`; `UnknownErrno` for one without.
    #[must_use]
    pub fn errno_name(&self) -> String {
        format!("{:?}", Errno::from_raw(self.errno))
    }

    /// Whether the same request may be granted later without anything else changing.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.reason(), RefusalReason::Busy | RefusalReason::NoMemory)
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, object, errno, message } = self;
        write!(f, "the kernel refused {operation} {object}: ")?;
        match self.reason() {
            RefusalReason::Other => f.write_str(Errno::from_raw(*errno).desc())?,
            reason => write!(f, "{reason}")?,
        }
        write!(f, " ({}", self.errno_name())?;
        if Errno::from_raw(*errno) == Errno::UnknownErrno {
            write!(f, " {errno}")?;
        }
        if let Some(message) = message {
            write!(f, ", \"{message}\"")?;
        }
        f.write_str(")")
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exists => "it exists already",
            Self::NoService => "there is no such service",
            Self::NoDestination => "there is no such destination",
            Self::NoSyncDaemon => "it is not running",
            Self::NoInterface => "there is no such interface",
            Self::NoAddress => "its interface has no address to send from",
            Self::Unreachable => "its group cannot be reached through its interface",
            Self::NoScheduler => "its scheduler or persistence engine cannot be loaded",
            Self::OutOfRange => "a value is out of range",
            Self::NoAddressFamily => "its address family is not available",
            Self::Invalid => "its values are not valid together",
            Self::ModuleGone => "the module is not loaded any more",
            Self::Busy => "the kernel is busy",
            Self::NoMemory => "out of memory",
            Self::Other => "another error",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::{DestinationKey, ServiceKey, protocol};

    fn refusal(operation: Operation, errno: Errno) -> Refusal {
        let address = Ipv4Addr::new(192, 0, 2, 1).into();
        let service = ServiceKey::Address { address, port: 80, protocol: protocol::TCP };
        Refusal {
            operation,
            object: CommandObject::Destination(service, DestinationKey { address, port: 8080 }),
            errno: errno as i32,
            message: None,
        }
    }

    #[test]
    fn enoent_means_the_destination_or_the_scheduler_by_operation() {
        let of = |operation| refusal(operation, Errno::ENOENT).reason();
        assert_eq!(of(Operation::SetDestination), RefusalReason::NoDestination);
        assert_eq!(of(Operation::SetService), RefusalReason::NoScheduler);
    }

    #[test]
    fn a_number_means_something_else_for_what_is_not_of_the_table() {
        let of = |operation, errno| refusal(operation, errno).reason();
        assert_eq!(of(Operation::StopSyncDaemon, Errno::ESRCH), RefusalReason::NoSyncDaemon);
        assert_eq!(of(Operation::StartSyncDaemon, Errno::EINVAL), RefusalReason::Invalid);
        assert_eq!(of(Operation::SetTimeouts, Errno::EINVAL), RefusalReason::OutOfRange);
    }

    #[test]
    fn the_words_name_operation_object_meaning_and_errno() {
        assert_eq!(
            refusal(Operation::NewDestination, Errno::EEXIST).to_string(),
            "the kernel refused adding destination 192.0.2.1:8080 of service tcp 192.0.2.1:80: \
             it exists already (EEXIST)"
        );
    }

    #[test]
    fn a_number_without_a_name_is_still_shown() {
        let refusal = Refusal {
            errno: 4095,
            message: Some("odd".into()),
            ..refusal(Operation::NewService, Errno::EPERM)
        };
        let words = refusal.to_string();
        assert!(words.ends_with("(UnknownErrno 4095, \"odd\")"), "{words}");
    }
}
