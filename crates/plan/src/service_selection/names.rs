//! Finds services by name or by key, among those of which a host is a director or a real server.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use evenkeel_model::{Desired, ServiceKey};

/// The maximum number of suggested names.
const SOME: usize = 5;

/// The error for a selector that matches no service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownSelection {
    /// The selector as given.
    pub selector: String,
    /// Similar names and keys, the most similar first; all names if none is similar and there are
    /// few.
    pub near: Vec<String>,
}

/// The services of specs by what selects them.
pub(super) struct ServiceNames<'a> {
    by_name: BTreeMap<&'a str, BTreeSet<ServiceKey>>,
    by_key: BTreeMap<ServiceKey, BTreeSet<&'a str>>,
}

impl<'a> ServiceNames<'a> {
    /// Indexes the services of specs.
    pub(super) fn new(specs: impl Iterator<Item = &'a Desired>) -> Self {
        let (mut by_name, mut by_key) = (BTreeMap::new(), BTreeMap::new());
        for (key, name) in specs.flat_map(named_keys) {
            by_name.entry(name).or_insert_with(BTreeSet::new).insert(*key);
            by_key.entry(*key).or_insert_with(BTreeSet::new).insert(name);
        }
        by_name.remove("");
        Self { by_name, by_key }
    }

    /// Returns the services that a selector matches: a name, a key as text, or both with a slash in between.
    pub(super) fn keys_of(&self, selector: &str) -> BTreeSet<ServiceKey> {
        let mut found = self.by_name.get(selector).cloned().unwrap_or_default();
        found.extend(self.key_of(selector).filter(|key| self.by_key.contains_key(key)));
        // A name may contain slashes, and so does a key.
        for (place, _) in selector.match_indices('/') {
            let (name, key) = (&selector[..place], &selector[place + 1..]);
            let is_named =
                |key: &ServiceKey| self.by_key.get(key).is_some_and(|names| names.contains(name));
            found.extend(self.key_of(key).filter(|key| !name.is_empty() && is_named(key)));
        }
        found
    }

    /// Returns the service whose key is written exactly so.
    fn key_of(&self, text: &str) -> Option<ServiceKey> {
        ServiceKey::parse(text).filter(|key| key.to_string() == text)
    }
}

/// Lists the services with their names; a part of a real server may have none.
fn named_keys(spec: &Desired) -> impl Iterator<Item = (&ServiceKey, &str)> {
    let services = spec.services.iter().map(|(key, named)| (key, &*named.name));
    services.chain(spec.real_server.iter().map(|(key, part)| (key, &*part.name)))
}

pub(super) fn similar_names<'a>(
    selector: &str,
    specs: impl Iterator<Item = &'a Desired>,
) -> Vec<String> {
    let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for (key, name) in specs.flat_map(named_keys) {
        names.insert(name.to_owned());
        keys.insert(key.to_string());
    }
    names.remove("");
    let selector = selector.to_lowercase();
    let mut near: Vec<(usize, &String)> = names
        .union(&keys)
        .map(|it| (strsim::damerau_levenshtein(&selector, &it.to_lowercase()), it))
        .filter(|(distance, it)| {
            let longest = selector.chars().count().max(it.chars().count());
            distance * 3 <= longest.max(3) || it.contains(&selector)
        })
        .collect();
    near.sort();
    near.truncate(SOME);
    if near.is_empty() && names.len() <= SOME {
        return names.into_iter().collect();
    }
    near.into_iter().map(|(_, it)| it.clone()).collect()
}

impl fmt::Display for UnknownSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { selector, near } = self;
        write!(f, "no service of this host is called `{selector}`")?;
        for (number, name) in near.iter().enumerate() {
            write!(f, "{}`{name}`", if number == 0 { "; there is " } else { ", " })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownSelection {}
