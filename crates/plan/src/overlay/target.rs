//! Finds the real servers that an override names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use evenkeel_model::{Desired, OverrideTarget, RealServerKey, ServiceKey};

use crate::ServiceSelection;

/// The maximum number of suggestions.
const SOME: usize = 10;

/// The error for a target that names no real server of this host, or several where one was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownTarget {
    /// The target.
    pub target: OverrideTarget,
    /// What there is.
    pub there: There,
}

/// What there is instead of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum There {
    /// The spec has no such service; similar ones.
    Services(Vec<String>),
    /// The services have other real servers only.
    RealServers(Vec<String>),
    /// One service has the address with several ports.
    Ports(Vec<String>),
}

/// Returns the real servers that a command's target names in this spec.
///
/// # Errors
/// There are none, or a service is named that has several on that address and no port is.
pub fn overridden(
    target: &OverrideTarget,
    desired: &Desired,
) -> Result<BTreeSet<(ServiceKey, RealServerKey)>, UnknownTarget> {
    let error = |there| UnknownTarget { target: target.clone(), there };
    if let Some(service) = &target.service
        && services(service, desired).is_empty()
    {
        let near = ServiceSelection::new(&[service], desired, None).err();
        return Err(error(There::Services(near.map(|it| it.near).unwrap_or_default())));
    }
    let found = matching(target, desired);
    if found.is_empty() {
        let there: BTreeSet<String> = of_services(target, desired)
            .into_iter()
            .flat_map(|key| desired.services[&key].service.real_servers.in_order())
            .map(|(key, _)| key.to_string())
            .collect();
        return Err(error(There::RealServers(there.into_iter().collect())));
    }
    let mut ports: BTreeMap<ServiceKey, Vec<String>> = BTreeMap::new();
    for (service, key) in &found {
        ports.entry(*service).or_default().push(key.to_string());
    }
    match ports.into_values().find(|ports| ports.len() > 1) {
        Some(ports) if target.service.is_some() => Err(error(There::Ports(ports))),
        _ => Ok(found),
    }
}

/// Returns the real servers that a target names in this spec; none if there are none.
pub(super) fn matching(
    target: &OverrideTarget,
    desired: &Desired,
) -> BTreeSet<(ServiceKey, RealServerKey)> {
    let is_named = |key: &RealServerKey| {
        key.address == target.address && target.port.is_none_or(|port| port == key.port)
    };
    let of_service = |service: ServiceKey| {
        let listed = desired.services.get(&service).into_iter();
        let listed = listed.flat_map(|named| named.service.real_servers.in_order());
        listed.map(|(key, _)| *key).filter(is_named).map(move |key| (service, key))
    };
    of_services(target, desired).into_iter().flat_map(of_service).collect()
}

/// The services of a target.
fn of_services(target: &OverrideTarget, desired: &Desired) -> BTreeSet<ServiceKey> {
    match &target.service {
        Some(service) => services(service, desired),
        None => desired.services.keys().copied().collect(),
    }
}

/// The services of this director that a name or a key selects.
fn services(service: &str, desired: &Desired) -> BTreeSet<ServiceKey> {
    let selected = ServiceSelection::new(&[service], desired, None);
    let keys = selected.map(|it| it.services().clone()).unwrap_or_default();
    keys.into_iter().filter(|key| desired.services.contains_key(key)).collect()
}

impl fmt::Display for UnknownTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, there } = self;
        let list = match (there, &target.service) {
            (There::Services(near), Some(service)) => {
                write!(f, "no service of this host is called `{service}`")?;
                near
            }
            (There::Ports(ports), _) => {
                return write!(f, "`{target}` is ambiguous; name one of {}", listed(ports));
            }
            (There::RealServers(list) | There::Services(list), service) => {
                match service {
                    Some(service) => write!(f, "no real server of `{service}` is called")?,
                    None => f.write_str("no real server of this host is called")?,
                }
                write!(f, " `{}`", OverrideTarget { service: None, ..target.clone() })?;
                list
            }
        };
        match list.is_empty() {
            true => f.write_str("; there is none"),
            false => write!(f, "; there is {}", listed(list)),
        }
    }
}

impl std::error::Error for UnknownTarget {}

fn listed(all: &[String]) -> String {
    let mut text: Vec<String> = all.iter().take(SOME).map(|it| format!("`{it}`")).collect();
    if all.len() > SOME {
        text.push(format!("and {} more", all.len() - SOME));
    }
    text.join(", ")
}
