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
mod default_route;
mod descriptors;
mod dummy;
mod error;
mod fou;
mod host;
mod input_file;
mod known_writers;
mod link;
mod listener;
mod local_route;
mod module;
mod monitor;
mod namespace;
mod neighbour;
mod neighbour_query;
mod netlink;
mod ownership;
mod packet_filter;
mod packet_rules;
mod program;
mod route;
mod route_lookup;
mod socket_diagnostics;
mod sysctl;
mod tunnel;
#[cfg(test)]
mod wording;

pub use address::{Address, AddressFlags, AddressScope};
pub use address_messages::{Binding, Secondary};
pub use announce::{Announcement, NotNeeded};
pub use arp_ndp::{HardwareAddress, gratuitous_arp, unsolicited_advertisement};
pub use boot::boot_id;
pub use capability::{Capabilities, Capability};
pub use default_route::DefaultRoute;
pub use descriptors::{TooFewDescriptors, reserve_descriptors};
pub use error::{Action, Error};
pub use fou::FouPort;
pub use host::Host;
pub use input_file::{AnonymousPipes, InputFile, InputFileError};
pub use known_writers::{KnownWriter, known_writers};
pub use link::tunnel::{Ip6tnlMode, LinkTunnel, TunnelDriver};
pub use link::{Link, OperationalState};
pub use listener::{Listener, Listeners, wildcard_listeners};
pub use module::{installed_modules, modules};
pub use monitor::{AddressMonitor, Change};
pub use namespace::{Namespace, NamespaceIdentity, NamespaceState};
pub use neighbour::{Neighbour, Resolution};
pub use neighbour_query::{NeighbourAnswers, NeighbourQuestion, NotAsked};
pub use netlink::NetlinkRefusal;
pub use ownership::{ALIAS, EVENKEEL_PROTOCOL};
pub use packet_filter::{PacketFilter, packet_filter};
pub use packet_rules::{
    ArpRules, SourceNat, SourceNatConnections, SourceNatRule, SourceNatService, TablesUnavailable,
};
pub use route::Route;
pub use route_lookup::RouteLookup;
pub use socket_diagnostics::{ConnectedSocket, SocketProtocol, connected_sockets};
pub use sysctl::{
    SysctlReading, folded, read_sysctl, set_sysctl, sysctl_interfaces, sysctl_is_read_only,
};
