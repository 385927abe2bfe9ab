//! The workspace that the tasks work on, as cargo sees it, and cargo itself.

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::error::Error;

/// The compiler flags for a static program.
const STATIC: &str = "-C target-feature=+crt-static -C relocation-model=static";

/// The paths of the workspace.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The directory of the workspace's Cargo.toml.
    pub(crate) root: PathBuf,
    /// The directory for everything built or fetched.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Reads the paths from cargo.
    pub(crate) fn find() -> Result<Self, Error> {
        let mut command = cargo();
        command.args(["metadata", "--no-deps", "--format-version=1"]).stderr(Stdio::inherit());
        let output = command.output().map_err(|error| Error::Start("cargo".to_owned(), error))?;
        let metadata: Value = serde_json::from_slice(&output.stdout)
            .map_err(|_| Error::Failed("cargo metadata".to_owned()))?;
        let path = |key: &str| metadata[key].as_str().map(PathBuf::from);
        match (path("workspace_root"), path("target_directory")) {
            (Some(root), Some(target)) => Ok(Self { root, target }),
            _ => Err(Error::Failed("cargo metadata".to_owned())),
        }
    }

    /// Runs a cargo command in the workspace's root, its output shown.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Result<(), Error> {
        let name = format!("cargo {}", arguments.join(" "));
        let status = cargo().args(arguments).current_dir(&self.root).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(Error::Failed(name)),
            Err(error) => Err(Error::Start(name, error)),
        }
    }

    /// Builds the project's program for the lab and returns its path.
    ///
    /// Statically and at a fixed address, as the released one: in a guest a program that is dynamic takes
    /// several times as long to start, and the tests start it thousands of times.
    pub(crate) fn evenkeel(&self) -> Result<PathBuf, Error> {
        let build = ["rustc", "--package=evenkeel", "--bin=evenkeel", "--"];
        let build: Vec<&str> = build.into_iter().chain(STATIC.split(' ')).collect();
        self.program("evenkeel", &build, &[])
    }

    /// Builds the released program: for this machine's architecture, linked statically and at a
    /// fixed address, so that one file runs on every distribution and starts without a loader or
    /// relocations.
    pub(crate) fn dist(&self) -> Result<PathBuf, Error> {
        self.dist_with("")
    }

    /// Builds the released program with more compiler options.
    pub(crate) fn dist_with(&self, options: &str) -> Result<PathBuf, Error> {
        let host = host()?;
        let rustflags = format!("CARGO_TARGET_{}_RUSTFLAGS", host.to_uppercase().replace('-', "_"));
        let build = [
            "build",
            "--release",
            "--package=evenkeel",
            "--bin=evenkeel",
            // Named although it is the host: the flags then do not apply to build scripts.
            &format!("--target={host}"),
        ];
        self.program("evenkeel", &build, &[(&rustflags, &format!("{STATIC} {options}"))])
    }

    /// Builds this program with optimisation, to measure with.
    pub(crate) fn xtask_release(&self) -> Result<PathBuf, Error> {
        self.program("evenkeel-xtask", &["build", "--release", "--package=evenkeel-xtask"], &[])
    }

    fn program(&self, name: &str, build: &[&str], env: &[(&str, &str)]) -> Result<PathBuf, Error> {
        let program = self.build_with(build, env)?.into_iter().find(|program| program.name == name);
        let missing = || Error::Claim(format!("there is no program {name}"));
        program.map(|program| program.path).ok_or_else(missing)
    }

    /// Builds with these arguments and returns the built programs, tests included.
    pub(crate) fn build(&self, arguments: &[&str]) -> Result<Vec<Artifact>, Error> {
        self.build_with(arguments, &[])
    }

    fn build_with(&self, arguments: &[&str], env: &[(&str, &str)]) -> Result<Vec<Artifact>, Error> {
        let name = format!("cargo {}", arguments.join(" "));
        let mut command = cargo();
        let (subcommand, rest) = arguments.split_first().unwrap_or((&"build", &[]));
        command
            .args([subcommand, "--message-format=json-render-diagnostics"])
            .args(rest)
            .envs(env.iter().copied())
            .current_dir(&self.root)
            .stderr(Stdio::inherit());
        let output = command.output().map_err(|error| Error::Start(name.clone(), error))?;
        if !output.status.success() {
            return Err(Error::Failed(name));
        }
        let lines = output.stdout.split(|&byte| byte == b'\n');
        Ok(lines.filter_map(Artifact::from_message).collect())
    }
}

/// A program that cargo built.
#[derive(Debug)]
pub(crate) struct Artifact {
    /// The target's name in its Cargo.toml.
    pub(crate) name: String,
    /// Whether it is a test program.
    pub(crate) is_test: bool,
    /// The file.
    pub(crate) path: PathBuf,
}

impl Artifact {
    /// The program that a line of cargo's JSON messages reports, if any.
    fn from_message(line: &[u8]) -> Option<Self> {
        let message: Value = serde_json::from_slice(line).ok()?;
        Some(Self {
            name: message["target"]["name"].as_str()?.to_owned(),
            is_test: message["profile"]["test"].as_bool()?,
            path: PathBuf::from(message["executable"].as_str()?),
        })
    }
}

/// The cargo that started this program, else the one on the `PATH`.
fn cargo() -> Command {
    Command::new(env::var_os("CARGO").as_deref().unwrap_or(OsStr::new("cargo")))
}

/// The target triple of this machine.
fn host() -> Result<String, Error> {
    let text = rustc(&["-vV"])?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Error::Failed("rustc -vV".to_owned()))
}

/// The output of the compiler.
pub(crate) fn rustc(arguments: &[&str]) -> Result<String, Error> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(arguments).output();
    let output = output.map_err(|error| Error::Start("rustc".to_owned(), error))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a cargo subcommand is installed.
pub(crate) fn has_subcommand(name: &str) -> bool {
    let mut command = cargo();
    command.args([name, "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_built_test_program_is_recognised() {
        let line = br#"{"reason":"compiler-artifact","target":{"name":"lab"},"profile":{"test":true},"executable":"/t/lab-1"}"#;
        let artifact = Artifact::from_message(line).expect("a program");
        assert_eq!((artifact.name.as_str(), artifact.is_test), ("lab", true));
    }

    #[test]
    fn a_built_library_is_no_program() {
        let line = br#"{"reason":"compiler-artifact","target":{"name":"x"},"profile":{"test":false},"executable":null}"#;
        assert!(Artifact::from_message(line).is_none());
    }
}
