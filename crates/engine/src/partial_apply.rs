//! The services that were applied one by one (`--target`) since the last apply of a whole spec.
//!
//! The texts of such an apply do not become the last applied spec, since the rest of them was not
//! applied. So each service is recorded by itself and takes precedence over that spec: plans use it
//! to explain why a step is needed, and a teardown to find what evenkeel created.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{Desired, NamedService, ServiceKey};
use serde::{Deserialize, Serialize};

/// Services as they were applied one by one; `None` is a removed service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Entry>", into = "Vec<Entry>")]
pub struct PartialApplies(BTreeMap<ServiceKey, Option<NamedService>>);

/// The serialized form: JSON has no maps with such keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    service: ServiceKey,
    asked: Option<NamedService>,
}

impl PartialApplies {
    /// What the spec asks for in these services.
    pub fn new(services: &BTreeSet<ServiceKey>, desired: &Desired) -> Self {
        let asked = |key: &ServiceKey| (*key, desired.services.get(key).cloned());
        Self(services.iter().map(asked).collect())
    }

    /// Returns the services that were applied and not removed.
    pub fn services(&self) -> BTreeSet<ServiceKey> {
        self.0.iter().filter(|(_, asked)| asked.is_some()).map(|(key, _)| *key).collect()
    }

    /// Whether no service differs from the last applied spec on record.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds later applies, which take precedence.
    pub fn extend(&mut self, later: Self) {
        self.0.extend(later.0);
    }

    /// The last applied spec with these services replaced; `None` where nothing is known.
    pub fn over(&self, last: Option<Desired>) -> Option<Desired> {
        if self.is_empty() {
            return last;
        }
        let mut last = last.unwrap_or_default();
        for (key, asked) in &self.0 {
            match asked {
                Some(named) => last.services.insert(*key, named.clone()),
                None => last.services.remove(key),
            };
        }
        Some(last)
    }
}

impl From<Vec<Entry>> for PartialApplies {
    fn from(entries: Vec<Entry>) -> Self {
        Self(entries.into_iter().map(|Entry { service, asked }| (service, asked)).collect())
    }
}

impl From<PartialApplies> for Vec<Entry> {
    fn from(targeted: PartialApplies) -> Self {
        let entries = targeted.0.into_iter();
        entries.map(|(service, asked)| Entry { service, asked }).collect()
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_model::Drain;

    use super::*;
    use crate::Journal;
    use crate::execute::tests::web;

    fn spec(weight: u32) -> (ServiceKey, Desired) {
        let (key, named) = web([(1, weight)], Drain::NONE);
        (key, Desired { services: [(key, named)].into(), ..Desired::default() })
    }

    #[test]
    fn later_partial_applies_take_precedence_over_the_last_spec() {
        let (key, first) = spec(1);
        let second = spec(2).1;
        assert_eq!(PartialApplies::default().over(None), None);
        assert_eq!(PartialApplies::default().over(Some(first.clone())), Some(first.clone()));
        let mut targeted = PartialApplies::new(&[key].into(), &second);
        assert_eq!(targeted.over(Some(first.clone())), Some(second.clone()));
        assert_eq!(targeted.over(None), Some(second));
        targeted.extend(PartialApplies::new(&[key].into(), &Desired::default()));
        assert_eq!(targeted.over(Some(first)), Some(Desired::default()));
    }

    #[test]
    fn a_journal_keeps_partial_applies_until_a_whole_spec_is_applied() {
        let (key, desired) = spec(1);
        let folder = tempfile::tempdir().expect("a folder");
        let state = crate::StateDir::new(folder.path(), "init");
        let mut journal = Journal {
            targeted: PartialApplies::new(&[key].into(), &desired),
            ..Journal::default()
        };
        state.write(&journal).expect("it can be written");
        assert_eq!(state.read(false).expect("it can be read"), (journal.clone(), None));
        journal.set_active_spec(&desired);
        assert!(journal.targeted.is_empty());
    }
}
