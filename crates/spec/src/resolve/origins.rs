//! Where the objects of the desired state come from: noted only when somebody asks.

use evenkeel_model::{Binding, RealServerKey, ServiceKey, SyncState};

use crate::path::Path;

/// Something that the desired state has and a spec wrote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SpecObject {
    Service(ServiceKey),
    RealServer(ServiceKey, RealServerKey),
    Vip(Binding),
    Timeout(&'static str),
    Sync(SyncState),
    Sysctl(Box<str>),
    Guard(&'static str),
}

/// The objects in the order they were met.
pub(crate) type Origins = Vec<(SpecObject, Path)>;
