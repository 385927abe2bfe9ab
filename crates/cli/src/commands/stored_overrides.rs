//! The overrides of a host without a daemon, for `status` and `overrides`.

use evenkeel_control::OverrideStatus;
use evenkeel_model::Desired;
use evenkeel_watch::list_overrides;
use evenkeel_workflow::{active_overrides, overridable_spec};

use crate::args::GlobalArgs;
use crate::error::Error;
use crate::host::state_dir;

/// The overrides where no daemon runs.
pub(super) fn stored_overrides(global: &GlobalArgs) -> Result<Vec<OverrideStatus>, Error> {
    let state = state_dir(global)?;
    let active = active_overrides(&state)?;
    if active.is_empty() {
        return Ok(Vec::new());
    }
    // Without a spec they concern nothing yet.
    let desired = overridable_spec(&state).unwrap_or_else(|_| Desired::default());
    Ok(list_overrides(&active, &desired))
}
