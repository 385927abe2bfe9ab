//! What is to be written: a desired state, or the part of a live one that a spec governs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evenkeel_model::{
    Binding, Desired, Ignore, Live, Named, Owner, Scope, Service, ServiceKey, Vip,
};

use crate::observed::Observed;

/// A state in the words of a spec.
#[derive(Debug, Clone, Default)]
pub struct WriteInput {
    /// The scope.
    pub scope: Scope,
    /// The services and what a spec calls them. Services of one name are written as one service
    /// with several VIPs and ports where they can be.
    pub services: BTreeMap<ServiceKey, Named>,
    /// The addresses that evenkeel binds.
    pub vips: BTreeMap<Binding, Vip>,
    /// Names that several services of the spec share: decided once for both sides of a
    /// comparison.
    pub(super) shared: BTreeSet<Arc<str>>,
    pub(super) expanded: bool,
    pub(super) observed: Option<Observed>,
}

impl WriteInput {
    /// A desired state.
    pub fn of_desired(desired: &Desired) -> Self {
        let Desired { scope, services, vips, .. } = desired.clone();
        let shared = shared(desired);
        Self { scope, services, vips, shared, expanded: false, observed: None }
    }

    /// The part of a live state that `desired` governs: services in its scope, under its names
    /// where it has some, else under names made of their keys; VIPs that it lists or that
    /// evenkeel bound.
    pub fn of_live(live: &Live, desired: &Desired) -> Self {
        let in_scope = live.services.iter().filter(|(key, _)| desired.scope.contains(key));
        let services =
            in_scope.map(|(key, service)| (*key, named(key, service, desired))).collect();
        let is_dummy = |interface: &str| {
            let link = live.links.as_ref().and_then(|links| links.get(interface));
            link.is_some_and(|link| link.dummy)
        };
        let vip = |(binding, owner): (&Binding, &Owner)| {
            let ours = *owner == Owner::Evenkeel && desired.scope.contains_address(binding.address);
            let vip = match desired.vips.get(binding) {
                Some(vip) => *vip,
                None if ours => Vip { dummy: is_dummy(&binding.interface) },
                None => return None,
            };
            Some((binding.clone(), vip))
        };
        Self {
            scope: desired.scope.clone(),
            services,
            vips: live.addresses.iter().filter_map(vip).collect(),
            shared: shared(desired),
            expanded: false,
            observed: None,
        }
    }

    /// Writes one service for each VIP and port, so that a comparison of two states is one of
    /// lines that belong together.
    #[must_use]
    pub fn expanded(mut self) -> Self {
        self.expanded = true;
        self
    }

    /// Ends the text with what else was there: addresses and interfaces.
    pub fn observe(&mut self, live: &Live) {
        self.observed = Some(Observed::of(live));
    }
}

fn named(key: &ServiceKey, service: &Service, desired: &Desired) -> Named {
    let (name, ignore) = match desired.services.get(key) {
        Some(named) => (Arc::clone(&named.name), named.ignore),
        None => (name_of(key).into(), Ignore::NOTHING),
    };
    Named { name, ignore, service: service.clone() }
}

fn shared(desired: &Desired) -> BTreeSet<Arc<str>> {
    let mut seen = BTreeSet::new();
    let names = desired.services.values().map(|named| &named.name);
    names.filter(|name| !seen.insert(Arc::clone(name))).cloned().collect()
}

/// A name made of a key, a different one for each: `192.0.2.1-80-tcp`, `2001-db8--1-80-tcp`,
/// `fwmark-7-ipv4`.
pub(super) fn name_of(key: &ServiceKey) -> String {
    match key {
        ServiceKey::Fwmark { family, fwmark } => format!("fwmark-{fwmark}-{family}"),
        ServiceKey::Address { address, port, protocol } => {
            let address = address.to_string().replace(':', "-");
            // A name begins with a letter or digit; `0::1` is nobody's canonical form.
            let zero = if address.starts_with('-') { "0" } else { "" };
            format!("{zero}{address}-{port}-{protocol}")
        }
    }
}
