//! Tests the documentation: README.md and the pages of `docs`.
//!
//! **Specs.** A block `yaml` is a whole spec, and `evenkeel validate` accepts it. The words after it
//! say what else it is:
//!
//! - `yaml,fragment` has keys of the top level; the test adds `version: 1`.
//! - `yaml,service` has keys of a service; the test adds a service around them, with a name, a VIP, a
//!   port and a real server where they have none.
//! - `yaml,invalid` is refused by `evenkeel validate`.
//!
//! If the first line is a comment with a path (`# web.yaml`), the commands that follow on the page find
//! the spec there.
//!
//! **Commands.** A block `console` has commands with their output. The prompt `$` means that a command
//! needs no privileges and changes nothing: it is run here. `#` means that it needs a live host: `tests/lab/tests/docs.rs`
//! runs it in the lab, with all other commands of its page. The output of both is compared; a line
//! `...` stands for any number of lines, and a command without output is not compared. In a block
//! `console,varies`, numbers, times and ids may differ. `UPDATE=1` rewrites the output of `$` commands.
//!
//! A comment `<!-- lab` makes a new host for the commands that follow, by running its own lines.

mod commands;
mod completeness;
mod links;
mod markdown;
mod specs;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the workspace.
fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the workspace")
}

/// The program, without the caller's environment variables for colours.
fn evenkeel() -> Command {
    without_colors(Command::new(env!("CARGO_BIN_EXE_evenkeel")))
}

fn without_colors(mut command: Command) -> Command {
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command
}

/// What a command that ends well prints to stdout.
fn printed(arguments: &[&str]) -> String {
    let output = evenkeel().args(arguments).output().expect("it starts");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}
