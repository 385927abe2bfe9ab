//! Reads an answer.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::outcome::Failure;
use evenkeel_model::check::{DnsOptions, RecordType};

use super::query::{INTERNET, number};
use super::wire::{Reader, malformed};

/// How many records are read at most.
const RECORDS: u16 = 512;

const IS_ANSWER: u16 = 0x8000;
const IS_TRUNCATED: u16 = 0x0200;
const CODE: u16 = 0x000f;

/// What of an answer counts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) code: u8,
    pub(crate) is_truncated: bool,
    /// Records of the type that was asked for.
    pub(crate) records: Vec<Data>,
}

/// The data of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Data {
    Address(IpAddr),
    /// Names and numbers, as a zone file has them.
    Words(String),
    /// A text, its parts joined.
    Text(String),
}

impl Data {
    /// Whether this is what an operator wrote: addresses in any form, names in any case, with or without
    /// the dot at their end, texts with or without quotes.
    pub(crate) fn is(&self, wanted: &str) -> bool {
        match self {
            Self::Address(address) => wanted.parse() == Ok(*address),
            Self::Words(words) => {
                let trimmed = |it: &str| it.trim_end_matches('.').to_ascii_lowercase();
                words.split(' ').map(trimmed).eq(wanted.split_whitespace().map(trimmed))
            }
            Self::Text(text) => {
                let unquoted = wanted.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
                text == unquoted.unwrap_or(wanted)
            }
        }
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Words(words) => f.write_str(words),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// The answer to a query; `None` if it is one to another.
pub(crate) fn decode(
    message: &[u8],
    id: u16,
    options: &DnsOptions,
) -> Result<Option<Answer>, Failure> {
    let mut reader = Reader::new(message);
    if reader.u16()? != id {
        return Ok(None);
    }
    let flags = reader.u16()?;
    if flags & IS_ANSWER == 0 {
        return Err(malformed("a query in place of an answer"));
    }
    let (questions, records) = (reader.u16()?, reader.u16()?);
    reader.bytes(4)?;
    // Some servers leave the question out of errors.
    for _ in 0..questions.min(RECORDS) {
        reader.name()?;
        reader.bytes(4)?;
    }
    let code = u8::try_from(flags & CODE).unwrap_or_default();
    let mut answer = Answer { code, is_truncated: flags & IS_TRUNCATED != 0, records: Vec::new() };
    if answer.is_truncated || answer.code != 0 {
        return Ok(Some(answer));
    }
    if records > RECORDS {
        return Err(malformed("too many records"));
    }
    for _ in 0..records {
        // Not compared with the name that was asked for: an alias leads to another one.
        reader.name()?;
        let (kind, class) = (reader.u16()?, reader.u16()?);
        reader.u32()?;
        let length = reader.u16()?;
        let mut data = reader.part(length.into())?;
        if kind == number(options.record) && class == INTERNET {
            answer.records.push(decode_data(&mut data, options.record)?);
            if !data.is_at_end() {
                return Err(malformed("a record with something after its data"));
            }
        }
    }
    Ok(Some(answer))
}

fn decode_data(data: &mut Reader<'_>, record: RecordType) -> Result<Data, Failure> {
    let wrong = |_| malformed("an address of a wrong length");
    Ok(match record {
        RecordType::A => {
            let octets: [u8; 4] = data.bytes(4)?.try_into().map_err(wrong)?;
            Data::Address(Ipv4Addr::from(octets).into())
        }
        RecordType::Aaaa => {
            let octets: [u8; 16] = data.bytes(16)?.try_into().map_err(wrong)?;
            Data::Address(Ipv6Addr::from(octets).into())
        }
        RecordType::Ns | RecordType::Cname | RecordType::Ptr => Data::Words(data.name()?),
        RecordType::Mx => Data::Words(format!("{} {}", data.u16()?, data.name()?)),
        RecordType::Srv => {
            let (priority, weight, port) = (data.u16()?, data.u16()?, data.u16()?);
            Data::Words(format!("{priority} {weight} {port} {}", data.name()?))
        }
        RecordType::Soa => {
            let mut words = format!("{} {}", data.name()?, data.name()?);
            for _ in 0..5 {
                words = format!("{words} {}", data.u32()?);
            }
            Data::Words(words)
        }
        RecordType::Txt => {
            let mut text = Vec::new();
            while !data.is_at_end() {
                let length = data.u8()?;
                text.extend_from_slice(data.bytes(length.into())?);
            }
            Data::Text(String::from_utf8_lossy(&text).into_owned())
        }
    })
}
