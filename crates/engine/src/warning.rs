//! Warnings of an execution: what did not prevent any step, but should be known.

use std::fmt;

use evenkeel_model::{Binding, DefaultRoute};

/// What went wrong beside the steps of an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecutionWarning {
    /// A VIP was bound, but its announcement failed: neighbours use it once their cache entries
    /// expire.
    NotAnnounced {
        /// The VIP.
        binding: Binding,
        /// Why.
        error: String,
    },
    /// The default route that evenkeel replaced could not be restored; evenkeel's own was deleted.
    RouteNotRestored {
        /// The default route.
        route: DefaultRoute,
        /// The former one: `via 192.0.2.254 dev eth0`.
        former: String,
        /// Why.
        error: String,
    },
    /// A batch of messages was interrupted.
    Interrupted {
        /// Why.
        cause: String,
    },
    /// The outcome could not be recorded: the journal still holds the intended steps.
    OutcomeNotRecorded {
        /// Why.
        error: String,
    },
    /// It could not be recorded which services were applied one by one.
    SelectionNotRecorded {
        /// Why.
        error: String,
    },
}

impl fmt::Display for ExecutionWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnnounced { binding, error } => {
                write!(f, "{binding} is bound, but not announced: {error}")
            }
            Self::RouteNotRestored { route, former, error } => write!(
                f,
                "the former default route {route}, {former}, cannot be restored: {error}; `ip route` adds \
                 a route where one is needed"
            ),
            Self::Interrupted { cause } => write!(f, "a batch was interrupted: {cause}"),
            Self::OutcomeNotRecorded { error } => write!(
                f,
                "{error}; the journal still records the intended steps, not their outcome"
            ),
            Self::SelectionNotRecorded { error } => write!(
                f,
                "{error}; the next plan does not take into account that these services were applied"
            ),
        }
    }
}
