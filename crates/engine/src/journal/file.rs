//! The journal's file format: a line with its version and a checksum, then its body, both JSON.
//!
//! The journal lists the addresses that evenkeel may unbind, so a flipped bit must not turn one
//! into another address: the checksum detects that. It protects against damage, not against anyone
//! with write access. Since version 3 it covers the version too, so that a flipped bit cannot turn
//! the version into an earlier one.
//!
//! This build reads every earlier version and writes [`VERSION`]. It refuses a later version and
//! leaves the file alone; how to go back a version is in ARCHITECTURE.md.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use evenkeel_model::Binding;
use evenkeel_plan::PriorState;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Journal, JournalError};

/// The format version that this build writes.
pub(super) const VERSION: u32 = 4;

/// Why this build cannot read a journal.
#[derive(Debug)]
pub(super) enum Problem {
    /// It is damaged; describes how.
    Damage(String),
    /// Its format has this later version.
    Newer(u32),
}

/// The fields that the first line has in every version.
#[derive(Debug, Deserialize)]
struct Header {
    version: u32,
}

/// Version 1: one document without a checksum.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    version: u32,
    record: PriorState,
    addresses: BTreeSet<Binding>,
    dummies: BTreeSet<Box<str>>,
}

/// Parses a journal.
pub(super) fn parse(text: &[u8]) -> Result<Journal, Problem> {
    let damaged = |error: serde_json::Error| Problem::Damage(format!("is damaged: {error}"));
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let (first, rest) = text.split_at(end);
    match serde_json::from_slice(first) {
        Ok(Header { version: version @ 2..=VERSION }) => {
            let body = rest.strip_prefix(b"\n").unwrap_or(rest);
            if text.strip_suffix(body) != Some(header(version, body).as_bytes()) {
                let message = "is damaged: its checksum does not match";
                return Err(Problem::Damage(message.to_owned()));
            }
            serde_json::from_slice(body).map_err(damaged)
        }
        Ok(Header { version }) if version != 1 => Err(of_version(version)),
        _ => match serde_json::from_slice(text).map_err(damaged)? {
            First { version: 1, record, addresses, dummies } => {
                Ok(Journal { record, addresses, dummies, ..Journal::default() })
            }
            First { version, .. } => Err(of_version(version)),
        },
    }
}

/// The problem with a version that this build cannot read.
fn of_version(version: u32) -> Problem {
    if version > VERSION {
        return Problem::Newer(version);
    }
    Problem::Damage(format!("is damaged: there is no version {version}"))
}

/// The two parts of the file: its first line and its body.
pub(super) fn written(journal: &Journal) -> io::Result<[Vec<u8>; 2]> {
    let mut body = serde_json::to_vec_pretty(journal)?;
    body.push(b'\n');
    Ok([header(VERSION, &body).into_bytes(), body])
}

/// The first line of a file with that version and body.
pub(super) fn header(version: u32, body: &[u8]) -> String {
    let mut digest = Sha256::new();
    if version > 2 {
        digest.update(format!("{version}\n"));
    }
    digest.update(body);
    let checksum = hexadecimal(&digest.finalize());
    format!("{{\"version\":{version},\"sha256\":\"{checksum}\"}}\n")
}

/// A digest in hexadecimal digits.
pub(super) fn hexadecimal(digest: &[u8]) -> String {
    let mut text = String::with_capacity(2 * digest.len());
    for byte in digest {
        // Writing to a String cannot fail.
        let _written = write!(text, "{byte:02x}");
    }
    text
}

/// Replaces a file atomically with the concatenated parts: a reader sees the old file or the whole
/// new one at any time, also after a loss of power.
pub(super) fn replace(path: &Path, parts: &[&[u8]]) -> Result<(), JournalError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let fresh = Path::new(&name);
    let write = || {
        let mut file = File::create(fresh)?;
        parts.iter().try_for_each(|part| file.write_all(part))?;
        // A full disk may be reported only here.
        file.sync_all()
    };
    let written = write()
        .map_err(JournalError::new("write", fresh))
        .and_then(|()| fs::rename(fresh, path).map_err(JournalError::new("replace", path)));
    if let Err(error) = written {
        // A partial file is useless and takes up space, which may be what is missing. The error to
        // report is the earlier one.
        let _removed = fs::remove_file(fresh);
        return Err(error);
    }
    let folder = path.parent().unwrap_or(path);
    let flushed = File::open(folder).and_then(|folder| folder.sync_all());
    flushed.map_err(JournalError::new("flush", folder))
}
