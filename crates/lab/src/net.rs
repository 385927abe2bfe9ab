//! Test networks inside a guest: namespaces, the classic cluster on one bridge, machines on any
//! networks, HTTP over them.
//!
//! Everything here needs root and a kernel that may be changed at will: it is for the inside of a
//! guest, never for the host. Addresses are the caller's; nothing here knows what IPVS or evenkeel do
//! on the director.

mod http;
pub mod load;
mod machines;
mod namespace;
mod topology;

pub use http::{Server, get, get_from};
pub use machines::{HardwareAddress, Machine, Machines};
pub use namespace::Namespace;
pub use topology::{Forward, Host, Network, Topology};
