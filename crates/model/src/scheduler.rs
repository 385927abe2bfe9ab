//! The scheduler of a service and the flags it understands.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of a scheduler, at most 15 bytes as the kernel keeps it (`IP_VS_SCHEDNAME_MAXLEN`).
///
/// The kernel compares names exactly; there are no aliases. [`Scheduler::NONE`] is what a service
/// shows that has none bound.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scheduler {
    bytes: [u8; Self::MAX_LENGTH],
    length: u8,
}

impl Scheduler {
    /// The longest name the kernel takes.
    pub const MAX_LENGTH: usize = 15;

    /// Every scheduler of the kernel's own tree, in the order of ipvsadm(8).
    pub const KNOWN: [&'static str; 14] = [
        "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh",
        "twos",
    ];

    /// The scheduler of that name; `None` if the name is empty, longer than
    /// [`Self::MAX_LENGTH`] bytes or holds anything but ASCII letters, digits, `_` and `-`: it
    /// becomes part of a module's name.
    pub fn new(name: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if name.is_empty() || !name.bytes().all(is_plain) {
            return None;
        }
        let mut bytes = [0; Self::MAX_LENGTH];
        bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        Some(Self { bytes, length: u8::try_from(name.len()).ok()? })
    }

    /// No scheduler bound, as replies of the kernel name it.
    pub fn none() -> Self {
        Self::new("none").unwrap_or(Self { bytes: [0; Self::MAX_LENGTH], length: 0 })
    }

    /// `wlc`, the default of a spec, as of ipvsadm.
    pub fn wlc() -> Self {
        Self::new("wlc").unwrap_or_else(Self::none)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }

    /// Whether it is one of [`Self::KNOWN`].
    pub fn is_known(&self) -> bool {
        Self::KNOWN.contains(&self.as_str())
    }

    /// Whether each client is tied to a real server by a hash, so that a real server of weight 0
    /// keeps its share of the clients unless a fallback flag is set.
    pub fn hashes(&self) -> bool {
        matches!(self.as_str(), "sh" | "mh" | "dh")
    }

    /// Whether clients that the hash ties to a real server of weight 0 are refused (measured: sh
    /// and mh half of 40 clients, dh all or none; with a fallback flag none).
    pub fn refuses_clients_of_drained(&self, flags: SchedulerFlags) -> bool {
        self.hashes() && (self.as_str() == "dh" || !flags.has_fallback())
    }
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scheduler({})", self.as_str())
    }
}

impl Serialize for Scheduler {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Scheduler {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::new(&name).ok_or_else(|| {
            serde::de::Error::custom(format!("`{name}` cannot be the name of a scheduler"))
        })
    }
}

/// The three scheduler flags of a service (`IP_VS_SVC_F_SCHED1` to `SCHED3`), whose meaning
/// depends on the scheduler.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct SchedulerFlags(u8);

/// A flag name that the scheduler at hand does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownSchedulerFlag {
    /// The name as it was written.
    pub name: String,
    /// The names that this scheduler has.
    pub expected: &'static [&'static str],
}

impl SchedulerFlags {
    /// None of the three.
    pub const EMPTY: Self = Self(0);

    /// From bits 0 to 2, flag-1 lowest; higher bits are dropped.
    pub fn from_bits(bits: u8) -> Self {
        Self(bits & 0b111)
    }

    /// Bits 0 to 2, flag-1 lowest.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether a drained or overloaded real server passes its clients on: sh-fallback, mh-fallback.
    pub fn has_fallback(self) -> bool {
        self.0 & 1 != 0
    }

    /// The names that a scheduler's flags have, lowest bit first, as ipvsadm(8) writes them.
    pub fn vocabulary(scheduler: &Scheduler) -> &'static [&'static str] {
        match scheduler.as_str() {
            "sh" => &["sh-fallback", "sh-port", "flag-3"],
            "mh" => &["mh-fallback", "mh-port", "flag-3"],
            _ => &["flag-1", "flag-2", "flag-3"],
        }
    }

    /// The flags of those names for `scheduler`.
    ///
    /// # Errors
    /// The first name that this scheduler does not have.
    pub fn from_names<'a>(
        scheduler: &Scheduler,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, UnknownSchedulerFlag> {
        let expected = Self::vocabulary(scheduler);
        let mut bits = 0;
        for name in names {
            let Some(position) = expected.iter().position(|known| *known == name) else {
                return Err(UnknownSchedulerFlag { name: name.to_owned(), expected });
            };
            bits |= 1 << position;
        }
        Ok(Self(bits))
    }

    /// The names of the flags that are set, lowest bit first.
    pub fn names(self, scheduler: &Scheduler) -> impl Iterator<Item = &'static str> + use<> {
        let vocabulary = Self::vocabulary(scheduler);
        (0..3).filter(move |bit| self.0 & (1 << bit) != 0).map(move |bit| vocabulary[bit])
    }

    /// Whether none is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_longer_than_the_kernel_keeps_is_no_scheduler() {
        assert!(Scheduler::new("fifteen_bytes_x").is_some());
        assert_eq!(Scheduler::new("sixteen_bytes_xx"), None);
        assert_eq!(Scheduler::new(""), None);
        assert_eq!(Scheduler::new("w rr"), None);
        assert_eq!(Scheduler::new("../evil"), None);
    }

    #[test]
    fn flag_names_follow_the_scheduler() {
        let (sh, mh, rr) = ("sh", "mh", "rr");
        for (scheduler, names) in [
            (sh, ["sh-fallback", "sh-port"]),
            (mh, ["mh-fallback", "mh-port"]),
            (rr, ["flag-1", "flag-2"]),
        ] {
            let scheduler = Scheduler::new(scheduler).expect("a name");
            let flags = SchedulerFlags::from_names(&scheduler, names).expect("its own names");
            assert_eq!(flags.bits(), 0b11);
            assert_eq!(flags.names(&scheduler).collect::<Vec<_>>(), names);
        }
        let rr = Scheduler::new(rr).expect("a name");
        assert!(SchedulerFlags::from_names(&rr, ["sh-port"]).is_err());
    }
}
