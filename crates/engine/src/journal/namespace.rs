//! Decides what remains of a journal that was written in another network namespace of the same
//! label: before a reboot, or before the namespace was deleted and recreated.
//!
//! What the user intended is kept by name and across boots: the last good spec with its scope and
//! its thresholds. What was done to the kernel is kept by identity only, because it is gone with
//! the namespace: addresses, devices, values of sysctls, drains, what stays of a real server, a pending
//! apply. The facts that a spec was applied, and that the host was a real server or a gateway, are kept for the
//! kernel's first namespace only: after a reboot it is still the same host, whereas any other recreated namespace may hold foreign objects that the spec would
//! delete.

use std::borrow::Cow;
use std::collections::BTreeSet;

use evenkeel_host::{Namespace, NamespaceIdentity, NamespaceState};
use evenkeel_plan::{PriorState, RealServerRecords};

use super::{Journal, JournalError};
use crate::{Pending, StateDir};

impl Journal {
    /// What remains of a journal that another namespace of that label wrote.
    fn inherited(self, before: &NamespaceIdentity, here: &Namespace) -> Self {
        // A nameless namespace can have the label of an earlier one only by chance.
        if !here.is_known_by_name() {
            return Self::default();
        }
        // Every field is named, so that adding one requires a decision here.
        let Self {
            namespace: _,
            record:
                PriorState {
                    applied,
                    scope,
                    // Until the spec is applied again, other owners compare with its scope only.
                    claims: _,
                    attempted_claims: _,
                    others: _,
                    guards,
                    end_marks,
                    sysctls: _,
                    side_effects: _,
                    left: _,
                    handed_over: _,
                    foreign_vips,
                    // The daemons ended with their namespace.
                    sync_links: _,
                    former_timeouts: _,
                    timeouts: _,
                    drains: _,
                    // A new table has no weights from before.
                    overlaid: _,
                    withheld_vips: _,
                    unfilled: _,
                    replaced: _,
                    real_server,
                },
            addresses: _,
            host_objects: _,
            dummies: _,
            spec,
            next: _,
            targeted: _,
            attempted: _,
            adopted: _,
            pending,
            notices,
        } = self;
        let is_same_host = before.is_first && here.identity.is_first;
        let mut journal = Self {
            record: PriorState {
                applied: applied && is_same_host,
                scope,
                guards,
                end_marks,
                // The program that moves a VIP is there again after a reboot, too.
                foreign_vips: if is_same_host { foreign_vips } else { BTreeSet::new() },
                real_server: match is_same_host {
                    true => real_server.after_reboot(),
                    false => RealServerRecords::default(),
                },
                ..PriorState::default()
            },
            spec,
            notices,
            ..Self::default()
        };
        journal.notices.extend(pending.as_ref().map(Pending::loss_notice));
        journal
    }
}

impl StateDir {
    /// An empty journal of this namespace.
    pub(super) fn empty(&self) -> Journal {
        Journal { namespace: self.identity().cloned(), ..Journal::default() }
    }

    /// Adapts a journal to this namespace. One without an identity, as earlier versions wrote it,
    /// counts as this namespace's own.
    pub(super) fn as_read_here(&self, journal: Journal) -> Result<Journal, JournalError> {
        let Some(here) = self.namespace() else { return Ok(journal) };
        let journal = match journal.namespace.clone() {
            Some(before) if !before.is_same(&here.identity) => {
                self.check_not_replaced()?;
                journal.inherited(&before, here)
            }
            _ => journal,
        };
        Ok(Journal { namespace: Some(here.identity.clone()), ..journal })
    }

    /// The journal with the identity of the namespace that it is written in.
    pub(super) fn as_written_here<'a>(&self, journal: &'a Journal) -> Cow<'a, Journal> {
        match self.identity() {
            Some(here) if journal.namespace.as_ref() != Some(here) => {
                Cow::Owned(Journal { namespace: Some(here.clone()), ..journal.clone() })
            }
            _ => Cow::Borrowed(journal),
        }
    }

    /// Checks that the name does not stand for another namespace by now.
    ///
    /// A process keeps its own namespace alive when that is deleted, but the directory then belongs
    /// to the new one.
    pub(super) fn check_not_replaced(&self) -> Result<(), JournalError> {
        let named = self.namespace().filter(|it| !it.initial && it.is_known_by_name());
        let Some(name) = named.and_then(|it| it.name.clone()) else { return Ok(()) };
        match Namespace::state(&name) {
            Ok(NamespaceState::Another) => {
                Err(JournalError::Replaced { name, folder: self.folder().to_owned() })
            }
            // If the names can no longer be read, the check cannot find a replacement and passes.
            Ok(NamespaceState::This | NamespaceState::Nothing) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
