//! Fetches a kernel and the tools that tests use, without root: Debian packages, unpacked.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error};
use crate::machine::{Emulator, Machine, below};

mod packages;

pub(crate) use packages::run;
use packages::unpacked;

/// The tools, beside the kernel's package.
const TOOLS: &[&str] = &[
    "arptables",
    "curl",
    "ipvsadm",
    "iproute2",
    "iptables",
    "keepalived",
    "kmod",
    "nftables",
    "strace",
    "systemd",
];
/// Tools fetched without the packages they depend on: those of Prometheus are its web pages and
/// their fonts, and its programs are static.
const ALONE: &[&str] = &["prometheus"];
const KERNEL: &str = "user-mode-linux";
const EMULATOR: [&str; 2] = ["busybox-static", "qemu-system-x86"];

/// Where the kernel comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Debian's package of User-Mode Linux, or that of a distribution like it.
    Packages,
    /// An existing kernel, for distributions without such a package.
    Given {
        /// The User-Mode Linux program.
        program: PathBuf,
        /// Its modules: the folder that holds `modules.dep`, named like the kernel's release.
        modules: PathBuf,
    },
    /// Debian's own kernel on an emulated machine of two processors, a second opinion: many times
    /// slower, but with the races that one processor never has.
    Emulated(DebianKernel),
}

/// One of the kernels that Debian has for its stable release.
#[derive(Clone, Copy, Debug)]
pub enum DebianKernel {
    /// The release's own.
    Default,
    /// Linux 6.12, which bookworm has beside its own.
    V6_12,
}

impl DebianKernel {
    fn package(self) -> &'static str {
        match self {
            Self::Default => "linux-image-amd64",
            Self::V6_12 => "linux-image-6.12-amd64",
        }
    }

    /// The folder of its tree: trees of two kernels would each replace the other.
    fn folder(self) -> &'static str {
        match self {
            Self::Default => "emulated",
            Self::V6_12 => "emulated-6.12",
        }
    }
}

/// A kernel ready to boot.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The User-Mode Linux program, or the image that an emulated machine boots.
    pub program: PathBuf,
    /// Its modules: the folder that holds `modules.dep`, named like the kernel's release.
    pub modules: PathBuf,
    /// A tree of packages that supplies what the host's tree lacks. None: the host must have it
    /// all.
    pub tools: Option<PathBuf>,
    pub(crate) machine: Machine,
    /// A directory that only boots use.
    pub(crate) state: PathBuf,
}

impl Kernel {
    /// The kernel's release, such as `6.1.176`.
    pub fn release(&self) -> String {
        self.modules.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// A description of what the kernel runs on.
    pub fn machine(&self) -> &'static str {
        match self.machine {
            Machine::UserMode => "User-Mode Linux",
            Machine::Emulated(_) => "QEMU",
        }
    }
}

/// Makes sure that `folder` holds a kernel and tools, fetching them when it does not.
///
/// A second call costs nothing; two at once, in any processes, do the work once. `progress` gets a
/// line before each slow step.
///
/// # Errors
/// When apt-get is missing or fails, or the packages lack an expected file.
pub fn fetch(
    folder: &Path,
    source: &Source,
    progress: &mut dyn FnMut(&str),
) -> Result<Kernel, Error> {
    let folder = match source {
        Source::Packages | Source::Given { .. } => folder.to_owned(),
        Source::Emulated(kernel) => folder.join(kernel.folder()),
    };
    fs::create_dir_all(&folder).on("create", &folder)?;
    let folder = folder.canonicalize().on("find", &folder)?;
    let mut packages = TOOLS.to_vec();
    match source {
        Source::Packages => packages.push(KERNEL),
        Source::Given { .. } => {}
        Source::Emulated(kernel) => {
            packages.extend(EMULATOR);
            packages.push(kernel.package());
        }
    }
    let tools = match unpacked(&folder, &packages, ALONE, progress) {
        Ok(tools) => Some(tools),
        // A given kernel on a machine without apt: the host's tools are used.
        Err(Error::NoApt) if matches!(source, Source::Given { .. }) => None,
        Err(error) => return Err(error),
    };
    let mut machine = Machine::UserMode;
    let (program, modules) = match (source, &tools) {
        (Source::Given { program, modules }, _) => (
            program.canonicalize().on("find", program)?,
            modules.canonicalize().on("find", modules)?,
        ),
        (Source::Packages, Some(tools)) => {
            (tools.join("usr/bin/linux.uml"), last_below(&tools.join("usr/lib/uml/modules"))?)
        }
        (Source::Emulated(_), Some(tools)) => {
            let modules = last_below(&below(tools, "lib/modules"))?;
            let emulator = Emulator { tree: tools.clone() };
            if !modules.join("modules.dep").exists() {
                run(&mut emulator.depmod(&modules))?;
            }
            machine = Machine::Emulated(emulator);
            let release = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (tools.join(format!("boot/vmlinuz-{release}")), modules)
        }
        (Source::Packages | Source::Emulated(_), None) => return Err(Error::NoApt),
    };
    for (what, path) in [("kernel", &program), ("modules", &modules.join("modules.dep"))] {
        if !path.exists() {
            return Err(Error::NotInPackages { what, below: path.clone() });
        }
    }
    Ok(Kernel { program, modules, tools, machine, state: folder })
}

/// The folder in `folder` whose name comes last: the modules of the newest kernel.
fn last_below(folder: &Path) -> Result<PathBuf, Error> {
    let entries = fs::read_dir(folder).on("read", folder)?;
    let found = entries.flatten().map(|entry| entry.path()).max();
    found.ok_or_else(|| Error::NotInPackages { what: "modules", below: folder.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::packages::stamp;
    use super::*;

    #[test]
    fn a_given_kernel_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("root");
        fs::create_dir(&root).expect("a folder");
        fs::write(root.join(".packages"), stamp(TOOLS, ALONE)).expect("a stamp");
        let missing = folder.path().join("no-such-kernel");
        let source = Source::Given { program: missing, modules: folder.path().to_owned() };
        let error = fetch(folder.path(), &source, &mut |_| ()).expect_err("no kernel");
        assert!(error.to_string().contains("no-such-kernel"), "{error}");
    }
}
