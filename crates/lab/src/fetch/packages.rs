//! Debian packages, unpacked into a folder without root.
//!
//! apt determines the available packages and their dependencies. Its lists and cache are kept in
//! folders of the lab's own, and it runs as if nothing were installed, so the result does not
//! depend on what the host has installed. Nothing of the host is changed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};

use crate::error::{Context, Error};
use crate::process_group::in_words;
use crate::usr_merge::usr_merge;

/// Part of the stamp: to be raised when the shape of the tree changes.
const SHAPE: u32 = 1;

/// The tree of unpacked packages, which is made if need be: `packages` with all that they depend
/// on, and those that are to come `alone`.
pub(super) fn unpacked(
    folder: &Path,
    packages: &[&str],
    alone: &[&str],
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, Error> {
    let tree = folder.join("root");
    let stamp = stamp(packages, alone);
    let is_there = || fs::read_to_string(tree.join(".packages")).is_ok_and(|found| found == stamp);
    if is_there() {
        return Ok(tree);
    }
    let lock = folder.join("fetch.lock");
    let file = File::create(&lock).on("create", &lock)?;
    flock(&file, FlockOperation::LockExclusive).on("lock", &lock)?;
    if is_there() {
        return Ok(tree);
    }
    let apt = Apt::new(folder)?;
    progress("fetching the lists of packages");
    // A source that fails matters only if the packages are not found without it.
    let updated = apt.update();
    let mut all = apt.closure(packages).or_else(|error| updated.and(Err(error)))?;
    for name in alone.iter().map(|name| (*name).to_owned()) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    progress(&format!(
        "fetching {} packages: {}, what they need, and {}",
        all.len(),
        packages.join(", "),
        alone.join(", ")
    ));
    let archives = apt.download(&all)?;
    progress("unpacking");
    let new = folder.join("root.new");
    remove(&new)?;
    fs::create_dir(&new).on("create", &new)?;
    for archive in archives {
        run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&new))?;
    }
    usr_merge(&new, Path::new("/"))?;
    fs::write(new.join(".packages"), &stamp).on("write", &new)?;
    // Whole or not at all: a tree under its final name is a complete one.
    remove(&tree)?;
    fs::rename(&new, &tree).on("rename", &new)?;
    remove(&apt.folder)?;
    Ok(tree)
}

/// The stamp of a tree that can be used as it is.
pub(super) fn stamp(packages: &[&str], alone: &[&str]) -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let release: Vec<&str> = release
        .lines()
        .filter(|line| line.starts_with("ID=") || line.starts_with("VERSION_ID="))
        .collect();
    let (release, packages, alone) = (release.join(" "), packages.join(" "), alone.join(" "));
    format!("shape {SHAPE}\n{release}\n{packages}\n{alone}\n")
}

/// apt with every folder it writes to replaced by one of ours.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn new(folder: &Path) -> Result<Self, Error> {
        let folder = folder.join("apt");
        for name in ["lists/partial", "cache/archives/partial", "state", "debs"] {
            let path = folder.join(name);
            fs::create_dir_all(&path).on("create", &path)?;
        }
        let status = folder.join("status");
        fs::write(&status, "").on("write", &status)?;
        Ok(Self { folder })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        let option =
            |name: &str, path: &str| format!("{name}={}", self.folder.join(path).display());
        for option in [
            option("Dir::State", "state"),
            option("Dir::State::Lists", "lists"),
            option("Dir::State::Status", "status"),
            option("Dir::Cache", "cache"),
            option("Dir::Log", "log"),
            // As root, apt would switch to a user that may not write here.
            "APT::Sandbox::User=root".to_owned(),
            // The locks are for the host's own database, which is not used.
            "Debug::NoLocking=1".to_owned(),
            // Descriptions in other languages.
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=3".to_owned(),
            // Otherwise lists that could not be fetched are only a warning.
            "APT::Update::Error-Mode=any".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command.arg("--quiet=2").current_dir(self.folder.join("debs")).env("LC_ALL", "C");
        command
    }

    fn update(&self) -> Result<(), Error> {
        run(self.command().arg("update")).map(drop)
    }

    /// The packages and all that they depend on.
    fn closure(&self, packages: &[&str]) -> Result<Vec<String>, Error> {
        let mut command = self.command();
        command.args(["--simulate", "--no-install-recommends", "install"]).args(packages);
        Ok(installs(&run(&mut command)?))
    }

    fn download(&self, packages: &[String]) -> Result<Vec<PathBuf>, Error> {
        run(self.command().arg("download").args(packages))?;
        let folder = self.folder.join("debs");
        let entries = fs::read_dir(&folder).on("read", &folder)?;
        let mut archives: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        archives.retain(|path| path.extension().is_some_and(|extension| extension == "deb"));
        archives.sort();
        Ok(archives)
    }
}

/// The names in the `Inst NAME (VERSION ...)` lines of a simulated installation.
fn installs(simulation: &str) -> Vec<String> {
    let lines = simulation.lines().filter_map(|line| line.strip_prefix("Inst "));
    lines.filter_map(|rest| rest.split_whitespace().next()).map(str::to_owned).collect()
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).on("remove", path),
        _ => Ok(()),
    }
}

/// Runs a program to its end and returns its output.
pub(crate) fn run(command: &mut Command) -> Result<String, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound && program == "apt-get" => {
            return Err(Error::NoApt);
        }
        Err(source) => return Err(Error::Program { program, source }),
    };
    if !output.status.success() {
        let mut verb = command.get_args().filter_map(|arg| arg.to_str());
        let verb = verb.find(|arg| !arg.starts_with('-') && !arg.contains('='));
        return Err(Error::ProgramFailed {
            program: format!("{program} ({})", verb.unwrap_or_default()),
            status: in_words(output.status),
            stderr: String::from_utf8_lossy(&output.stderr).trim_end().to_owned(),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulated_installation_names_its_packages() {
        let text = "Inst libmnl0 (1.0.4-3 Debian:12.11/stable [amd64])\n\
                    Inst kmod (30+20221128-1 Debian:12.11/stable [amd64]) []\n\
                    Conf libmnl0 (1.0.4-3 Debian:12.11/stable [amd64])\n";
        assert_eq!(installs(text), ["libmnl0", "kmod"]);
    }

    #[test]
    fn other_packages_make_another_stamp() {
        let of_curl = stamp(&["curl"], &[]);
        assert_ne!(of_curl, stamp(&["curl", "kmod"], &[]));
        assert_ne!(of_curl, stamp(&["curl"], &["kmod"]));
    }

    #[test]
    fn a_complete_tree_is_used_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("root");
        fs::create_dir(&root).expect("a folder");
        fs::write(root.join(".packages"), stamp(&["curl"], &["kmod"])).expect("a stamp");
        let mut steps = 0;
        let tree =
            unpacked(folder.path(), &["curl"], &["kmod"], &mut |_| steps += 1).expect("a tree");
        assert_eq!((tree, steps), (root, 0));
    }
}
