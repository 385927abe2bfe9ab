//! The values that a rollback compares.

use evenkeel_model::{HostValue, RealServer, ServiceConfig, SyncDaemon, Timeouts};

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
