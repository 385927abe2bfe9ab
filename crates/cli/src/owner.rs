//! The owner that a command acts for.

use evenkeel_control::Client;
use evenkeel_engine::{Found, StateDir};
use evenkeel_model::OwnerName;

use crate::args::GlobalArgs;
use crate::error::Error;
use crate::host::state_dir;

/// Returns the owners of this network namespace: those whose journal records something, or whose daemon
/// runs.
pub(crate) fn owners(state: &StateDir) -> Result<Vec<OwnerName>, Error> {
    let mut owners = Vec::new();
    for name in state.owners().map_err(evenkeel_engine::JournalError::from)? {
        let is_in_use = match state.of_owner(&name).find()? {
            Found::Valid(journal) => journal.is_in_use(),
            Found::Damaged(_) => true,
            Found::Nothing => false,
        };
        if is_in_use || Client::of_owner(name.as_str()).is_daemon_running() {
            owners.push(name);
        }
    }
    Ok(owners)
}

/// Chooses the owner of a command that reads no spec: the one that `--owner` names, or else the only one there
/// is; the one without a name if there is none.
///
/// # Errors
/// There are several.
pub(crate) fn of_command(command: &str, global: &GlobalArgs) -> Result<GlobalArgs, Error> {
    let mut chosen = global.clone();
    if global.owner.is_some() {
        return Ok(chosen);
    }
    let state = state_dir(global)?;
    // Most hosts have one owner, whose journal the command reads anyway. A user who may not list them
    // gets the command's own error.
    if state.owners().map_or(true, |owners| owners.len() == 1) {
        return Ok(chosen);
    }
    let mut owners = owners(&state)?;
    if owners.len() > 1 {
        let options: Vec<String> =
            owners.iter().map(|name| format!("`evenkeel {command}{}`", name.option())).collect();
        return Err(Error::Usage(format!(
            "this network namespace has {} owners: name one of them: {}",
            owners.len(),
            options.join(", ")
        )));
    }
    chosen.owner = owners.pop();
    Ok(chosen)
}
