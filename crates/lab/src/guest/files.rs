//! The guest's file systems: the host's tree beneath a layer in memory, so that everything can be
//! written and nothing of the host changes, with the packages' tree filling in what the host lacks.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use rustix::process::pivot_root;
use rustix::system::{finit_module, sethostname};

use crate::error::{Context, Error};
use crate::guest_protocol::GuestCommand;

/// Where the new root is put together: on the first, read-only root's /run.
const WORK: &str = "/run";
/// Folders in which evenkeel keeps a host's configuration and state: the guest must not see the
/// host's.
const MASKED: [&str; 2] = ["/etc/evenkeel", "/var/lib/evenkeel"];

/// Turns the read-only root that the kernel booted with into a complete system.
pub(super) fn make_ready(order: &GuestCommand) -> Result<(), Error> {
    attach("proc", "proc", "/proc", "")?;
    attach("tmpfs", "tmpfs", WORK, "mode=755")?;
    load_overlay(&order.modules)?;
    let root = layered_root(order)?;
    let inside = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));

    // Their mount points may be beneath what is mounted next, so these come after it, but before
    // the old root is detached.
    attach("proc", "proc", inside(Path::new("/proc")), "")?;
    attach("sysfs", "sysfs", inside(Path::new("/sys")), "")?;
    attach("devtmpfs", "devtmpfs", inside(Path::new("/dev")), "mode=755")?;
    attach("tmpfs", "tmpfs", inside(Path::new("/run")), "mode=755")?;
    for path in order.job.writable.iter().chain([&order.run]) {
        attach_shared(order, path, inside(path))?;
    }
    let release = order.modules.file_name().map(PathBuf::from).unwrap_or_default();
    let modules = inside(Path::new("/usr/lib/modules")).join(release);
    fs::create_dir_all(&modules).on("create", &modules)?;
    attach_shared(order, &order.modules, &modules)?;
    change_root(&root)?;

    devices()?;
    masks()?;
    fs::create_dir_all("/run/lock").on("create", "/run/lock")?;
    sethostname(b"lab").step("cannot set the host's name")
}

/// Mounts, making the mount point if it is missing.
fn attach(
    source: &str,
    kind: &str,
    target: impl AsRef<Path>,
    data: impl AsRef<Path>,
) -> Result<(), Error> {
    let target = target.as_ref();
    if !target.exists() {
        fs::create_dir_all(target).on("create", target)?;
    }
    let data = CString::new(data.as_ref().as_os_str().as_bytes())
        .map_err(std::io::Error::from)
        .on("mount on", target)?;
    mount(source, target, kind, MountFlags::empty(), data.as_c_str())
        .step(format!("cannot mount {kind} on {}", target.display()))
}

/// Mounts a folder of the host.
fn attach_shared(
    order: &GuestCommand,
    folder: &Path,
    target: impl AsRef<Path>,
) -> Result<(), Error> {
    let Some((kind, source, data)) = order.sharing.mount(folder) else {
        return Err(Error::Refused(format!("{} is not shared", folder.display())));
    };
    attach(&source, kind, target, Path::new(&data))
}

/// The overlay file system is a module, and nothing can be found before it is there.
fn load_overlay(modules: &Path) -> Result<(), Error> {
    let kinds = Path::new("/proc/filesystems");
    let known = fs::read_to_string(kinds).on("read", kinds)?;
    let path = modules.join("kernel/fs/overlayfs/overlay.ko");
    if known.lines().any(|line| line.ends_with("\toverlay")) || !path.exists() {
        // Built in or loaded already; otherwise the mount fails with an error.
        return Ok(());
    }
    let file = File::open(&path).on("open", &path)?;
    finit_module(&file, c"", 0).on("load", &path)
}

fn layered_root(order: &GuestCommand) -> Result<PathBuf, Error> {
    let work = Path::new(WORK);
    let [upper, scratch, root] = ["upper", "scratch", "root"].map(|name| work.join(name));
    for path in [&upper, &scratch, &root] {
        fs::create_dir(path).on("create", path)?;
    }
    let mut lower = "/".to_owned();
    if let Some(tools) = &order.tools {
        // Mounted anew: an overlay refuses two layers of one file system of which one holds the
        // other.
        let layer = work.join("tools");
        attach_shared(order, tools, &layer)?;
        lower = format!("/:{}", layer.display());
    }
    let options =
        format!("lowerdir={lower},upperdir={},workdir={}", upper.display(), scratch.display());
    attach("overlay", "overlay", &root, options)?;
    Ok(root)
}

/// Makes `root` the root and detaches the old one.
fn change_root(root: &Path) -> Result<(), Error> {
    std::env::set_current_dir(root).on("enter", root)?;
    // The old root ends up on top of the new one, from where it is detached (pivot_root(2)).
    pivot_root(".", ".").step("cannot change the root")?;
    unmount(".", UnmountFlags::DETACH).step("cannot let the old root go")?;
    std::env::set_current_dir("/").on("enter", "/")
}

fn devices() -> Result<(), Error> {
    attach("devpts", "devpts", "/dev/pts", "mode=620,ptmxmode=666")?;
    attach("tmpfs", "tmpfs", "/dev/shm", "mode=1777")?;
    for (name, target) in
        [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
    {
        let path = Path::new("/dev").join(name);
        if fs::symlink_metadata(&path).is_err() {
            symlink(target, &path).on("create", &path)?;
        }
    }
    Ok(())
}

fn masks() -> Result<(), Error> {
    for path in MASKED.map(Path::new) {
        if path.exists() {
            let empty = Path::new("/run/empty").join(path.file_name().unwrap_or_default());
            fs::create_dir_all(&empty).on("create", &empty)?;
            mount_bind(&empty, path).step(format!("cannot mask {}", path.display()))?;
        }
    }
    Ok(())
}
