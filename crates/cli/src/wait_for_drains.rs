//! Waits for drains that an apply started and the daemon continues.
//!
//! The apply releases the lock meanwhile, so other writers need not wait for the drains, and the
//! daemon restores a VIP that is lost meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_control::{Answer, AskError, Client, Mode, Request};
use evenkeel_engine::{ExecutionContext, Kernel, Report};
use evenkeel_model::{Names, RealServerKey, ServiceKey};
use evenkeel_plan::Op;

use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::output::Output;
use crate::progress::ProgressDisplay;

/// The time between two readings of the remaining drains.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Whether a daemon enforces a spec in this network namespace and is not paused.
///
/// # Errors
/// A daemon runs and does not answer.
pub(crate) fn is_daemon_enforcing() -> Result<bool, Error> {
    match Client::of_namespace().ask(&Request::Status) {
        Ok(Answer::Status(status)) => Ok(status.mode == Mode::Enforce && status.paused.is_none()),
        Ok(_) | Err(AskError::NoDaemon) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Waits until the daemon has ended the drains of the report, and returns the exit status.
///
/// # Errors
/// The kernel cannot be read, or the daemon does not answer.
pub(crate) fn wait(
    report: &Report,
    kernel: &mut impl Kernel,
    names: Names<'_>,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let drains = begun_drains(report);
    let services: BTreeSet<ServiceKey> = drains.iter().map(|(service, _)| *service).collect();
    // A real server that is listed again gets its weight back, and no longer drains.
    let mut are_draining = || -> Result<bool, Error> {
        let live = kernel.services(&services)?;
        let found = |(service, key): &(ServiceKey, RealServerKey)| {
            live.get(service).and_then(|it| it.real_servers.get(key))
        };
        Ok(drains.iter().filter_map(found).any(|real_server| real_server.weight == 0))
    };
    if !are_draining()? {
        return Ok(CommandExit::Done);
    }
    let mut progress_display = ProgressDisplay::new(names, output)?;
    let stopped = loop {
        if !are_draining()? {
            break None;
        }
        if progress_display.is_interrupted() {
            break Some("interrupted; the drains continue");
        }
        if !is_daemon_enforcing()? {
            break Some("`evenkeel watch` was paused or has stopped; run apply again to finish");
        }
        progress_display.pause(POLL_INTERVAL);
    };
    match stopped {
        None => {
            output.message("drained\n");
            Ok(CommandExit::Done)
        }
        Some(message) => {
            output.hint(message);
            Ok(CommandExit::Failed)
        }
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
