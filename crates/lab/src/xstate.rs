//! Processors with more register state than User-Mode Linux 6.1 has room for.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Context, Error};
use crate::fetch::run;

/// The library that works around it; its source explains how.
const SOURCE: &str = include_str!("../preload/xstate.rs");

/// Components of the register state that came after PKRU, by their names in /proc/cpuinfo.
const LATER: [&str; 2] = ["amx_tile", "apx"];

/// The library to load before libc, compiled into `folder`; `None` if the processor needs none.
///
/// # Errors
/// The compiler is missing or fails.
pub(crate) fn preload(folder: &Path) -> Result<Option<PathBuf>, Error> {
    let processors = Path::new("/proc/cpuinfo");
    if !has_later_state(&fs::read_to_string(processors).on("read", processors)?) {
        return Ok(None);
    }
    let source = folder.join("xstate.rs");
    let library = folder.join("libxstate.so");
    let is_current = fs::read_to_string(&source).is_ok_and(|text| text == SOURCE);
    if is_current && library.exists() {
        return Ok(Some(library));
    }
    let compiled = folder.join(format!("libxstate.{}.so", std::process::id()));
    let text = folder.join(format!("xstate.{}.rs", std::process::id()));
    fs::write(&text, SOURCE).on("write", &text)?;
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let options = ["-O", "--edition=2024", "--crate-type=cdylib", "-Cpanic=abort"];
    run(Command::new(compiler)
        .args(options)
        .args(["--crate-name", "xstate", "-o"])
        .arg(&compiled)
        .arg(&text))?;
    // Other processes may do the same at this moment: complete files replace each other.
    fs::rename(&compiled, &library).on("replace", &library)?;
    fs::rename(&text, &source).on("replace", &source)?;
    Ok(Some(library))
}

fn has_later_state(processors: &str) -> bool {
    let flags = processors.lines().filter(|line| line.starts_with("flags"));
    flags.flat_map(str::split_whitespace).any(|flag| LATER.contains(&flag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processors_with_later_state_take_the_library() {
        assert!(!has_later_state(
            "processor\t: 0\nmodel name\t: amx_tile\nflags\t\t: fpu avx512f pku\n"
        ));
        assert!(has_later_state("flags\t\t: fpu avx512f pku amx_bf16 amx_tile\n"));
    }

    #[test]
    fn the_library_can_be_compiled_again_and_again() {
        // A prebuilt test may run where no compiler is.
        let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        if Command::new(compiler).arg("--version").output().is_err() {
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let first = preload(folder.path()).expect("it is compiled");
        assert_eq!(preload(folder.path()).expect("it is there"), first);
        assert!(first.is_none_or(|library| library.is_file()));
    }
}
