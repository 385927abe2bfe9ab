//! The codec against bytes of a real kernel, and its laws.

mod global;
mod laws;
// The captures are of a little-endian machine; netlink speaks the host's order.
#[cfg(target_endian = "little")]
mod wire;
