//! Follows a source: decides when to read it, and reads it.
//!
//! A reading depends on the texts and on the values of the parameters in them, so both are compared and
//! debounced together: a changed address is handled as a changed file is. Parameters cost nothing while
//! the spec uses no address of this host.
//!
//! A reading that fails because the system refused something is repeated, with back-off, at least once
//! in each interval.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use evenkeel_model::{Binding, FormerRole, HostRoles};

use crate::debounce::{Debounce, LIMIT, STABLE_FOR, Stability, Writer};
use crate::error::SpecError;
use crate::parameters::{HostParameters, Macs, ParameterReadings, ParameterValue};
use crate::source::{Revision, SpecSource};
use crate::spec_text::SpecText;

/// The time until a reading that failed temporarily is repeated for the first time; it doubles with each
/// further failure, up to the interval.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Follows one source.
pub struct Follower {
    source: Box<dyn SpecSource>,
    parameters: HostParameters,
    interval: Duration,
    debounce: Debounce<Inputs>,
    /// The parameters of the last reading, with the values that it used.
    used: ParameterReadings,
    /// The role of the host, which is fixed while a spec is followed; `None` until a spec was read.
    role: Option<FixedRole>,
    /// The roles by the last valid spec; none until there is one.
    roles: HostRoles,
    /// Changes that the source may not report, a message each.
    unreliable: Vec<String>,
    retry: Option<Retry>,
}

/// What does not change while a spec is followed: whether the host is a director, and which one, a real
/// server or a gateway. It may cease to be a real server or a gateway, and become that again.
#[derive(Debug, Clone, PartialEq, Eq)]
enum FixedRole {
    /// A director; the name is `None` if the spec gives it none.
    Director(Option<Box<str>>),
    /// A real server or a gateway.
    Other(FormerRole),
    /// None yet: the host was a real server or a gateway, and no spec listed it since.
    Undecided,
}

/// All that a reading depends on.
#[derive(Debug, Clone, PartialEq)]
struct Inputs {
    revision: Revision,
    parameters: ParameterReadings,
}

/// A reading that failed and is repeated though its inputs stay the same.
#[derive(Debug, Clone, Copy)]
struct Retry {
    at: Instant,
    delay: Duration,
}

/// What was read.
#[derive(Debug)]
pub struct Reading {
    /// The spec, or why there is none.
    pub spec: Result<SpecText, SpecError>,
    /// The parameters that were requested, with their values.
    pub parameters: ParameterReadings,
}

impl Inputs {
    /// Whether these are the same inputs as `sampled`, but for other parameters.
    fn refines(&self, sampled: &Self) -> bool {
        let known = |(name, value)| sampled.parameters.get(name).is_none_or(|it| it == value);
        self.revision == sampled.revision && self.parameters.iter().all(known)
    }
}

impl Follower {
    /// Follows a source whose spec has these parameters. The interval is the longest time between two
    /// attempts after a temporary error.
    pub fn new(
        source: Box<dyn SpecSource>,
        parameters: HostParameters,
        interval: Duration,
    ) -> Self {
        Self {
            source,
            parameters: parameters.keeping_macs(),
            interval,
            debounce: Debounce::new(STABLE_FOR, LIMIT),
            used: ParameterReadings::new(),
            role: None,
            roles: HostRoles::NONE,
            unreliable: Vec::new(),
            retry: None,
        }
    }

    /// Returns when to take a sample after a notification at `now`: at once, unless one was taken a
    /// moment ago.
    pub fn next_sample(&self, now: Instant) -> Instant {
        self.debounce.next_sample(now)
    }

    /// Takes a sample of the source and of the parameters, and decides whether to read them. A sample is
    /// due after every notification, after every change of addresses if [`Self::uses_addresses`], and in
    /// each interval.
    pub fn sample(&mut self) -> Stability {
        self.unreliable = self.source.watch();
        let revision = self.source.revision();
        // After the revision: a write by a program that closes the file in between shows in the next
        // revision.
        let is_written = !self.source.open_writers().is_empty();
        let writer = if is_written { Writer::Open } else { Writer::Closed };
        self.parameters.refresh();
        let inputs = Inputs { revision, parameters: self.parameters.current(&self.used) };
        let now = Instant::now();
        let stability = match (self.debounce.sample(now, &inputs, writer), self.retry) {
            (Stability::Idle, Some(retry)) if retry.at <= now => Stability::Read,
            (Stability::Idle, Some(retry)) => Stability::WaitUntil(retry.at),
            (stability, _) => stability,
        };
        if !matches!(stability, Stability::Read | Stability::ReadAnyway) {
            // No reading follows, so the addresses need not stay in memory.
            self.parameters.refresh();
        }
        stability
    }

    /// Reads the source after a sample. Returns `None` if it changed during the reading, whose result is
    /// discarded then: the next sample decides when to read it again.
    pub fn read(&mut self) -> Option<Reading> {
        let fetched = self.source.fetch();
        let loaded = match fetched {
            Ok(texts) => SpecText::load(texts, &self.parameters)
                .and_then(|spec| self.check_role(spec))
                .map_err(|text| SpecError { text, is_temporary: false }),
            Err(error) => Err(error.into()),
        };
        let requested = self.parameters.take_used();
        self.parameters.refresh();
        // If nothing could be read, the values that the last texts need remain the inputs.
        let could_fetch = !matches!(&loaded, Err(error) if error.is_temporary);
        let parameters = if could_fetch { requested } else { self.last_parameters() };
        let after = Inputs { revision: self.source.revision(), parameters: parameters.clone() };
        if self.debounce.last().is_some_and(|last| after.refines(last)) {
            // Only the reading shows which parameters the texts have.
            self.debounce.refine(after.clone());
        }
        if !self.debounce.accept_read(&after) {
            return None;
        }
        let spec = loaded.map_err(|error| SpecError {
            is_temporary: error.is_temporary || is_any_unavailable(&parameters),
            ..error
        });
        let is_temporary = spec.as_ref().is_err_and(|error| error.is_temporary);
        self.retry = is_temporary.then(|| self.next_retry());
        self.used.clone_from(&parameters);
        Some(Reading { spec, parameters })
    }

    /// Fixes the role of the host, unless it is fixed already.
    pub fn fix_role(&mut self, roles: &HostRoles) {
        if let Some(former) = roles.to_record(None) {
            self.parameters.set_former(former);
        }
        if matches!(self.role, None | Some(FixedRole::Undecided)) {
            self.role = Some(FixedRole::of(roles));
        }
    }

    /// Refuses a spec that gives the host another role.
    fn check_role(&mut self, spec: SpecText) -> Result<SpecText, String> {
        let new = FixedRole::of(&spec.desired.roles);
        match &self.role {
            Some(fixed) if !fixed.permits(&new) => Err(format!(
                "the spec and the addresses of this host would make it {new}; it is {fixed}, and stays that \
                 until evenkeel is restarted: restart it, or correct the spec or the addresses"
            )),
            _ => {
                self.check_own_addresses(&spec.desired.roles)?;
                self.fix_role(&spec.desired.roles);
                self.roles.clone_from(&spec.desired.roles);
                Ok(spec)
            }
        }
    }

    /// Refuses that the host ceases to be a real server or a gateway because it lost its address: only a
    /// spec that no longer lists the address takes it out of service.
    fn check_own_addresses(&self, roles: &HostRoles) -> Result<(), String> {
        let error = |lost: Vec<String>, role: FormerRole| {
            Err(format!(
                "this host no longer has {}, by which the spec makes it {}; it stays one until evenkeel is \
                 restarted: add the address to an interface again, or remove it from the spec",
                lost.join(", "),
                role.phrase()
            ))
        };
        let lost = self.roles.real_server.difference(&roles.real_server);
        let listed = lost.filter(|it| self.parameters.is_real_server(it));
        let listed: Vec<String> = listed.map(ToString::to_string).collect();
        if !listed.is_empty() {
            return error(listed, FormerRole::RealServer);
        }
        match &self.roles.gateway {
            Some(it) if roles.gateway.is_none() && self.parameters.is_gateway(&it.by) => {
                error(vec![it.by.to_string()], FormerRole::Gateway)
            }
            _ => Ok(()),
        }
    }

    /// Makes a reading that is to be repeated due at once.
    pub fn retry_now(&mut self) {
        if let Some(retry) = &mut self.retry {
            retry.at = Instant::now();
        }
    }

    /// Returns when a reading that failed temporarily is repeated, unless something changes before.
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry.map(|retry| retry.at)
    }

    /// Whether the spec depends on addresses of this host.
    pub fn uses_addresses(&self) -> bool {
        self.used.keys().any(|name| name.is_address())
    }

    /// Sets the addresses that the journal records as bound by evenkeel, which are not the host's own.
    pub fn set_journalled(&mut self, journalled: &BTreeSet<Binding>) {
        self.parameters.set_journalled(journalled);
    }

    /// Replaces MAC addresses that are known by those of another applied spec, which a user reviewed.
    pub fn replace_macs(&mut self, macs: &Macs) {
        self.parameters.replace_macs(macs);
    }

    /// Returns a message for each part of the source whose changes may not be notified, as of the last
    /// sample.
    pub fn unreliable(&self) -> &[String] {
        &self.unreliable
    }

    /// Returns the parts of the source that a program is writing at the moment.
    pub fn open_writers(&self) -> Vec<PathBuf> {
        self.source.open_writers()
    }

    /// Returns since when there is a change that was not read in a stable state.
    pub fn unstable_since(&self) -> Option<Instant> {
        self.debounce.unstable_since()
    }

    fn last_parameters(&self) -> ParameterReadings {
        self.debounce.last().map(|last| last.parameters.clone()).unwrap_or_default()
    }

    fn next_retry(&self) -> Retry {
        let delay = self.retry.map_or(FIRST_RETRY, |retry| retry.delay * 2).min(self.interval);
        Retry { at: Instant::now() + delay, delay }
    }
}

impl FixedRole {
    fn of(roles: &HostRoles) -> Self {
        match roles.to_record(None) {
            Some(former) => Self::Other(former),
            None if roles.is_director() => Self::Director(roles.director_name().map(Into::into)),
            None => Self::Undecided,
        }
    }

    /// Whether the host may become that.
    fn permits(&self, new: &Self) -> bool {
        match (self, new) {
            (Self::Director(_), _) | (_, Self::Director(_)) => self == new,
            (Self::Undecided, _) | (_, Self::Undecided) => true,
            (Self::Other(fixed), Self::Other(new)) => fixed == new,
        }
    }
}

impl fmt::Display for FixedRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Director(Some(name)) => write!(f, "the director `{name}`"),
            Self::Director(None) => f.write_str("a director"),
            Self::Other(role) => f.write_str(role.phrase()),
            Self::Undecided => f.write_str("no director"),
        }
    }
}

fn is_any_unavailable(parameters: &ParameterReadings) -> bool {
    parameters.values().any(|value| matches!(value, ParameterValue::Unavailable(_)))
}

#[cfg(test)]
mod tests;
