//! Permanent neighbour entries.
//!
//! The kernel deletes the IPv4 entries of an interface that loses its last IPv4 address
//! (`fib_disable_ip`). Those that are needed afterwards are deleted before, and added again.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{Binding, HostObject, HostValue, Live};

use super::{again, touched};
use crate::Op;

/// Adds the entries again that the operations would lose, whether they exist already or one of `ops`
/// adds, edits or later deletes them. Returns those that none of `ops` concerned before.
pub(super) fn add_lost_again<'l>(
    ops: &mut Vec<Op>,
    others: &[Op],
    live: &'l Live,
) -> Vec<(&'l HostObject, &'l HostValue)> {
    let interfaces = losing_last_address(ops.iter().chain(others), live);
    if interfaces.is_empty() {
        return Vec::new();
    }
    let is_lost = |object: &HostObject| {
        matches!(object, HostObject::Neighbour(it) if it.address.is_ipv4())
            && object.interface().is_some_and(|it| interfaces.contains_key(it))
    };
    let is_relabelled =
        |object: &HostObject| object.interface().and_then(|it| interfaces.get(it)) == Some(&true);
    let mut further = Vec::new();
    for op in &mut *ops {
        match op {
            Op::AddHostObject { object, after } if is_lost(object) => {
                further.extend(again(object, after));
            }
            Op::EditHostObject { object, before, after } if is_lost(object) => {
                let [_, added] = again(object, after);
                further.push(added);
                let [deleted, _] = again(object, before);
                *op = deleted;
            }
            // Its deletion waits for drains, and the label does not.
            Op::DeleteHostObject { object, before } if is_lost(object) && is_relabelled(object) => {
                further.extend(again(object, before));
            }
            _ => {}
        }
    }
    let touched = touched(ops);
    let owned = live.host_objects.owned();
    let untouched: Vec<_> =
        owned.filter(|(object, _)| is_lost(object) && !touched.contains(object)).collect();
    ops.extend(further);
    ops.extend(untouched.iter().flat_map(|(object, value)| again(object, value)));
    untouched
}

/// The interfaces that are without an IPv4 address at the end, or while their only one gets another
/// label: whether it is the latter.
fn losing_last_address<'a>(
    ops: impl Iterator<Item = &'a Op>,
    live: &Live,
) -> BTreeMap<Box<str>, bool> {
    let (mut bound, mut unbound) = (BTreeSet::new(), BTreeSet::new());
    for op in ops {
        match op {
            Op::Bind { binding, .. } => drop(bound.insert(binding)),
            Op::Unbind { binding, .. } if binding.address.is_ipv4() => {
                unbound.insert(binding);
            }
            _ => {}
        }
    }
    let mut interfaces: BTreeMap<&str, Addresses<'_>> =
        unbound.iter().map(|binding| (&*binding.interface, Addresses::default())).collect();
    for (binding, is_new) in
        live.addresses.keys().map(|it| (it, false)).chain(bound.iter().map(|it| (*it, true)))
    {
        if let Some(on_it) = interfaces.get_mut(&*binding.interface)
            && binding.address.is_ipv4()
        {
            if is_new { &mut on_it.new } else { &mut on_it.before }.push(binding);
        }
    }
    let loses = |Addresses { before, new }: Addresses<'_>| {
        let is_relabelled = matches!(before[..], [only] if new.contains(&only));
        // A new address is bound before another one is unbound.
        let is_without = is_relabelled || new.is_empty();
        (is_without && before.iter().all(|it| unbound.contains(*it))).then_some(is_relabelled)
    };
    let lost = interfaces.into_iter().filter_map(|(name, all)| Some((name.into(), loses(all)?)));
    lost.collect()
}

/// The IPv4 addresses of an interface.
#[derive(Default)]
struct Addresses<'a> {
    before: Vec<&'a Binding>,
    /// Those that are bound.
    new: Vec<&'a Binding>,
}

/// Deletes the IPv4 entries of an interface without an IPv4 address, as the kernel does
/// (`fib_disable_ip`).
pub(super) fn lose_entries(state: &mut Live, unbound: &Binding) {
    let mut on_it = state.addresses.keys().filter(|it| it.interface == unbound.interface);
    if unbound.address.is_ipv6() || on_it.any(|it| it.address.is_ipv4()) {
        return;
    }
    state.host_objects.objects.retain(|object, _| match object {
        HostObject::Neighbour(it) => it.address.is_ipv6() || it.interface != unbound.interface,
        _ => true,
    });
}
