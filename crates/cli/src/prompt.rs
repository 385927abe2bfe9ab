//! Asks before a plan is executed, and prints why one is not.

use std::io::{self, BufRead, IsTerminal, Write};

use evenkeel_plan::{Guard, Op};
use evenkeel_workflow::Blocked;

use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::output::Output;
use crate::places::Places;

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
    /// The command that shows the plan and changes nothing, if there is one.
    pub(crate) preview: Option<&'static str>,
}

impl Prompt<'_> {
    /// Checks that the prompt can be shown, if there will be one.
    ///
    /// # Errors
    /// The prompt is needed, but there is no terminal.
    pub(crate) fn check_can_prompt(&self, output: &Output) -> Result<(), Error> {
        self.question().check_can_ask(output)
    }

    /// Prints why a plan is not executed, and returns the exit status.
    pub(crate) fn print_blocked(
        &self,
        blocked: &Blocked,
        steps: &[Op],
        places: &Places<'_>,
        output: &mut Output,
    ) -> CommandExit {
        match blocked {
            Blocked::Guards(refusals) => {
                for refusal in refusals {
                    output.refusal(&format!("guard {}: {refusal}", refusal.guard));
                }
                // The hint repeats the guards that are already overridden.
                let all = self.allow.iter().copied().chain(refusals.iter().map(|it| it.guard));
                let all: Vec<&str> = all.map(Guard::name).collect();
                let all = all.join(",");
                output
                    .hint(&format!("nothing was changed; if this is intended, pass --allow {all}"));
                CommandExit::Refused
            }
            Blocked::Preconditions(unmet) => {
                for precondition in unmet {
                    output.failure(&places.unmet(precondition, steps));
                }
                output.hint("nothing was changed");
                CommandExit::Failed
            }
        }
    }

    /// Asks whether to execute the plan; returns the exit status if the answer is no.
    ///
    /// # Errors
    /// The answer cannot be read.
    pub(crate) fn declined(&self, output: &mut Output) -> Result<Option<CommandExit>, Error> {
        self.question().declined(output)
    }

    /// Reports that the plan changed while the user was asked.
    pub(crate) fn print_changed(difference: &str, output: &mut Output) {
        output.warning(format_args!(
            "the host has changed since the plan was shown; nothing was changed, and this is the \
             plan now\n{}",
            difference.trim_end()
        ));
    }

    fn question(&self) -> Question {
        let Self { allow: _, assume_yes, is_interactive, question: text, preview } = *self;
        Question { text, assume_yes, is_interactive, preview }
    }
}

/// A yes/no question before an action.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    pub(crate) text: &'static str,
    /// Whether the action is done without asking.
    pub(crate) assume_yes: bool,
    /// Whether an answer can be read from stdin: not if the spec is on stdin.
    pub(crate) is_interactive: bool,
    /// The command that shows what the action is about, and changes nothing, if there is one.
    pub(crate) preview: Option<&'static str>,
}

impl Question {
    /// Checks that the question can be asked, if it will be.
    ///
    /// # Errors
    /// It must be asked, but there is no terminal, or a document takes the place of what is shown.
    pub(crate) fn check_can_ask(self, output: &Output) -> Result<(), Error> {
        if output.is_document() && !self.assume_yes {
            return Err(Error::Usage(format!(
                "--output json does not ask before acting; {}",
                self.alternatives()
            )));
        }
        if self.assume_yes || (self.is_interactive && io::stdin().is_terminal()) {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "cannot ask before acting: there is no terminal; {}",
            self.alternatives()
        )))
    }

    /// What the user can do instead of answering.
    fn alternatives(self) -> String {
        let preview = self.preview.map(|preview| format!(", or use `{preview}`"));
        format!("pass --yes to act without asking{}", preview.unwrap_or_default())
    }

    /// Asks; returns the exit status if the answer is not yes.
    ///
    /// # Errors
    /// The answer cannot be read.
    pub(crate) fn declined(self, output: &mut Output) -> Result<Option<CommandExit>, Error> {
        output.message(&format!("{} [y/N] ", self.text));
        io::stderr().flush().map_err(Error::Output)?;
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer);
        read.map_err(Error::Prompt)?;
        if matches!(answer.trim(), "y" | "Y" | "yes" | "Yes" | "YES") {
            return Ok(None);
        }
        output.message("declined; nothing was changed\n");
        Ok(Some(CommandExit::Refused))
    }
}
