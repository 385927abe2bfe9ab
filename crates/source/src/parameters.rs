//! The values of a spec's parameters on this host.

mod host_addresses;

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::env::{self, VarError};
use std::fmt;

use evenkeel_host::Address;
use evenkeel_model::{Binding, Family};
use evenkeel_spec::{Parameter, Parameters};

use host_addresses::{AddressReader, first_own};

/// Provides the values of parameters: those of `--set`, of the environment, and the addresses of a
/// network namespace. It records which parameters were requested, so that their values can be compared
/// later: parameters are inputs of a spec, as files are.
pub struct HostParameters {
    set: BTreeMap<String, String>,
    reader: RefCell<AddressReader>,
    /// The addresses that the journal records as bound by evenkeel.
    journalled: BTreeSet<Binding>,
    /// The addresses, read on first use; the same for all values until [`Self::refresh`].
    addresses: OnceCell<Result<Vec<Address>, String>>,
    used: RefCell<ParameterReadings>,
}

/// The values of parameters at one time.
pub type ParameterReadings = BTreeMap<ParameterName, ParameterValue>;

/// A parameter, displayed as the text between its braces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ParameterName(Kind);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Set(Box<str>),
    Env(Box<str>),
    Host { interface: Box<str>, family: Option<Family> },
}

/// The value of a parameter at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterValue {
    /// Its value.
    Value(Box<str>),
    /// It has no value: no such interface, no address.
    Missing,
    /// Its value cannot be used, and reading it again does not change that.
    Unusable(String),
    /// Its value could not be read, and may be readable later.
    Unavailable(String),
}

impl HostParameters {
    /// The values of `--set` by their names, and the addresses of the network namespace of that name;
    /// of the calling thread's, if there is no name.
    pub fn new(set: BTreeMap<String, String>, netns: Option<&str>) -> Self {
        Self::with_reader(set, host_addresses::reader(netns))
    }

    fn with_reader(set: BTreeMap<String, String>, reader: AddressReader) -> Self {
        Self {
            set,
            reader: RefCell::new(reader),
            journalled: BTreeSet::new(),
            addresses: OnceCell::new(),
            used: RefCell::default(),
        }
    }

    /// Returns the names of `--set` that were not requested.
    pub fn unused(&self) -> Vec<&str> {
        let used = self.used.borrow();
        let names = self.set.keys().map(|name| &**name);
        names.filter(|name| !used.contains_key(&Parameter::Set(name).into())).collect()
    }

    /// Sets the addresses that the journal records as bound by evenkeel: on kernels that do not store
    /// who bound an address, these are left out.
    pub(crate) fn set_journalled(&mut self, journalled: &BTreeSet<Binding>) {
        if self.journalled != *journalled {
            self.journalled.clone_from(journalled);
        }
    }

    /// Begins another reading: the next request for an address reads all of them again.
    pub(crate) fn refresh(&mut self) {
        self.addresses.take();
    }

    /// Returns the current values of these parameters.
    pub(crate) fn current(&self, of: &ParameterReadings) -> ParameterReadings {
        of.keys().map(|name| (name.clone(), self.read(name.parameter()))).collect()
    }

    /// Returns the parameters that were requested, with their values.
    pub fn used(&self) -> ParameterReadings {
        self.used.borrow().clone()
    }

    /// Returns what was requested since the last call.
    pub(crate) fn take_used(&self) -> ParameterReadings {
        self.used.take()
    }

    fn read(&self, parameter: Parameter<'_>) -> ParameterValue {
        match parameter {
            Parameter::Set(name) => ParameterValue::of(self.set.get(name)),
            Parameter::Env(name) => match env::var(name) {
                Ok(value) => ParameterValue::Value(value.into()),
                Err(VarError::NotPresent) => ParameterValue::Missing,
                Err(VarError::NotUnicode(_)) => {
                    ParameterValue::Unusable("the variable is not UTF-8".to_owned())
                }
            },
            Parameter::Host { interface, family } => {
                match self.addresses.get_or_init(|| (self.reader.borrow_mut())()) {
                    Ok(addresses) => ParameterValue::of(
                        first_own(addresses, interface, family, &self.journalled)
                            .map(|it| it.address),
                    ),
                    Err(why) => ParameterValue::Unavailable(why.clone()),
                }
            }
        }
    }
}

impl Parameters for HostParameters {
    fn value(&self, parameter: Parameter<'_>) -> Result<Option<String>, String> {
        let value = self.read(parameter);
        self.used.borrow_mut().insert(parameter.into(), value.clone());
        match value {
            ParameterValue::Value(value) => Ok(Some(value.into())),
            ParameterValue::Missing => Ok(None),
            ParameterValue::Unusable(why) | ParameterValue::Unavailable(why) => Err(why),
        }
    }
}

impl fmt::Debug for HostParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostParameters").field("used", &self.used).finish_non_exhaustive()
    }
}

impl ParameterName {
    /// Whether its value depends on the addresses of this host.
    pub fn is_address(&self) -> bool {
        matches!(self.0, Kind::Host { .. })
    }

    fn parameter(&self) -> Parameter<'_> {
        match &self.0 {
            Kind::Set(name) => Parameter::Set(name),
            Kind::Env(name) => Parameter::Env(name),
            Kind::Host { interface, family } => Parameter::Host { interface, family: *family },
        }
    }
}

impl From<Parameter<'_>> for ParameterName {
    fn from(parameter: Parameter<'_>) -> Self {
        Self(match parameter {
            Parameter::Set(name) => Kind::Set(name.into()),
            Parameter::Env(name) => Kind::Env(name.into()),
            Parameter::Host { interface, family } => {
                Kind::Host { interface: interface.into(), family }
            }
        })
    }
}

impl fmt::Display for ParameterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parameter().fmt(f)
    }
}

impl ParameterValue {
    fn of(value: Option<impl ToString>) -> Self {
        value.map_or(Self::Missing, |value| Self::Value(value.to_string().into()))
    }

    /// Returns the value, if it has one.
    pub fn value(&self) -> Option<&str> {
        match self {
            Self::Value(value) => Some(value),
            Self::Missing | Self::Unusable(_) | Self::Unavailable(_) => None,
        }
    }

    /// Returns why there is no value, if the reason is another one than that none exists.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Value(_) | Self::Missing => None,
            Self::Unusable(why) | Self::Unavailable(why) => Some(why),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
