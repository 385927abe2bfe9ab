//! VIPs of a plan, indexed: a step asks which of them are on its address or its interface, and there may be
//! as many steps as VIPs.

use std::collections::BTreeMap;
use std::net::IpAddr;

use evenkeel_model::{Binding, HostObject};

/// Some of the VIPs of a plan.
#[derive(Debug, Default)]
pub(crate) struct Bindings<'a> {
    by_address: BTreeMap<IpAddr, Vec<&'a Binding>>,
    by_interface: BTreeMap<&'a str, Vec<&'a Binding>>,
}

impl<'a> Bindings<'a> {
    /// Adds one, unless it is there.
    pub(crate) fn insert(&mut self, binding: &'a Binding) {
        if self.contains(binding) {
            return;
        }
        self.by_address.entry(binding.address).or_default().push(binding);
        self.by_interface.entry(&binding.interface).or_default().push(binding);
    }

    /// Whether it is there.
    pub(crate) fn contains(&self, binding: &Binding) -> bool {
        self.of(binding.address).any(|it| it == binding)
    }

    /// All of them, by address.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a Binding> {
        self.by_address.values().flatten().copied()
    }

    /// Those of an address.
    pub(crate) fn of(&self, address: IpAddr) -> impl Iterator<Item = &'a Binding> {
        self.by_address.get(&address).into_iter().flatten().copied()
    }

    /// Those on an interface.
    pub(crate) fn on(&self, interface: &str) -> impl Iterator<Item = &'a Binding> {
        self.by_interface.get(interface).into_iter().flatten().copied()
    }

    /// Whether one of them depends on that object. The address of a VIP or its interface alone decides it
    /// ([`HostObject::carries`]).
    pub(crate) fn need(&self, object: &HostObject) -> bool {
        if !object.carries_vips() {
            return false;
        }
        match object.address() {
            Some(address) => self.of(address).any(|it| object.carries(it)),
            None => {
                let mut on_each = self.by_interface.values().filter_map(|all| all.first());
                on_each.any(|it| object.carries(it))
            }
        }
    }

    /// Whether that object is of one of them: it has its address, and is on its interface.
    pub(crate) fn have(&self, object: &HostObject) -> bool {
        object.address().is_some_and(|address| self.of(address).any(|it| object.is_on(it)))
    }
}

impl<'a> FromIterator<&'a Binding> for Bindings<'a> {
    fn from_iter<I: IntoIterator<Item = &'a Binding>>(items: I) -> Self {
        let mut all = Self::default();
        items.into_iter().for_each(|binding| all.insert(binding));
        all
    }
}
