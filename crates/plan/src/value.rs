//! The values that a rollback compares.

use std::fmt;

use evenkeel_model::{HostValue, RealServer, ServiceConfig, SyncDaemon, Timeouts};

use crate::field::{real_server_fields, service_fields, timeout_fields};
use crate::render::list;
use crate::resource::host_object;

/// The value of an object as a rollback compares and reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Sysctl(Box<str>),
    Timeouts(Timeouts),
    Sync(SyncDaemon),
    Service(ServiceConfig),
    RealServer(RealServer),
    Vip {
        /// `None` for the interface's name.
        label: Option<Box<str>>,
    },
    Host(HostValue),
    /// A dummy device, which has no further values.
    Present,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present | Self::Vip { label: None } => f.write_str("present"),
            Self::Vip { label: Some(label) } => write!(f, "present with label {label}"),
            Self::Host(value) => list(f, host_object::fields(value)),
            Self::Sysctl(value) => f.write_str(value),
            Self::Timeouts(timeouts) => list(f, timeout_fields(timeouts)),
            Self::Sync(daemon) => write!(f, "{daemon}"),
            Self::Service(config) => list(f, service_fields(config)),
            Self::RealServer(real_server) => list(f, real_server_fields(real_server)),
        }
    }
}
