//! Distinguishes network namespaces, deleted ones included.
//!
//! Names and inode numbers are reused as soon as a namespace is deleted. The kernel's cookie, which
//! exists since Linux 5.14, is never reused while the host runs. On older kernels two namespaces of
//! one boot that have the same inode number one after the other cannot be distinguished.

use nix::errno::Errno;
use nix::sys::socket::GetSockOpt;
use serde::{Deserialize, Serialize};

use crate::boot::{BOOT_ID, boot_id};
use crate::error::{Action, Error};

/// The identity of a network namespace among all others, past and future ones included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamespaceIdentity {
    /// The boot in which it was made ([`boot_id`]).
    pub boot: Box<str>,
    /// The kernel's cookie, unique within that boot (`SO_NETNS_COOKIE`); `None` before Linux 5.14.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<u64>,
    /// The device number of nsfs.
    pub device: u64,
    /// The inode number, unique among the namespaces that exist at one time.
    pub inode: u64,
    /// Whether it is the kernel's first namespace, of which each boot has one. The first namespace
    /// of a container is not it.
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

    /// The identity of the calling thread's namespace, whose device and inode are known.
    pub(super) fn current((device, inode): (u64, u64), is_first: bool) -> Result<Self, Error> {
        let boot = boot_id().map_err(|source| Error::Read { path: BOOT_ID.into(), source })?;
        Ok(Self { boot: boot.into(), cookie: cookie()?, device, inode, is_first })
    }
}

/// The kernel's cookie of the calling thread's network namespace.
fn cookie() -> Result<Option<u64>, Error> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

    let failed =
        |errno: std::io::Error| Error::Io { action: Action::IdentifyNamespace, source: errno };
    // Any socket belongs to the namespace in which it was opened; this family is available in every
    // kernel.
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
        .map_err(|errno| failed(errno.into()))?;
    match option::NetnsCookie.get(&socket) {
        Ok(cookie) => Ok(Some(cookie)),
        Err(Errno::ENOPROTOOPT) => Ok(None),
        Err(errno) => Err(failed(errno.into())),
    }
}

/// The socket option, which nix does not define.
mod option {
    use nix::libc;

    nix::getsockopt_impl!(
        NetnsCookie,
        libc::SOL_SOCKET,
        libc::SO_NETNS_COOKIE,
        u64,
        nix::sys::socket::sockopt::GetStruct<u64>
    );

    /// The cookie of a socket's network namespace.
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
