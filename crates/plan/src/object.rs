//! What operations are done to.

use evenkeel_model::{Binding, HostRoute, RealServerKey, ServiceKey, SyncState};

/// What an operation is done to, by identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    /// A kernel module.
    Module(Box<str>),
    /// A sysctl.
    Sysctl(Box<str>),
    /// The timeouts of the namespace.
    Timeouts,
    /// A sync daemon.
    Sync(SyncState),
    /// A dummy device.
    Dummy(Box<str>),
    /// A service.
    Service(ServiceKey),
    /// A real server of a service.
    RealServer(ServiceKey, RealServerKey),
    /// A VIP on an interface.
    Vip(Binding),
    /// A host route to a VIP.
    Route(HostRoute),
}
