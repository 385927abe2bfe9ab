//! What operations are done to.

use std::fmt;

use evenkeel_model::{Binding, Names, RealServerKey, ServiceKey, SyncState};

/// What an operation is done to, by identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    /// A kernel module.
    Module(Box<str>),
    /// A sysctl.
    Sysctl(Box<str>),
    /// The timeouts of the namespace.
    Timeouts,
    /// A sync daemon.
    Sync(SyncState),
    /// A dummy device.
    Dummy(Box<str>),
    /// A service.
    Service(ServiceKey),
    /// A real server of a service.
    RealServer(ServiceKey, RealServerKey),
    /// A VIP on an interface.
    Vip(Binding),
}

impl Object {
    /// The kind of object in the vocabulary of plans.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Module(_) => "kernel module",
            Self::Sysctl(_) => "sysctl",
            Self::Timeouts => "timeouts",
            Self::Sync(_) => "sync daemon",
            Self::Dummy(_) => "dummy device",
            Self::Service(_) => "service",
            Self::RealServer(..) => "real server",
            Self::Vip(_) => "vip",
        }
    }

    /// Its kind and its name, services under the names that specs give them.
    pub fn named<'a>(&'a self, names: impl Into<Names<'a>>) -> impl fmt::Display {
        Words { object: self, names: Some(names.into()) }
    }
}

impl fmt::Display for Object {
    /// Its kind and its name, services by their keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Words { object: self, names: None })
    }
}

struct Words<'a> {
    object: &'a Object,
    names: Option<Names<'a>>,
}

impl Words<'_> {
    fn service(&self, f: &mut fmt::Formatter<'_>, key: &ServiceKey) -> fmt::Result {
        match self.names {
            Some(names) => write!(f, "{}", names.label(key)),
            None => write!(f, "{key}"),
        }
    }
}

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.object.kind();
        match self.object {
            Object::Timeouts => f.write_str(kind),
            Object::Sync(state) => write!(f, "{kind} {state}"),
            Object::Module(name) | Object::Sysctl(name) | Object::Dummy(name) => {
                write!(f, "{kind} {name}")
            }
            Object::Service(key) => {
                write!(f, "{kind} ")?;
                self.service(f, key)
            }
            Object::RealServer(service, key) => {
                write!(f, "{kind} {key} of ")?;
                self.service(f, service)
            }
            Object::Vip(binding) => write!(f, "{kind} {binding}"),
        }
    }
}
