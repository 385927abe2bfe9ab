//! Narrows states to selected services: `--target`.
//!
//! Both states are narrowed before they are compared, so that a targeted plan cannot contain
//! anything else. What the selected services share with others stays as it is: timeouts, sync
//! daemons, sysctls, and the VIPs of other services. What a real server needs for the selected
//! services is added and repaired, and not removed ([`parts`]).

mod names;
mod parts;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::{
    CONNECTION_TRACKING, DefaultRoute, Desired, DesiredTimeouts, Forward, HostObject,
    HostObjectKind, HostValue, LeftScope, Live, NamedService, Owner, ServiceKey,
};

use self::names::{ServiceNames, similar_names};
use self::parts::SelectedParts;
use crate::{Guard, MasterSysctl, PriorState, RealServerRecords, Warning};

pub use self::names::UnknownSelection;

/// Selected services, the bindings of their VIPs, and what this real server needs for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSelection {
    keys: BTreeSet<ServiceKey>,
    /// The VIPs of those services of which the host is a director.
    vips: BTreeSet<IpAddr>,
    /// The VIPs of the spec's other services.
    used: BTreeSet<IpAddr>,
    /// The addresses that the spec binds somewhere.
    bound: BTreeSet<IpAddr>,
    /// What the spec needs for the real server.
    parts: SelectedParts,
    /// Whether the spec, as a whole, desires nothing.
    is_spec_empty: bool,
    /// Whether the spec lists none of the services.
    is_taken_out: bool,
}

impl ServiceSelection {
    /// Selects services of which the host is a director or a real server. A selector is the name of a
    /// service, which selects all services that it expands to, or a key as plans print it (`192.0.2.1:80/tcp`, `fwmark-7/ipv4`), alone or after
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
        let names = ServiceNames::new(specs());
        let mut keys = BTreeSet::new();
        for selector in selectors {
            let selector = selector.as_ref();
            let found = names.keys_of(selector);
            if found.is_empty() {
                return Err(UnknownSelection {
                    selector: selector.to_owned(),
                    near: similar_names(selector, specs()),
                });
            }
            keys.extend(found);
        }
        let is_director = |key: &&ServiceKey| specs().any(|spec| spec.services.contains_key(*key));
        let vips = keys.iter().filter(is_director).filter_map(ServiceKey::vip).collect();
        let is_listed = |key: &ServiceKey| {
            desired.services.contains_key(key) || desired.real_server.contains_key(key)
        };
        let others = desired.services.keys().filter(|key| !keys.contains(key));
        Ok(Self {
            used: others.filter_map(ServiceKey::vip).collect(),
            bound: desired.vips.keys().map(|binding| binding.address).collect(),
            is_spec_empty: desired.is_empty() && desired.elsewhere.is_empty(),
            is_taken_out: !keys.iter().any(is_listed),
            parts: SelectedParts::of_spec(&keys, desired),
            keys,
            vips,
        })
    }

    /// The services.
    pub fn services(&self) -> &BTreeSet<ServiceKey> {
        &self.keys
    }

    /// Narrows a spec to these services: their values, the bindings of their VIPs, and what this real
    /// server needs for them. The scope, thresholds and default drain of the spec are unchanged.
    pub fn narrow_desired(&self, desired: Desired) -> Desired {
        let parts = SelectedParts::of_spec(&self.keys, &desired);
        let Desired {
            owner,
            roles,
            elsewhere,
            mut real_server,
            mut expected_gateways,
            scope,
            when_left,
            kept: _,
            removed: _,
            mut services,
            mut vips,
            mut host_objects,
            guards,
            drain,
            timeouts: _,
            sync: _,
            mut sysctls,
            overrides,
            maintenance_dir,
        } = desired;
        // Where another service asks for a default route, none is expected beside it.
        expected_gateways.retain(|family, _| {
            !host_objects.contains_key(&HostObject::from(DefaultRoute { family: *family }))
        });
        real_server.retain(|key, _| self.keys.contains(key));
        services.retain(|key, _| self.keys.contains(key));
        vips.retain(|binding, _| {
            parts.needs_vip(binding).unwrap_or_else(|| self.vips.contains(&binding.address))
        });
        host_objects.retain(|object, _| {
            let is_of_vip = || object.address().is_some_and(|it| self.vips.contains(&it));
            match object.service() {
                Some(service) => self.keys.contains(service),
                None => parts.needs_host_object(object).unwrap_or_else(is_of_vip),
            }
        });
        sysctls.retain(|key, _| {
            parts.selected.sysctls.contains(key) || is_needed(key, &services, &host_objects)
        });
        Desired {
            owner,
            roles,
            elsewhere,
            real_server,
            expected_gateways,
            scope,
            when_left,
            kept: LeftScope::default(),
            removed: LeftScope::default(),
            services,
            vips,
            host_objects,
            timeouts: DesiredTimeouts::default(),
            sync: None,
            sysctls,
            guards,
            drain,
            overrides,
            maintenance_dir,
        }
    }

    /// Narrows the live state to these services.
    ///
    /// Of the addresses that evenkeel bound, it keeps ownership only of those that a plan for these
    /// services may unbind: their VIPs, if no other service uses them or the spec only binds them
    /// elsewhere. All others are marked as those of other programs, as is everything that the real
    /// server of `records` needs for another service, or needed for these.
    pub fn narrow_live(&self, live: Live, records: &RealServerRecords) -> Live {
        let Live {
            mut services,
            mut addresses,
            labels,
            secondaries,
            local_by_route,
            mut host_objects,
            links,
            modules,
            sysctls,
            sysctls_read_only,
            sysctl_obstacles,
            timeouts: _,
            sync: _,
            sync_links: _,
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
        let recorded = SelectedParts::of_records(&self.keys, records);
        for (binding, owner) in &mut addresses {
            let keeps = self.parts.keeps_vip(&recorded, binding);
            if !keeps.unwrap_or_else(|| may_go(&binding.address)) {
                *owner = Owner::Other;
            }
        }
        for (object, found) in &mut host_objects.objects {
            let of_service = object.service().map(|service| self.keys.contains(service));
            let keeps = of_service.or_else(|| self.parts.keeps_host_object(&recorded, object));
            if !keeps.unwrap_or_else(|| object.address().is_some_and(|it| may_go(&it))) {
                found.owner = Owner::Other;
            }
        }
        // They determine the impact on connections; none of them is changed.
        Live {
            services,
            addresses,
            labels,
            secondaries,
            local_by_route,
            host_objects,
            links,
            modules,
            sysctls,
            sysctls_read_only,
            sysctl_obstacles,
            ..Live::default()
        }
    }

    /// Warns of the services that the spec no longer lists for this real server: a plan for them leaves
    /// what it needed.
    pub fn staying_parts(&self, records: &RealServerRecords, desired: &Desired) -> Option<Warning> {
        let is_left =
            |key: &ServiceKey| self.keys.contains(key) && !desired.real_server.contains_key(key);
        let left = records.in_force.iter().filter(|(key, _)| is_left(key));
        let left: Vec<String> = left.map(|(key, part)| part.label(key)).collect();
        (!left.is_empty()).then_some(Warning::PartsStay(left))
    }

    /// Narrows the record: without the sysctls, timeouts and replaced host objects, which a targeted plan
    /// leaves alone.
    pub fn narrow_record(&self, record: &PriorState) -> PriorState {
        let mut record = record.clone();
        (record.sysctls, record.side_effects, record.timeouts) = Default::default();
        record.replaced = Default::default();
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

/// Whether real servers of these services cannot be reached without a sysctl of the director.
fn is_needed(
    sysctl: &str,
    services: &BTreeMap<ServiceKey, NamedService>,
    host_objects: &BTreeMap<HostObject, HostValue>,
) -> bool {
    let has_nat = |is_ipv4: bool| {
        let mut real_servers =
            services.values().flat_map(|named| named.service.real_servers.iter());
        real_servers.any(|(key, it)| it.forward == Forward::Nat && key.address.is_ipv4() == is_ipv4)
    };
    match sysctl {
        CONNECTION_TRACKING => {
            host_objects.keys().any(|object| object.kind() == HostObjectKind::SourceNat)
        }
        _ => match MasterSysctl::of(sysctl) {
            Some(MasterSysctl::Ipv4Forwarding) => has_nat(true),
            Some(MasterSysctl::Ipv6Forwarding) => has_nat(false),
            // `send_redirects`, too: with redirects, hosts take a shorter way, but are reached.
            None => false,
        },
    }
}

#[cfg(test)]
mod tests;
