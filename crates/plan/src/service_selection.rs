//! Narrows states to selected services: `--target`.
//!
//! Both states are narrowed before they are compared, so that a targeted plan cannot contain
//! anything else. What the selected services share with others stays as it is: timeouts, sync
//! daemons, sysctls, and the VIPs of other services.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use evenkeel_model::{Desired, DesiredTimeouts, Live, NamedService, Owner, ServiceKey};

use crate::{Guard, PriorState};

/// Selected services and the bindings of their VIPs.
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

/// The error for a selector that matches no service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownSelection {
    /// The selector as given.
    pub selector: String,
    /// Similar names and keys, the most similar first; all names if none is similar and there are
    /// few.
    pub near: Vec<String>,
}

impl ServiceSelection {
    /// Selects services. A selector is the name of a service, which selects all services that it
    /// expands to, or a key as plans print it (`192.0.2.1:80/tcp`, `fwmark-7/ipv4`), alone or after
    /// its name (`web/192.0.2.1:80/tcp`).
    ///
    /// Both specs are searched, so that a service that was removed since the last apply can still
    /// be selected.
    ///
    /// # Errors
    /// Returns the first selector that matches no service.
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

    /// Narrows a spec to these services: their values and the bindings of their VIPs. The scope,
    /// thresholds and default drain of the spec are unchanged.
    pub fn narrow_desired(&self, desired: Desired) -> Desired {
        let Desired {
            scope,
            mut services,
            mut vips,
            mut host_objects,
            guards,
            drain,
            timeouts: _,
            sync: _,
            sysctls: _,
        } = desired;
        services.retain(|key, _| self.keys.contains(key));
        vips.retain(|binding, _| self.vips.contains(&binding.address));
        host_objects.retain(|object, _| self.vips.contains(&object.address()));
        Desired {
            scope,
            services,
            vips,
            host_objects,
            timeouts: DesiredTimeouts::default(),
            sync: None,
            sysctls: BTreeMap::new(),
            guards,
            drain,
        }
    }

    /// Narrows the live state to these services.
    ///
    /// Of the addresses that evenkeel bound, it keeps ownership only of those that a plan for these
    /// services may unbind: their VIPs, if no other service uses them or the spec only binds them
    /// elsewhere. All others are marked as those of other programs.
    pub fn narrow_live(&self, live: Live) -> Live {
        let Live {
            mut services,
            mut addresses,
            labels,
            mut host_objects,
            links,
            modules,
            sysctls,
            timeouts: _,
            sync: _,
        } = live;
        let mut used = self.used.clone();
        let others = services.keys().filter(|key| !self.keys.contains(key));
        // A service that a whole plan would delete does not keep its VIP, but still uses it now.
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
        for (object, found) in &mut host_objects.objects {
            if !may_go(&object.address()) {
                found.owner = Owner::Other;
            }
        }
        // They determine the impact on connections; none of them is changed.
        Live {
            services,
            addresses,
            labels,
            host_objects,
            links,
            modules,
            sysctls,
            ..Live::default()
        }
    }

    /// Narrows the record: without the sysctls and timeouts, which a targeted plan leaves alone.
    pub fn narrow_record(&self, record: &PriorState) -> PriorState {
        let mut record = record.clone();
        (record.sysctls, record.timeouts) = Default::default();
        record
    }

    /// Whether a guard that judges the whole spec does not apply here: a spec that lists other
    /// services is not empty, and a user who selects a service that the spec no longer lists
    /// intends to delete it, however large its share of the table.
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

/// The maximum number of suggested names.
const SOME: usize = 5;

fn similar_names<'a>(selector: &str, specs: impl Iterator<Item = &'a Desired>) -> Vec<String> {
    let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for (key, named) in specs.flat_map(|spec| &spec.services) {
        names.insert(named.name.to_string());
        keys.insert(key.to_string());
    }
    let selector = selector.to_lowercase();
    let mut near: Vec<(usize, &String)> = names
        .union(&keys)
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
