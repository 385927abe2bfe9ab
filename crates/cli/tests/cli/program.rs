//! Runs `evenkeel`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Prepares the program with arguments split at spaces, in a directory, without the caller's
/// environment variables for colours.
pub(crate) fn command(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.args(arguments.split_whitespace()).current_dir(folder);
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command
}

pub(crate) fn evenkeel_in(folder: &Path, arguments: &str) -> Answer {
    evenkeel_reading(folder, arguments, "")
}

pub(crate) fn evenkeel_reading(folder: &Path, arguments: &str, input: &str) -> Answer {
    let mut command = command(folder, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    // A program that does not read its input may have closed the pipe.
    let _cut = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Answer {
        status: output.status.code().expect("no signal"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// The directory of the examples and the golden plans.
pub(crate) fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the workspace")
}

/// Returns the path of every example, relative to the root.
pub(crate) fn examples() -> Vec<String> {
    let listed = std::fs::read_dir(root().join("examples")).expect("examples");
    let names = listed.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> =
        names.map(|name| format!("examples/{}", name.to_str().expect("text"))).collect();
    names.sort();
    assert!(names.len() >= 8, "{names:?}");
    names
}

/// Creates a temporary directory with these files.
pub(crate) fn folder_with(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    folder
}

/// Returns the difference, line by line.
pub(crate) fn difference(expected: &str, found: &str) -> String {
    similar::TextDiff::from_lines(expected, found)
        .unified_diff()
        .header("expected", "found")
        .to_string()
}
