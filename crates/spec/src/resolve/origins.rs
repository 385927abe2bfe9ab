//! The origins of the objects of the desired state, recorded only on request.

use evenkeel_model::{Binding, HostObject, RealServerKey, ServiceKey, SyncState};

use crate::path::Path;

/// An object of the desired state that is written in a spec.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SpecObject {
    Service(ServiceKey),
    RealServer(ServiceKey, RealServerKey),
    Vip(Binding),
    Host(HostObject),
    Timeout(&'static str),
    Sync(SyncState),
    Sysctl(Box<str>),
    Guard(&'static str),
    /// The `defaults` of the source of that number.
    Defaults(usize),
}

/// The objects in the order in which they were resolved.
pub(crate) type Origins = Vec<(SpecObject, Path)>;
