//! What an apply adopts before its first change.

use std::collections::BTreeSet;

use evenkeel_engine::{EarlierSpecs, Journal, StateDir, StoredSpec};
use evenkeel_model::{Desired, Live, ServiceKey};

use crate::history::stored;

/// What is about to come into force, and what was known before.
pub(crate) struct Adoption<'a> {
    pub(crate) desired: &'a Desired,
    pub(crate) live: &'a Live,
    /// The last applied spec, where it was looked up already.
    pub(crate) last: Option<&'a Desired>,
    /// The spec of an attempt that did not finish.
    pub(crate) attempt: Option<StoredSpec>,
    /// The services that it is limited to; none for all.
    pub(crate) services: &'a BTreeSet<ServiceKey>,
}

impl Adoption<'_> {
    /// Puts into the journal what is adopted; writing it is left to the caller. The specs before
    /// are read only where something can be adopted.
    pub(crate) fn record(self, state: &StateDir, journal: &mut Journal) {
        let Self { desired, live, last, attempt, services } = self;
        if !journal.may_adopt(live) && services.is_empty() {
            return;
        }
        let read = match last {
            Some(_) => None,
            None => journal.targeted_in_force().over(stored(state, journal)),
        };
        let attempted = attempted(state, &Journal { next: attempt, ..Journal::default() });
        let earlier = EarlierSpecs { last: last.or(read.as_ref()), attempted: attempted.as_ref() };
        match services.is_empty() {
            true => journal.adopt(desired, live, earlier),
            false => journal.adopt_targeted(services, desired, live, earlier),
        }
    }
}

/// What the spec of an attempt that did not finish asked for; `None` where there is none, or where
/// that cannot be known.
pub(crate) fn attempted(state: &StateDir, journal: &Journal) -> Option<Desired> {
    stored(state, &journal.of_attempt()?)
}
