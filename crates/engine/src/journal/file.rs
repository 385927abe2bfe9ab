//! The journal as a file: a line with its version and a checksum, then its body, both JSON.
//!
//! The checksum is there because the journal says which addresses may be taken away: one flipped
//! bit must not make that another address. It protects from damage, not from anyone who may write
//! there. Since version 3 it covers the version too, so that no flipped bit makes an earlier one of
//! it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use evenkeel_model::Binding;
use evenkeel_plan::Record;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Journal, JournalError};

/// The version of the file that this build writes.
pub(super) const VERSION: u32 = 3;

/// Why a text is no journal that this build reads.
#[derive(Debug)]
pub(super) enum Problem {
    /// It is damaged, in words.
    Damage(String),
    /// Its format is of a later version, which is this one.
    Newer(u32),
}

/// What every version's first line has.
#[derive(Debug, Deserialize)]
struct Header {
    version: u32,
}

/// Version 1: one document without a checksum.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    version: u32,
    record: Record,
    addresses: BTreeSet<Binding>,
    dummies: BTreeSet<Box<str>>,
}

/// Reads a journal, or tells what is wrong with it.
pub(super) fn parse(text: &[u8]) -> Result<Journal, Problem> {
    let damaged = |error: serde_json::Error| Problem::Damage(format!("is damaged: {error}"));
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let (first, rest) = text.split_at(end);
    match serde_json::from_slice(first) {
        Ok(Header { version: version @ 2..=VERSION }) => {
            let body = rest.strip_prefix(b"\n").unwrap_or(rest);
            if text.strip_suffix(body) != Some(header(version, body).as_bytes()) {
                let words = "is damaged: its checksum is another one";
                return Err(Problem::Damage(words.to_owned()));
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

/// Of one that is none of those that this build reads.
fn of_version(version: u32) -> Problem {
    if version > VERSION {
        return Problem::Newer(version);
    }
    Problem::Damage(format!("is damaged: no evenkeel writes version {version}"))
}

/// The file's two parts.
pub(super) fn written(journal: &Journal) -> io::Result<[Vec<u8>; 2]> {
    let mut body = serde_json::to_vec_pretty(journal)?;
    body.push(b'\n');
    Ok([header(VERSION, &body).into_bytes(), body])
}

/// The first line of a file of that version with that body.
pub(super) fn header(version: u32, body: &[u8]) -> String {
    let mut digest = Sha256::new();
    if version > 2 {
        digest.update(format!("{version}\n"));
    }
    digest.update(body);
    let checksum = hexadecimal(&digest.finalize());
    format!("{{\"version\":{version},\"sha256\":\"{checksum}\"}}\n")
}

/// A digest as it is written.
pub(super) fn hexadecimal(digest: &[u8]) -> String {
    let mut text = String::with_capacity(2 * digest.len());
    for byte in digest {
        // A String takes whatever is written to it.
        let _written = write!(text, "{byte:02x}");
    }
    text
}

/// Puts a file with those parts, one behind the other, in the place of what is there: whoever
/// reads, whenever, even after a loss of power, sees the old file or all of the new one.
pub(super) fn replace(path: &Path, parts: &[&[u8]]) -> Result<(), JournalError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let fresh = Path::new(&name);
    let write = || {
        let mut file = File::create(fresh)?;
        parts.iter().try_for_each(|part| file.write_all(part))?;
        // A full disk may show only here.
        file.sync_all()
    };
    let written = write()
        .map_err(JournalError::new("write", fresh))
        .and_then(|()| fs::rename(fresh, path).map_err(JournalError::new("replace", path)));
    if let Err(error) = written {
        // A part of a file is of no use, and takes up room where that may be what is missing. The
        // error to be told is the one before.
        let _removed = fs::remove_file(fresh);
        return Err(error);
    }
    let folder = path.parent().unwrap_or(path);
    let flushed = File::open(folder).and_then(|folder| folder.sync_all());
    flushed.map_err(JournalError::new("flush", folder))
}
