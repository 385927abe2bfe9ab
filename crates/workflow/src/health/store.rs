//! Stores verdicts beside the journal, for a restart of the daemon and for commands.

use std::io;

use evenkeel_engine::{FileError, StateDir};
use evenkeel_health::{Moment, StoredVerdict, StoredVerdicts};
use evenkeel_model::ServiceKey;
use serde::{Deserialize, Serialize};

const NAME: &str = "health.json";

/// What the daemon stores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredHealth {
    /// The verdicts.
    #[serde(flatten)]
    pub verdicts: StoredVerdicts,
    /// The services that have their quorum.
    #[serde(default)]
    pub with_quorum: Vec<ServiceKey>,
}

/// Reads the verdicts of this boot that were stored within a minute; none where there is no such file.
///
/// # Errors
/// The file cannot be read, or is damaged.
pub fn read_verdicts(state: &StateDir, now: Moment) -> Result<StoredHealth, FileError> {
    let boot = evenkeel_host::boot_id().unwrap_or_default();
    let none = || StoredHealth {
        verdicts: StoredVerdicts { boot: boot.to_owned(), saved: now, verdicts: Vec::new() },
        with_quorum: Vec::new(),
    };
    let Some(text) = state.read_file(NAME)? else { return Ok(none()) };
    let stored: StoredHealth = serde_json::from_slice(&text).map_err(|error| {
        let damaged = format!("it is damaged ({error}); remove it");
        let damaged = io::Error::new(io::ErrorKind::InvalidData, damaged);
        FileError::new("read", &state.folder().join(NAME))(damaged)
    })?;
    let saved = stored.verdicts.saved;
    let verdicts = stored.verdicts.fresh(boot, now);
    if verdicts.is_empty() {
        return Ok(none());
    }
    let verdicts = StoredVerdicts { boot: boot.to_owned(), saved, verdicts };
    Ok(StoredHealth { verdicts, with_quorum: stored.with_quorum })
}

/// Stores the verdicts, as they are now.
///
/// # Errors
/// The file cannot be written.
pub fn write_verdicts(
    state: &StateDir,
    verdicts: Vec<StoredVerdict>,
    with_quorum: Vec<ServiceKey>,
) -> Result<(), FileError> {
    let boot = evenkeel_host::boot_id().unwrap_or_default();
    let verdicts = StoredVerdicts { boot: boot.to_owned(), saved: Moment::now(), verdicts };
    let text = serde_json::to_vec(&StoredHealth { verdicts, with_quorum });
    let text = text
        .map_err(io::Error::from)
        .map_err(FileError::new("write", &state.folder().join(NAME)))?;
    state.replace_file(NAME, &[&text])
}
