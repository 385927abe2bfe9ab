//! Writes the values that an object had before, during and after a rollback.

use std::fmt;

use super::list;
use crate::field::{real_server_fields, service_fields, timeout_fields};
use crate::resource::host_object;
use crate::rollback_builder::ObjectTrace;
use crate::value::Value;

impl fmt::Display for ObjectTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, after, now } = self;
        write!(f, "before: {}; by the plan: ", ValueText(before.as_ref()))?;
        for (number, value) in after.iter().enumerate() {
            write!(f, "{}{}", if number == 0 { "" } else { ", then " }, ValueText(value.as_ref()))?;
        }
        write!(f, "; now: {}", ValueText(now.as_ref()))
    }
}

/// Writes a value, or that the object is absent.
struct ValueText<'a>(Option<&'a Value>);

impl fmt::Display for ValueText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("absent"),
            Some(value) => value.fmt(f),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present | Self::Vip { label: None } => f.write_str("present"),
            Self::Vip { label: Some(label) } => write!(f, "present with label {label}"),
            Self::Host(value) => list(f, host_object::fields(value)),
            Self::Sysctl(value) => f.write_str(value),
            Self::Timeouts(timeouts) => list(f, timeout_fields(timeouts)),
            Self::Sync(daemon) => write!(f, "{daemon}"),
            Self::Service(config) => list(f, service_fields(config)),
            Self::RealServer(real_server) => list(f, real_server_fields(real_server)),
        }
    }
}
