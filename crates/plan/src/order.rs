//! The order of operations: it keeps clients unaffected at every step, and it suits the kernel's
//! data structures. This file alone defines the order and gives the reasons.
//!
//! A plan may stop after any operation, because the process is killed or the kernel refuses. The
//! order makes every prefix of a plan a state that serves: no VIP is bound without a ready service
//! behind it, and no service that stays loses its last positive weight. These are the phases:
//!
//!  1. Load modules and set sysctls, because later phases may need them: a scheduler, or
//!     `expire_nodest_conn` for the drains of this plan. In between, add tunnel devices and FOU ports:
//!     a device brings sysctls of its own, which must be set before VIPs are bound on it (10.). A VIP on
//!     `lo` of a real server is bound only when `arp_ignore` is set: the host would answer ARP requests
//!     for it otherwise. A sysctl that makes the kernel rewrite others precedes those.
//!  2. Stop sync daemons that are to stop or change. This precedes changes of the table, and starts
//!     follow them (15.): the kernel refuses real servers of the other family while a daemon runs,
//!     and a daemon while there are such real servers (`ip_vs_add_dest`, `ip_vs_genl_new_daemon`).
//!  3. Set timeouts. Create dummy devices, on which VIPs are bound later. Add and edit the host objects
//!     that connections to real servers may depend on: no client is sent to a real server before them.
//!     Then bind and announce missing VIPs whose services are there already and serve: clients wait for nothing
//!     else.
//!  4. Add services, each followed by its real servers: a service without any refuses its clients.
//!  5. Add real servers to existing services. Additions precede deletions, so that a service whose
//!     real servers are all replaced always has some. They are also faster in this order: the
//!     kernel searches its trash of deleted real servers at every addition
//!     (`ip_vs_trash_get_dest`), so earlier deletions cost time on large tables.
//!  6. Edit services.
//!  7. Raise weights, before others are lowered (9.) or drained (11.), so that the sum never drops.
//!  8. Delete and add again the real servers that are in the wrong place of the list, one by one;
//!     the others have their raised weights by now. Only in this phase can a service be without a
//!     usable real server for a moment: when the only one with a positive weight moves.
//!  9. Lower weights.
//! 10. Bring up dummy devices that another program set down, then bind and announce the other VIPs:
//!     their services are complete now. Devices precede VIPs, because an interface that goes down loses
//!     its IPv6 addresses, which this phase binds again. The other host objects follow: the source
//!     of a route to a VIP must be an address of the host (`fib_valid_prefsrc`).
//! 11. Drain the real servers that are to be deleted: set weight 0 while the VIPs are still bound.
//!     Open connections can end; new clients reach other real servers or, if the service is to be
//!     deleted, are refused immediately. The execution waits after this phase, for all drains
//!     together: the wait takes as long as the longest drain, and no later phase waits for one.
//! 12. Delete drained real servers.
//! 13. Delete host objects before the VIPs that they serve; one that makes room for another, where the
//!     kernel does not accept both, is deleted before VIPs are bound (10.). Unbind VIPs that no
//!     service needs, then delete services: in the reverse order their traffic would reach the host's
//!     own sockets in between. Unbinding a VIP stops every connection through it, so this phase
//!     follows the drains. Secondary addresses of a subnet are unbound before their primary, with which
//!     the kernel would delete those that stay bound in between. Host objects that connections to real
//!     servers may depend on, and that the kernel deletes with a VIP, are added again at once. The kernel
//!     deletes real servers with their service, in one operation. Finally, delete dummy devices without
//!     VIPs.
//! 14. Restore sysctls that the spec no longer names: drains and deletions (11. to 13.) depend on the
//!     values in force, and the VIPs that rely on `arp_ignore` are unbound now. Those that the kernel
//!     rewrites with one that is restored follow it. Then delete tunnel devices and FOU ports.
//! 15. Start sync daemons.
//!
//! Within a phase, additions are in the order of the spec, on which the sh and mh schedulers
//! depend; all other operations are in the order of their keys, except for sysctls that rewrite others.

mod lost_vip;
mod rebind;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;

use evenkeel_model::{Desired, HostObject, HostObjectKind, Live};

use crate::Op;
use lost_vip::take_served;
use rebind::{rebind_in_pairs, unbind_secondaries_first};

/// Sorts the operations of one difference between these states into the order of their execution.
pub(crate) fn order(
    added: Vec<Op>,
    readded: Vec<Op>,
    mut others: Vec<Op>,
    desired: &Desired,
    live: &Live,
) -> Vec<Op> {
    let lost = take_served(&mut others, desired, live);
    // The sort is stable: within a phase the operations keep the order of the difference, which is
    // by key, and within a service by the spec.
    others.sort_by_key(Op::phase);
    unbind_secondaries_first(&mut others, &live.secondaries);
    make_room(&mut others);
    let mut others = rebind_in_pairs(others, &live.secondaries);
    let mut steps = lost;
    steps.extend(added);
    let before = others.partition_point(|op| op.phase() < Phase::AddRealServers);
    steps.splice(0..0, others.drain(..before));
    let raised = others.partition_point(|op| op.phase() <= Phase::RaiseRealServers);
    steps.extend(others.drain(..raised));
    steps.extend(readded);
    steps.append(&mut others);
    surround_unbinds(steps)
}

/// The phases of an execution, in the order of this declaration. Each kind of object assigns its
/// operations to them ([`crate::resource`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    AddModules,
    AddTunnels,
    EditSysctls,
    DeleteSync,
    EditTimeouts,
    AddDummies,
    AddHostObjectsOfRealServers,
    // Added services follow here, with their real servers.
    AddRealServers,
    EditServices,
    RaiseRealServers,
    // Real servers that are added again to change their order follow here.
    LowerRealServers,
    EditDummies,
    Bind,
    AddHostObjects,
    DrainRealServers,
    // The execution waits for the drains here.
    DeleteRealServers,
    DeleteHostObjects,
    Unbind,
    DeleteServices,
    DeleteDummies,
    RestoreSysctls,
    DeleteTunnels,
    AddSync,
}

/// A part of a plan that is not started after a failure in an earlier part.
///
/// Within a stage, operations are sent without the result of the one before: in the kernel, a
/// failed operation does not stop the rest of a batch. Replies are checked between stages, so that
/// after a failed addition no weight is lowered, no object is deleted and no VIP is bound to a
/// missing service. A scheduler is changed, and a weight lowered, only after the additions and
/// higher weights that compensate for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage(Phase);

impl Phase {
    /// Returns the stage of this phase; most phases are a stage of their own.
    pub(crate) fn stage(self) -> Stage {
        Stage(match self {
            Self::EditSysctls | Self::DeleteSync | Self::EditTimeouts => Self::EditSysctls,
            Self::AddRealServers | Self::RaiseRealServers => Self::AddRealServers,
            alone => alone,
        })
    }
}

/// Deletes a host object before VIPs are bound if another one is added and the kernel does not accept
/// both: it accepts only one route to an address, and the route of a VIP that is unbound and bound again
/// is added again.
fn make_room(ops: &mut Vec<Op>) {
    let place = |object: &HostObject| Some((object.kind(), object.exclusive_address()?));
    let added: BTreeSet<(HostObjectKind, IpAddr)> = ops
        .iter()
        .filter_map(|op| match op {
            Op::AddHostObject { object, .. } => place(object),
            _ => None,
        })
        .collect();
    if added.is_empty() {
        return;
    }
    let makes_room = |op: &Op| match op {
        Op::DeleteHostObject { object, .. } => {
            place(object).is_some_and(|place| added.contains(&place))
        }
        _ => false,
    };
    let early: Vec<Op> = ops.extract_if(.., |op| makes_room(op)).collect();
    let before = ops.partition_point(|op| op.phase() < Phase::Bind);
    ops.splice(before..before, early);
}

/// Moves the two operations on a host object by which real servers are reached, and that the kernel
/// deletes when VIPs on its interface are unbound: it is deleted immediately before, and added again
/// immediately afterwards.
fn surround_unbinds(steps: Vec<Op>) -> Vec<Op> {
    let deleted = steps.iter().filter_map(|op| match op {
        Op::DeleteHostObject { object, .. } if object.reaches_real_servers() => Some(object),
        _ => None,
    });
    let deleted: BTreeSet<&HostObject> = deleted.collect();
    if deleted.is_empty() {
        return steps;
    }
    // By the interface: where its first VIP is unbound, and its last one. The kernel deletes none with an
    // IPv6 address.
    let mut unbinds: BTreeMap<&str, RangeInclusive<usize>> = BTreeMap::new();
    // A new one is added twice: the first time before clients are sent to real servers.
    let mut last_added: BTreeMap<&HostObject, usize> = BTreeMap::new();
    for (place, op) in steps.iter().enumerate() {
        match op {
            Op::Unbind { binding, .. } if binding.address.is_ipv4() => {
                let first = unbinds.get(&*binding.interface).map_or(place, |it| *it.start());
                unbinds.insert(&binding.interface, first..=place);
            }
            Op::AddHostObject { object, .. } if deleted.contains(object) => {
                last_added.insert(object, place);
            }
            _ => {}
        }
    }
    // By the place before or after which they move.
    let (mut before, mut after) = (BTreeMap::<usize, Vec<usize>>::new(), BTreeMap::new());
    for (place, op) in steps.iter().enumerate() {
        let Op::DeleteHostObject { object, .. } = op else { continue };
        let around = object.interface().and_then(|interface| unbinds.get(interface));
        let (Some(added), Some(around)) = (last_added.remove(object), around) else { continue };
        before.entry(*around.start()).or_default().push(place);
        after.entry(*around.end()).or_insert_with(Vec::new).push(added);
    }
    let moved: BTreeSet<usize> = before.values().chain(after.values()).flatten().copied().collect();
    let number = steps.len();
    let mut steps: Vec<Option<Op>> = steps.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(number);
    for place in 0..number {
        let deletions = before.remove(&place).unwrap_or_default();
        ordered.extend(deletions.into_iter().filter_map(|it| steps[it].take()));
        if !moved.contains(&place) {
            ordered.extend(steps[place].take());
        }
        let additions = after.remove(&place).unwrap_or_default();
        ordered.extend(additions.into_iter().rev().filter_map(|it| steps[it].take()));
    }
    ordered
}
