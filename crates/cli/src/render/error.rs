//! Errors that end a command.

use std::error::Error as _;

use evenkeel_control::{LockError, Process};
use serde_json::{Value, json};

use super::problem::problem;
use crate::error::Error;

pub(super) fn error(error: &Error) -> Value {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    let (problems, left_out) = match error {
        Error::BadSpec(bad) => {
            (bad.problems.iter().map(problem).collect(), bad.problems.left_out())
        }
        _ => (Vec::new(), 0),
    };
    let holder = match error {
        Error::Lock(LockError::Held(holder)) => holder.as_ref().map(process),
        _ => None,
    };
    json!({
        "message": error.to_string(),
        "causes": causes,
        "hint": error.hint(),
        "problems": problems,
        "problems_left_out": left_out,
        "lock_holder": holder,
    })
}

fn process(process: &Process) -> Value {
    let Process { pid, uid, command } = process;
    json!({ "pid": pid, "uid": uid, "command": command })
}
