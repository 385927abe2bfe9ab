//! Plays the console sessions of Markdown pages on a real kernel: each page from its top to its end, as
//! a user would type them. `crates/cli/tests/docs` describes the blocks of a page.

mod host;
#[path = "../../../crates/cli/tests/docs/markdown.rs"]
pub(crate) mod markdown;

use host::Host;
use markdown::{Block, Command, Page};

/// How the output of a command is compared with the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A page for users: a command without output shows nothing of it, and one that fails shows an error.
    Documentation,
    /// A transcript: the whole output of each command, and a last line with every exit status but 0.
    Transcript {
        /// Whether the output is to be renewed: a command beside a daemon is repeated only until its
        /// output no longer changes.
        is_renewed: bool,
    },
}

/// A command whose output is not as shown.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) command: Command,
    pub(crate) found: String,
}

/// The output of a command, and its exit status.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) text: String,
    pub(crate) status: i32,
}

impl Form {
    /// What a page of this form shows of an outcome.
    fn text(self, outcome: &Outcome) -> String {
        match (self, outcome) {
            (Self::Documentation, _) | (_, Outcome { status: 0, .. }) => outcome.text.clone(),
            (Self::Transcript { .. }, Outcome { text, status }) => {
                format!("{text}exit status {status}\n")
            }
        }
    }

    /// Whether a page of this form shows that outcome of the command.
    fn shows(self, command: &Command, outcome: &Outcome, varies: bool) -> bool {
        let found = self.text(outcome);
        let is_shown = command.is_shown(&found, varies);
        match self {
            Self::Documentation => is_shown && (outcome.status != 0) == command.shows_failure(),
            Self::Transcript { .. } => is_shown && (!command.output.is_empty() || found.is_empty()),
        }
    }
}

/// Runs the commands of a page, and returns those whose output is not as shown.
pub(crate) fn play(page: &Page, form: Form) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut host = Host::new();
    for block in &page.blocks {
        if block.is("lab") {
            // It removes its files before the next one has its own there.
            host.stop();
            drop(host);
            host = Host::new();
            let Outcome { text, status } = host.shell(&block.text);
            assert_eq!(status, 0, "{}:{}: {text}", page.path.display(), block.line);
        }
        if let Some(path) = block.file() {
            host.write(path, &block.text);
        }
        differences.extend(play_block(block, &mut host, form));
    }
    host.stop();
    differences
}

fn play_block(block: &Block, host: &mut Host, form: Form) -> Vec<Difference> {
    let varies = block.is("varies");
    let play = |command: Command| {
        let shows = |outcome: &Outcome| form.shows(&command, outcome, varies);
        let outcome = host.type_in(&command, form, &shows)?;
        let found = form.text(&outcome);
        (!shows(&outcome)).then_some(Difference { command, found })
    };
    block.commands().into_iter().filter_map(play).collect()
}

/// Describes differences for the message of a test.
pub(crate) fn describe(page: &Page, differences: &[Difference]) -> String {
    let describe = |Difference { command, found }: &Difference| {
        let Command { text, line, output, .. } = command;
        let shown = output.join("\n");
        format!("{}:{line}: {text}\nshown:\n{shown}\nfound:\n{found}\n", page.path.display())
    };
    differences.iter().map(describe).collect()
}
