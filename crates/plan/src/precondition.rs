//! Preconditions of a plan, checked before the first operation is sent.

use std::collections::BTreeSet;
use std::fmt;

use evenkeel_model::{Desired, HostObject, Live};

use crate::Op;

/// A condition of the host that would make operations of the plan fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnmetPrecondition {
    /// The interface of a VIP, a host object or a sync daemon does not exist, and the spec does not
    /// ask for its creation.
    NoInterface {
        /// Its name.
        interface: Box<str>,
    },
    /// The kernel has no such sysctl.
    NoSysctl {
        /// Its key.
        key: Box<str>,
    },
    /// The loopback interface is down: the kernel then treats no address as unicast and refuses
    /// every new real server (`ip_vs_new_dest`).
    LoopbackDown,
}

impl fmt::Display for UnmetPrecondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInterface { interface } => write!(
                f,
                "interface {interface} does not exist; name one that does, or, for VIPs, write \
                 `dummy: true` to have it created as a dummy device"
            ),
            Self::NoSysctl { key } => {
                write!(f, "this kernel has no sysctl {key}; correct its name, or remove it from the spec")
            }
            Self::LoopbackDown => f.write_str(
                "interface lo is down, and the kernel refuses every new real server until it is up; \
                 `ip link set lo up` brings it up",
            ),
        }
    }
}

/// Returns every unmet precondition of those operations.
pub(crate) fn unmet_preconditions(
    desired: &Desired,
    live: &Live,
    ops: &[Op],
) -> Vec<UnmetPrecondition> {
    let Some(links) = &live.links else {
        return Vec::new();
    };
    let created = |interface: &str| {
        ops.iter().any(|op| matches!(op, Op::AddDummy { interface: it } if **it == *interface))
    };
    let of_vips = desired.vips.keys().map(|binding| &*binding.interface);
    let of_host_objects = desired.host_objects.keys().map(HostObject::interface);
    let of_daemons = desired.sync.iter().flatten().map(|(_, daemon)| &*daemon.interface);
    let missing: BTreeSet<&str> = of_vips
        .chain(of_host_objects)
        .chain(of_daemons)
        .filter(|interface| !links.contains_key(*interface) && !created(interface))
        .collect();
    let mut found: Vec<UnmetPrecondition> = missing
        .into_iter()
        .map(|interface| UnmetPrecondition::NoInterface { interface: interface.into() })
        .collect();
    // A snapshot holds only the sysctls that its own spec named; only a live kernel shows which
    // exist.
    let is_kernel = live.modules.is_some();
    let unknown = desired.sysctls.keys().filter(|key| !live.sysctls.contains_key(*key));
    found.extend(
        unknown.filter(|_| is_kernel).map(|key| UnmetPrecondition::NoSysctl { key: key.clone() }),
    );
    let adds = ops.iter().any(|op| matches!(op, Op::AddRealServer { .. }));
    if adds && links.get("lo").is_some_and(|lo| !lo.up) {
        found.push(UnmetPrecondition::LoopbackDown);
    }
    found
}
