//! Files with a checksum: a first line with the version of the format and a SHA-256, then the body.
//!
//! The checksum detects damage and careless edits. It is no protection against anyone who may write
//! the file.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The first line of one kind of file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Envelope {
    /// The key of the version in the first line, which says what kind of file it is.
    pub(crate) key: &'static str,
    /// From which version on the checksum covers the version too; `None` where it never does.
    pub(crate) version_covered_since: Option<u32>,
}

impl Envelope {
    /// The first line of a file with that version and body.
    pub(crate) fn header(&self, version: u32, body: &[u8]) -> String {
        let mut digest = Sha256::new();
        if self.version_covered_since.is_some_and(|first| first <= version) {
            digest.update(format!("{version}\n"));
        }
        digest.update(body);
        let checksum = hexadecimal(&digest.finalize());
        format!("{{\"{}\":{version},\"sha256\":\"{checksum}\"}}\n", self.key)
    }

    /// The version that the first line names; `None` where it names none. Any version can be read, and
    /// is not checked yet.
    pub(crate) fn version(&self, text: &[u8]) -> Option<u32> {
        let (first, _) = split(text);
        let fields: Value = serde_json::from_slice(first).ok()?;
        u32::try_from(fields.get(self.key)?.as_u64()?).ok()
    }

    /// The body of a file of that version; `None` if the checksum, or anything else in the first line,
    /// does not match.
    pub(crate) fn body<'a>(&self, version: u32, text: &'a [u8]) -> Option<&'a [u8]> {
        let (first, body) = split(text);
        (first == self.header(version, body).as_bytes()).then_some(body)
    }
}

/// The first line with its end, and the rest.
fn split(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| end + 1);
    text.split_at(end)
}

/// A digest in hexadecimal digits.
pub fn hexadecimal(digest: &[u8]) -> String {
    let mut text = String::with_capacity(2 * digest.len());
    for byte in digest {
        // Writing to a String cannot fail.
        let _written = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Envelope = Envelope { key: "a", version_covered_since: None };
    const COVERED: Envelope = Envelope { key: "a", version_covered_since: Some(3) };

    #[test]
    fn a_file_is_a_line_with_version_and_checksum_and_then_its_body() {
        // echo -n body | sha256sum
        let of_body = "230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5";
        // printf '3\nbody' | sha256sum
        let of_both = "a7595b3c74627c618072a09c30da6d655c8f83ca743be9bd8fe2939c42473fc0";
        for (envelope, version, checksum) in
            [(PLAIN, 3, of_body), (COVERED, 2, of_body), (COVERED, 3, of_both)]
        {
            let header = envelope.header(version, b"body");
            assert_eq!(header, format!("{{\"a\":{version},\"sha256\":\"{checksum}\"}}\n"));
            let text = [header.as_bytes(), b"body"].concat();
            assert_eq!(envelope.version(&text), Some(version));
            assert_eq!(envelope.body(version, &text), Some(&b"body"[..]));
        }
    }

    #[test]
    fn a_change_anywhere_is_detected() {
        let text = [COVERED.header(3, b"body\n").as_bytes(), b"body\n"].concat();
        for place in 0..text.len() {
            let mut changed = text.clone();
            changed[place] ^= 1;
            assert_eq!(COVERED.body(3, &changed), None, "byte {place}");
            assert_eq!(COVERED.body(3, &text[..place]), None, "{place} bytes");
        }
        // As a whole file of an earlier version.
        let earlier = String::from_utf8(text).expect("text").replacen('3', "2", 1);
        assert_eq!(COVERED.version(earlier.as_bytes()), Some(2));
        assert_eq!(COVERED.body(2, earlier.as_bytes()), None);
    }

    #[test]
    fn what_is_no_first_line_has_no_version() {
        let others = ["", "\n", "{}", "[1]", "1", "{\"b\":1}", "{\"a\":", "{\"a\":-1}"];
        for text in others.into_iter().chain(["{\"a\":4294967296}", "{\"a\":\"1\"}"]) {
            assert_eq!(PLAIN.version(text.as_bytes()), None, "{text}");
        }
        assert_eq!(PLAIN.version(b"{\"a\":7,\"later\":true}\n"), Some(7));
    }
}
