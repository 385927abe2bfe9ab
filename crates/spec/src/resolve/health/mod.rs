//! Resolves health checks: which real servers are checked how, and what follows.

mod check;
mod choice;
mod fallback;
mod kind;
mod named;
mod policy;
mod service;

pub(crate) use self::choice::{Choice, Found, Level, ListChecks};
pub(crate) use self::fallback::FallbackServers;
pub(crate) use self::named::NamedChecks;
pub(crate) use self::policy::{HealthSources, Policy, PolicyContext};
pub(crate) use self::service::{Expanded, HealthOfService, HealthParts};
