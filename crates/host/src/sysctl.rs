//! Reads and writes sysctls below `/proc/sys/net` in the calling thread's network namespace.

use std::fs;
use std::io;
use std::path::PathBuf;

use rustix::fs::StatVfsMountFlags;
use rustix::io::Errno;

use crate::error::{Action, Error};

/// The value of a setting, with white space reduced to single blanks; `None` if the kernel has no
/// such setting.
///
/// `key` is written as for sysctl(8): `net.ipv4.ip_forward`, with slashes in place of dots within
/// the name of an interface: `net.ipv4.conf.eth0/100.rp_filter`.
///
/// # Errors
/// [`Error::Read`].
pub fn sysctl(key: &str) -> Result<Option<String>, Error> {
    let path = path(key);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(folded(&text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path, source }),
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
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(Error::Read { path: path.to_owned(), source: errno.into() }),
        }
    }
    Ok(false)
}

/// Writes a setting. Needs CAP_NET_ADMIN, or root where the file is root's.
///
/// # Errors
/// [`Error::Io`] with what the kernel said: ENOENT for no such setting, EINVAL for no such value.
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
    fn a_setting_that_does_not_exist_is_none() {
        assert_eq!(sysctl("net.ipv4.no_such_setting").unwrap(), None);
    }

    #[test]
    fn all_default_and_the_loopback_device_have_settings() {
        let names = sysctl_interfaces("ipv4").unwrap();
        assert!(["all", "default", "lo"].iter().all(|name| names.contains(&(*name).to_owned())));
        assert_eq!(sysctl_interfaces("no_such_protocol").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn lists_are_folded() {
        assert_eq!(folded("4096\t131072\t6291456\n"), "4096 131072 6291456");
    }
}
