//! The part of a host that is meant when services are named: `--target`.
//!
//! Both states are narrowed before they are compared, so that a targeted plan cannot hold
//! anything else. What the named services share with others stays as it is: timeouts, sync
//! daemons, sysctls, and the VIPs on which other services are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use evenkeel_model::{Desired, DesiredTimeouts, Live, NamedService, Owner, ServiceKey};

use crate::{Guard, PriorState};

/// Some services and the bindings of their VIPs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSelection {
    keys: BTreeSet<ServiceKey>,
    /// The VIPs of those services.
    vips: BTreeSet<IpAddr>,
    /// The VIPs of the spec's other services.
    used: BTreeSet<IpAddr>,
    /// The addresses that the spec binds somewhere.
    bound: BTreeSet<IpAddr>,
    /// Whether the spec, as a whole, desires nothing.
    is_spec_empty: bool,
    /// Whether the spec lists none of the services.
    is_taken_out: bool,
}

/// A word that names no service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownSelection {
    /// As it was written.
    pub selector: String,
    /// Names and keys like it, the likest first; all names where none is like it and they are
    /// few.
    pub near: Vec<String>,
}

impl ServiceSelection {
    /// The services of those words, each the name of a service, which stands for all that it
    /// expands to, or a key as plans print it (`192.0.2.1:80/tcp`, `fwmark-7/ipv4`), alone or
    /// behind its name (`web/192.0.2.1:80/tcp`).
    ///
    /// Both specs are looked at, so that a service that was taken out since the last apply can
    /// still be named.
    ///
    /// # Errors
    /// The first word that is none of these.
    pub fn new<W: AsRef<str>>(
        selectors: &[W],
        desired: &Desired,
        last: Option<&Desired>,
    ) -> Result<Self, UnknownSelection> {
        let specs = || [Some(desired), last].into_iter().flatten();
        let mut keys = BTreeSet::new();
        for selector in selectors {
            let selector = selector.as_ref();
            let found: Vec<ServiceKey> = specs()
                .flat_map(|spec| &spec.services)
                .filter(|(key, named)| matches_name(selector, key, named))
                .map(|(key, _)| *key)
                .collect();
            if found.is_empty() {
                return Err(UnknownSelection {
                    selector: selector.to_owned(),
                    near: similar_names(selector, specs()),
                });
            }
            keys.extend(found);
        }
        let vips: BTreeSet<IpAddr> = keys.iter().filter_map(ServiceKey::vip).collect();
        let others = desired.services.keys().filter(|key| !keys.contains(key));
        Ok(Self {
            used: others.filter_map(ServiceKey::vip).collect(),
            bound: desired.vips.keys().map(|binding| binding.address).collect(),
            is_spec_empty: desired.is_empty(),
            is_taken_out: !keys.iter().any(|key| desired.services.contains_key(key)),
            keys,
            vips,
        })
    }

    /// The services.
    pub fn services(&self) -> &BTreeSet<ServiceKey> {
        &self.keys
    }

    /// What a spec asks for these services: their values and the bindings of their VIPs. The
    /// spec's scope, thresholds and drain time stay as they are.
    pub fn narrow_desired(&self, desired: Desired) -> Desired {
        let Desired {
            scope,
            mut services,
            mut vips,
            guards,
            drain,
            timeouts: _,
            sync: _,
            sysctls: _,
        } = desired;
        services.retain(|key, _| self.keys.contains(key));
        vips.retain(|binding, _| self.vips.contains(&binding.address));
        Desired {
            scope,
            services,
            vips,
            timeouts: DesiredTimeouts::default(),
            sync: None,
            sysctls: BTreeMap::new(),
            guards,
            drain,
        }
    }

    /// What the kernel has of these services.
    ///
    /// Of the addresses that evenkeel bound only those remain its own that a plan for these
    /// services may unbind: their VIPs, if no other service is on them or the spec only binds
    /// them elsewhere. All others are as someone else's.
    pub fn narrow_live(&self, live: Live) -> Live {
        let Live {
            mut services,
            mut addresses,
            labels,
            mut routes,
            links,
            modules,
            sysctls,
            timeouts: _,
            sync: _,
        } = live;
        let mut used = self.used.clone();
        let others = services.keys().filter(|key| !self.keys.contains(key));
        // One that a whole plan would delete has no claim on its VIP, but is still there.
        used.extend(others.filter_map(ServiceKey::vip));
        services.retain(|key, _| self.keys.contains(key));
        let may_go = |address: &IpAddr| {
            let is_free = self.bound.contains(address) || !used.contains(address);
            self.vips.contains(address) && is_free
        };
        for (binding, owner) in &mut addresses {
            if !may_go(&binding.address) {
                *owner = Owner::Other;
            }
        }
        for (route, found) in routes.iter_mut().flatten() {
            if !may_go(&route.destination) {
                found.owner = Owner::Other;
            }
        }
        // They tell what a change means for connections; none of them is changed.
        Live { services, addresses, labels, routes, links, modules, sysctls, ..Live::default() }
    }

    /// What is on record, without the sysctls and timeouts, which a part of the spec leaves alone.
    pub fn narrow_record(&self, record: &PriorState) -> PriorState {
        let PriorState { applied, scope, guards, drains, sysctls: _, timeouts: _ } = record.clone();
        PriorState { applied, scope, guards, drains, ..PriorState::default() }
    }

    /// Whether a guard that judges by the whole spec has nothing to say here: a spec that lists
    /// other services is not empty, and who names a service that the spec lists no longer means
    /// to delete it, however much of the table it is.
    pub fn exempts(&self, guard: Guard) -> bool {
        match guard {
            Guard::Empty => !self.is_spec_empty,
            Guard::MassDelete => self.is_taken_out && !self.is_spec_empty,
            _ => false,
        }
    }
}

fn matches_name(selector: &str, key: &ServiceKey, named: &NamedService) -> bool {
    if *named.name == *selector {
        return true;
    }
    let key = key.to_string();
    selector == key
        || selector
            .strip_suffix(&key)
            .and_then(|name| name.strip_suffix('/'))
            .is_some_and(|name| *named.name == *name)
}

/// How many names are told at most.
const SOME: usize = 5;

fn similar_names<'a>(selector: &str, specs: impl Iterator<Item = &'a Desired>) -> Vec<String> {
    let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for (key, named) in specs.flat_map(|spec| &spec.services) {
        names.insert(named.name.to_string());
        keys.insert(key.to_string());
    }
    let selector = selector.to_lowercase();
    let mut near: Vec<(usize, &String)> = names
        .iter()
        .chain(&keys)
        .map(|it| (strsim::damerau_levenshtein(&selector, &it.to_lowercase()), it))
        .filter(|(distance, it)| {
            let longest = selector.chars().count().max(it.chars().count());
            distance * 3 <= longest.max(3) || it.contains(&selector)
        })
        .collect();
    near.sort();
    near.truncate(SOME);
    if near.is_empty() && names.len() <= SOME {
        return names.into_iter().collect();
    }
    near.into_iter().map(|(_, it)| it.clone()).collect()
}

impl fmt::Display for UnknownSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { selector, near } = self;
        write!(f, "no service is called `{selector}`")?;
        for (number, name) in near.iter().enumerate() {
            write!(f, "{}`{name}`", if number == 0 { "; there is " } else { ", " })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownSelection {}

#[cfg(test)]
mod tests;
