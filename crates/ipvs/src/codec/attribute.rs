//! Netlink attributes, read in place (`struct nlattr` of `include/uapi/linux/netlink.h`).

use std::str;

use crate::{DecodeError, Name, UnknownAttributes};

/// `sizeof(struct nlattr)`
pub(super) const NLA_HDRLEN: usize = 4;
/// `GENL_HDRLEN`
pub(super) const GENL_HDRLEN: usize = 4;
/// `NLA_TYPE_MASK`: the number without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const NLA_TYPE_MASK: u16 = 0x3fff;

/// One attribute.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attribute<'a> {
    pub(super) kind: u16,
    pub(super) payload: &'a [u8],
}

/// The attributes in a run of bytes. After an error it ends.
#[derive(Debug, Clone)]
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let next = split(self.0);
        self.0 = next.map_or(&[], |(_, rest)| rest);
        Some(next.map_or(Err(DecodeError::CutAttribute), |(first, _)| Ok(first)))
    }
}

fn split(bytes: &[u8]) -> Option<(Attribute<'_>, &[u8])> {
    let (header, _) = bytes.split_first_chunk::<NLA_HDRLEN>()?;
    let [l0, l1, k0, k1] = *header;
    let length = usize::from(u16::from_ne_bytes([l0, l1]));
    let payload = bytes.get(NLA_HDRLEN..length)?;
    let kind = u16::from_ne_bytes([k0, k1]) & NLA_TYPE_MASK;
    // The last attribute may come without its padding.
    let rest = bytes.get(aligned(length)..).unwrap_or_default();
    Some((Attribute { kind, payload }, rest))
}

/// `NLA_ALIGN` and `NLMSG_ALIGN`
pub(super) const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

impl<'a> Attribute<'a> {
    pub(super) fn array<const N: usize>(
        &self,
        attribute: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        self.payload
            .try_into()
            .map_err(|_| DecodeError::Length { attribute, length: self.payload.len() })
    }

    pub(super) fn u8(&self, attribute: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(attribute).map(|[byte]| byte)
    }

    pub(super) fn u16(&self, attribute: &'static str) -> Result<u16, DecodeError> {
        self.array(attribute).map(u16::from_ne_bytes)
    }

    /// A `__be16`: ports.
    pub(super) fn be16(&self, attribute: &'static str) -> Result<u16, DecodeError> {
        self.array(attribute).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&self, attribute: &'static str) -> Result<u32, DecodeError> {
        self.array(attribute).map(u32::from_ne_bytes)
    }

    /// A number of 32 or 64 bits: counters came in both widths.
    pub(super) fn counter(&self, attribute: &'static str) -> Result<u64, DecodeError> {
        if self.payload.len() == 4 {
            self.u32(attribute).map(u64::from)
        } else {
            self.array(attribute).map(u64::from_ne_bytes)
        }
    }

    /// The bytes of a string before its closing zero, if it has one.
    pub(super) fn text(&self) -> &'a [u8] {
        self.payload.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

/// The payload of the first attribute of that number after the generic netlink header.
pub(super) fn nested(payload: &[u8], kind: u16) -> Result<Option<&[u8]>, DecodeError> {
    let attributes = payload.get(GENL_HDRLEN..).ok_or(DecodeError::CutMessage)?;
    for attribute in Attributes(attributes) {
        let attribute = attribute?;
        if attribute.kind == kind {
            return Ok(Some(attribute.payload));
        }
    }
    Ok(None)
}

/// Names an attribute that every kernel sends and this message lacks.
pub(super) fn missing(attribute: &'static str) -> DecodeError {
    DecodeError::Missing(attribute)
}

/// The name that an attribute holds; `called` is the attribute's own.
pub(super) fn name(attribute: &Attribute<'_>, called: &'static str) -> Result<Name, DecodeError> {
    let text = str::from_utf8(attribute.text()).map_err(|_| DecodeError::NotUtf8(called))?;
    Name::new(text).map_err(|source| DecodeError::Name { attribute: called, source })
}

/// The numbers of each set run from 1 without a gap, so all above the last are unknown. Framing
/// was checked when the known ones were read.
pub(super) fn unknown_after(attributes: &[u8], last: u16) -> UnknownAttributes {
    let mut unknown = UnknownAttributes::default();
    for attribute in Attributes(attributes).flatten() {
        if attribute.kind > last || attribute.kind == 0 {
            unknown.push(attribute.kind, attribute.payload);
        }
    }
    unknown
}
