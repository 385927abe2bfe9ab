//! Manages what an IPVS host needs beside the IPVS table: VIPs and the interfaces they are bound to.
//!
//! [`Host`] lists links and addresses, binds and unbinds addresses, announces them to the neighbours and
//! creates dummy devices; [`AddressMonitor`] reports changes to them. [`Namespace`] and [`Capabilities`] describe the
//! calling thread's network namespace and privileges.
//!
//! The crate knows no specs, plans or journals: each call changes one object and returns the kernel's answer.
//! It is synchronous, because rtnetlink answers within the system call;
//! messages come from the rtnetlink crate, and its socket is driven directly, so that an answer that was cut
//! short, interrupted or not understood is an error and never a shorter list.

mod address;
mod address_messages;
mod announce;
mod arp_ndp;
mod boot;
mod capability;
mod dummy;
mod error;
mod host;
mod link;
mod module;
mod monitor;
mod namespace;
mod neighbour;
mod netlink;
mod ownership;
mod route;
mod sysctl;
#[cfg(test)]
mod wording;

pub use address::{Address, AddressFlags, AddressScope};
pub use address_messages::Binding;
pub use announce::{Announcement, NotNeeded};
pub use arp_ndp::{HardwareAddress, gratuitous_arp, unsolicited_advertisement};
pub use boot::boot_id;
pub use capability::{Capabilities, Capability};
pub use error::{Action, Error};
pub use host::Host;
pub use link::{Link, OperationalState};
pub use module::modules;
pub use monitor::{AddressMonitor, Change};
pub use namespace::{Namespace, NamespaceIdentity, NamespaceState};
pub use neighbour::Neighbour;
pub use netlink::NetlinkRefusal;
pub use ownership::{DUMMY_ALIAS, EVENKEEL_PROTOCOL};
pub use route::Route;
pub use sysctl::{folded, set_sysctl, sysctl};
