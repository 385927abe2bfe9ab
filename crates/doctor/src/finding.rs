//! What an examination results in: findings, and what was not checked.

use std::collections::BTreeSet;

use evenkeel_model::ServiceKey;

use crate::Code;

/// Something that keeps traffic from flowing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What kind of finding it is.
    pub code: Code,
    /// The services whose traffic it concerns; empty for one of the host as a whole.
    pub services: BTreeSet<ServiceKey>,
    /// What is wrong on this host, as a clause without a full stop.
    pub what: String,
    /// What to do, as a clause without a full stop.
    pub remedy: String,
}

/// Checks that could not be made. That their codes are not among the findings means nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotChecked {
    /// The codes that may be missed; never empty.
    pub codes: BTreeSet<Code>,
    /// Why, as a clause without a full stop.
    pub reason: String,
}

impl Finding {
    /// A finding about some services.
    pub(crate) fn of(
        code: Code,
        services: impl IntoIterator<Item = ServiceKey>,
        what: String,
        remedy: String,
    ) -> Self {
        Self { code, services: services.into_iter().collect(), what, remedy }
    }
}
