//! Finds services by name or by key, among those of which a host is a director or a real server.

use std::collections::BTreeSet;
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

/// Lists the services of a spec that the selector matches.
pub(super) fn keys_of<'a>(
    selector: &'a str,
    spec: &'a Desired,
) -> impl Iterator<Item = ServiceKey> + 'a {
    named_keys(spec).filter(|(key, name)| matches_name(selector, key, name)).map(|(key, _)| *key)
}

/// Lists the services with their names; a part of a real server may have none.
fn named_keys(spec: &Desired) -> impl Iterator<Item = (&ServiceKey, &str)> {
    let services = spec.services.iter().map(|(key, named)| (key, &*named.name));
    services.chain(spec.real_server.iter().map(|(key, part)| (key, &*part.name)))
}

fn matches_name(selector: &str, key: &ServiceKey, name: &str) -> bool {
    let is_name = |selector: &str| !name.is_empty() && selector == name;
    if is_name(selector) {
        return true;
    }
    let key = key.to_string();
    selector == key
        || selector.strip_suffix(&key).and_then(|name| name.strip_suffix('/')).is_some_and(is_name)
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
