//! Detects filesystems and mounts on which inotify works but misses changes.

use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statfs, statx};

/// Filesystems whose files can change without this kernel's involvement, by their magic number in
/// `linux/magic.h` or, if it is not there, in their own source.
const SHARED: [(u32, &str); 16] = [
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0xff53_4d42, "SMB"),
    (0xfe53_4d42, "SMB"),
    (0x517b, "SMB"),
    (0x7375_7245, "Coda"),
    (0x6573_5546, "FUSE"),
    (0x0116_1970, "GFS2"),
    (0x00c0_ffee, "hostfs"),
    (0x0bd0_0bd0, "Lustre"),
    (0x6969, "NFS"),
    (0x7461_636f, "OCFS2"),
    (0x0102_1997, "9p"),
    (0x786f_4256, "a VirtualBox shared folder"),
    (0x9fa0, "procfs"),
];

/// Returns a message if the directory is on a filesystem on which inotify misses changes.
pub(super) fn filesystem(directory: &Path) -> Option<String> {
    let kind = statfs(directory).ok()?.f_type as u32;
    let (_, name) = SHARED.iter().find(|(number, _)| *number == kind)?;
    Some(format!("{} is on {name}, where inotify may miss changes", directory.display()))
}

/// Returns a message if the file is a mount point of its own, as single files in containers are:
/// inotify does not report what happens in the directory that it really is in.
pub(super) fn file(path: &Path) -> Option<String> {
    let stat = statx(CWD, path, AtFlags::empty(), StatxFlags::empty()).ok()?;
    let is_mounted = stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    is_mounted
        .then(|| format!("{} is a mount point, where inotify may miss changes", path.display()))
}
