//! The order of operations, so that no client notices and the kernel is quick.
//!
//! A plan may stop after any operation: the process is killed, the kernel refuses. The order
//! makes every prefix a state that serves:
//!
//! - a VIP is bound only when the services on it have their real servers, and unbound before its
//!   services go: between the two its traffic would reach the host's own sockets;
//! - a service gets its real servers right after itself: without any it refuses its clients;
//! - additions come before deletions: a service whose real servers are all replaced is never
//!   without one, and the kernel searches its trash of deleted real servers at every addition
//!   (`ip_vs_trash_get_dest`), so that deleting first costs time on large tables;
//! - weights are raised before others are lowered, so that the sum never dips;
//! - modules and sysctls come first, for what follows may need them;
//! - sync daemons that must stop do so before the table changes, and those that start do so after:
//!   the kernel refuses real servers of the other family while one runs, and a daemon while there
//!   are such real servers (`ip_vs_add_dest`, `ip_vs_genl_new_daemon`).
//!
//! Within a phase the order is that of the spec for additions (the sh and mh schedulers depend on
//! it) and that of the keys for all else.

use evenkeel_model::{Binding, Family};

use crate::Op;

/// Puts the operations of one difference into the order of their execution.
pub(crate) fn order(added: Vec<Op>, readded: Vec<Op>, mut others: Vec<Op>) -> Vec<Op> {
    // The sort is stable: within a phase the order of the difference stays, which goes by key, and
    // within a service by the spec.
    others.sort_by_key(phase);
    rebind_in_pairs(&mut others);
    let mut steps = added;
    let before = others.partition_point(|op| phase(op) < Phase::AddRealServers);
    steps.splice(0..0, others.drain(..before));
    let behind = others.partition_point(|op| phase(op) <= Phase::AddRealServers);
    steps.extend(others.drain(..behind));
    steps.extend(readded);
    steps.append(&mut others);
    steps
}

/// The phases of an execution. Their order is this declaration's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    AddModules,
    EditSysctls,
    DeleteSync,
    EditTimeouts,
    AddDummies,
    // Here come the services that are added, with their real servers.
    AddRealServers,
    // Here come the real servers that are added again for the sake of their order.
    EditServices,
    RaiseRealServers,
    LowerRealServers,
    Bind,
    DrainRealServers,
    DeleteRealServers,
    Unbind,
    DeleteServices,
    DeleteDummies,
    AddSync,
}

fn phase(op: &Op) -> Phase {
    match op {
        Op::AddModule { .. } => Phase::AddModules,
        Op::EditSysctl { .. } => Phase::EditSysctls,
        Op::DeleteSync { .. } => Phase::DeleteSync,
        Op::EditTimeouts { .. } => Phase::EditTimeouts,
        Op::AddSync { .. } => Phase::AddSync,
        Op::AddDummy { .. } => Phase::AddDummies,
        Op::AddService { .. } | Op::AddRealServer { .. } => Phase::AddRealServers,
        Op::EditService { .. } => Phase::EditServices,
        Op::EditRealServer { before, after, .. } if after.weight < before.weight => {
            Phase::LowerRealServers
        }
        Op::EditRealServer { .. } => Phase::RaiseRealServers,
        Op::Bind { .. } => Phase::Bind,
        Op::DrainRealServer { .. } => Phase::DrainRealServers,
        Op::DeleteDummy { .. } => Phase::DeleteDummies,
        Op::DeleteRealServer { .. } => Phase::DeleteRealServers,
        Op::Unbind { .. } => Phase::Unbind,
        Op::DeleteService { .. } => Phase::DeleteServices,
    }
}

/// Where a VIP only changes its prefix length, brings the two operations together: a VIP must not
/// be gone while drains or deletions run.
///
/// IPv4 takes both lengths at once, so the new one comes first and the VIP is never gone. IPv6
/// refuses an address that the interface has with any length (`ipv6_add_addr`), so the old one
/// has to go first.
fn rebind_in_pairs(ops: &mut Vec<Op>) {
    let bound: Vec<Binding> = ops
        .iter()
        .filter_map(|op| match op {
            Op::Bind { binding } => Some(binding.clone()),
            _ => None,
        })
        .collect();
    for new in bound {
        let Some(from) = ops
            .iter()
            .position(|op| matches!(op, Op::Unbind { binding } if binding.same_place(&new)))
        else {
            continue;
        };
        let unbind = ops.remove(from);
        let bind = ops.iter().position(|op| matches!(op, Op::Bind { binding } if *binding == new));
        if let Some(bind) = bind {
            let after = usize::from(Family::from(new.address) == Family::Ipv4);
            ops.insert(bind + after, unbind);
        }
    }
}
