//! `evenkeel owners`: lists the owners of this network namespace.

use std::fmt::Display;

use evenkeel_control::{Answer, Client, Request, Status};
use evenkeel_engine::{Journal, StateDir};
use evenkeel_model::OwnerName;
use evenkeel_workflow::now;
use serde_json::{Value, json};

use super::status::utc;
use crate::args::{GlobalArgs, OutputFormat, OwnersArgs};
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host::state_dir;
use crate::output::Output;
use crate::owner::owners;

/// The version of the document.
const FORMAT: u32 = 1;

/// An owner, as it is listed.
struct Listed {
    name: OwnerName,
    journal: Journal,
    /// When the texts of the last applied spec were stored, in seconds since 1970.
    applied: Option<u64>,
    /// The status of its daemon; `None` if none runs, or it refuses to answer.
    daemon: Option<Box<Status>>,
    is_daemon_running: bool,
}

pub(crate) fn run(
    arguments: &OwnersArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let state = state_dir(global)?;
    let wanted = |name: &OwnerName| global.owner.as_ref().is_none_or(|owner| owner == name);
    let mut listed = Vec::new();
    for name in owners(&state)?.into_iter().filter(wanted) {
        listed.push(Listed::read(&state.of_owner(&name), output)?);
    }
    match arguments.output.output {
        OutputFormat::Json => {
            let owners: Vec<Value> = listed.iter().map(Listed::json).collect();
            output.answer(format_args!("{:#}\n", json!({ "format": FORMAT, "owners": owners })))?;
        }
        OutputFormat::Text if listed.is_empty() => output.answer("No owner.\n")?,
        OutputFormat::Text => {
            for owner in &listed {
                owner.print(output)?;
            }
        }
    }
    Ok(CommandExit::Done)
}

impl Listed {
    fn read(state: &StateDir, output: &mut Output) -> Result<Self, Error> {
        let (journal, warning) = state.read(false)?;
        if let Some(warning) = warning {
            output.warning(&warning);
        }
        let client = Client::of_owner(state.owner().as_str());
        let is_daemon_running = client.is_daemon_running();
        let daemon = match client.ask(&Request::Status) {
            Ok(Answer::Status(status)) => Some(status),
            // The daemon may refuse its status to other users.
            Ok(Answer::Done(_) | Answer::Refused(_)) | Err(_) => None,
        };
        let applied = state.spec_stored(&journal);
        Ok(Self { name: state.owner().clone(), journal, applied, daemon, is_daemon_running })
    }

    /// The texts of the last applied spec.
    fn sources(&self) -> Vec<&str> {
        self.journal.spec.iter().flat_map(|spec| &spec.texts).map(|text| &*text.name).collect()
    }

    fn unconfirmed(&self) -> Option<String> {
        self.journal.pending.as_ref().map(|pending| pending.description(now()))
    }

    fn json(&self) -> Value {
        let scope = self.journal.record.scope.as_ref().map(ToString::to_string);
        json!({
            "name": self.name,
            "scope": scope,
            "sources": self.sources(),
            "applied": self.applied,
            "daemon": self.is_daemon_running.then(|| json!({
                "pid": self.daemon.as_ref().map(|status| status.pid),
                "state": self.daemon.as_ref().map(|status| status.state.as_str()),
            })),
            "unconfirmed": self.unconfirmed(),
        })
    }

    fn print(&self, output: &mut Output) -> Result<(), Error> {
        let name = self.name.as_str().unwrap_or("(without a name)");
        output.answer(format_args!("{name}\n"))?;
        let mut row =
            |what: &str, text: &dyn Display| output.answer(format_args!("  {what:<14}{text}\n"));
        if let Some(scope) = &self.journal.record.scope {
            row("scope", scope)?;
        }
        match (self.sources().join(" "), self.applied) {
            (sources, _) if sources.is_empty() => row("last applied", &"nothing")?,
            (sources, None) => row("last applied", &sources)?,
            (sources, Some(at)) => row("last applied", &format!("{sources}, {}", utc(at)))?,
        }
        match self.daemon.as_deref() {
            Some(Status { pid, state, .. }) => {
                row("daemon", &format!("{} (process {pid})", state.as_str()))?;
            }
            None if self.is_daemon_running => row("daemon", &"running")?,
            None => row("daemon", &"not running")?,
        }
        match self.unconfirmed() {
            Some(message) => row("unconfirmed", &message),
            None => Ok(()),
        }
    }
}
