//! Where a plan was made: the host, its boot, the network namespace and the role.

use clap::ValueEnum;
use evenkeel_host::{Namespace, NamespaceIdentity};
use serde::{Deserialize, Serialize};

use crate::args::Role;
use crate::error::Error;

/// What has to be the same for a plan to be of use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Origin {
    /// The host's name, as uname(2) tells it.
    pub(crate) host: String,
    /// The network namespace, as the state directory names it.
    pub(crate) namespace: String,
    /// What tells it from others of that name, and this boot from others.
    pub(crate) identity: NamespaceIdentity,
    /// Which side of the cluster the host was.
    pub(crate) role: String,
}

impl Origin {
    /// Where the calling thread is.
    pub(crate) fn here(role: Role) -> Result<Self, Error> {
        let namespace = Namespace::current().map_err(Error::Namespace)?;
        let role = role.to_possible_value();
        Ok(Self {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            namespace: namespace.label(),
            identity: namespace.identity,
            role: role.map(|it| it.get_name().to_owned()).unwrap_or_default(),
        })
    }
}
