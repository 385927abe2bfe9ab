//! Checks that the name of the network namespace still stands for the daemon's own namespace.
//!
//! A process keeps a deleted namespace alive. The daemon would manage it for ever, while clients are
//! served by the one that was created again under the same name. Entering that one needs a capability
//! that the daemon may no longer have, and half of its sockets would stay in the old one. So the
//! daemon ends, and the service manager starts it again.

use evenkeel_host::{Namespace, NamespaceState};
use thiserror::Error;
use tracing::debug;

/// The name stands for another namespace now, or for none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NamespaceLost {
    /// It was deleted and created again.
    #[error(
        "network namespace {0} was deleted and created again: this daemon manages the old one; \
         restart it for the new one"
    )]
    Replaced(String),
    /// It was deleted.
    #[error("network namespace {0} was deleted: there is nothing left to manage")]
    Deleted(String),
}

/// Monitors the daemon's namespace, if it was entered by a name.
#[derive(Debug)]
pub(crate) struct NetnsMonitor {
    name: Option<String>,
    was_gone: bool,
}

impl NetnsMonitor {
    pub(crate) fn new(name: Option<String>) -> Self {
        Self { name, was_gone: false }
    }

    /// Checks whether the name still stands for it.
    pub(crate) fn check(&mut self) -> Option<NamespaceLost> {
        let name = self.name.clone()?;
        match Namespace::state(&name) {
            Ok(state) => self.evaluate(name, state),
            Err(error) => {
                debug!("{error}");
                None
            }
        }
    }

    /// Reports a missing name only at the second check: it may be about to be created again.
    fn evaluate(&mut self, name: String, state: NamespaceState) -> Option<NamespaceLost> {
        let was_gone = std::mem::replace(&mut self.was_gone, state == NamespaceState::Nothing);
        match state {
            NamespaceState::This => None,
            NamespaceState::Another => Some(NamespaceLost::Replaced(name)),
            NamespaceState::Nothing => was_gone.then_some(NamespaceLost::Deleted(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost_after(states: &[NamespaceState]) -> Option<NamespaceLost> {
        let mut watched = NetnsMonitor::new(Some("blue".into()));
        states.iter().find_map(|state| watched.evaluate("blue".into(), *state))
    }

    #[test]
    fn a_namespace_created_again_is_lost_at_once() {
        let lost =
            lost_after(&[NamespaceState::This, NamespaceState::Another]).expect("it is lost");
        assert_eq!(lost, NamespaceLost::Replaced("blue".into()));
        assert!(lost_after(&[NamespaceState::Nothing, NamespaceState::Another]).is_some());
    }

    #[test]
    fn a_deleted_namespace_is_lost_at_the_second_check_in_a_row() {
        use NamespaceState::{Nothing, This};
        assert_eq!(lost_after(&[This, Nothing, This, Nothing, This]), None);
        let lost = lost_after(&[Nothing, This, Nothing, Nothing]).expect("it is lost");
        assert_eq!(lost, NamespaceLost::Deleted("blue".into()));
    }

    #[test]
    fn a_namespace_without_a_name_is_never_lost() {
        assert_eq!(NetnsMonitor::new(None).check(), None);
    }
}
