//! Records a profile of the program, by which the compiler arranges its code.
//!
//! A run executes a small part of the program, which without a profile is scattered over four times
//! as many pages as needed. Each page is loaded when it is first touched, which is a good part of
//! the time of a program that runs for a tenth of a second. So the program is built twice: once to
//! record a profile, and once with that profile. It is recorded on the lab's kernel, so that it
//! covers the exchange with a kernel as well.

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
use crate::kernel::Kernel;
use crate::lab;
use crate::large_table::LargeTable;
use crate::workspace::{Workspace, rustc};

/// Builds the released program. If no profile can be recorded, builds it without one and prints
/// that.
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

/// The profile of the current sources; recorded if there is none yet.
fn recorded(workspace: &Workspace) -> Result<PathBuf, Error> {
    let merger = merger()?;
    let program = workspace.dist_with("-C profile-generate")?;
    let folder = workspace.target.join("profile");
    let unreadable = |error| Error::Start(program.display().to_string(), error);
    let mut hasher = DefaultHasher::new();
    hasher.write(&fs::read(&program).map_err(unreadable)?);
    // Named after the program that recorded it: changed sources give another name, which cargo
    // notices.
    let profile = folder.join(format!("{:016x}.profdata", hasher.finish()));
    if !profile.is_file() {
        record(workspace, &program, &folder)?;
        merge(&merger, &folder, &profile)?;
    }
    Ok(profile)
}

/// Runs the program in the lab and writes the recording to that directory, which is emptied first.
fn record(workspace: &Workspace, program: &Path, folder: &Path) -> Result<(), Error> {
    let failed = |error: io::Error| Error::Claim(format!("{}: {error}", folder.display()));
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(failed)?;
    }
    fs::create_dir_all(folder).map_err(failed)?;
    let boot = Kernel::Uml.boot(workspace)?;
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
    // It gets its name only when it is complete.
    let incomplete = folder.join("merged");
    let status = Command::new(merger).arg("merge").arg("-o").arg(&incomplete).arg(folder).status();
    if !status.map_err(|error| Error::Start(name.clone(), error))?.success() {
        return Err(Error::Failed(name));
    }
    let renamed = fs::rename(&incomplete, profile);
    renamed.map_err(|error| Error::Claim(format!("{}: {error}", profile.display())))
}

/// The compiler's own llvm-profdata; other versions cannot read its profiles.
fn merger() -> Result<PathBuf, Error> {
    let libraries = PathBuf::from(rustc(&["--print", "target-libdir"])?.trim());
    let merger = libraries.with_file_name("bin").join("llvm-profdata");
    if merger.is_file() {
        return Ok(merger);
    }
    let missing = "there is no llvm-profdata; `rustup component add llvm-tools` installs it";
    Err(Error::Claim(missing.to_owned()))
}

/// Arguments of the half that runs in the guest, the recorded workload.
#[derive(Args)]
pub(crate) struct Record {
    evenkeel: PathBuf,
    folder: PathBuf,
}

impl Record {
    /// Runs everyday commands on a table of medium size: it is loaded, compared, changed and shown.
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
