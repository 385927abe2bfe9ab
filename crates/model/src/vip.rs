//! VIPs: addresses that clients use, and where they are bound.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Family;

/// An address on an interface: the identity of a binding. The same address may be bound on
/// several interfaces of a host, and in IPv4 with several prefix lengths on one of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Binding {
    /// The VIP.
    pub address: IpAddr,
    /// The interface's name.
    pub interface: Box<str>,
    /// The prefix length; a whole address (/32, /128) unless the spec writes another.
    pub prefix: u8,
}

impl Binding {
    /// A whole address on an interface.
    pub fn host(address: IpAddr, interface: &str) -> Self {
        Self { address, interface: interface.into(), prefix: Family::from(address).host_prefix() }
    }

    /// The first of all bindings of an address in their order, to search sorted collections; it is none of an
    /// interface.
    pub fn first_of(address: IpAddr) -> Self {
        Self { address, interface: Box::default(), prefix: 0 }
    }

    /// Whether both name the same address on the same interface, whatever the prefix length.
    pub fn same_place(&self, other: &Self) -> bool {
        self.address == other.address && self.interface == other.interface
    }
}

/// Returns the bindings of an address, on whichever interface.
pub fn bindings_of(
    bindings: &BTreeSet<Binding>,
    address: IpAddr,
) -> impl Iterator<Item = &Binding> {
    bindings.range(Binding::first_of(address)..).take_while(move |it| it.address == address)
}

/// Returns the entries of the bindings of an address, on whichever interface.
pub fn entries_of<V>(
    entries: &BTreeMap<Binding, V>,
    address: IpAddr,
) -> impl Iterator<Item = (&Binding, &V)> {
    entries.range(Binding::first_of(address)..).take_while(move |(it, _)| it.address == address)
}

impl fmt::Display for Binding {
    /// `192.0.2.1/32 on eth0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} on {}", self.address, self.prefix, self.interface)
    }
}

/// The settings of a binding apart from its identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Vip {
    /// Whether the interface is created as a dummy device if it is missing.
    pub dummy: bool,
    /// The label of an IPv4 address (`IFA_LABEL`), such as `eth0:1`; `None` accepts any label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Box<str>>,
    /// When evenkeel binds it.
    #[serde(default, skip_serializing_if = "BindWhen::is_default")]
    pub bind: BindWhen,
}

/// When evenkeel binds a VIP that is missing.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum BindWhen {
    /// Unless another program had bound it: that one, such as VRRP, decides then.
    #[default]
    Auto,
    /// Whenever it is missing.
    Always,
}

impl BindWhen {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The longest label that the kernel takes, in bytes (`IFNAMSIZ` without the closing zero).
pub const MAX_LABEL: usize = 15;

impl Vip {
    /// Whether a spec may give that label to an address on that interface: the interface's name,
    /// or that name, a colon and a suffix, within [`MAX_LABEL`] bytes.
    pub fn is_label(label: &str, interface: &str) -> bool {
        let suffix = label.strip_prefix(interface);
        label.len() <= MAX_LABEL
            && label.chars().all(|it| !it.is_whitespace() && !it.is_control())
            && suffix.is_some_and(|it| it.is_empty() || it.len() > 1 && it.starts_with(':'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_the_interface_name_with_or_without_a_suffix() {
        for label in ["eth2", "eth2:0", "eth2:web", "eth2:1234567890"] {
            assert!(Vip::is_label(label, "eth2"), "{label}");
        }
        for label in ["", "eth", "eth2:", "eth20", "eth2 :0", "eth2:a b", "eth2:\u{7}", "eth3:0"] {
            assert!(!Vip::is_label(label, "eth2"), "{label}");
        }
        assert!(!Vip::is_label("eth2:12345678901", "eth2"), "16 bytes");
    }
}
