//! Drains that an apply began and the running watch goes on with: nobody else waits for the network
//! namespace as long as they take, and a VIP that is lost meanwhile is brought back.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_engine::{ExecutionContext, Kernel, Report};
use evenkeel_model::{Names, RealServerKey, ServiceKey};
use evenkeel_plan::Op;
use evenkeel_watch::Mode;
use evenkeel_watch::control::{Answer, AskError, Request, ask};

use crate::error::Error;
use crate::exit_code::Status;
use crate::output::Output;
use crate::progress::ProgressDisplay;

/// Between two looks at what is left.
const LOOK: Duration = Duration::from_millis(200);

/// Whether a watch keeps this network namespace, and changes it at present.
///
/// # Errors
/// One runs and does not answer.
pub(crate) fn is_daemon_enforcing() -> Result<bool, Error> {
    match ask(&Request::Status) {
        Ok(Answer::Status(status)) => Ok(status.mode == Mode::Enforce && status.paused.is_none()),
        Ok(_) | Err(AskError::NoDaemon) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Waits until the watch has ended the drains of that report, and tells how it went.
///
/// # Errors
/// The kernel cannot be read, or the watch does not answer.
pub(crate) fn wait(
    report: &Report,
    kernel: &mut impl Kernel,
    names: Names<'_>,
    output: &mut Output,
) -> Result<Status, Error> {
    let drains = begun_drains(report);
    let services: BTreeSet<ServiceKey> = drains.iter().map(|(service, _)| *service).collect();
    // One that is listed again gets its weight back.
    let mut are_draining = || -> Result<bool, Error> {
        let live = kernel.services(&services)?;
        let found = |(service, key): &(ServiceKey, RealServerKey)| {
            live.get(service).and_then(|it| it.real_servers.get(key))
        };
        Ok(drains.iter().filter_map(found).any(|real_server| real_server.weight == 0))
    };
    if !are_draining()? {
        return Ok(Status::Done);
    }
    let mut progress_display = ProgressDisplay::new(names, output)?;
    let stopped = loop {
        if !are_draining()? {
            break None;
        }
        if progress_display.is_interrupted() {
            break Some("interrupted; the drains go on");
        }
        if !is_daemon_enforcing()? {
            break Some("`evenkeel watch` was paused or has ended; run apply again to finish");
        }
        progress_display.pause(LOOK);
    };
    match stopped {
        None => {
            output.message("drained\n");
            Ok(Status::Done)
        }
        Some(message) => {
            output.hint(message);
            Ok(Status::Failed)
        }
    }
}

/// The drains that it began or went on with.
fn begun_drains(report: &Report) -> BTreeSet<(ServiceKey, RealServerKey)> {
    let places = report.iter().filter_map(|done| match done.op {
        Op::DrainRealServer { service, key, .. } => Some((*service, *key)),
        _ => None,
    });
    places.collect()
}
