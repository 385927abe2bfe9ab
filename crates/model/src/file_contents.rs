//! The objects that each file of a spec lists.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::{Binding, HostObject, ServiceKey, SyncState};

/// The objects that one file of a spec lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileContents {
    /// Its name; a path if it is a file.
    pub name: String,
    /// The services, one for each VIP and port.
    pub services: BTreeSet<ServiceKey>,
    /// The VIPs.
    pub vips: BTreeSet<Binding>,
    /// The host objects, such as the routes of VIPs.
    pub host_objects: BTreeSet<HostObject>,
    /// The sync daemons.
    pub sync: BTreeSet<SyncState>,
    /// The sysctls.
    pub sysctls: BTreeSet<Box<str>>,
    /// Whether it sets `defaults`, by which services of all files are what they are.
    pub defaults: bool,
}

impl FileContents {
    /// Whether it lists no object that would be deleted with it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many objects it lists.
    pub fn len(&self) -> usize {
        let Self { name: _, services, vips, host_objects, sync, sysctls, defaults } = self;
        let sets = services.len() + vips.len() + host_objects.len() + sync.len() + sysctls.len();
        sets + usize::from(*defaults)
    }

    /// How many of its objects those files list as well.
    pub fn shared_with(&self, others: &[&Self]) -> usize {
        let Self { name: _, services, vips, host_objects, sync, sysctls, defaults } = self;
        let any = |lists: &dyn Fn(&Self) -> bool| others.iter().any(|other| lists(other));
        services.iter().filter(|it| any(&|other| other.services.contains(it))).count()
            + vips.iter().filter(|it| any(&|other| other.vips.contains(it))).count()
            + host_objects.iter().filter(|it| any(&|other| other.host_objects.contains(it))).count()
            + sync.iter().filter(|it| any(&|other| other.sync.contains(it))).count()
            + sysctls.iter().filter(|it| any(&|other| other.sysctls.contains(*it))).count()
            + usize::from(*defaults && any(&|other| other.defaults))
    }

    /// The addresses of its services and VIPs.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let vips = self.vips.iter().map(|binding| binding.address);
        self.services.iter().filter_map(ServiceKey::vip).chain(vips)
    }

    /// The services that have no address of their own.
    pub fn marked(&self) -> impl Iterator<Item = &ServiceKey> {
        self.services.iter().filter(|service| service.vip().is_none())
    }
}
