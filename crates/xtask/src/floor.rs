//! Compiles the program that the hostile test compares the daemon with (`tests/lab/floor/rebind.c`).

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::error::Error;
use crate::workspace::Workspace;

/// The compiler's options: linked statically, so that a guest of any distribution runs the program.
const OPTIONS: [&str; 4] = ["-O2", "-Wall", "-Werror", "-static"];

/// Compiles it with the C compiler that Rust links with, and returns its path.
pub(crate) fn build(workspace: &Workspace) -> Result<PathBuf, Error> {
    let folder = workspace.target.join("floor");
    let cannot = |error| Error::Claim(format!("{}: {error}", folder.display()));
    fs::create_dir_all(&folder).map_err(cannot)?;
    let program = folder.join("rebind");
    // Another task may be running the one that is there.
    let new = folder.join(format!("rebind-{}", std::process::id()));
    let mut command = Command::new("cc");
    command.args(OPTIONS).arg("-o").arg(&new).arg(workspace.root.join("tests/lab/floor/rebind.c"));
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(_) => {
            return Err(Error::Failed("cc (on Debian: apt install gcc libc6-dev)".to_owned()));
        }
        Err(error) => {
            return Err(Error::Start("cc (on Debian: apt install gcc)".to_owned(), error));
        }
    }
    fs::rename(&new, &program).map_err(cannot)?;
    Ok(program)
}
