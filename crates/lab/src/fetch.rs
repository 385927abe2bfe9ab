//! Gets a kernel and the tools that tests check with, without root: Debian packages, unpacked.
//!
//! Which packages there are and what they need is apt's knowledge. Its lists and cache are kept in
//! folders of the lab's own, and it is asked as if nothing were installed, so the result does not
//! depend on what the host happens to have. Nothing of the host is changed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};

use crate::error::{Context, Error};
use crate::group::in_words;
use crate::usr_merge::usr_merge;

/// The tools, beside the kernel's package.
const TOOLS: &[&str] = &["curl", "ipvsadm", "iproute2", "kmod", "strace"];
const KERNEL: &str = "user-mode-linux";
/// Part of the stamp: to be raised when the shape of the tree changes.
const SHAPE: u32 = 1;

/// Where the kernel comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Debian's package of User-Mode Linux, or that of a distribution like it.
    Packages,
    /// A kernel that is there already, for distributions without such a package.
    Given {
        /// The User-Mode Linux program.
        program: PathBuf,
        /// Its modules: the folder that holds `modules.dep`, named like the kernel's release.
        modules: PathBuf,
    },
}

/// A kernel ready to boot.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The User-Mode Linux program.
    pub program: PathBuf,
    /// Its modules: the folder that holds `modules.dep`, named like the kernel's release.
    pub modules: PathBuf,
    /// A tree of packages that supplies what the host's tree lacks. None: the host must have it all.
    pub tools: Option<PathBuf>,
    /// Where boots keep what they need, and nothing else does.
    pub(crate) state: PathBuf,
}

impl Kernel {
    /// The kernel's release, such as `6.1.176`.
    pub fn release(&self) -> String {
        self.modules.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Makes sure that `folder` holds a kernel and tools, fetching them when it does not.
///
/// A second call costs nothing; two at once, in any processes, do the work once. `progress` hears a
/// line before each step that takes time.
///
/// # Errors
/// When apt-get is missing or fails, or the packages are not what they were thought to be.
pub fn fetch(
    folder: &Path,
    source: &Source,
    progress: &mut dyn FnMut(&str),
) -> Result<Kernel, Error> {
    fs::create_dir_all(folder).on("create", folder)?;
    let folder = folder.canonicalize().on("find", folder)?;
    let mut packages = TOOLS.to_vec();
    if matches!(source, Source::Packages) {
        packages.push(KERNEL);
    }
    let tools = match unpacked(&folder, &packages, progress) {
        Ok(tools) => Some(tools),
        // A given kernel on a machine without apt: the host's tools have to do.
        Err(Error::NoApt) if matches!(source, Source::Given { .. }) => None,
        Err(error) => return Err(error),
    };
    let (program, modules) = match (source, &tools) {
        (Source::Given { program, modules }, _) => (
            program.canonicalize().on("find", program)?,
            modules.canonicalize().on("find", modules)?,
        ),
        (Source::Packages, Some(tools)) => (tools.join("usr/bin/linux.uml"), modules_below(tools)?),
        (Source::Packages, None) => return Err(Error::NoApt),
    };
    for (what, path) in [("kernel", &program), ("modules", &modules.join("modules.dep"))] {
        if !path.exists() {
            return Err(Error::NotInPackages { what, below: path.clone() });
        }
    }
    Ok(Kernel { program, modules, tools, state: folder })
}

/// The tree of unpacked packages, which is made if need be.
fn unpacked(
    folder: &Path,
    packages: &[&str],
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, Error> {
    let tree = folder.join("root");
    let stamp = stamp(packages);
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
    let all = apt.closure(packages).or_else(|error| updated.and(Err(error)))?;
    progress(&format!(
        "fetching {} packages: {} and what they need",
        all.len(),
        packages.join(", ")
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

/// What a tree must have been made from to be usable as it is.
fn stamp(packages: &[&str]) -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let release: Vec<&str> = release
        .lines()
        .filter(|line| line.starts_with("ID=") || line.starts_with("VERSION_ID="))
        .collect();
    format!("shape {SHAPE}\n{}\n{}\n", release.join(" "), packages.join(" "))
}

fn modules_below(tree: &Path) -> Result<PathBuf, Error> {
    let below = tree.join("usr/lib/uml/modules");
    let entries = fs::read_dir(&below).on("read", &below)?;
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.sort();
    found.pop().ok_or(Error::NotInPackages { what: "modules", below })
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
            // Root's apt would step down to a user who may not write here.
            "APT::Sandbox::User=root".to_owned(),
            // The locks are for the host's own database, which is not used.
            "Debug::NoLocking=1".to_owned(),
            // Descriptions in other languages.
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=3".to_owned(),
            // Lists that could not be fetched are otherwise a mere warning.
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

/// Runs a program to its end and gives what it printed.
fn run(command: &mut Command) -> Result<String, Error> {
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
        assert_ne!(stamp(&["curl"]), stamp(&["curl", "kmod"]));
    }

    #[test]
    fn a_complete_tree_is_used_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("root");
        fs::create_dir(&root).expect("a folder");
        fs::write(root.join(".packages"), stamp(&["curl"])).expect("a stamp");
        let mut steps = 0;
        let tree = unpacked(folder.path(), &["curl"], &mut |_| steps += 1).expect("a tree");
        assert_eq!((tree, steps), (root, 0));
    }

    #[test]
    fn a_given_kernel_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("root");
        fs::create_dir(&root).expect("a folder");
        fs::write(root.join(".packages"), stamp(TOOLS)).expect("a stamp");
        let missing = folder.path().join("no-such-kernel");
        let source = Source::Given { program: missing, modules: folder.path().to_owned() };
        let error = fetch(folder.path(), &source, &mut |_| ()).expect_err("no kernel");
        assert!(error.to_string().contains("no-such-kernel"), "{error}");
    }
}
