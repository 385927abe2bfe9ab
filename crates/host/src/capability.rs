//! Reads the calling thread's effective Linux capabilities.

use std::fmt;
use std::io;

use rustix::thread::CapabilitySet;

/// A capability that managing an IPVS host may need. See capabilities(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Capability {
    /// Changing addresses and links, and every IPVS operation, reads included.
    NetAdmin,
    /// Announcing addresses over packet sockets.
    NetRaw,
    /// Entering another network namespace.
    SysAdmin,
    /// Loading kernel modules oneself; the kernel's own autoloading does not need it.
    SysModule,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::NetRaw => "CAP_NET_RAW",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::SysModule => "CAP_SYS_MODULE",
        })
    }
}

/// A thread's effective capabilities.
///
/// They hold in the thread's user namespace: root of a container with its own user namespace has all of them,
/// but operations that need them in the initial one, such as those of IPVS, are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities(CapabilitySet);

impl Capabilities {
    /// The calling thread's.
    ///
    /// # Errors
    /// What capget(2) says; only a system-call filter makes it fail.
    pub fn current() -> io::Result<Self> {
        Ok(Self(rustix::thread::capabilities(None)?.effective))
    }

    /// Whether this capability is in effect.
    #[must_use]
    pub fn has(&self, capability: Capability) -> bool {
        self.0.contains(match capability {
            Capability::NetAdmin => CapabilitySet::NET_ADMIN,
            Capability::NetRaw => CapabilitySet::NET_RAW,
            Capability::SysAdmin => CapabilitySet::SYS_ADMIN,
            Capability::SysModule => CapabilitySet::SYS_MODULE,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_reports_agrees_with_proc() {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let hex = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
        let bits = u64::from_str_radix(hex.trim(), 16).unwrap();
        let capabilities = Capabilities::current().unwrap();
        // Bit numbers of include/uapi/linux/capability.h.
        for (capability, bit) in [
            (Capability::NetAdmin, 12),
            (Capability::NetRaw, 13),
            (Capability::SysModule, 16),
            (Capability::SysAdmin, 21),
        ] {
            assert_eq!(capabilities.has(capability), bits >> bit & 1 == 1, "{capability}");
        }
    }

    #[test]
    fn one_capability_is_not_another() {
        let capabilities = Capabilities(CapabilitySet::NET_ADMIN);
        assert!(capabilities.has(Capability::NetAdmin));
        assert!(!capabilities.has(Capability::NetRaw));
    }
}
