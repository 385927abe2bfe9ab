//! The order of unbinding: VIPs that are bound again, and subnets whose primary address leaves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use evenkeel_model::{Binding, Family};

use super::Phase;
use crate::Op;
use crate::subnet::Subnet;

/// Moves the secondary addresses of a subnet before its primary among the VIPs that are unbound.
pub(super) fn unbind_secondaries_first(ops: &mut [Op], secondaries: &BTreeMap<Binding, Binding>) {
    if secondaries.is_empty() {
        return;
    }
    let first = ops.partition_point(|op| op.phase() < Phase::Unbind);
    let end = ops.partition_point(|op| op.phase() <= Phase::Unbind);
    ops[first..end].sort_by_key(|op| match op {
        Op::Unbind { binding, .. } => !secondaries.contains_key(binding),
        _ => true,
    });
}

/// Moves the two operations of a VIP that only changes its prefix length or its label next to each
/// other: the VIP must not be missing while drains or deletions run.
///
/// IPv4 accepts both lengths at once, so the new one is bound first and the VIP is never missing.
/// IPv6 refuses an address that the interface has with any length (`ipv6_add_addr`), so the old one
/// must be unbound first. Neither accepts the same address and length twice, which a changed label
/// would be: the address is unbound and bound again at once.
///
/// The primary address of a subnet is unbound after the secondaries that the kernel would delete with it.
/// With another length, its old one is unbound last. With another label, evenkeel's secondaries of it
/// are unbound first, and bound again after it, as are new VIPs of its subnet.
pub(super) fn rebind_in_pairs(ops: Vec<Op>, secondaries: &BTreeMap<Binding, Binding>) -> Vec<Op> {
    let pairs = Pairs::new(&ops, secondaries);
    if pairs.of_bind.is_empty() {
        return ops;
    }
    let is_moved: BTreeSet<usize> = pairs.of_bind.values().map(|pair| pair.unbind).collect();
    let mut ops: Vec<Option<Op>> = ops.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(ops.len());
    // By the primary address.
    let mut groups: BTreeMap<Binding, Group> = BTreeMap::new();
    for place in 0..ops.len() {
        if is_moved.contains(&place) {
            continue;
        }
        let Some(op) = ops[place].take() else { continue };
        let Some(pair) = pairs.of_bind.get(&place) else {
            match pairs.group_of_new(&op) {
                Some(primary) => groups.entry(primary).or_default().bind.push_back(op),
                None => ordered.push(op),
            }
            continue;
        };
        let Some(unbind) = ops[pair.unbind].take() else { continue };
        match &pair.group {
            Some(primary) => {
                let group = groups.entry(primary.clone()).or_default();
                let is_primary = matches!(&op, Op::Bind { binding, .. } if binding == primary);
                if is_primary {
                    group.unbind.push_back(unbind);
                    group.bind.push_front(op);
                } else {
                    group.unbind.push_front(unbind);
                    group.bind.push_back(op);
                }
            }
            None if pair.takes_both => ordered.extend([op, unbind]),
            None => ordered.extend([unbind, op]),
        }
    }
    insert_groups(ordered, groups, secondaries)
}

/// Inserts the operations of each subnet after the last one that unbinds one of its secondaries, and after
/// the last VIP that is bound.
fn insert_groups(
    ops: Vec<Op>,
    groups: BTreeMap<Binding, Group>,
    secondaries: &BTreeMap<Binding, Binding>,
) -> Vec<Op> {
    if groups.is_empty() {
        return ops;
    }
    let first = ops.iter().rposition(|op| op.phase() <= Phase::Bind).map_or(0, |place| place + 1);
    let mut last_unbinds: BTreeMap<&Binding, usize> = BTreeMap::new();
    for (place, op) in ops.iter().enumerate() {
        if let Op::Unbind { binding, .. } = op
            && let Some(primary) = secondaries.get(binding)
        {
            last_unbinds.insert(primary, place + 1);
        }
    }
    let mut at: BTreeMap<usize, Vec<Group>> = BTreeMap::new();
    for (primary, group) in groups {
        let place = last_unbinds.get(&primary).map_or(first, |place| first.max(*place));
        at.entry(place).or_default().push(group);
    }
    let mut ordered = Vec::with_capacity(ops.len());
    for (place, op) in ops.into_iter().map(Some).chain([None]).enumerate() {
        for Group { unbind, bind } in at.remove(&place).unwrap_or_default() {
            ordered.extend(unbind.into_iter().chain(bind));
        }
        ordered.extend(op);
    }
    ordered
}

/// The VIPs of one subnet that get another label together.
#[derive(Default)]
struct Group {
    unbind: VecDeque<Op>,
    bind: VecDeque<Op>,
}

/// The VIPs that are unbound and bound again.
struct Pairs {
    /// By the place of the second operation.
    of_bind: BTreeMap<usize, Pair>,
    /// The primaries that get another label, and with which the kernel would delete others of the plan, by
    /// their subnet.
    relabelled: BTreeMap<Subnet, Binding>,
}

struct Pair {
    /// The place of the operation that unbinds the same VIP.
    unbind: usize,
    /// Whether the kernel accepts the old and the new address at once.
    takes_both: bool,
    /// The primary with whose operations these two are executed, if the kernel would delete other
    /// addresses of the plan with it.
    group: Option<Binding>,
}

impl Pairs {
    fn new(ops: &[Op], secondaries: &BTreeMap<Binding, Binding>) -> Self {
        let mut unbound: BTreeMap<(IpAddr, &str), Vec<(usize, &Binding)>> = BTreeMap::new();
        for (place, op) in ops.iter().enumerate() {
            if let Op::Unbind { binding, .. } = op {
                let there = unbound.entry((binding.address, &binding.interface)).or_default();
                there.push((place, binding));
            }
        }
        let mut of_bind = BTreeMap::new();
        if unbound.is_empty() {
            return Self { of_bind, relabelled: BTreeMap::new() };
        }
        let all = unbound.values().flatten();
        let leading: BTreeSet<&Binding> =
            all.filter_map(|(_, binding)| secondaries.get(*binding)).collect();
        let is_unbound = |binding: &&Binding| {
            let there = unbound.get(&(binding.address, &*binding.interface));
            there.is_some_and(|there| there.iter().any(|(_, it)| it == binding))
        };
        let bound = ops.iter().filter_map(|op| match op {
            Op::Bind { binding, .. } => Some(binding),
            _ => None,
        });
        let (rebound, new): (Vec<&Binding>, Vec<&Binding>) = bound.partition(is_unbound);
        let subnets_of_new: BTreeSet<Subnet> = new.into_iter().filter_map(Subnet::of).collect();
        // A new VIP would be a secondary, too, if it were bound before.
        let gets_one = |it: &Binding| {
            !secondaries.contains_key(it)
                && Subnet::of(it).is_some_and(|it| subnets_of_new.contains(&it))
        };
        // The kernel is not asked to delete a primary with secondaries that stay: those of other programs.
        let staying = secondaries.iter().filter(|(secondary, _)| !is_unbound(secondary));
        let staying: BTreeSet<&Binding> = staying.map(|(_, primary)| primary).collect();
        let relabelled: BTreeSet<Binding> = rebound
            .into_iter()
            .filter(|it| (leading.contains(it) || gets_one(it)) && !staying.contains(it))
            .cloned()
            .collect();
        for (place, op) in ops.iter().enumerate() {
            let Op::Bind { binding: new, .. } = op else { continue };
            let Some(there) = unbound.get_mut(&(new.address, &*new.interface)) else { continue };
            let same = there.iter().position(|(_, binding)| *binding == new);
            let takes_both = Family::from(new.address) == Family::Ipv4 && same.is_none();
            let Some((_, old)) = there.get(same.unwrap_or(0)).copied() else { continue };
            let is_primary = leading.contains(old);
            if takes_both && is_primary {
                continue;
            }
            let (unbind, _) = there.remove(same.unwrap_or(0));
            let group = if takes_both {
                None
            } else if relabelled.contains(old) {
                Some(old.clone())
            } else {
                secondaries.get(old).filter(|primary| relabelled.contains(primary)).cloned()
            };
            of_bind.insert(place, Pair { unbind, takes_both, group });
        }
        let relabelled = relabelled.into_iter().filter_map(|it| Some((Subnet::of(&it)?, it)));
        Self { of_bind, relabelled: relabelled.collect() }
    }

    /// The primary after which a new VIP of its subnet is bound: bound before, it would be one more
    /// secondary that the kernel would delete.
    fn group_of_new(&self, op: &Op) -> Option<Binding> {
        let Op::Bind { binding, .. } = op else { return None };
        self.relabelled.get(&Subnet::of(binding)?).cloned()
    }
}
