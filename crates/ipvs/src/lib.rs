//! A client of IPVS, the Linux kernel's layer-4 load balancer, over its generic netlink family.
//!
//! It reads and changes virtual services, their destinations, sync daemons and timeouts: every
//! attribute of `include/uapi/linux/ip_vs.h` for these is decoded and encoded, and attributes of
//! objects that it does not know are kept. It uses the kernel's words ("destination", not "real
//! server"). It deliberately lacks what acts on a whole table at once: `IPVS_CMD_FLUSH`, and
//! `IPVS_CMD_ZERO` without a service.
//!
//! It decides nothing: no defaults beyond those a message needs, no comparison, no retry, no
//! policy. What the kernel refuses is reported, not guessed beforehand.
//!
//! - [`Client`] talks to the kernel: [`Client::services`], [`Client::destinations`] and their
//!   visiting forms read; [`Client::execute`] changes, in batches.
//! - [`Service`] and [`Destination`] are configuration. [`Statistics`] and [`Connections`] are
//!   what the kernel counts; the two never share a type.
//! - [`Timeouts`] and [`SyncDaemon`] belong to the namespace: [`Client::timeouts`],
//!   [`Client::set_timeouts`], [`Client::daemons`], [`Client::start_daemon`],
//!   [`Client::stop_daemon`]. [`Client::info`] reads the version.
//! - [`ConnectionTable`] reads the connections themselves, from `/proc`.
//! - [`codec`] is the same without a socket.
//! - [`modules`] loads the kernel modules of schedulers and persistence engines.
//!
//! ```no_run
//! use evenkeel_ipvs::{Client, Command, Destination, DestinationKey, Name, Service, ServiceKey};
//! use evenkeel_ipvs::{forward, protocol};
//!
//! let mut client = Client::connect()?;
//! let service = ServiceKey::Address {
//!     address: "192.0.2.1".parse()?,
//!     port: 80,
//!     protocol: protocol::TCP,
//! };
//! let destination = DestinationKey { address: "192.0.2.10".parse()?, port: 80 };
//! let refusals = client.execute([
//!     Command::NewService(Service::new(service, Name::new("wrr")?)),
//!     Command::NewDestination(service, Destination::new(destination, forward::DROUTE)),
//! ])?;
//! assert!(refusals.is_empty());
//! client.for_each_destination(&service, |reply| {
//!     assert_eq!(reply.destination.weight, 1);
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client;
pub mod codec;
mod command;
mod connection;
mod destination;
mod entry;
mod error;
mod family;
mod info;
pub mod modules;
mod name;
mod refusal;
mod service;
mod socket;
mod statistics;
mod sync_daemon;
mod timeouts;
mod uapi;
#[cfg(test)]
mod wording;

pub use client::Client;
pub use command::{Command, CommandObject, Operation};
pub use connection::{
    Connection, ConnectionProtocol, ConnectionTable, ConnectionTableError, EngineData, UnknownLine,
};
pub use destination::{Destination, DestinationKey, Tunnel, forward, tunnel_flags, tunnel_kind};
pub use entry::{DestinationEntry, ServiceEntry, UnknownAttribute, UnknownAttributes};
pub use error::{CommandRefusal, DecodeError, EncodeError, Error, Interrupted};
pub use family::Family;
pub use info::{Info, Version};
pub use name::{Name, NameError};
pub use refusal::{Refusal, RefusalReason};
pub use service::{Netmask, Service, ServiceKey, flags, protocol};
pub use statistics::{Connections, Rates, Statistics};
pub use sync_daemon::{SyncDaemon, SyncDaemonEntry, SyncState};
pub use timeouts::Timeouts;
