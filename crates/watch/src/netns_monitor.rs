//! Whether the network namespace that is kept is still the one of its name.
//!
//! A process keeps a namespace alive that was deleted, and would go on in it for ever, while clients
//! are served by the one that was made anew under the same name. Entering that one takes a
//! capability that the daemon may not have any more, and would leave half of its sockets behind: it
//! ends, and whoever started it starts it again.

use evenkeel_host::{Namespace, NamespaceState};
use thiserror::Error;
use tracing::debug;

/// The name stands for another namespace, or for none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NamespaceLost {
    /// It was deleted and made anew.
    #[error(
        "network namespace {0} was deleted and made anew: this daemon kept the old one, and has to \
         be started again for the new one"
    )]
    Replaced(String),
    /// It was deleted.
    #[error("network namespace {0} was deleted: there is nothing left to keep")]
    Deleted(String),
}

/// The namespace that is kept, if it goes by a name.
#[derive(Debug)]
pub(crate) struct NetnsMonitor {
    name: Option<String>,
    was_gone: bool,
}

impl NetnsMonitor {
    pub(crate) fn new(name: Option<String>) -> Self {
        Self { name, was_gone: false }
    }

    /// Looks whether it is still the one of its name.
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

    /// One that is gone may be about to be made anew, so that is told at the second look.
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
    fn one_that_is_made_anew_is_lost_at_once() {
        let lost =
            lost_after(&[NamespaceState::This, NamespaceState::Another]).expect("it is lost");
        assert_eq!(lost, NamespaceLost::Replaced("blue".into()));
        assert!(lost_after(&[NamespaceState::Nothing, NamespaceState::Another]).is_some());
    }

    #[test]
    fn one_that_is_gone_is_lost_at_the_second_look_in_a_row() {
        use NamespaceState::{Nothing, This};
        assert_eq!(lost_after(&[This, Nothing, This, Nothing, This]), None);
        let lost = lost_after(&[Nothing, This, Nothing, Nothing]).expect("it is lost");
        assert_eq!(lost, NamespaceLost::Deleted("blue".into()));
    }

    #[test]
    fn one_without_a_name_is_never_lost() {
        assert_eq!(NetnsMonitor::new(None).check(), None);
    }
}
