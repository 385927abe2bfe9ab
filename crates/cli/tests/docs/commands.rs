//! The commands of the pages are accepted, and those that need no privileges print what is shown.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command as Process, Stdio};

use tempfile::TempDir;

use crate::markdown::{Block, Command, Page, pages};
use crate::{evenkeel, root, without_colors};

/// What ends the arguments of a program in a shell command.
const SHELL: [&str; 8] = ["|", ">", ">>", "<", ";", "&", "&&", "2>&1"];

#[test]
fn every_command_is_accepted_by_the_argument_parser() {
    let mut checked = 0;
    for page in pages(&root()) {
        for command in page.blocks.iter().flat_map(Block::commands) {
            let Some(arguments) = command.text.strip_prefix("evenkeel ") else { continue };
            // Arguments are parsed before the help is printed, and nothing is run.
            let words = arguments.split_whitespace().take_while(|word| !SHELL.contains(word));
            let output = evenkeel().args(words).arg("--help").output().expect("it starts");
            let errors = String::from_utf8_lossy(&output.stderr);
            let place = format!("{}:{}", page.path.display(), command.line);
            assert!(output.status.success(), "{place}: {}: {errors}", command.text);
            checked += 1;
        }
    }
    assert!(checked >= 20, "only {checked} commands were found");
}

#[test]
fn unprivileged_commands_print_what_is_shown() {
    let mut wrong = String::new();
    for page in pages(&root()) {
        let mut outputs = BTreeMap::new();
        let folder = page_folder();
        for block in &page.blocks {
            // What is below `/etc` is for commands on a live host.
            if let Some(path) = block.file().filter(|path| !path.starts_with('/')) {
                fs::write(folder.path().join(path), &block.text).expect("a file");
            }
            for command in block.commands().into_iter().filter(|it| !it.is_privileged) {
                assert!(is_harmless(&command.text), "write the prompt `#`: {}", command.text);
                let (found, is_success) = run(&command, folder.path());
                if std::env::var_os("UPDATE").is_some() {
                    outputs.insert(command.line, found);
                } else if !command.is_shown(&found, block.is("varies"))
                    || is_success == command.shows_failure()
                {
                    let shown = command.output.join("\n");
                    let place = format!("{}:{}", page.path.display(), command.line);
                    let difference = difference(&shown, &found);
                    wrong += &format!("{place}: {}\n{difference}\n", command.text);
                }
            }
        }
        if !outputs.is_empty() {
            update(&page, &outputs);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Whether a command changes nothing on the machine that runs the tests, whatever its privileges.
fn is_harmless(text: &str) -> bool {
    match text.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["evenkeel", "validate" | "schema" | "--help" | "--version", ..] => true,
        ["evenkeel", "plan", rest @ ..] => {
            rest.contains(&"--live") || rest.contains(&"--all-hosts")
        }
        _ => false,
    }
}

/// A folder with the examples, in which the commands of a page run.
fn page_folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let examples = folder.path().join("examples");
    std::os::unix::fs::symlink(root().join("examples"), examples).expect("a link");
    folder
}

/// The output on both streams, in the order in which it was written, and whether the command ended
/// well.
fn run(command: &Command, folder: &Path) -> (String, bool) {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let script = format!("evenkeel() {{ \"$EVENKEEL\" \"$@\"; }}\n{}", command.text);
    let mut shell = without_colors(Process::new("sh"));
    shell.args(["-c", &script]).env("EVENKEEL", env!("CARGO_BIN_EXE_evenkeel"));
    shell.current_dir(folder).stdin(Stdio::null());
    shell.stdout(writer.try_clone().expect("a pipe")).stderr(writer);
    let mut child = shell.spawn().expect("it starts");
    // It holds the writing ends of the pipe, which has to be closed before it is read to its end.
    drop(shell);
    let text = std::io::read_to_string(&mut reader).expect("text");
    let status = child.wait().expect("it ends");
    (text, status.success())
}

fn difference(shown: &str, found: &str) -> String {
    let diff = similar::TextDiff::from_lines(shown, found.trim_end());
    diff.unified_diff().header("shown", "found").to_string()
}

/// Rewrites the output of these commands, by their lines, unless a `...` abbreviates it.
fn update(page: &Page, outputs: &BTreeMap<usize, String>) {
    let path = root().join(&page.path);
    let text = fs::read_to_string(&path).expect("the page");
    let mut shown = BTreeMap::new();
    for command in page.blocks.iter().flat_map(Block::commands) {
        shown.insert(command.line, command.output);
    }
    let mut lines = text.lines().enumerate();
    let mut updated = String::new();
    while let Some((place, line)) = lines.next() {
        updated += &format!("{line}\n");
        let Some(output) = outputs.get(&(place + 1)) else { continue };
        let before = &shown[&(place + 1)];
        if before.iter().any(|line| line == "...") {
            continue;
        }
        lines.by_ref().take(before.len()).for_each(drop);
        updated += output;
    }
    fs::write(path, updated).expect("the page");
}
