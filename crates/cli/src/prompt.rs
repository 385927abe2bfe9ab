//! Whether a plan may be carried out: guards, obstacles, capabilities, and the question.

use std::io::{self, BufRead, IsTerminal, Write};

use evenkeel_engine::{Kernel, MissingCapabilities, missing_capabilities};
use evenkeel_plan::{Guard, Op, Plan};

use crate::error::Error;
use crate::exit_code::Status;
use crate::output::Output;

/// What was said to a plan beforehand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prompt<'a> {
    /// Guards that may be passed.
    pub(crate) allow: &'a [Guard],
    /// Whether it is agreed to without a question.
    pub(crate) assume_yes: bool,
    /// Whether the answer could be heard: with the spec on stdin it could not.
    pub(crate) is_interactive: bool,
    /// What is asked else.
    pub(crate) question: &'static str,
}

/// What those steps take is there, or nothing of it is begun.
///
/// # Errors
/// A capability is missing.
pub(crate) fn check_permitted(kernel: &mut impl Kernel, steps: &[Op]) -> Result<(), Error> {
    let missing = missing_capabilities(kernel, steps)?;
    if missing.is_empty() { Ok(()) } else { Err(MissingCapabilities(missing).into()) }
}

impl Prompt<'_> {
    /// Without a terminal there is nobody to ask.
    ///
    /// # Errors
    /// There is a question and nobody to ask.
    pub(crate) fn check_can_prompt(&self) -> Result<(), Error> {
        if self.assume_yes || (self.is_interactive && io::stdin().is_terminal()) {
            return Ok(());
        }
        Err(Error::Usage(
            "there is no terminal to ask on before acting; pass --yes to act without asking, or \
             see `evenkeel plan`"
                .to_owned(),
        ))
    }

    /// The status to end with when the plan may not or need not be carried out.
    ///
    /// # Errors
    /// A capability is missing that it takes; the answer cannot be read.
    pub(crate) fn blocking_status(
        &self,
        kernel: &mut impl Kernel,
        plan: &Plan,
        output: &mut Output,
    ) -> Result<Option<Status>, Error> {
        check_permitted(kernel, &plan.steps)?;
        let mut guards = Vec::new();
        for refusal in plan.refused(self.allow) {
            output.refusal(&format!("guard {}: {}", refusal.guard, refusal.message));
            guards.push(refusal.guard.name());
        }
        if !guards.is_empty() {
            // What was allowed already has to be said again, too.
            let allowed = self.allow.iter().map(|guard| guard.name());
            let all: Vec<&str> = allowed.chain(guards).collect();
            let all = all.join(",");
            output.hint(&format!("nothing was changed; if it is meant, pass --allow {all}"));
            return Ok(Some(Status::Refused));
        }
        for precondition in &plan.unmet_preconditions {
            output.failure(&precondition.to_string());
        }
        if !plan.unmet_preconditions.is_empty() {
            output.hint("nothing was changed");
            return Ok(Some(Status::Failed));
        }
        if plan.is_in_sync() || self.assume_yes || self.ask(output)? {
            return Ok(None);
        }
        output.message("declined; nothing was changed\n");
        Ok(Some(Status::Refused))
    }

    fn ask(&self, output: &mut Output) -> Result<bool, Error> {
        output.message(&format!("{} [y/N] ", self.question));
        io::stderr().flush().map_err(Error::Output)?;
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer);
        read.map_err(|source| Error::Unreadable { path: "the answer".into(), source })?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes" | "YES"))
    }
}
