//! A profile of the program at work, for the compiler to lay it out by.
//!
//! What a run executes is a small part of the program, and without a profile it lies scattered
//! over four times as many pages as it needs. Each is fetched when it is first touched, which for a
//! program that runs for a tenth of a second is a good part of its time. So the program is built
//! twice: once to record what it does, and then with what was recorded. The recording is made on
//! the lab's kernel, so that talking to a kernel counts as work too.

use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use evenkeel_lab::Input;
use evenkeel_lab::net::Namespace;

use crate::error::Error;
use crate::lab;
use crate::large_table::LargeTable;
use crate::workspace::{Workspace, rustc};

/// Builds the program as it is released; without a profile, and saying so, where there can be none.
pub(crate) fn release(workspace: &Workspace) -> Result<PathBuf, Error> {
    match recorded(workspace) {
        Ok(profile) => workspace.dist_with(&format!("-C profile-use={}", profile.display())),
        Err(error) => {
            eprintln!("note: the program is built without a profile, and starts slower:");
            error.print();
            workspace.dist()
        }
    }
}

/// The profile of the program as its sources are now; recorded unless it was before.
fn recorded(workspace: &Workspace) -> Result<PathBuf, Error> {
    let merger = merger()?;
    let program = workspace.dist_with("-C profile-generate")?;
    let folder = workspace.target.join("profile");
    let unreadable = |error| Error::Start(program.display().to_string(), error);
    let mut hasher = DefaultHasher::new();
    hasher.write(&fs::read(&program).map_err(unreadable)?);
    // Named by the program that recorded it: other sources are another name, which cargo sees.
    let profile = folder.join(format!("{:016x}.profdata", hasher.finish()));
    if !profile.is_file() {
        record(workspace, &program, &folder)?;
        merge(&merger, &folder, &profile)?;
    }
    Ok(profile)
}

/// Runs the program in the lab, and leaves what it recorded in that folder, which is emptied first.
fn record(workspace: &Workspace, program: &Path, folder: &Path) -> Result<(), Error> {
    let failed = |error: io::Error| Error::Claim(format!("{}: {error}", folder.display()));
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(failed)?;
    }
    fs::create_dir_all(folder).map_err(failed)?;
    let boot = lab::boot(workspace)?;
    let command: [OsString; 4] =
        [workspace.xtask_release()?.into(), "record".into(), program.into(), folder.into()];
    let mut job = lab::job(command.into(), workspace.root.clone());
    job.writable.push(folder.to_owned());
    let outcome = boot.run(job, Input::Null, &mut io::stderr(), &mut io::stderr())?;
    match outcome.code() {
        0 => Ok(()),
        _ => Err(Error::Failed("recording a profile".to_owned())),
    }
}

fn merge(merger: &Path, folder: &Path, profile: &Path) -> Result<(), Error> {
    let name = merger.display().to_string();
    // Not under its name before it is complete.
    let incomplete = folder.join("merged");
    let status = Command::new(merger).arg("merge").arg("-o").arg(&incomplete).arg(folder).status();
    if !status.map_err(|error| Error::Start(name.clone(), error))?.success() {
        return Err(Error::Failed(name));
    }
    let renamed = fs::rename(&incomplete, profile);
    renamed.map_err(|error| Error::Claim(format!("{}: {error}", profile.display())))
}

/// The llvm-profdata that belongs to the compiler; another version's cannot read what it records.
fn merger() -> Result<PathBuf, Error> {
    let libraries = PathBuf::from(rustc(&["--print", "target-libdir"])?.trim());
    let merger = libraries.with_file_name("bin").join("llvm-profdata");
    if merger.is_file() {
        return Ok(merger);
    }
    let missing = "there is no llvm-profdata; `rustup component add llvm-tools` installs it";
    Err(Error::Claim(missing.to_owned()))
}

/// Arguments of the half that runs in the guest: what is recorded.
#[derive(Args)]
pub(crate) struct Record {
    evenkeel: PathBuf,
    folder: PathBuf,
}

impl Record {
    /// The everyday work on a table of middling size: it is loaded, compared, changed and shown.
    pub(crate) fn run(self) -> Result<u8, Error> {
        const SPEC: &str = "/tmp/spec.yaml";
        const CHANGED: &str = "/tmp/changed.yaml";
        let spec = LargeTable { services: 200, real_servers: 10 }.spec();
        let changed = spec.replace(".3, weight: 1", ".3, weight: 2");
        for (path, text) in [(SPEC, &spec), (CHANGED, &changed)] {
            let written = fs::write(path, text);
            written.map_err(|error| Error::Claim(format!("cannot write {path}: {error}")))?;
        }
        let namespace = Namespace::create("record")?;
        for arguments in [
            &["validate", SPEC][..],
            &["plan", SPEC],
            &["apply", "--yes", SPEC],
            &["plan", SPEC],
            &["plan", CHANGED],
            &["apply", "--yes", CHANGED],
            &["apply", "--yes", CHANGED],
            &["show"],
            &["snapshot"],
        ] {
            self.step(&namespace, arguments)?;
        }
        Ok(0)
    }

    fn step(&self, namespace: &Namespace, arguments: &[&str]) -> Result<(), Error> {
        let name = format!("evenkeel {}", arguments.join(" "));
        let mut command = Command::new(&self.evenkeel);
        command.args(arguments).env("LLVM_PROFILE_FILE", self.folder.join("%p.profraw"));
        let output = namespace.run(|| command.output())?;
        let output = output.map_err(|error| Error::Start(name.clone(), error))?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::Claim(format!("{name}: {}", String::from_utf8_lossy(&output.stderr))))
    }
}
