//! Loads the modules that a job asks for.

use std::process::Command;

use crate::error::Error;
use crate::process_group::in_words;

/// Loads all of them with one program, because each program started costs tens of milliseconds.
pub(super) fn load(names: &[String]) -> Result<(), Error> {
    if names.is_empty() {
        return Ok(());
    }
    let program = "/sbin/modprobe".to_owned();
    let output = Command::new(&program)
        .arg("--all")
        .args(names)
        .output()
        .map_err(|source| Error::Program { program: program.clone(), source })?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::ProgramFailed {
        program,
        status: in_words(output.status),
        stderr: String::from_utf8_lossy(&output.stderr).trim_end().to_owned(),
    })
}
