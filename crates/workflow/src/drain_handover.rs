//! Waits for drains that an apply started and the daemon continues.
//!
//! The apply releases the lock meanwhile, so other writers need not wait for the drains, and the
//! daemon restores a VIP that is lost meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_engine::{ExecutionContext, Kernel, Report};
use evenkeel_model::{OwnerName, RealServerKey, ServiceKey};
use evenkeel_plan::Op;

use crate::daemon::is_daemon_enforcing;
use crate::error::WorkflowError;

/// The time between two readings of the remaining drains.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// How a wait for drains ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainEnd {
    /// There was nothing to wait for.
    NoDrains,
    /// All drains have ended.
    Drained,
    /// The user interrupted the wait; the drains continue.
    Interrupted,
    /// The daemon was paused or has stopped.
    DaemonStopped,
}

/// Waits until the daemon of an owner has ended the drains of the report.
///
/// # Errors
/// The kernel cannot be read, or the daemon does not answer.
pub fn wait_for_drains(
    report: &Report,
    owner: &OwnerName,
    kernel: &mut dyn Kernel,
    context: &mut dyn ExecutionContext,
) -> Result<DrainEnd, WorkflowError> {
    let drains = begun_drains(report);
    let services: BTreeSet<ServiceKey> = drains.iter().map(|(service, _)| *service).collect();
    // A real server that is listed again gets its weight back, and no longer drains.
    let mut are_draining = || -> Result<bool, WorkflowError> {
        let live = kernel.services(&services)?;
        let found = |(service, key): &(ServiceKey, RealServerKey)| {
            live.get(service).and_then(|it| it.real_servers.get(key))
        };
        Ok(drains.iter().filter_map(found).any(|real_server| real_server.weight == 0))
    };
    if !are_draining()? {
        return Ok(DrainEnd::NoDrains);
    }
    loop {
        if !are_draining()? {
            return Ok(DrainEnd::Drained);
        }
        if context.is_interrupted() {
            return Ok(DrainEnd::Interrupted);
        }
        if !is_daemon_enforcing(owner)? {
            return Ok(DrainEnd::DaemonStopped);
        }
        context.pause(POLL_INTERVAL);
    }
}

/// The drains that the pass started or continued.
fn begun_drains(report: &Report) -> BTreeSet<(ServiceKey, RealServerKey)> {
    let places = report.iter().filter_map(|done| match done.op {
        Op::DrainRealServer { service, key, .. } => Some((*service, *key)),
        _ => None,
    });
    places.collect()
}
