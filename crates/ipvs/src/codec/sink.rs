//! Attributes into a buffer, and their lengths beforehand.

use std::io::{Cursor, Write};
use std::net::IpAddr;

use neli::err::SerError;

use super::attribute::{NLA_HDRLEN, aligned};
use crate::uapi::IP_VS_NAME_MAXLEN;

/// `NLA_F_NESTED`
const NLA_F_NESTED: u16 = 1 << 15;

/// Attributes that can be written one after the other.
pub(super) trait Content: std::fmt::Debug {
    fn write(&self, sink: &mut impl Sink) -> Result<(), SerError>;
}

/// No attributes.
impl Content for () {
    fn write(&self, _sink: &mut impl Sink) -> Result<(), SerError> {
        Ok(())
    }
}

/// Where attributes go: into the buffer, or only into a sum of their lengths, so that one
/// description of a message yields both its length and its bytes.
pub(super) trait Sink: Sized {
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), SerError>;

    fn attribute(&mut self, kind: u16, payload: &[u8]) -> Result<(), SerError> {
        self.start(kind, payload.len())?;
        self.bytes(payload)?;
        self.bytes(&[0; 3][..aligned(payload.len()) - payload.len()])
    }

    fn nest(&mut self, kind: u16, nested: &impl Content) -> Result<(), SerError> {
        let length = length_of(|counter| nested.write(counter));
        self.start(kind | NLA_F_NESTED, length)?;
        nested.write(self)
    }

    fn start(&mut self, kind: u16, payload: usize) -> Result<(), SerError> {
        // The longest payload here is a whole service of about 150 bytes.
        let length = u16::try_from(NLA_HDRLEN + payload).unwrap_or(u16::MAX);
        let [l0, l1] = length.to_ne_bytes();
        let [k0, k1] = kind.to_ne_bytes();
        self.bytes(&[l0, l1, k0, k1])
    }

    fn u8(&mut self, kind: u16, value: u8) -> Result<(), SerError> {
        self.attribute(kind, &[value])
    }

    fn u16(&mut self, kind: u16, value: u16) -> Result<(), SerError> {
        self.attribute(kind, &value.to_ne_bytes())
    }

    fn u32(&mut self, kind: u16, value: u32) -> Result<(), SerError> {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// `struct ip_vs_flags`
    fn pair(&mut self, kind: u16, flags: u32, mask: u32) -> Result<(), SerError> {
        let [f0, f1, f2, f3] = flags.to_ne_bytes();
        let [m0, m1, m2, m3] = mask.to_ne_bytes();
        self.attribute(kind, &[f0, f1, f2, f3, m0, m1, m2, m3])
    }

    /// `union nf_inet_addr`: 16 bytes whatever the family.
    fn address(&mut self, kind: u16, address: IpAddr) -> Result<(), SerError> {
        let mut bytes = [0; 16];
        match address {
            IpAddr::V4(v4) => bytes[..4].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => bytes = v6.octets(),
        }
        self.attribute(kind, &bytes)
    }

    fn text(&mut self, kind: u16, text: &str) -> Result<(), SerError> {
        let mut bytes = [0; IP_VS_NAME_MAXLEN];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        self.attribute(kind, &bytes[..=text.len()])
    }
}

impl Sink for Cursor<Vec<u8>> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), SerError> {
        Ok(self.write_all(bytes)?)
    }
}

pub(super) struct Counter(usize);

impl Sink for Counter {
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), SerError> {
        self.0 += bytes.len();
        Ok(())
    }
}

/// The length in bytes of what `write` writes; counting cannot fail.
pub(super) fn length_of(write: impl Fn(&mut Counter) -> Result<(), SerError>) -> usize {
    let mut counter = Counter(0);
    match write(&mut counter) {
        Ok(()) | Err(_) => counter.0,
    }
}
