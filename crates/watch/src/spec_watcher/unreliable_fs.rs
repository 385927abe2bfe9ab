//! Where inotify works and yet does not hear every change.

use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statfs, statx};

/// Filesystems whose files others than this kernel's programs change, by their number in
/// `linux/magic.h` or, where it has none, in their own source.
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
    (0x786f_4256, "a folder that VirtualBox shares"),
    (0x9fa0, "procfs"),
];

/// Says so if the directory is on a filesystem that does not tell of every change.
pub(super) fn filesystem(directory: &Path) -> Option<String> {
    let kind = statfs(directory).ok()?.f_type as u32;
    let (_, name) = SHARED.iter().find(|(number, _)| *number == kind)?;
    Some(format!(
        "not every change in {} is heard: it is on {name}, which others may change unheard",
        directory.display()
    ))
}

/// Says so if the file is mounted by itself, as containers do with single files: what happens to
/// the directory that it really is in is not heard here.
pub(super) fn file(path: &Path) -> Option<String> {
    let stat = statx(CWD, path, AtFlags::empty(), StatxFlags::empty()).ok()?;
    let is_mounted = stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    is_mounted
        .then(|| format!("changes of {} are not heard: it is mounted by itself", path.display()))
}
