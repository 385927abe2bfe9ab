//! What a kernel runs on: a process of its own (User-Mode Linux), or an emulated machine (QEMU).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error};

mod initramfs;

/// How many processors an emulated machine has: enough for races.
const PROCESSORS: u32 = 2;
/// The modules that a guest needs before it sees the host's: those for folders of the host, and
/// the one that layers its root on them.
const NEEDED: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];

#[derive(Clone, Debug)]
pub(crate) enum Machine {
    UserMode,
    Emulated(Emulator),
}

/// QEMU from a tree of packages.
#[derive(Clone, Debug)]
pub(crate) struct Emulator {
    pub(crate) tree: PathBuf,
}

/// How a guest sees folders of the host beside the root.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Sharing {
    /// By their paths, all of them (UML's hostfs).
    Hostfs,
    /// These, each by its place in the list (9p).
    Plan9(Vec<PathBuf>),
}

impl Sharing {
    /// The type, source and options with which the guest mounts a folder; None when it is not
    /// shared.
    pub(crate) fn mount(&self, folder: &Path) -> Option<(&'static str, String, OsString)> {
        match self {
            Self::Hostfs => Some(("hostfs", "none".to_owned(), folder.into())),
            Self::Plan9(folders) => {
                let place = folders.iter().position(|shared| shared == folder)?;
                Some(("9p", tag(place), "trans=virtio,version=9p2000.L,msize=262144".into()))
            }
        }
    }
}

fn tag(place: usize) -> String {
    format!("share{place}")
}

impl Emulator {
    /// A program of the tree that runs with the tree's own libraries, whatever the host's are.
    fn program(&self, path: &str) -> Command {
        let library = |path: &str| below(&self.tree, path).into_os_string();
        let mut libraries = library("lib/x86_64-linux-gnu");
        libraries.push(":");
        libraries.push(self.tree.join("usr/lib/x86_64-linux-gnu"));
        let mut command = Command::new(below(&self.tree, "lib64/ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(libraries);
        // Multi-call programs select their function by their name.
        let name = Path::new(path).file_name().unwrap_or_default();
        command.arg("--argv0").arg(name);
        let path = if path.ends_with("depmod") { "bin/kmod" } else { path };
        command.arg(below(&self.tree, path));
        command.env("QEMU_MODULE_DIR", self.tree.join("usr/lib/x86_64-linux-gnu/qemu"));
        command
    }

    /// Lists the dependencies of the modules, which packages leave to their installation.
    pub(crate) fn depmod(&self, modules: &Path) -> Command {
        let mut command = self.program("sbin/depmod");
        // They lie in lib/modules of a root.
        let root = modules.ancestors().nth(3).unwrap_or(Path::new("/"));
        command.arg("-b").arg(root).arg(modules.file_name().unwrap_or_default());
        command
    }

    /// The machine, with the host's root and these folders, of which `writable` may be written to.
    /// `init` is the guest's process 1.
    ///
    /// # Errors
    /// When its first file system cannot be made; it is put into `run`.
    pub(crate) fn command(
        &self,
        kernel: (&Path, &Path),
        memory: u32,
        folders: &[PathBuf],
        writable: &[PathBuf],
        (run, init): (&Path, &[OsString]),
    ) -> Result<Command, Error> {
        let (image, modules) = kernel;
        let first = run.join("initramfs");
        let bytes = initramfs::make(&below(&self.tree, "bin/busybox"), modules, &NEEDED)?;
        std::fs::write(&first, bytes).on("write", &first)?;
        let mut command = self.program("usr/bin/qemu-system-x86_64");
        command
            .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
            .args(["-machine", "pc", "-accel", "tcg,thread=multi", "-cpu", "max"])
            .args(["-smp", &PROCESSORS.to_string(), "-m", &memory.to_string()])
            .args(["-serial", "stdio", "-device", "virtio-rng-pci"]);
        for firmware in ["usr/share/seabios", "usr/share/qemu", "usr/lib/ipxe/qemu"] {
            command.arg("-L").arg(self.tree.join(firmware));
        }
        command.arg("-kernel").arg(image).arg("-initrd").arg(&first);
        command.arg("-virtfs").arg(share(Path::new("/"), "root", false));
        for (place, folder) in folders.iter().enumerate() {
            command.arg("-virtfs").arg(share(folder, &tag(place), writable.contains(folder)));
        }
        // A guest whose kernel has failed would otherwise stay until the limit. Warnings of the kernel are on
        // the console, which is shown if it dies.
        let mut words =
            OsString::from("console=ttyS0 loglevel=5 oops=panic panic=-1 mitigations=off --");
        for word in init {
            words.push(" ");
            words.push(word);
        }
        command.arg("-append").arg(words);
        Ok(command)
    }
}

fn share(folder: &Path, tag: &str, is_writable: bool) -> OsString {
    let mut text = OsString::from("local,path=");
    text.push(folder);
    let access = if is_writable { "" } else { ",readonly=on" };
    // Folders of several of the host's file systems appear as one.
    text.push(format!(",mount_tag={tag},security_model=none,multidevs=remap{access}"));
    text
}

/// A path in a tree whose top-level folders may have been moved into its `usr`.
pub(crate) fn below(tree: &Path, path: &str) -> PathBuf {
    let direct = tree.join(path);
    if direct.exists() { direct } else { tree.join("usr").join(path) }
}
