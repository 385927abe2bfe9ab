//! Reads and writes sysctls below `/proc/sys/net` in the calling thread's network namespace.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rustix::fs::StatVfsMountFlags;
use rustix::io::Errno;

use crate::error::{Action, Error};

/// What the kernel shows of a setting.
#[derive(Debug)]
pub enum SysctlReading {
    /// It has no such setting.
    Missing,
    /// Its value.
    Value {
        /// With white space reduced to single blanks.
        value: String,
        /// Whether it cannot be set, by its permissions.
        is_fixed: bool,
    },
    /// It is a directory of settings.
    Directory,
    /// Its value is not shown; holds the kernel's error.
    Unreadable(io::Error),
}

/// Reads a setting.
///
/// `key` is written as for sysctl(8): `net.ipv4.ip_forward`, with slashes in place of dots within
/// the name of an interface: `net.ipv4.conf.eth0/100.rp_filter`.
///
/// # Errors
/// [`Error::Read`] only if this process lacks descriptors or memory.
pub fn read_sysctl(key: &str) -> Result<SysctlReading, Error> {
    let path = path(key);
    let read = || {
        let mut file = fs::File::open(&path)?;
        let metadata = file.metadata()?;
        // A page is the most that the kernel returns. `read_to_string` of `fs` would ask for the size too.
        let mut text = Vec::with_capacity(4096);
        io::Read::read_to_end(&mut file, &mut text)?;
        Ok((text, metadata.permissions().mode() & 0o222 == 0))
    };
    match read() {
        Ok((text, is_fixed)) => {
            Ok(SysctlReading::Value { value: folded(&String::from_utf8_lossy(&text)), is_fixed })
        }
        Err(error) => unreadable(error).map_err(|source| Error::Read { path, source }),
    }
}

/// Reads the value of a setting; `None` if the kernel shows none.
pub(crate) fn sysctl_value(key: &str) -> Result<Option<String>, Error> {
    match read_sysctl(key)? {
        SysctlReading::Value { value, is_fixed: _ } => Ok(Some(value)),
        SysctlReading::Missing | SysctlReading::Directory | SysctlReading::Unreadable(_) => {
            Ok(None)
        }
    }
}

fn unreadable(error: io::Error) -> io::Result<SysctlReading> {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(SysctlReading::Missing),
        io::ErrorKind::IsADirectory => Ok(SysctlReading::Directory),
        _ => match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => Err(error),
            _ => Ok(SysctlReading::Unreadable(error)),
        },
    }
}

/// Returns the interfaces that have settings of their own in that protocol (`ipv4`, `ipv6`), with `all`
/// and `default`, as they are written in keys: with slashes in place of dots. Empty if the kernel has no
/// such protocol.
///
/// # Errors
/// [`Error::Read`].
pub fn sysctl_interfaces(protocol: &str) -> Result<Vec<String>, Error> {
    let path = PathBuf::from("/proc/sys/net").join(protocol).join("conf");
    let entries = match fs::read_dir(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>),
    };
    let entries = entries.map_err(|source| Error::Read { path, source })?;
    let names = entries.iter().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.map(|name| name.replace('.', "/")).collect())
}

/// Whether a setting, or all below a prefix of keys (`net`), cannot be written, because `/proc/sys` is mounted
/// read-only there, as in most containers. For a setting that does not exist yet, as for those that are
/// above it.
///
/// # Errors
/// [`Error::Read`].
pub fn sysctl_is_read_only(key: &str) -> Result<bool, Error> {
    let path = path(key);
    for path in path.ancestors() {
        match rustix::fs::statvfs(path) {
            Ok(mount) => return Ok(mount.f_flag.contains(StatVfsMountFlags::RDONLY)),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => return Err(Error::Read { path: path.to_owned(), source: errno.into() }),
        }
    }
    Ok(false)
}

/// Writes a setting. Needs CAP_NET_ADMIN, or root where the file is root's.
///
/// # Errors
/// [`Error::Io`] with the kernel's error: ENOENT for no such setting, EINVAL for no such value.
pub fn set_sysctl(key: &str, value: &str) -> Result<(), Error> {
    let write = fs::OpenOptions::new().write(true).open(path(key)).and_then(|mut file| {
        // One write: the kernel takes each write as a complete value.
        io::Write::write_all(&mut file, format!("{value}\n").as_bytes())
    });
    write.map_err(|source| Error::Io { action: Action::SetSysctl(key.to_owned()), source })
}

/// Reduces white space to single blanks: the kernel separates the numbers of a list by tabs.
#[must_use]
pub fn folded(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Swaps dots and slashes, as sysctl(8) does.
fn path(key: &str) -> PathBuf {
    let swapped = key.chars().map(|c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    });
    PathBuf::from("/proc/sys").join(swapped.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dots_of_an_interface_are_written_as_slashes() {
        let expected = PathBuf::from("/proc/sys/net/ipv4/conf/eth0.100/rp_filter");
        assert_eq!(path("net.ipv4.conf.eth0/100.rp_filter"), expected);
    }

    #[test]
    fn all_default_and_the_loopback_device_have_settings() {
        let names = sysctl_interfaces("ipv4").unwrap();
        assert!(["all", "default", "lo"].iter().all(|name| names.contains(&(*name).to_owned())));
        assert_eq!(sysctl_interfaces("no_such_protocol").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_is_no_readable_setting_is_no_error() {
        let read = |key| read_sysctl(key).expect("it is looked at");
        let is_fixed = |key| matches!(read(key), SysctlReading::Value { is_fixed: true, .. });
        assert!(is_fixed("net.ipv4.tcp_available_congestion_control"));
        assert!(!is_fixed("net.ipv4.ip_forward"));
        assert!(matches!(read("net.ipv4.no_such_setting"), SysctlReading::Missing));
        assert!(matches!(read("net.ipv4.ip_forward.more"), SysctlReading::Missing));
        assert!(matches!(read("net.ipv4.conf"), SysctlReading::Directory));
    }

    #[test]
    fn a_shortage_of_the_process_is_no_property_of_a_setting() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
            assert!(unreadable(errno.into()).is_err(), "{errno}");
        }
        for errno in [Errno::IO, Errno::ACCESS, Errno::INVAL, Errno::PERM] {
            assert!(
                matches!(unreadable(errno.into()), Ok(SysctlReading::Unreadable(_))),
                "{errno}"
            );
        }
    }

    #[test]
    fn lists_are_folded() {
        assert_eq!(folded("4096\t131072\t6291456\n"), "4096 131072 6291456");
    }
}
