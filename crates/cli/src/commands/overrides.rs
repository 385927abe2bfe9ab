//! `evenkeel drain`, `disable`, `enable`, `weight`, `overrides` and `clear`: operators' overrides.
//!
//! The daemon stores an override, puts it into force at once and ends it in time. Without one, the command stores
//! it, and the next apply follows it.

use std::fs;

use evenkeel_control::{Answer, AskError, OverrideAction, Request};
use evenkeel_engine::{Clock, NewOverride};
use evenkeel_model::{OverlayEffect, OverrideTarget, Span};
use evenkeel_plan::render::count;
use evenkeel_workflow::{OverrideError, begin_override, clear_overrides, now, overridable_spec};
use rustix::process::getuid;

use crate::args::{
    ClearArgs, GlobalArgs, OutputFormat, OverrideArgs, OverridesArgs, TermArgs, WeightArgs,
};
use crate::commands::status::override_line;
use crate::commands::stored_overrides::stored_overrides;
use crate::daemon_client::{query, send_command};
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host::state_dir;
use crate::output::Output;
use crate::render::{self, DaemonCommand, PauseEnd};

/// The version of the document of `overrides`.
const FORMAT: u32 = 1;

pub(crate) fn weight(
    arguments: &WeightArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let WeightArgs { weight, target, terms } = arguments;
    begin_with(OverrideAction::Weight(*weight), target, terms, global, output)
}

pub(crate) fn begin(
    action: OverrideAction,
    arguments: &OverrideArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    begin_with(action, &arguments.target, &arguments.terms, global, output)
}

fn begin_with(
    action: OverrideAction,
    target: &OverrideTarget,
    terms: &TermArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let (seconds, by) = (terms.time.map(u64::from), operator());
    let request = Request::Override {
        target: target.to_string(),
        action,
        seconds,
        by: by.clone(),
        reason: terms.reason.clone(),
    };
    match send_command(request, global, output) {
        Err(Error::Ask(AskError::NoDaemon)) => {}
        sent => return sent,
    }
    let state = state_dir(global)?;
    let new = NewOverride {
        target: target.clone(),
        effect: match action {
            OverrideAction::Drain => OverlayEffect::Weight(0),
            OverrideAction::Weight(weight) => OverlayEffect::Weight(weight),
            OverrideAction::Disable => OverlayEffect::Out,
            OverrideAction::Enable => OverlayEffect::AsSpec,
        },
        seconds,
        by: by.into(),
        reason: terms.reason.as_str().into(),
    };
    let desired = overridable_spec(&state)?;
    let found = begin_override(&state, &desired, new, &Clock::start().now())?;
    let end = match seconds {
        Some(seconds) => format!("for {}", Span(seconds)),
        None => "until `evenkeel clear`".to_owned(),
    };
    let found = count(found, "real server");
    let message = format!(
        "Override of {target} {end} stored ({found}): no daemon runs, so the next apply puts it into force, \
         and one after its end ends it"
    );
    done(&message, seconds, output)
}

pub(crate) fn clear(
    arguments: &ClearArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let target = arguments.target.as_ref();
    let request = Request::ClearOverrides { target: target.map(ToString::to_string) };
    match send_command(request, global, output) {
        Err(Error::Ask(AskError::NoDaemon)) => {}
        sent => return sent,
    }
    let cleared = clear_overrides(&state_dir(global)?, target, &Clock::start().now())?;
    let message = format!(
        "Cleared {}: no daemon runs, so the next apply follows the spec again",
        count(cleared, "override")
    );
    done(&message, None, output)
}

/// Prints what a command did without a daemon.
fn done(message: &str, seconds: Option<u64>, output: &mut Output) -> Result<CommandExit, Error> {
    output.answer(format_args!("{message}.\n"))?;
    let pause = seconds.map(|seconds| PauseEnd { seconds, until: now() + seconds });
    let command = DaemonCommand { is_done: true, message, pause };
    output.conclude(Ok(CommandExit::Done), || render::daemon_command(command))
}

pub(crate) fn list(
    arguments: &OverridesArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let overrides = match query(&Request::Status, global) {
        Ok(Answer::Status(status)) => status.overrides,
        Ok(Answer::Done(message) | Answer::Refused(message)) => {
            return Err(AskError::Refused(message).into());
        }
        Err(Error::Ask(AskError::NoDaemon)) => stored_overrides(global)?,
        Err(error) => return Err(error),
    };
    match arguments.output {
        OutputFormat::Json => {
            let document = serde_json::json!({ "format": FORMAT, "overrides": overrides });
            output.answer(format_args!("{document:#}\n"))?;
        }
        OutputFormat::Text => {
            for it in &overrides {
                output.answer(format_args!("{}\n", override_line(it)))?;
            }
            if overrides.is_empty() {
                output.answer("No override is in force.\n")?;
            }
        }
    }
    Ok(CommandExit::Done)
}

/// The user who gives the command: of sudo, the one who called it.
fn operator() -> String {
    let uid = getuid();
    let caller = std::env::var("SUDO_USER").ok().filter(|name| uid.is_root() && !name.is_empty());
    caller.unwrap_or_else(|| {
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let uid = uid.as_raw().to_string();
        let name = users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1) == Some(uid.as_str()) && !name.is_empty()).then(|| name.to_owned())
        });
        name.unwrap_or_else(|| format!("user {uid}"))
    })
}

impl From<OverrideError> for Error {
    fn from(error: OverrideError) -> Self {
        match error {
            OverrideError::Unknown(_) | OverrideError::NotOverridden { .. } => {
                Self::Usage(error.to_string())
            }
            OverrideError::File(error) => Self::Journal(error.into()),
        }
    }
}
