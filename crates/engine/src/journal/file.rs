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

use evenkeel_model::Binding;
use evenkeel_plan::PriorState;
use serde::Deserialize;

use super::Journal;
use crate::store::Envelope;

/// The format version that this build writes.
pub(super) const VERSION: u32 = 4;

/// The first line.
pub(super) const ENVELOPE: Envelope = Envelope { key: "version", version_covered_since: Some(3) };

/// Why this build cannot read a journal.
#[derive(Debug)]
pub(super) enum Problem {
    /// It is damaged; describes how.
    Damage(String),
    /// Its format has this later version.
    Newer(u32),
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
    match ENVELOPE.version(text) {
        Some(version @ 2..=VERSION) => {
            let body = ENVELOPE.body(version, text).ok_or_else(|| {
                Problem::Damage("is damaged: its checksum does not match".to_owned())
            })?;
            serde_json::from_slice(body).map_err(damaged)
        }
        Some(version) if version != 1 => Err(of_version(version)),
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
pub(super) fn written(journal: &Journal) -> Result<[Vec<u8>; 2], serde_json::Error> {
    let mut body = serde_json::to_vec_pretty(journal)?;
    body.push(b'\n');
    Ok([ENVELOPE.header(VERSION, &body).into_bytes(), body])
}
