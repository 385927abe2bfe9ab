//! Decides whether a plan may be applied: capabilities, guards, preconditions, and the prompt.

use std::io::{self, BufRead, IsTerminal, Write};

use evenkeel_engine::{Kernel, MissingCapabilities, missing_capabilities};
use evenkeel_plan::{Guard, Op, Plan};

use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::output::Output;

/// How to decide on a plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prompt<'a> {
    /// The guards that are overridden.
    pub(crate) allow: &'a [Guard],
    /// Whether the plan is applied without asking.
    pub(crate) assume_yes: bool,
    /// Whether an answer can be read from stdin: not if the spec is on stdin.
    pub(crate) is_interactive: bool,
    /// The question of the prompt.
    pub(crate) question: &'static str,
}

/// A yes/no question before an action.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    pub(crate) text: &'static str,
    /// Whether the answer is yes without asking.
    pub(crate) assume_yes: bool,
    /// Whether an answer can be read from stdin: not if the spec is on stdin.
    pub(crate) is_interactive: bool,
    /// The command that shows what the action is about, and changes nothing.
    pub(crate) preview: &'static str,
}

impl Question {
    /// Checks that the question can be asked, if it will be.
    ///
    /// # Errors
    /// It must be asked, but there is no terminal.
    pub(crate) fn check_can_ask(self) -> Result<(), Error> {
        if self.assume_yes || (self.is_interactive && io::stdin().is_terminal()) {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "cannot ask before acting: there is no terminal; pass --yes to act without asking, or \
             use `{}`",
            self.preview
        )))
    }

    /// Asks, and reports it where the answer is not yes.
    ///
    /// # Errors
    /// The answer cannot be read.
    pub(crate) fn ask(self, output: &mut Output) -> Result<bool, Error> {
        if self.assume_yes {
            return Ok(true);
        }
        output.message(&format!("{} [y/N] ", self.text));
        io::stderr().flush().map_err(Error::Output)?;
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer);
        read.map_err(|source| Error::Unreadable { path: "the answer".into(), source })?;
        let is_yes = matches!(answer.trim(), "y" | "Y" | "yes" | "Yes" | "YES");
        if !is_yes {
            output.message("declined; nothing was changed\n");
        }
        Ok(is_yes)
    }
}

/// Checks that this process has the capabilities that the steps need.
///
/// # Errors
/// A capability is missing.
pub(crate) fn check_permitted(kernel: &mut impl Kernel, steps: &[Op]) -> Result<(), Error> {
    let missing = missing_capabilities(kernel, steps)?;
    if missing.is_empty() { Ok(()) } else { Err(MissingCapabilities(missing).into()) }
}

impl Prompt<'_> {
    /// Checks that the prompt can be shown, if there will be one.
    ///
    /// # Errors
    /// The prompt is needed, but there is no terminal.
    pub(crate) fn check_can_prompt(&self) -> Result<(), Error> {
        self.question().check_can_ask()
    }

    /// The exit status to end with if the plan is not applied; `None` if it is.
    ///
    /// # Errors
    /// A capability is missing, or the answer cannot be read.
    pub(crate) fn blocking_status(
        &self,
        kernel: &mut impl Kernel,
        plan: &Plan,
        output: &mut Output,
    ) -> Result<Option<CommandExit>, Error> {
        check_permitted(kernel, &plan.steps)?;
        let mut guards = Vec::new();
        for refusal in plan.refused(self.allow) {
            output.refusal(&format!("guard {}: {refusal}", refusal.guard));
            guards.push(refusal.guard.name());
        }
        if !guards.is_empty() {
            // The hint repeats the guards that are already overridden.
            let allowed = self.allow.iter().map(|guard| guard.name());
            let all: Vec<&str> = allowed.chain(guards).collect();
            let all = all.join(",");
            output.hint(&format!("nothing was changed; if this is intended, pass --allow {all}"));
            return Ok(Some(CommandExit::Refused));
        }
        for precondition in &plan.unmet_preconditions {
            output.failure(&precondition.to_string());
        }
        if !plan.unmet_preconditions.is_empty() {
            output.hint("nothing was changed");
            return Ok(Some(CommandExit::Failed));
        }
        let may_apply = plan.is_in_sync() || self.question().ask(output)?;
        Ok((!may_apply).then_some(CommandExit::Refused))
    }

    fn question(&self) -> Question {
        Question {
            text: self.question,
            assume_yes: self.assume_yes,
            is_interactive: self.is_interactive,
            preview: "evenkeel plan",
        }
    }
}
