//! Tells network namespaces apart, those that are gone included.
//!
//! Names and inode numbers are used again as soon as a namespace is deleted. The kernel's cookie is
//! not, as long as the host runs; it has had one since Linux 5.14. Before that nothing tells two
//! namespaces of one boot apart that have the same inode number one after the other.

use std::fs;

use nix::errno::Errno;
use nix::sys::socket::GetSockOpt;
use serde::{Deserialize, Serialize};

use crate::error::{Action, Error};

/// The kernel's name for the time from one boot to the next (random(4)).
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// What tells a network namespace from all others, whenever they live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamespaceIdentity {
    /// The boot in which it was made, as `/proc/sys/kernel/random/boot_id` names it.
    pub boot: Box<str>,
    /// The kernel's number for it, which no other one of that boot has (`SO_NETNS_COOKIE`); `None`
    /// before Linux 5.14.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<u64>,
    /// The device number of nsfs.
    pub device: u64,
    /// The inode number, unique among the namespaces that live at one time.
    pub inode: u64,
    /// Whether it is the one that the kernel starts with. There is one in each boot, and what is
    /// `initial` for a container's processes is not it.
    pub is_first: bool,
}

impl NamespaceIdentity {
    /// Whether both are the same namespace. Cookies decide where both have one; otherwise device
    /// and inode do.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let is_alike = match (self.cookie, other.cookie) {
            (Some(cookie), Some(other)) => cookie == other,
            _ => (self.device, self.inode) == (other.device, other.inode),
        };
        self.boot == other.boot && is_alike
    }

    /// That of the calling thread's, of which device and inode are known.
    pub(super) fn current((device, inode): (u64, u64), is_first: bool) -> Result<Self, Error> {
        let boot =
            fs::read_to_string(BOOT).map_err(|source| Error::Read { path: BOOT.into(), source })?;
        Ok(Self { boot: boot.trim().into(), cookie: cookie()?, device, inode, is_first })
    }
}

/// The kernel's number for the calling thread's network namespace.
fn cookie() -> Result<Option<u64>, Error> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

    let failed =
        |errno: std::io::Error| Error::Io { action: Action::IdentifyNamespace, source: errno };
    // Any socket belongs to the namespace in which it was opened; one of this family is there
    // whatever else the kernel lacks.
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
        .map_err(|errno| failed(errno.into()))?;
    match option::NetnsCookie.get(&socket) {
        Ok(cookie) => Ok(Some(cookie)),
        Err(Errno::ENOPROTOOPT) => Ok(None),
        Err(errno) => Err(failed(errno.into())),
    }
}

/// The socket option that nix has no name for.
mod option {
    use nix::libc;

    nix::getsockopt_impl!(
        NetnsCookie,
        libc::SOL_SOCKET,
        libc::SO_NETNS_COOKIE,
        u64,
        nix::sys::socket::sockopt::GetStruct<u64>
    );

    /// The number of a socket's network namespace.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct NetnsCookie;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(boot: &str, cookie: Option<u64>, inode: u64) -> NamespaceIdentity {
        NamespaceIdentity { boot: boot.into(), cookie, device: 4, inode, is_first: false }
    }

    #[test]
    fn where_both_have_a_cookie_it_decides() {
        let one = identity("a", Some(7), 100);
        assert!(one.is_same(&one));
        assert!(one.is_same(&identity("a", Some(7), 101)));
        assert!(!one.is_same(&identity("a", Some(8), 100)), "an inode that is used again");
    }

    #[test]
    fn where_one_has_no_cookie_device_and_inode_decide() {
        for (cookie, other) in [(None, None), (Some(7), None), (None, Some(7))] {
            let one = identity("a", cookie, 100);
            assert!(one.is_same(&identity("a", other, 100)));
            assert!(!one.is_same(&identity("a", other, 101)));
            assert!(!one.is_same(&NamespaceIdentity { device: 5, ..identity("a", other, 100) }));
        }
    }

    #[test]
    fn in_another_boot_every_namespace_is_another_one() {
        for cookie in [None, Some(1)] {
            let first = |boot| NamespaceIdentity { is_first: true, ..identity(boot, cookie, 100) };
            assert!(first("a").is_same(&first("a")));
            assert!(!first("a").is_same(&first("b")));
        }
    }

    #[test]
    fn it_is_written_and_read_again() {
        for cookie in [None, Some(u64::MAX)] {
            let one = identity("a", cookie, 100);
            let text = serde_json::to_string(&one).unwrap();
            assert_eq!(serde_json::from_str::<NamespaceIdentity>(&text).unwrap(), one);
        }
    }

    #[test]
    fn a_thread_sees_the_same_one_each_time() {
        let seen = || NamespaceIdentity::current((4, 100), false).unwrap();
        assert!(seen().is_same(&seen()));
        assert_eq!(seen().boot.len(), 36, "{:?}", seen());
    }
}
