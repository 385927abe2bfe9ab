//! What is left of a journal that was written in another network namespace of the same label:
//! after a reboot, or where one was deleted and made anew.
//!
//! By name, and across boots, is kept what people meant: the last good spec with its scope and its
//! thresholds. By identity is kept
//! what was done to the kernel, which is gone with the namespace: addresses, devices, values of
//! sysctls, drains, an apply that waits for its confirmation. That an apply was carried out is kept
//! for the kernel's first namespace only: the host is the same one after a reboot, whereas in any
//! other namespace that is made anew there may be strangers that the spec would delete.

use std::borrow::Cow;

use evenkeel_host::{Namespace, NamespaceIdentity, NamespaceState};
use evenkeel_plan::PriorState;

use super::{Journal, JournalError, StateDir};
use crate::Pending;

impl Journal {
    /// What is left of a journal that another namespace of that label wrote.
    fn inherited(self, before: &NamespaceIdentity, here: &Namespace) -> Self {
        // A nameless namespace has the label of one before it by chance.
        if !here.is_known_by_name() {
            return Self::default();
        }
        // Each field is named, so that whoever adds one decides on it.
        let Self {
            namespace: _,
            record: PriorState { applied, scope, guards, sysctls: _, timeouts: _, drains: _ },
            addresses: _,
            routes: _,
            dummies: _,
            spec,
            next: _,
            targeted: _,
            attempted: _,
            adopted: _,
            pending,
            notice,
        } = self;
        let is_same_host = before.is_first && here.identity.is_first;
        let mut journal = Self {
            record: PriorState {
                applied: applied && is_same_host,
                scope,
                guards,
                ..PriorState::default()
            },
            spec,
            notice,
            ..Self::default()
        };
        if let Some(message) = pending.as_ref().map(Pending::earlier_boot_notice) {
            journal.push_notice(&message);
        }
        journal
    }
}

impl StateDir {
    /// A journal with nothing in it.
    pub(super) fn empty(&self) -> Journal {
        Journal { namespace: self.identity().cloned(), ..Journal::default() }
    }

    /// What a journal says in this namespace. One without an identity, as earlier versions wrote
    /// them, is taken for this one's.
    pub(super) fn as_read_here(&self, journal: Journal) -> Result<Journal, JournalError> {
        let Some(here) = &self.namespace else { return Ok(journal) };
        let journal = match journal.namespace.clone() {
            Some(before) if !before.is_same(&here.identity) => {
                self.check_not_replaced()?;
                journal.inherited(&before, here)
            }
            _ => journal,
        };
        Ok(Journal { namespace: Some(here.identity.clone()), ..journal })
    }

    /// The journal with the namespace that it is written in.
    pub(super) fn as_written_here<'a>(&self, journal: &'a Journal) -> Cow<'a, Journal> {
        match self.identity() {
            Some(here) if journal.namespace.as_ref() != Some(here) => {
                Cow::Owned(Journal { namespace: Some(here.clone()), ..journal.clone() })
            }
            _ => Cow::Borrowed(journal),
        }
    }

    /// Asserts that the name does not stand for another namespace by now: a process keeps the one
    /// that it is in alive when that is deleted, and the folder is the new one's.
    pub(super) fn check_not_replaced(&self) -> Result<(), JournalError> {
        let named = self.namespace.as_ref().filter(|it| !it.initial && it.is_known_by_name());
        let Some(name) = named.and_then(|it| it.name.clone()) else { return Ok(()) };
        match Namespace::state(&name) {
            Ok(NamespaceState::Another) => {
                Err(JournalError::Replaced { name, folder: self.folder.clone() })
            }
            // Where that cannot be told, as where names cannot be seen any more, nothing is known
            // against it.
            Ok(NamespaceState::This | NamespaceState::Nothing) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
