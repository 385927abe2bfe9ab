//! Tracks the values of the spec's parameters, and reports what changes or is missing.

use std::collections::BTreeMap;

use evenkeel_control::ParameterStatus;
use evenkeel_source::{ParameterReadings, ParameterValue, ParameterValues};
use tracing::{info, warn};

/// The parameters of the last readings.
#[derive(Debug, Default)]
pub(crate) struct ParameterChanges(BTreeMap<Box<str>, Entry>);

#[derive(Debug)]
struct Entry {
    value: ParameterValue,
    /// Since when it has this value, in seconds since 1970.
    since: u64,
    /// The last value before this one; `None` if there was none, or the same.
    previous: Option<Box<str>>,
}

impl ParameterChanges {
    /// Starts with the values of a spec that was applied before.
    pub(crate) fn remember(&mut self, values: &ParameterValues, now: u64) {
        for (name, value) in values {
            let value = ParameterValue::Value(value.clone());
            self.0.insert(name.clone(), Entry { value, since: now, previous: None });
        }
    }

    /// Compares the values of a reading with those before it, and logs the changes.
    pub(crate) fn update(&mut self, readings: &ParameterReadings, now: u64) {
        // What the roles of this host depend on is no parameter of the spec; a changed role is an error.
        for (name, value) in readings.iter().filter(|(name, _)| name.is_of_spec()) {
            let name = name.to_string();
            let before = self.0.get(&*name);
            if before.is_some_and(|before| before.value == *value) {
                continue;
            }
            if let Some(before) = before {
                log(&name, &before.value, value);
            }
            let last = before.and_then(|it| it.value.value().or(it.previous.as_deref()));
            let previous = last.filter(|last| value.value() != Some(last)).map(Into::into);
            self.0.insert(name.into(), Entry { value: value.clone(), since: now, previous });
        }
    }

    /// Forgets the parameters that a valid spec no longer has.
    pub(crate) fn retain(&mut self, values: &ParameterValues) {
        self.0.retain(|name, _| values.contains_key(name));
    }

    /// Lists the parameters that changed or have no value.
    pub(crate) fn status(&self) -> Vec<ParameterStatus> {
        let changed = self
            .0
            .iter()
            .filter(|(_, entry)| entry.previous.is_some() || entry.value.value().is_none());
        let status = changed.map(|(name, Entry { value, since, previous })| ParameterStatus {
            name: name.to_string(),
            value: value.value().map(|it| shown(name, it).to_owned()),
            error: value.error().map(ToOwned::to_owned),
            previous: previous.as_deref().map(|it| shown(name, it).to_owned()),
            since: *since,
        });
        status.collect()
    }
}

/// What is shown of a value: nothing of the environment, which may hold secrets.
fn shown<'a>(name: &str, value: &'a str) -> &'a str {
    if name.starts_with("env:") { "(hidden)" } else { value }
}

fn log(name: &str, before: &ParameterValue, after: &ParameterValue) {
    let before = before.value().map_or("no value", |it| shown(name, it));
    match after {
        ParameterValue::Value(after) => {
            let after = shown(name, after);
            info!("parameter ${{{name}}} changed from {before} to {after}");
        }
        ParameterValue::Missing => warn!("parameter ${{{name}}} changed from {before} to no value"),
        ParameterValue::Unusable(why) | ParameterValue::Unavailable(why) => {
            warn!("parameter ${{{name}}}, last {before}, cannot be read: {why}");
        }
    }
}

#[cfg(test)]
mod tests;
