//! What a read of the table gives: configuration, counters beside it, and whatever attributes
//! this crate does not know.

use crate::{Connections, Destination, Service, Statistics};

/// A service as the kernel answered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceEntry {
    /// Its configuration.
    pub service: Service,
    /// Its counters.
    pub statistics: Statistics,
    /// Attributes a later kernel may have added.
    pub unknown: UnknownAttributes,
}

/// A destination as the kernel answered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationEntry {
    /// Its configuration.
    pub destination: Destination,
    /// Its connections now.
    pub connections: Connections,
    /// Its counters.
    pub statistics: Statistics,
    /// Attributes a later kernel may have added.
    pub unknown: UnknownAttributes,
}

/// Attributes of a reply that this crate does not know: their numbers and bytes, in the order
/// they came. With none, as usual, it is a single null pointer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
// A Vec by itself would be three words in each of ten thousand entries that have none.
#[allow(clippy::box_collection)]
pub struct UnknownAttributes(Option<Box<Vec<UnknownAttribute>>>);

/// One attribute that this crate does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownAttribute {
    /// Its number, without the two flag bits.
    pub kind: u16,
    /// Its payload.
    pub bytes: Box<[u8]>,
}

impl UnknownAttributes {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// The attributes.
    #[must_use]
    pub fn as_slice(&self) -> &[UnknownAttribute] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn push(&mut self, kind: u16, bytes: &[u8]) {
        self.0.get_or_insert_default().push(UnknownAttribute { kind, bytes: bytes.into() });
    }
}
