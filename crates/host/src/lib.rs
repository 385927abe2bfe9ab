//! Manages what an IPVS host needs beside the IPVS table: VIPs and the interfaces they are bound to.
//!
//! [`Host`] lists links and addresses, binds and unbinds addresses, announces them to the neighbours and
//! creates dummy devices; [`Changes`] reports changes to them. [`Namespace`] and [`Capabilities`] describe the
//! calling thread's network namespace and privileges.
//!
//! The crate knows no specs, plans or journals: each call changes one object and returns the kernel's answer.
//! It is synchronous, because rtnetlink answers within the system call;
//! messages come from the rtnetlink crate, and its socket is driven directly, so that an answer that was cut
//! short, interrupted or not understood is an error and never a shorter list.

mod address;
mod announce;
mod binding;
mod capability;
mod changes;
mod dummy;
mod error;
mod frame;
mod host;
mod link;
mod module;
mod namespace;
mod netlink;
mod sysctl;

pub use address::{Address, AddressFlags, Scope};
pub use announce::{Announcement, NotNeeded};
pub use binding::{Binding, EVENKEEL_PROTOCOL};
pub use capability::{Capabilities, Capability};
pub use changes::{Change, Changes};
pub use dummy::DUMMY_ALIAS;
pub use error::{Action, Error, Refusal};
pub use frame::{HardwareAddress, gratuitous_arp, unsolicited_advertisement};
pub use host::Host;
pub use link::{Link, OperationalState};
pub use module::modules;
pub use namespace::{Namespace, NamespaceIdentity, Standing};
pub use sysctl::{folded, set_sysctl, sysctl};
