//! The order of operations, so that no client notices and the kernel is quick. What the order is
//! and why is said here and nowhere else.
//!
//! A plan may stop after any operation: the process is killed, the kernel refuses. The order
//! makes every prefix a state that serves: no VIP is bound without a ready service behind it, and
//! no service that stays and had a positive weight is without one. These are the phases:
//!
//!  1. Modules are loaded and sysctls set, for what follows may need them: a scheduler, or
//!     `expire_nodest_conn` for the drains of this very plan.
//!  2. Sync daemons that must stop or change stop before the table changes, and those that start
//!     do so after it (14.): the kernel refuses real servers of the other family while one runs,
//!     and a daemon while there are such real servers (`ip_vs_add_dest`, `ip_vs_genl_new_daemon`).
//!  3. Timeouts. Dummy devices are created, for VIPs to be bound on.
//!  4. Services are added, each followed by its real servers: without any it refuses its clients.
//!  5. Real servers are added to services that are there. Additions come before deletions: a
//!     service whose real servers are all replaced is never without one, and the kernel searches
//!     its trash of deleted real servers at every addition (`ip_vs_trash_get_dest`), so that
//!     deleting first costs time on large tables.
//!  6. Services are edited.
//!  7. Weights are raised before others are lowered (9.) or go (11.), so that the sum never dips.
//!  8. Real servers that stand in the wrong place are deleted and added again, one by one; all
//!     that can help out has its weight by now. Only here may a service be without a real server
//!     for a moment: where the only one of a positive weight is the one that moves.
//!  9. Weights are lowered.
//! 10. Dummy devices that someone set down are brought up, and VIPs are bound and announced: the
//!     services on them have their real servers. In this order, for an interface that goes down
//!     loses its IPv6 addresses, and those are bound again here. Host routes to VIPs follow, for
//!     their source has to be an address of the host (`fib_valid_prefsrc`).
//! 11. Whatever leaves drains: it gets weight 0, with the VIPs still bound, so that connections
//!     can end and new clients are served by others, or, where the service leaves, refused at
//!     once. An execution waits behind this phase, for all drains together: they
//!     take as long as the longest, and nothing else of the plan is left to wait for them.
//! 12. Drained real servers are deleted.
//! 13. Host routes go before their source does. VIPs are unbound that no service needs, and then services are deleted: between the two
//!     their traffic would reach the host's own sockets. Unbinding stops every connection through
//!     the VIP, so it comes behind the drains. The kernel deletes real servers with their service,
//!     in one operation. Dummy devices that nothing is bound on any more go.
//! 14. Sync daemons start.
//!
//! Within a phase the order is that of the spec for additions (the sh and mh schedulers depend on
//! it) and that of the keys for all else.

use std::collections::BTreeSet;
use std::net::IpAddr;

use evenkeel_model::{Binding, Family, HostObjectKind};

use crate::Op;

/// Puts the operations of one difference into the order of their execution.
pub(crate) fn order(added: Vec<Op>, readded: Vec<Op>, mut others: Vec<Op>) -> Vec<Op> {
    // The sort is stable: within a phase the order of the difference stays, which goes by key, and
    // within a service by the spec.
    others.sort_by_key(Op::phase);
    make_room(&mut others);
    rebind_in_pairs(&mut others);
    let mut steps = added;
    let before = others.partition_point(|op| op.phase() < Phase::AddRealServers);
    steps.splice(0..0, others.drain(..before));
    let raised = others.partition_point(|op| op.phase() <= Phase::RaiseRealServers);
    steps.extend(others.drain(..raised));
    steps.extend(readded);
    steps.append(&mut others);
    steps
}

/// The phases of an execution. Their order is this declaration's; which operation belongs where is
/// said by its kind ([`crate::resource`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    AddModules,
    EditSysctls,
    DeleteSync,
    EditTimeouts,
    AddDummies,
    // Here come the services that are added, with their real servers.
    AddRealServers,
    EditServices,
    RaiseRealServers,
    // Here come the real servers that are added again for the sake of their order.
    LowerRealServers,
    EditDummies,
    Bind,
    AddHostObjects,
    DrainRealServers,
    // Here is waited for the drains.
    DeleteRealServers,
    DeleteHostObjects,
    Unbind,
    DeleteServices,
    DeleteDummies,
    AddSync,
}

/// A part of a plan that is not begun after a failure in an earlier part.
///
/// Within a stage an operation may be sent whatever became of the one before: the kernel takes
/// batches that way. Between stages the answers are looked at, so that nothing is lowered or
/// deleted when an addition failed, and no VIP is bound to services that are not there. A scheduler
/// is changed, and a weight lowered, only where all that makes up for it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage(Phase);

impl Phase {
    /// The stage that it belongs to: most are one by themselves.
    pub(crate) fn stage(self) -> Stage {
        Stage(match self {
            Self::EditSysctls | Self::DeleteSync | Self::EditTimeouts => Self::EditSysctls,
            Self::AddRealServers | Self::RaiseRealServers => Self::AddRealServers,
            alone => alone,
        })
    }
}

/// Deletes a host object before VIPs are bound if another one of its kind is added for the same VIP:
/// the kernel accepts only one route to an address, and the route of a VIP that is unbound and bound
/// again is added again.
fn make_room(ops: &mut Vec<Op>) {
    let added: BTreeSet<(HostObjectKind, IpAddr)> = ops
        .iter()
        .filter_map(|op| match op {
            Op::AddHostObject { object, .. } => Some((object.kind(), object.vip())),
            _ => None,
        })
        .collect();
    if added.is_empty() {
        return;
    }
    let makes_room = |op: &Op| match op {
        Op::DeleteHostObject { object, .. } => added.contains(&(object.kind(), object.vip())),
        _ => false,
    };
    let early: Vec<Op> = ops.extract_if(.., |op| makes_room(op)).collect();
    let before = ops.partition_point(|op| op.phase() < Phase::Bind);
    ops.splice(before..before, early);
}

/// Where a VIP only changes its prefix length or its label, brings the two operations together: a
/// VIP must not be gone while drains or deletions run.
///
/// IPv4 takes both lengths at once, so the new one comes first and the VIP is never gone. IPv6
/// refuses an address that the interface has with any length (`ipv6_add_addr`), so the old one
/// has to go first. Neither takes the same address and length twice, which is what a change of the
/// label would be: the address is unbound and bound again at once.
fn rebind_in_pairs(ops: &mut Vec<Op>) {
    let bound: Vec<Binding> = ops
        .iter()
        .filter_map(|op| match op {
            Op::Bind { binding, .. } => Some(binding.clone()),
            _ => None,
        })
        .collect();
    for new in bound {
        let unbound = |is_same: &dyn Fn(&Binding) -> bool| {
            ops.iter().position(|op| matches!(op, Op::Unbind { binding, .. } if is_same(binding)))
        };
        let same_binding = unbound(&|binding| *binding == new);
        let Some(from) = same_binding.or_else(|| unbound(&|binding| binding.same_place(&new)))
        else {
            continue;
        };
        let unbind = ops.remove(from);
        let bind =
            ops.iter().position(|op| matches!(op, Op::Bind { binding, .. } if *binding == new));
        if let Some(bind) = bind {
            let takes_both = Family::from(new.address) == Family::Ipv4 && same_binding.is_none();
            let after = usize::from(takes_both);
            ops.insert(bind + after, unbind);
        }
    }
}
