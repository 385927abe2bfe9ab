//! Records a spec that is about to be applied and what it adopts, before its first change.

use std::collections::BTreeSet;

use evenkeel_engine::{EarlierSpecs, Journal, JournalError, ParameterValues, StateDir, StoredSpec};
use evenkeel_model::{Desired, Live, ServiceKey};

use crate::last_applied::stored;

/// A spec that is about to be applied as a whole.
pub struct SpecRecord<'a> {
    /// Its texts, with absolute names.
    pub texts: &'a [(&'a str, &'a [u8])],
    /// The values of the parameters in them.
    pub parameters: &'a ParameterValues,
    /// What it asks for.
    pub desired: &'a Desired,
    /// The live state.
    pub live: &'a Live,
    /// The last applied spec, if it was already read.
    pub last: Option<&'a Desired>,
}

impl SpecRecord<'_> {
    /// Stores the texts, and adds the spec and what it adopts to the journal, which the caller writes.
    ///
    /// # Errors
    /// The texts cannot be stored.
    pub fn record(self, state: &StateDir, journal: &mut Journal) -> Result<(), JournalError> {
        let Self { texts, parameters, desired, live, last } = self;
        let attempt = journal.next.take();
        state.store_spec(journal, texts, parameters)?;
        // An unchanged spec was applied before, and adopted what there was to adopt.
        if journal.next.is_some() {
            let services = &BTreeSet::new();
            Adoption { desired, live, last, attempt, services }.record(state, journal);
        }
        Ok(())
    }
}

/// The spec that is about to be applied, and the specs before it.
pub struct Adoption<'a> {
    /// What it asks for.
    pub desired: &'a Desired,
    /// The live state.
    pub live: &'a Live,
    /// The last applied spec, if it was already read.
    pub last: Option<&'a Desired>,
    /// The spec of an unfinished attempt.
    pub attempt: Option<StoredSpec>,
    /// The services that the apply is limited to; empty for all.
    pub services: &'a BTreeSet<ServiceKey>,
}

impl Adoption<'_> {
    /// Adds to the journal what is adopted; the caller writes it. Reads the earlier specs only if
    /// adoption can change.
    pub fn record(self, state: &StateDir, journal: &mut Journal) {
        let Self { desired, live, last, attempt, services } = self;
        if !journal.may_adopt(live) && services.is_empty() {
            return;
        }
        let read = match last {
            Some(_) => None,
            None => journal.active_partial_applies().over(stored(state, journal)),
        };
        let attempted = attempted(state, &Journal { next: attempt, ..Journal::default() });
        let earlier = EarlierSpecs { last: last.or(read.as_ref()), attempted: attempted.as_ref() };
        match services.is_empty() {
            true => journal.adopt(desired, live, earlier),
            false => journal.adopt_targeted(services, desired, live, earlier),
        }
    }
}

/// What the spec of an unfinished attempt asked for; `None` where there is none, or where it cannot
/// be read.
pub(crate) fn attempted(state: &StateDir, journal: &Journal) -> Option<Desired> {
    stored(state, &journal.of_attempt()?)
}
