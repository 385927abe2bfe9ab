//! The values of a spec's parameters on this host.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::env::{self, VarError};
use std::error::Error as _;

use evenkeel_host::{Address, AddressFlags, AddressScope, Host, Namespace};
use evenkeel_model::Family;
use evenkeel_spec::{Parameter, Parameters};

use crate::args::{Assignment, GlobalArgs};
use crate::error::Error;

/// The values of `--set`, of the environment, and the addresses of the network namespace.
pub(crate) struct HostParameters<'a> {
    set: BTreeMap<&'a str, &'a str>,
    netns: Option<&'a str>,
    /// Read on first use.
    addresses: OnceCell<Result<Vec<Address>, String>>,
    asked: RefCell<BTreeSet<String>>,
}

impl<'a> HostParameters<'a> {
    /// Checks the values of `--set`.
    ///
    /// # Errors
    /// A name that is given twice.
    pub(crate) fn new(set: &'a [Assignment], global: &'a GlobalArgs) -> Result<Self, Error> {
        let mut values = BTreeMap::new();
        for Assignment { name, value } in set {
            if values.insert(&**name, &**value).is_some() {
                return Err(Error::Usage(format!("--set gives `{name}` two values")));
            }
        }
        Ok(Self {
            set: values,
            netns: global.netns.as_deref(),
            addresses: OnceCell::new(),
            asked: RefCell::default(),
        })
    }

    /// The names of `--set` that no spec uses.
    pub(crate) fn unused(&self) -> Vec<&'a str> {
        let asked = self.asked.borrow();
        self.set.keys().copied().filter(|name| !asked.contains(*name)).collect()
    }
}

impl Parameters for HostParameters<'_> {
    fn value(&self, parameter: Parameter<'_>) -> Result<Option<String>, String> {
        match parameter {
            Parameter::Set(name) => {
                self.asked.borrow_mut().insert(name.to_owned());
                Ok(self.set.get(name).map(|value| (*value).to_owned()))
            }
            Parameter::Env(name) => match env::var(name) {
                Ok(value) => Ok(Some(value)),
                Err(VarError::NotPresent) => Ok(None),
                Err(VarError::NotUnicode(_)) => Err("the variable is not UTF-8".to_owned()),
            },
            Parameter::Host { interface, family } => {
                let addresses = self.addresses.get_or_init(|| addresses(self.netns));
                let addresses = addresses.as_ref().map_err(Clone::clone)?;
                Ok(first(addresses, interface, family).map(|address| address.address.to_string()))
            }
        }
    }
}

/// Reads the addresses of a namespace in a separate thread, because entering a namespace changes the
/// thread's own.
fn addresses(netns: Option<&str>) -> Result<Vec<Address>, String> {
    let read = || {
        if let Some(name) = netns {
            Namespace::enter(name)?;
        }
        Host::connect()?.addresses()
    };
    let read = std::thread::scope(|scope| scope.spawn(read).join());
    match read {
        Ok(addresses) => addresses.map_err(|error| match error.source() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        }),
        Err(_) => Err("the addresses cannot be read".to_owned()),
    }
}

/// The interface's first address of the host's own.
///
/// Leaves out addresses that evenkeel bound, which may come before the host's own and change with
/// the spec, and link-local ones.
fn first<'a>(
    addresses: &'a [Address],
    interface: &str,
    family: Option<Family>,
) -> Option<&'a Address> {
    let is_own = |it: &&Address| {
        it.interface == interface
            && it.scope != AddressScope::Link
            && !it.is_ours()
            && !it.flags.contains(AddressFlags::DEPRECATED)
    };
    let of = |family| addresses.iter().filter(is_own).find(|it| Family::from(it.address) == family);
    match family {
        Some(family) => of(family),
        None => of(Family::Ipv4).or_else(|| of(Family::Ipv6)),
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_host::EVENKEEL_PROTOCOL;

    use super::*;

    fn on(interface: &str, address: &str) -> Address {
        Address {
            address: address.parse().expect("an address"),
            peer: None,
            prefix: 24,
            index: 1,
            interface: interface.to_owned(),
            protocol: None,
            flags: AddressFlags::PERMANENT,
            scope: AddressScope::Universe,
            label: None,
        }
    }

    #[test]
    fn the_first_address_is_the_hosts_own_and_ipv4_before_ipv6() {
        let vip = Address { protocol: Some(EVENKEEL_PROTOCOL), ..on("eth0", "2001:db8::1") };
        let local = Address { scope: AddressScope::Link, ..on("eth0", "fe80::1") };
        let old = Address { flags: AddressFlags::DEPRECATED, ..on("eth0", "2001:db8::2") };
        let own = [on("eth1", "10.0.0.1"), on("eth0", "2001:db8::3"), on("eth0", "192.0.2.1")];
        let all = [vec![vip.clone(), local.clone(), old], own.to_vec()].concat();
        let found = |interface, family| {
            first(&all, interface, family).map(|address| address.address.to_string())
        };
        assert_eq!(found("eth0", None).as_deref(), Some("192.0.2.1"));
        assert_eq!(found("eth0", Some(Family::Ipv6)).as_deref(), Some("2001:db8::3"));
        assert_eq!(found("eth1", None).as_deref(), Some("10.0.0.1"));
        assert_eq!(found("eth1", Some(Family::Ipv6)), None);
        assert_eq!(found("eth9", None), None);
        assert_eq!(first(&[vip, local], "eth0", None), None);
    }
}
