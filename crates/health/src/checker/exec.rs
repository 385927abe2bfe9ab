//! `exec`: a program of the host, by its exit status.
//!
//! It is started by a [supervisor](crate::supervisor), which ends with all it started when the probe does.

mod trust;
mod user;

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::geteuid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::environment::ExecEnvironment;
use crate::outcome::{Failure, Fault, Stage};
use crate::supervisor::{Ended, Order, Variable};
use evenkeel_model::check::ExecOptions;
use evenkeel_model::check::Target;

use super::problem::Problem;
use super::reply::shown;

/// How many programs run at once.
const AT_ONCE: u32 = 32;

/// How long the report of a supervisor may be.
const LONGEST_REPORT: u64 = 16 * 1024;

/// How long to wait for the supervisors of probes whose time has ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// The places for programs.
#[derive(Debug)]
pub(crate) struct ExecSlots(Arc<Semaphore>);

impl Default for ExecSlots {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE as usize)))
    }
}

impl ExecSlots {
    /// Waits for a place, for some time. It is taken until the supervisor has ended, not only until the
    /// deadline.
    pub(crate) async fn place(&self, at_most: Duration) -> Result<OwnedSemaphorePermit, Fault> {
        match tokio::time::timeout(at_most, self.0.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => {
                let error = format!("{AT_ONCE} programs of checks run already");
                Err(Fault::NoProcess { error })
            }
        }
    }

    /// Waits until no program runs, for a while.
    pub(crate) async fn are_empty(&self) {
        let _ = tokio::time::timeout(PATIENCE, self.0.acquire_many(AT_ONCE)).await;
    }
}

pub(crate) async fn probe(
    options: &ExecOptions,
    target: Target,
    timeout: Duration,
    environment: &ExecEnvironment,
    place: OwnedSemaphorePermit,
) -> Result<(), Problem> {
    let setup = |error: &str| Fault::Setup { error: error.to_owned() };
    let (name, arguments) =
        options.argv.split_first().ok_or_else(|| setup("the check names no program"))?;
    let program = trust::program(&environment.directory, name, environment.owner)?;
    let identity = match (geteuid().is_root(), &options.user) {
        (true, user) => Some(user::identity(user.as_deref().unwrap_or(&environment.default_user))?),
        (false, None) => None,
        (false, Some(_)) => return Err(Fault::NotPermitted.into()),
    };
    let order = Order {
        program,
        arguments: arguments.to_vec(),
        variables: variables(target, timeout),
        identity,
        timeout,
    };
    let mut text = serde_json::to_vec(&order).map_err(|error| setup(&error.to_string()))?;
    text.push(b'\n');
    let (supervisor, arguments) = environment
        .supervisor
        .split_first()
        .ok_or_else(|| setup("no supervisor of programs is configured"))?;
    let mut child = Command::new(supervisor)
        .args(arguments)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| no_process(&error))?;
    let (lifeline, report) = (child.stdin.take(), child.stdout.take());
    tokio::spawn(async move {
        // Reaped, whatever becomes of the probe; its place is free only then.
        let _ = child.wait().await;
        drop(place);
    });
    let (Some(mut lifeline), Some(report)) = (lifeline, report) else {
        return Err(setup("the supervisor has no pipes").into());
    };
    let failed = |error: io::Error| Fault::Local { error: format!("the supervisor: {error}") };
    lifeline.write_all(&text).await.map_err(failed)?;
    let mut text = Vec::new();
    report.take(LONGEST_REPORT).read_to_end(&mut text).await.map_err(failed)?;
    // Closing it earlier would have ended the program.
    drop(lifeline);
    let ended = serde_json::from_slice(&text)
        .map_err(|_| setup("the supervisor ended without a report"))?;
    judge(ended, timeout)
}

fn judge(ended: Ended, timeout: Duration) -> Result<(), Problem> {
    Err(match ended {
        Ended::Exited { code: 0, .. } => return Ok(()),
        Ended::Exited { code, output } => {
            Failure::Exit { code, output: shown(output.as_bytes()) }.into()
        }
        Ended::DeadlinePassed => Failure::Timeout { stage: Stage::Program, after: timeout }.into(),
        // It gave no answer, so it says nothing of the target.
        Ended::Signalled { signal } => Fault::Signal { signal }.into(),
        Ended::Cancelled => Fault::Local { error: "the program was cancelled".to_owned() }.into(),
        Ended::NotStarted { error } => Fault::NoProcess { error }.into(),
        Ended::NotPermitted => Fault::NotPermitted.into(),
    })
}

fn variables(target: Target, timeout: Duration) -> Vec<Variable> {
    let variable = |name: &str, value: String| Variable { name: name.to_owned(), value };
    vec![
        variable("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".to_owned()),
        variable("LANG", "C.UTF-8".to_owned()),
        variable("EVENKEEL_ADDRESS", target.address.to_string()),
        variable("EVENKEEL_PORT", target.port.to_string()),
        variable("EVENKEEL_TIMEOUT", timeout.as_secs_f64().to_string()),
    ]
}

fn no_process(error: &io::Error) -> Problem {
    match Problem::of_setup(error) {
        problem @ Problem::Fault(Fault::Descriptors | Fault::Memory) => problem,
        _ => Fault::NoProcess { error: error.to_string() }.into(),
    }
}
