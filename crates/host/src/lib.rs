//! What an IPVS host needs beside the IPVS table: the addresses clients use and the interfaces they sit on.
//!
//! [`Host`] lists links and addresses, binds and unbinds addresses, announces them to the neighbours and
//! creates dummy devices; [`Changes`] hears of what others do to them. [`Namespace`] and [`Capabilities`] say where
//! the calling thread is and what it may do.
//!
//! The crate is deliberately ignorant of specs, plans and journals: it does what it is told to one object at a
//! time and reports what the kernel said. It is synchronous, because rtnetlink answers within the system call;
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
