//! The host, boot, network namespace, owner and role for which a plan was made.

use evenkeel_host::{Namespace, NamespaceIdentity};
use evenkeel_model::{HostRoles, OwnerName};
use serde::{Deserialize, Serialize};

/// The origin of a plan; a saved plan is applied only where all of it is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanOrigin {
    /// The host name, from uname(2).
    pub host: String,
    /// The label of the network namespace, as in the state directory.
    pub namespace: String,
    /// The identity of the network namespace, which differs from others of that name and includes
    /// the boot.
    pub identity: NamespaceIdentity,
    /// The owner that the plan was made for.
    #[serde(default, skip_serializing_if = "OwnerName::is_unnamed")]
    pub owner: OwnerName,
    /// The host's roles, as [`HostRoles`] displays them.
    pub role: String,
}

impl PlanOrigin {
    /// The origin of plans that the calling thread makes.
    ///
    /// # Errors
    /// The network namespace cannot be identified.
    pub fn here(owner: &OwnerName, roles: &HostRoles) -> Result<Self, evenkeel_host::Error> {
        let namespace = Namespace::current()?;
        Ok(Self {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            namespace: namespace.label(),
            identity: namespace.identity,
            owner: owner.clone(),
            role: roles.to_string(),
        })
    }
}
