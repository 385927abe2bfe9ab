//! The marks by which evenkeel recognises the addresses and devices that it made.

/// The `IFA_PROTO` value of the addresses that evenkeel binds, and the protocol number of its host
/// objects.
///
/// The kernel uses 1 to 3 (`IFAPROT_KERNEL_*`) and leaves the rest to user space, with no registry. Some
/// programs write their route protocol number here, so this one is none of those either (rtnetlink(7),
/// `RTPROT_*`): it is the letter `e`.
pub const EVENKEEL_PROTOCOL: u8 = b'e';

/// The alias (`ip link show`) that marks a dummy device as made by evenkeel, and a tunnel device as
/// taken into use by it.
pub const ALIAS: &str = "evenkeel";
