//! The values of parameters at one time.

use std::collections::BTreeMap;
use std::fmt;

use evenkeel_model::Family;
use evenkeel_spec::{HOST_INPUTS, Parameter};

/// The values of parameters at one time.
pub type ParameterReadings = BTreeMap<ParameterName, ParameterValue>;

/// A parameter, displayed as the text between its braces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ParameterName(Kind);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Set(Box<str>),
    Env(Box<str>),
    Host {
        interface: Box<str>,
        family: Option<Family>,
    },
    /// What the roles of the host depend on.
    ThisHost,
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

impl ParameterName {
    /// What the roles of the host depend on.
    pub(super) fn this_host() -> Self {
        Self(Kind::ThisHost)
    }

    /// Whether the spec has it between its braces; false for what the roles of the host depend on.
    pub fn is_of_spec(&self) -> bool {
        self.0 != Kind::ThisHost
    }

    /// Whether its value depends on the addresses of this host.
    pub fn is_address(&self) -> bool {
        matches!(self.0, Kind::Host { .. } | Kind::ThisHost)
    }

    /// Returns the parameter that a spec has; `None` for what the roles of the host depend on.
    pub(super) fn parameter(&self) -> Option<Parameter<'_>> {
        Some(match &self.0 {
            Kind::Set(name) => Parameter::Set(name),
            Kind::Env(name) => Parameter::Env(name),
            Kind::Host { interface, family } => Parameter::Host { interface, family: *family },
            Kind::ThisHost => return None,
        })
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
        match self.parameter() {
            Some(parameter) => parameter.fmt(f),
            None => f.write_str(HOST_INPUTS),
        }
    }
}

impl ParameterValue {
    pub(super) fn of(value: Option<impl ToString>) -> Self {
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
