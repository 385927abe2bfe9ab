//! What a host is in a cluster.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::FormerRole;

/// What a host is in a cluster.
///
/// A host without a role was a real server or a gateway, is no longer listed, and only undoes what it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRoles {
    /// Set if it is a director.
    pub director: Option<OwnDirector>,
    /// Its own addresses that are those of real servers; empty if it is no real server.
    pub real_server: BTreeSet<IpAddr>,
    /// Set if it is a gateway, which is neither a director nor a real server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<OwnGateway>,
}

/// Which gateway a host is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnGateway {
    /// The name in the spec.
    pub name: Box<str>,
    /// The address of the host by which it was found.
    pub by: IpAddr,
}

/// Which director a host is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnDirector {
    /// The spec lists no directors: VIPs without `on` are its own.
    Unnamed,
    /// The one of this name, found by this address of the host.
    Named {
        /// The name in the spec.
        name: Box<str>,
        /// The address of both; `None` if the host has none of the addresses, and the spec lists a single
        /// director.
        by: Option<IpAddr>,
    },
}

impl Default for HostRoles {
    /// The director of a spec that lists none.
    fn default() -> Self {
        Self { director: Some(OwnDirector::Unnamed), ..Self::NONE }
    }
}

impl HostRoles {
    /// The host has no role any more.
    pub const NONE: Self = Self { director: None, real_server: BTreeSet::new(), gateway: None };

    /// Whether it is a director.
    pub fn is_director(&self) -> bool {
        self.director.is_some()
    }

    /// Says which addresses show the roles: `director lb1, as it has 192.0.2.2`.
    pub fn explanation(&self) -> String {
        let director = match &self.director {
            None => None,
            Some(OwnDirector::Unnamed) => {
                Some("director, as the spec lists no directors".to_owned())
            }
            Some(OwnDirector::Named { name, by: None }) => {
                Some(format!("director {name}, as it was requested"))
            }
            Some(OwnDirector::Named { name, by: Some(address) }) => {
                Some(format!("director {name}, as it has {address}"))
            }
        };
        let own: Vec<String> = self.real_server.iter().map(IpAddr::to_string).collect();
        let real_server =
            (!own.is_empty()).then(|| format!("real server, as it has {}", own.join(", ")));
        let gateway = self.gateway.as_ref();
        let gateway = gateway.map(|it| format!("gateway {}, as it has {}", it.name, it.by));
        let parts: Vec<String> = director.into_iter().chain(real_server).chain(gateway).collect();
        match parts.is_empty() {
            true => "none: it had one, and the spec does not list it any more".to_owned(),
            false => parts.join("; "),
        }
    }

    /// Whether it is a real server.
    pub fn is_real_server(&self) -> bool {
        !self.real_server.is_empty()
    }

    /// Returns what to record of these roles: a host without one keeps what it was before.
    pub fn to_record(&self, before: Option<FormerRole>) -> Option<FormerRole> {
        if self.is_director() {
            None
        } else if self.is_real_server() {
            Some(FormerRole::RealServer)
        } else if self.gateway.is_some() {
            Some(FormerRole::Gateway)
        } else {
            before
        }
    }

    /// Returns its name as a director; `None` if it is no director, or the spec lists none.
    pub fn director_name(&self) -> Option<&str> {
        match &self.director {
            Some(OwnDirector::Named { name, by: _ }) => Some(name),
            Some(OwnDirector::Unnamed) | None => None,
        }
    }
}

impl fmt::Display for HostRoles {
    /// Writes `director lb1 and real server`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(OwnGateway { name, by: _ }) = &self.gateway {
            return write!(f, "gateway {name}");
        }
        if self.is_director() {
            f.write_str("director")?;
        }
        if let Some(name) = self.director_name() {
            write!(f, " {name}")?;
        }
        match (self.is_director(), self.is_real_server()) {
            (true, true) => f.write_str(" and real server"),
            (true, false) => Ok(()),
            (false, true) => f.write_str("real server"),
            (false, false) => f.write_str("no role"),
        }
    }
}
