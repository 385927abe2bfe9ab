//! The changes a table can undergo, one message each, and what any request is called in errors.

use std::fmt;

use crate::uapi::*;
use crate::{Destination, DestinationKey, Service, ServiceKey, SyncState};

/// One change, as handed to [`Client::execute`](crate::Client::execute).
///
/// New and set carry the whole object: setting replaces everything, and what is left at its
/// default is reset in the kernel. To keep something, read it first and send it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Makes a service; `EEXIST` when there is one with its key.
    NewService(Service),
    /// Replaces a service's scheduler, engine, timeout, netmask and the flags of
    /// [`flags::KNOWN`](crate::flags::KNOWN); its destinations stay.
    SetService(Service),
    /// Removes a service and all of its destinations.
    DeleteService(ServiceKey),
    /// Adds a destination; `EEXIST` when the service has one with its key.
    NewDestination(ServiceKey, Destination),
    /// Replaces a destination's forwarding, weight, thresholds and tunnel.
    SetDestination(ServiceKey, Destination),
    /// Removes a destination.
    DeleteDestination(ServiceKey, DestinationKey),
    /// Resets the counters and rates of a service and of its destinations to 0; their connections
    /// stay. It always names a service, because the same message without one resets the whole table.
    ZeroService(ServiceKey),
}

impl Command {
    /// What it does.
    #[must_use]
    pub fn operation(&self) -> Operation {
        match self {
            Self::NewService(_) => Operation::NewService,
            Self::SetService(_) => Operation::SetService,
            Self::DeleteService(_) => Operation::DeleteService,
            Self::NewDestination(..) => Operation::NewDestination,
            Self::SetDestination(..) => Operation::SetDestination,
            Self::DeleteDestination(..) => Operation::DeleteDestination,
            Self::ZeroService(_) => Operation::ZeroService,
        }
    }

    /// What it does it to.
    #[must_use]
    pub fn object(&self) -> CommandObject {
        match *self {
            Self::NewService(Service { key, .. })
            | Self::SetService(Service { key, .. })
            | Self::DeleteService(key)
            | Self::ZeroService(key) => CommandObject::Service(key),
            Self::NewDestination(service, destination)
            | Self::SetDestination(service, destination) => {
                CommandObject::Destination(service, destination.key())
            }
            Self::DeleteDestination(service, key) => CommandObject::Destination(service, key),
        }
    }
}

/// The object of a request, for errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// `CTRL_CMD_GETFAMILY` for the family itself
    ResolveFamily,
    /// `IPVS_CMD_NEW_SERVICE`
    NewService,
    /// `IPVS_CMD_SET_SERVICE`
    SetService,
    /// `IPVS_CMD_DEL_SERVICE`
    DeleteService,
    /// `IPVS_CMD_GET_SERVICE` for one or all
    GetServices,
    /// `IPVS_CMD_NEW_DEST`
    NewDestination,
    /// `IPVS_CMD_SET_DEST`
    SetDestination,
    /// `IPVS_CMD_DEL_DEST`
    DeleteDestination,
    /// `IPVS_CMD_ZERO` for one service
    ZeroService,
    /// `IPVS_CMD_GET_DEST`
    GetDestinations,
    /// `IPVS_CMD_GET_INFO`
    GetInfo,
    /// `IPVS_CMD_GET_CONFIG`
    GetTimeouts,
    /// `IPVS_CMD_SET_CONFIG`
    SetTimeouts,
    /// `IPVS_CMD_GET_DAEMON`
    GetSyncDaemons,
    /// `IPVS_CMD_NEW_DAEMON`
    StartSyncDaemon,
    /// `IPVS_CMD_DEL_DAEMON`
    StopSyncDaemon,
}

impl Operation {
    /// The operation of a `IPVS_CMD_*` that a request carries.
    pub(crate) fn of_command(number: u8) -> Option<Self> {
        Some(match number {
            IPVS_CMD_NEW_SERVICE => Self::NewService,
            IPVS_CMD_SET_SERVICE => Self::SetService,
            IPVS_CMD_DEL_SERVICE => Self::DeleteService,
            IPVS_CMD_GET_SERVICE => Self::GetServices,
            IPVS_CMD_NEW_DEST => Self::NewDestination,
            IPVS_CMD_SET_DEST => Self::SetDestination,
            IPVS_CMD_DEL_DEST => Self::DeleteDestination,
            IPVS_CMD_ZERO => Self::ZeroService,
            IPVS_CMD_GET_DEST => Self::GetDestinations,
            IPVS_CMD_GET_INFO => Self::GetInfo,
            IPVS_CMD_GET_CONFIG => Self::GetTimeouts,
            IPVS_CMD_SET_CONFIG => Self::SetTimeouts,
            IPVS_CMD_GET_DAEMON => Self::GetSyncDaemons,
            IPVS_CMD_NEW_DAEMON => Self::StartSyncDaemon,
            IPVS_CMD_DEL_DAEMON => Self::StopSyncDaemon,
            _ => return None,
        })
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ResolveFamily => "looking up the netlink family of",
            Self::NewService | Self::NewDestination => "adding",
            Self::SetService | Self::SetDestination => "setting",
            Self::DeleteService | Self::DeleteDestination => "deleting",
            Self::ZeroService => "resetting the counters of",
            Self::GetServices => "reading",
            Self::GetDestinations => "reading the destinations of",
            Self::GetInfo => "reading the version of",
            Self::GetTimeouts => "reading the timeouts of",
            Self::SetTimeouts => "setting the timeouts of",
            Self::GetSyncDaemons => "reading the sync daemons of",
            Self::StartSyncDaemon => "starting",
            Self::StopSyncDaemon => "stopping",
        })
    }
}

/// What an operation was about, for errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommandObject {
    /// The IPVS family or the table as a whole.
    Table,
    /// A service.
    Service(ServiceKey),
    /// A destination of a service.
    Destination(ServiceKey, DestinationKey),
    /// The sync daemon of a state.
    SyncDaemon(SyncState),
}

impl fmt::Display for CommandObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table => f.write_str("the IPVS table"),
            Self::Service(service) => write!(f, "service {service}"),
            Self::Destination(service, destination) => {
                write!(f, "destination {destination} of service {service}")
            }
            Self::SyncDaemon(state) => write!(f, "the {state} sync daemon"),
        }
    }
}
