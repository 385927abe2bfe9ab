//! Converts between bytes and values, without a socket and without interpreting them.
//!
//! Encoding uses neli: each message is neli's `Nlmsghdr` around its `Genlmsghdr`, and the
//! attributes are written through its `Size` and `ToBytes` traits straight into one reused
//! buffer. neli's own `Nlattr` is not used for them: it owns its payload, which costs three
//! allocations for each of the dozen attributes of a message.
//!
//! Decoding borrows. A dump of ten thousand destinations holds several hundred thousand
//! attributes, most of them statistics, and neli would copy each into a buffer of its own, and
//! computes with lengths before it checks them. So framing and attributes are read here, in
//! place and with every length checked: these functions panic on no input.

mod attribute;
mod decode;
mod encode;
mod global;
mod message;
mod sink;

pub use decode::{
    DestinationReply, ServiceReply, decode_destination, decode_object, decode_service,
};
pub use encode::{Encoder, Header};
pub use global::{SyncDaemonReply, decode_info, decode_sync_daemon, decode_timeouts};
pub use message::{Answer, Failure, Message, Messages, messages};

#[cfg(test)]
mod tests;
