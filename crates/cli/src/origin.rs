//! Where a plan was made: the host, its boot, the network namespace and the role.

use std::fs;

use clap::ValueEnum;
use evenkeel_host::Namespace;
use serde::{Deserialize, Serialize};

use crate::args::Role;
use crate::error::Error;

/// What has to be the same for a plan to be of use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Origin {
    /// The host's name, as uname(2) tells it.
    pub(crate) host: String,
    /// The kernel's name for the time from this boot to the next.
    pub(crate) boot: String,
    /// The network namespace, as the state directory names it.
    pub(crate) namespace: String,
    /// Its device and inode: a name may be given to another namespace.
    pub(crate) identity: (u64, u64),
    /// Which side of the cluster the host was.
    pub(crate) role: String,
}

impl Origin {
    /// Where the calling thread is.
    pub(crate) fn here(role: Role) -> Result<Self, Error> {
        const BOOT: &str = "/proc/sys/kernel/random/boot_id";
        let boot = fs::read_to_string(BOOT);
        let boot = boot.map_err(|source| Error::Unreadable { path: BOOT.into(), source })?;
        let namespace = Namespace::current().map_err(Error::Namespace)?;
        let role = role.to_possible_value();
        Ok(Self {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            boot: boot.trim().to_owned(),
            namespace: namespace.label(),
            identity: (namespace.device, namespace.inode),
            role: role.map(|it| it.get_name().to_owned()).unwrap_or_default(),
        })
    }
}
