//! Finds what keeps traffic from flowing through a host of a cluster.
//!
//! [`check`] is a pure function of [`Facts`]: what the spec asks of the host, and what was read of it, once.
//! Each [`Finding`] has a stable [`Code`], the services that it concerns, and a remedy. A code is found only
//! where the facts show that packets are lost or take the wrong way now, or that they will with the next
//! change that is under way, or that a known risk is open: a host that works and is safe has no findings. [`not_checked`] says which checks the facts
//! do not allow, and why. Some facts are the answers of other hosts, to [`questions`].

mod checks;
mod code;
mod facts;
mod finding;
#[cfg(test)]
mod test_cases;
#[cfg(test)]
mod test_fixtures;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wording;

pub use checks::{check, not_checked, questions};
pub use code::{Code, UnknownCode};
pub use facts::{
    Answers, Facts, LinkFacts, Listener, PacketFilter, Port, Question, RouteFacts, RouteLookup,
    Writer, destinations, families_with_packet_filter, sysctl_keys,
};
pub use finding::{Finding, NotChecked};
