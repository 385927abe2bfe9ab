//! The journals of the other owners of a network namespace. Nothing else reads them.

use std::collections::BTreeSet;

use evenkeel_model::{Binding, Desired, Live, OwnerName};
use evenkeel_plan::{Op, OtherOwner, OtherOwners};

use super::{Found, Journal, JournalError};
use crate::{Pending, StateDir};

impl Journal {
    /// Whether it records anything that evenkeel did or is to do for its owner.
    pub fn is_in_use(&self) -> bool {
        let Self { record, addresses, host_objects, dummies, spec, next, pending, .. } = self;
        let Self { targeted, attempted, .. } = self;
        record.applied
            || !(record.left.is_empty() && record.sysctls.is_empty())
            || !(targeted.is_empty() && attempted.is_empty())
            || spec.is_some()
            || next.is_some()
            || pending.is_some()
            || !(addresses.is_empty() && host_objects.is_empty() && dummies.is_empty())
    }

    /// Says that an apply of another owner is not confirmed yet, and what to do; `None` if there is none.
    pub fn pending_elsewhere(&self) -> Option<String> {
        self.record.others.pending().map(|other| pending_of_other(&other.name))
    }

    /// Forgets what a spec does not ask for and another owner has: that one removes or restores it.
    pub fn leave_to_others(&mut self, desired: &Desired) {
        let Self { record, addresses, host_objects, dummies, .. } = self;
        let others = &record.others;
        if others.is_empty() {
            return;
        }
        addresses.retain(|it| desired.vips.contains_key(it) || !others.have_vip(it));
        host_objects
            .retain(|it| desired.host_objects.contains_key(it) || !others.have_host_object(it));
        let asked = desired.vips.iter().filter(|(_, vip)| vip.dummy);
        let asked: BTreeSet<&str> = asked.map(|(binding, _)| &*binding.interface).collect();
        dummies.retain(|it| asked.contains(&**it) || !others.have_dummy(it));
    }

    /// Records what other owners recorded of what a spec asks for too, so that the last one of them restores
    /// it.
    pub fn inherit(&mut self, desired: &Desired) {
        self.record.inherit(desired);
        let Self { record, host_objects, dummies, .. } = self;
        for other in &record.others.0 {
            let shared = other.host_objects.iter();
            host_objects
                .extend(shared.filter(|it| desired.host_objects.contains_key(*it)).cloned());
            let asked = desired.vips.iter().filter(|(_, vip)| vip.dummy);
            let asked = asked.map(|(binding, _)| &binding.interface);
            dummies.extend(asked.filter(|name| other.dummies.contains(*name)).cloned());
        }
    }

    /// What other owners need to know of it.
    fn into_other(self, name: OwnerName) -> OtherOwner {
        let mut targeted = self.active_partial_applies();
        targeted.extend(self.attempted.clone());
        let targeted = targeted.services();
        let Self { record, addresses, host_objects, dummies, pending, .. } = self;
        let pending = pending.filter(Pending::is_of_this_boot);
        let pending = pending.map(|pending| pending.steps.iter().map(Op::object).collect());
        OtherOwner { name, record, addresses, host_objects, dummies, targeted, pending }
    }
}

impl StateDir {
    /// Returns the state directories of other owners whose pending apply is overdue, at `now` in seconds since
    /// 1970: whoever has the lock next rolls it back, whichever owner it acts for.
    ///
    /// # Errors
    /// A journal cannot be read.
    pub fn overdue_elsewhere(&self, now: u64) -> Result<Vec<Self>, JournalError> {
        let mut overdue = Vec::new();
        for name in self.owners()? {
            let state = self.of_owner(&name);
            if name != *self.owner()
                && let Found::Valid(journal) = state.find()?
                && journal.pending.is_some_and(|pending| pending.is_due(now))
            {
                overdue.push(state);
            }
        }
        Ok(overdue)
    }

    /// Reads the journals of the other owners of this namespace. One that is damaged counts as lost, as it
    /// does for its owner.
    ///
    /// # Errors
    /// One cannot be read, or a newer evenkeel wrote it.
    pub fn other_owners(&self) -> Result<OtherOwners, JournalError> {
        let mut others = Vec::new();
        for name in self.owners()? {
            if name == *self.owner() {
                continue;
            }
            if let Found::Valid(journal) = self.of_owner(&name).find()?
                && journal.is_in_use()
            {
                others.push(journal.into_other(name));
            }
        }
        Ok(OtherOwners(others))
    }
}

impl Journal {
    /// Forgets addresses and dummy devices that another program removed and the spec does not ask for.
    pub(crate) fn forget_gone(&mut self, desired: &Desired, live: &Live) {
        let is_asked = |binding: &Binding| desired.vips.contains_key(binding);
        self.addresses.retain(|it| is_asked(it) || live.addresses.contains_key(it));
        let used: BTreeSet<&str> = desired.vips.keys().map(|it| &*it.interface).collect();
        let is_there =
            |name: &str| live.links.as_ref().is_none_or(|links| links.contains_key(name));
        self.dummies.retain(|it| used.contains(&**it) || is_there(it));
    }
}

/// Why nothing new may be applied while an apply of another owner is not confirmed.
fn pending_of_other(name: &OwnerName) -> String {
    let option = name.option();
    format!(
        "an apply of {name} waits for confirmation, and its rollback may concern what owners share: run \
         `evenkeel confirm{option}` to keep it, or `evenkeel confirm --abort{option}` to roll it back"
    )
}
