//! The objects that operations change.

use evenkeel_model::{Binding, HostObject, RealServerKey, ServiceKey, SyncState};

/// The identity of an object that an operation changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    /// A kernel module.
    Module(Box<str>),
    /// A sysctl.
    Sysctl(Box<str>),
    /// The connection timeouts of the network namespace.
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
    /// A host object, such as a route to a VIP.
    Host(HostObject),
}
