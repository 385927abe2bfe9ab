//! The JSON documents of commands that report what they did, a module for each group of commands.
//!
//! They are made from the values and the events that use cases return, and have nothing that a program
//! would have to read out of a sentence. docs/commands.md describes each field.

mod apply;
mod confirm;
mod daemon;
mod doctor;
mod error;
mod event;
mod execution;
mod problem;
mod teardown;
mod validate;
mod zero;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::exit_code::CommandExit;

pub(crate) use self::apply::{ApplyEnd, apply};
pub(crate) use self::confirm::{aborted, kept};
pub(crate) use self::daemon::{DaemonCommand, PauseEnd, daemon_command};
pub(crate) use self::doctor::{explained, findings};
pub(crate) use self::event::event;
pub(crate) use self::problem::problem;
pub(crate) use self::teardown::teardown;
pub(crate) use self::validate::{invalid, valid};
pub(crate) use self::zero::{RESTART, zero};

/// Grows when a field is removed or changes its meaning.
const FORMAT: u32 = 1;

/// What every document contains beside the result of its command.
#[derive(Debug, Default)]
pub(crate) struct Remarks {
    /// The events of the use case.
    pub(crate) events: Vec<Value>,
    /// What is questionable in the spec.
    pub(crate) spec_warnings: Vec<Value>,
}

/// The document of a command, from its result and how it ended.
pub(crate) fn document(
    command: &str,
    mut result: Map<String, Value>,
    remarks: &Remarks,
    ended: Result<&CommandExit, &Error>,
) -> Value {
    let exit = match ended {
        Ok(exit) => *exit,
        Err(error) => error.status(),
    };
    let Remarks { events, spec_warnings } = remarks;
    let common = [
        ("format", json!(FORMAT)),
        ("command", json!(command)),
        ("exit", json!({ "status": exit.code(), "name": exit.name() })),
        ("notices", json!(events)),
        ("spec_warnings", json!(spec_warnings)),
        ("error", ended.err().map_or(Value::Null, error::error)),
    ];
    result.extend(common.map(|(key, value)| (key.to_owned(), value)));
    Value::Object(result)
}

/// The fields of a document or of an object in it.
fn fields<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
