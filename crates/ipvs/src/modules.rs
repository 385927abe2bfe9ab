//! Loading kernel modules by `modprobe`: IPVS itself, its schedulers (`ip_vs_wrr`) and its
//! persistence engines (`ip_vs_pe_sip`). It does not unload, and keeps no record.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use thiserror::Error;
use tracing::debug;

/// The sysctl `kernel.modprobe`: the program with which the kernel loads modules.
const MODPROBE_SYSCTL: &str = "/proc/sys/kernel/modprobe";
/// The program searched on `PATH` if that sysctl is empty.
const MODPROBE: &str = "modprobe";

/// Why a module could not be loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// The text cannot be a module's name.
    #[error("\"{0}\" is not the name of a kernel module")]
    BadName(String),
    /// There is no modprobe, as in most containers: the host has to load the module.
    #[error("module {module} cannot be loaded from here: there is no modprobe")]
    NoModprobe {
        /// The module.
        module: String,
    },
    /// modprobe could not be run.
    #[error("modprobe could not be run for module {module}")]
    NotRun {
        /// The module.
        module: String,
        /// The system's error.
        source: io::Error,
    },
    /// modprobe ran and failed.
    #[error("modprobe {module} failed ({status}): {words}")]
    Failed {
        /// The module.
        module: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// What it wrote to its standard error, trimmed.
        words: String,
    },
}

/// Loads a module unless it is there already. Needs CAP_SYS_MODULE when it is not.
///
/// Runs the program that the kernel itself would run (`kernel.modprobe`), or `modprobe`.
///
/// # Errors
/// See [`ModuleError`].
pub fn load(module: &str) -> Result<(), ModuleError> {
    let of_names = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if module.is_empty() || module.starts_with('-') || !module.bytes().all(of_names) {
        return Err(ModuleError::BadName(module.to_owned()));
    }
    if is_loaded(module) {
        return Ok(());
    }
    debug!(module, "loading a kernel module");
    for program in programs() {
        match run(&program, module) {
            Err(ModuleError::NotRun { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            }
            outcome => return outcome,
        }
    }
    Err(ModuleError::NoModprobe { module: module.to_owned() })
}

/// The programs that may load modules, that of `kernel.modprobe` first.
fn programs() -> impl Iterator<Item = String> {
    configured().into_iter().chain([MODPROBE.to_owned()])
}

/// The program of `kernel.modprobe`, if it exists.
fn configured() -> Option<String> {
    let configured = fs::read_to_string(MODPROBE_SYSCTL).ok()?;
    let program = configured.trim();
    Path::new(program).is_file().then(|| program.to_owned())
}

/// Whether the kernel lists the module. One that is built in is listed only if it has
/// parameters, so "no" means "perhaps".
fn is_loaded(module: &str) -> bool {
    Path::new("/sys/module").join(module.replace('-', "_")).exists()
}

fn run(program: &str, module: &str) -> Result<(), ModuleError> {
    let output = Command::new(program)
        .args(["--", module])
        .stdin(Stdio::null())
        .output()
        .map_err(|source| ModuleError::NotRun { module: module.to_owned(), source })?;
    if output.status.success() {
        return Ok(());
    }
    Err(ModuleError::Failed {
        module: module.to_owned(),
        status: output.status,
        words: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_modprobe_could_take_for_an_option_or_a_path_is_no_name() {
        for bad in ["", "-r", "../evil", "ip vs", "ip_vs\n", "ip_vs_\u{fc}"] {
            assert!(matches!(load(bad), Err(ModuleError::BadName(_))), "{bad:?} was accepted");
        }
    }

    #[test]
    fn no_program_is_run_for_a_module_that_is_there() {
        let there = fs::read_dir("/sys/module").unwrap().next().unwrap().unwrap().file_name();
        // As an ordinary user, or without any modprobe, a run would fail.
        assert!(is_loaded(there.to_str().unwrap()));
        load(there.to_str().unwrap()).unwrap();
    }

    #[test]
    fn a_module_that_does_not_exist_is_an_error() {
        load("no_such_module_of_any_kernel").unwrap_err();
    }
}
