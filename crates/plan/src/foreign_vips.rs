//! VIPs of the spec that another program binds, such as VRRP: evenkeel does not bind them when that
//! program has released them.
//!
//! What was seen bound by another program is recorded ([`PriorState::foreign_vips`]), so that its absence is
//! no drift later. A VIP that evenkeel bound is evenkeel's, whatever other programs do with it.

use std::collections::BTreeSet;

use evenkeel_model::{BindWhen, Binding, Desired, Live, Owner, Vip, bindings_of, entries_of};

use crate::{PriorState, Warning};

/// Returns the VIPs of the desired state that are another program's: those that it has bound, and the
/// missing ones that it had bound as far as the record says.
pub fn foreign_vips(desired: &Desired, live: &Live, record: &PriorState) -> BTreeSet<Binding> {
    let needed = Needed::of(desired);
    let is_foreign = |binding: &Binding| {
        let mut owners = live.bound_at(binding).peekable();
        match owners.peek() {
            None => is_recorded(binding, record),
            // What was handed over has evenkeel's mark: no other program has bound it.
            Some(_) => owners.all(|(bound, owner)| {
                *owner == Owner::Other && !record.handed_over.addresses.contains(bound)
            }),
        }
    };
    let listed = desired.vips.iter().filter(|(binding, vip)| needed.may_be_foreign(binding, vip));
    listed.map(|(binding, _)| binding).filter(|binding| is_foreign(binding)).cloned().collect()
}

/// Returns the VIPs that are left to another program, which has released them.
pub fn released_vips<'a>(
    desired: &'a Desired,
    live: &Live,
    record: &PriorState,
) -> BTreeSet<&'a Binding> {
    if record.foreign_vips.is_empty() {
        return BTreeSet::new();
    }
    let needed = Needed::of(desired);
    let is_released = |binding: &Binding| {
        is_recorded(binding, record)
            && live.bound_at(binding).next().is_none()
            && entries_of(&desired.vips, binding.address).any(|(listed, vip)| {
                listed.same_place(binding) && needed.may_be_foreign(listed, vip)
            })
    };
    desired.vips.keys().filter(|binding| is_released(binding)).collect()
}

/// Warns of programs on the host that move VIPs, if evenkeel binds some that it lists whenever they are
/// missing. `foreign` are those that another program binds.
pub fn vip_manager_warning(
    desired: &Desired,
    foreign: &BTreeSet<Binding>,
    managers: impl IntoIterator<Item = &'static str>,
) -> Option<Warning> {
    let needed = Needed::of(desired);
    let is_bound = |(binding, vip): &(&Binding, &Vip)| {
        let mut foreign = bindings_of(foreign, binding.address);
        needed.may_be_foreign(binding, vip) && !foreign.any(|it| it.same_place(binding))
    };
    let vips = desired.vips.iter().filter(is_bound).map(|(binding, _)| binding.address);
    let vips: BTreeSet<_> = vips.collect();
    let managers: Vec<&str> = managers.into_iter().collect();
    let concerns = !vips.is_empty() && !managers.is_empty();
    concerns.then_some(Warning::VipManagers { managers, vips })
}

impl PriorState {
    /// Records which VIPs a reading shows to be another program's. One that the journal lists as bound by
    /// evenkeel (`bound`) stays evenkeel's. Only a spec in force ends a record
    /// ([`Self::forget_foreign_vips`]): another one may be rolled back. Returns whether the record changes.
    pub fn note_foreign_vips(
        &mut self,
        desired: &Desired,
        live: &Live,
        bound: &BTreeSet<Binding>,
    ) -> bool {
        let foreign = foreign_vips(desired, live, self);
        let is_bound =
            |it: &Binding| bindings_of(bound, it.address).any(|bound| bound.same_place(it));
        let before = self.foreign_vips.len();
        self.foreign_vips.extend(foreign.into_iter().filter(|it| !is_bound(it)));
        self.foreign_vips.len() != before
    }

    /// Forgets the VIPs that a spec in force does not list, or asks to be bound always.
    pub fn forget_foreign_vips(&mut self, desired: &Desired) {
        let needed = Needed::of(desired);
        self.foreign_vips.retain(|binding| {
            let mut listed = entries_of(&desired.vips, binding.address);
            listed.any(|(it, vip)| needed.may_be_foreign(it, vip))
        });
    }
}

/// The VIPs that a real server needs all the time.
struct Needed<'a>(BTreeSet<&'a Binding>);

impl<'a> Needed<'a> {
    fn of(desired: &'a Desired) -> Self {
        Self(desired.real_server.values().flat_map(|part| &part.vips).collect())
    }

    /// Whether another program may decide when the VIP is bound.
    fn may_be_foreign(&self, binding: &Binding, vip: &Vip) -> bool {
        vip.bind == BindWhen::Auto && !self.0.contains(binding)
    }
}

/// Whether it was seen, on whichever interface.
fn is_recorded(binding: &Binding, record: &PriorState) -> bool {
    bindings_of(&record.foreign_vips, binding.address).next().is_some()
}

#[cfg(test)]
mod tests;
