//! Writes a query.

use crate::outcome::Fault;
use evenkeel_model::check::RecordType;

/// `IN`.
pub(crate) const INTERNET: u16 = 1;

/// "Recursion desired".
const FLAGS: u16 = 0x0100;

/// The number of a type.
pub(crate) fn number(record: RecordType) -> u16 {
    match record {
        RecordType::A => 1,
        RecordType::Ns => 2,
        RecordType::Cname => 5,
        RecordType::Soa => 6,
        RecordType::Ptr => 12,
        RecordType::Mx => 15,
        RecordType::Txt => 16,
        RecordType::Aaaa => 28,
        RecordType::Srv => 33,
    }
}

pub(crate) fn encode(id: u16, name: &str, record: RecordType) -> Result<Vec<u8>, Fault> {
    let mut query = Vec::new();
    for number in [id, FLAGS, 1, 0, 0, 0] {
        query.extend_from_slice(&number.to_be_bytes());
    }
    query.extend_from_slice(&encoded_name(name).ok_or_else(|| Fault::Setup {
        error: format!("`{name}` is no name in DNS (labels of 1 to 63 bytes, 253 in all)"),
    })?);
    query.extend_from_slice(&number(record).to_be_bytes());
    query.extend_from_slice(&INTERNET.to_be_bytes());
    Ok(query)
}

fn encoded_name(name: &str) -> Option<Vec<u8>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut encoded = Vec::new();
    if name.len() > 253 {
        return None;
    }
    if !name.is_empty() {
        for label in name.split('.') {
            let length = u8::try_from(label.len()).ok().filter(|it| (1..=63).contains(it))?;
            encoded.push(length);
            encoded.extend_from_slice(label.as_bytes());
        }
    }
    encoded.push(0);
    Some(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_labels() {
        assert_eq!(encoded_name("a.example").unwrap(), b"\x01a\x07example\x00");
        assert_eq!(encoded_name("a.example.").unwrap(), b"\x01a\x07example\x00");
        assert_eq!(encoded_name(".").unwrap(), b"\x00");
        assert_eq!(encoded_name("").unwrap(), b"\x00");
        for bad in ["a..b", ".a", &"a".repeat(64), &"a.".repeat(128)] {
            assert_eq!(encoded_name(bad), None, "{bad}");
        }
        assert!(encoded_name(&"a".repeat(63)).is_some());
    }

    #[test]
    fn a_query_is_as_the_standard_has_it() {
        let query = encode(0x1234, "a.example", RecordType::Aaaa).unwrap();
        let expected =
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x07example\x00\x00\x1c\x00\x01";
        assert_eq!(query, expected);
    }
}
