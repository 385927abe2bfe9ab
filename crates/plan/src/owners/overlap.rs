//! Where a spec overlaps with what another owner has in force. There is no guard for it: an overlap is never
//! right.

use std::fmt;

use evenkeel_model::{Binding, Claims, Desired, HostObject, HostValue, OwnerName, Scope};

use super::{OtherOwner, OtherOwners};
use crate::render::list;
use crate::resource::host_object::fields;
use crate::{MasterSysctl, recorded_key};

/// What a spec and another owner both have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The other owner.
    pub other: OwnerName,
    /// What they both have.
    pub shared: SharedObject,
}

/// What two owners cannot both have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SharedObject {
    /// A part of the table.
    Scope {
        /// The part.
        part: String,
        /// The scope of the spec.
        here: Scope,
        /// That of the other owner.
        there: Scope,
    },
    /// A VIP.
    Vip {
        /// The binding of the spec.
        here: Binding,
        /// That of the other owner.
        there: Binding,
    },
    /// A service that left the scope of the other owner, and still drains.
    LeavingService(String),
    /// A service that the other owner applied by itself (`--target`).
    TargetedService(String),
    /// A timeout.
    Timeout {
        /// Its name in a spec.
        name: &'static str,
        /// The seconds of the spec.
        here: u32,
        /// Those of the other owner.
        there: u32,
    },
    /// The sync daemons: a `sync` lists all of a namespace.
    Sync,
    /// A sysctl that each sets to another value.
    Sysctl {
        /// The key in the spec.
        key: Box<str>,
        /// The value of the spec.
        here: Box<str>,
        /// The key of the other owner, which is another one if the kernel sets one with the other.
        other_key: Box<str>,
        /// The value of the other owner.
        there: Box<str>,
    },
    /// A host object that each sets to another value.
    HostObject {
        /// The object.
        object: HostObject,
        /// The value of the spec.
        here: HostValue,
        /// That of the other owner.
        there: HostValue,
    },
}

impl OtherOwners {
    /// Returns the first overlap of a spec with what another owner has in force; `None` if there is none.
    pub fn overlap(&self, desired: &Desired) -> Option<Overlap> {
        if self.is_empty() {
            return None;
        }
        let claims = Claims::of(desired);
        self.0.iter().find_map(|other| {
            let shared = other.shared(desired, &claims)?;
            Some(Overlap { other: other.name.clone(), shared })
        })
    }
}

impl OtherOwner {
    fn shared(&self, desired: &Desired, here: &Claims) -> Option<SharedObject> {
        let scope = |there: &Scope| {
            let part = desired.scope.overlap(there)?;
            Some(SharedObject::Scope { part, here: desired.scope.clone(), there: there.clone() })
        };
        self.scopes()
            .find_map(scope)
            .or_else(|| self.shared_vip(here))
            .or_else(|| {
                let left = &mut self.record.left.services.iter();
                let service = left.find(|service| desired.scope.contains(service))?;
                Some(SharedObject::LeavingService(service.to_string()))
            })
            .or_else(|| {
                let mut targeted = self.targeted.iter();
                let service = targeted.find(|service| desired.scope.contains(service))?;
                Some(SharedObject::TargetedService(service.to_string()))
            })
            .or_else(|| self.claims().find_map(|there| shared_setting(here, there)))
    }

    fn shared_vip(&self, here: &Claims) -> Option<SharedObject> {
        let bound = || self.claims().flat_map(|claims| &claims.vips).chain(&self.addresses);
        here.vips.iter().find_map(|here| {
            let there = bound().find(|there| there.address == here.address)?;
            Some(SharedObject::Vip { here: here.clone(), there: there.clone() })
        })
    }
}

/// Returns what belongs to the whole namespace and both set.
fn shared_setting(here: &Claims, there: &Claims) -> Option<SharedObject> {
    let sync = || (!here.sync.is_disjoint(&there.sync)).then_some(SharedObject::Sync);
    shared_timeout(here, there).or_else(sync).or_else(|| shared_sysctl(here, there)).or_else(|| {
        here.host_objects.iter().find_map(|(object, here)| {
            let there = there.host_objects.get(object).filter(|value| *value != here)?;
            let (object, here, there) = (object.clone(), here.clone(), there.clone());
            Some(SharedObject::HostObject { object, here, there })
        })
    })
}

fn shared_timeout(here: &Claims, there: &Claims) -> Option<SharedObject> {
    let (here, there) = (here.timeouts, there.timeouts);
    let fields = [
        ("tcp", here.tcp, there.tcp),
        ("tcp_fin", here.tcp_fin, there.tcp_fin),
        ("udp", here.udp, there.udp),
    ];
    fields.into_iter().find_map(|(name, here, there)| {
        Some(SharedObject::Timeout { name, here: here?, there: there? })
    })
}

fn shared_sysctl(here: &Claims, there: &Claims) -> Option<SharedObject> {
    here.sysctls.iter().find_map(|(key, here)| {
        let (other_key, there) = there.sysctls.iter().find(|(other_key, there)| {
            let given = given_value(key, here, other_key);
            let taken = || given_value(other_key, there, key);
            given.is_some_and(|value| *value != ***there)
                || taken().is_some_and(|value| *value != **here)
        })?;
        Some(SharedObject::Sysctl {
            key: key.clone(),
            here: here.clone(),
            other_key: other_key.clone(),
            there: there.clone(),
        })
    })
}

/// A value with its fields as plans show them.
struct ShownValue<'a>(&'a HostValue);

impl fmt::Display for ShownValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, fields(self.0))
    }
}

/// Returns the value that a sysctl gets when another one is set; `None` if it gets none.
fn given_value(set: &str, value: &str, other: &str) -> Option<Box<str>> {
    if recorded_key(set) == recorded_key(other) {
        return Some(value.into());
    }
    let master = MasterSysctl::of(set)?;
    master.rewrites(other).then(|| MasterSysctl::rewritten(other, value))
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { other, shared } = self;
        match shared {
            SharedObject::Scope { part, here, there } => {
                write!(
                    f,
                    "{other} governs {part} too: the scope of this spec is {here}, and that of {other} is {there}"
                )
            }
            SharedObject::Vip { here, there } => {
                write!(f, "{other} has vip {there}, which this spec lists as {here}")
            }
            SharedObject::LeavingService(service) => {
                write!(f, "service {service} left the scope of {other}, which is still removing it")
            }
            SharedObject::TargetedService(service) => {
                write!(
                    f,
                    "{other} applied service {service} by itself, which this spec governs too"
                )
            }
            SharedObject::Timeout { name, here, there } => {
                write!(f, "{other} sets the timeout {name} to {there} s, and this spec to {here} s")
            }
            SharedObject::Sync => {
                write!(
                    f,
                    "{other} has a list of sync daemons, and so has this spec; such a list is complete"
                )
            }
            SharedObject::Sysctl { key, here, other_key, there } if key == other_key => {
                write!(f, "{other} sets sysctl {key} to {there}, and this spec to {here}")
            }
            SharedObject::Sysctl { key, here, other_key, there } => write!(
                f,
                "{other} sets sysctl {other_key} to {there}, and this spec sets {key} to {here}, which \
                 cannot both be"
            ),
            SharedObject::HostObject { object, here, there } => write!(
                f,
                "{other} has {} {object} as {}, and this spec as {}",
                object.kind().name(),
                ShownValue(there),
                ShownValue(here)
            ),
        }
    }
}

impl std::error::Error for Overlap {}

impl Overlap {
    /// What the user can do about it.
    pub fn remedy(&self) -> String {
        let option = self.other.option();
        match &self.shared {
            SharedObject::Scope { .. } | SharedObject::TargetedService(_) => {
                "give each owner a `scope` of its own".to_owned()
            }
            SharedObject::Vip { .. } | SharedObject::Timeout { .. } | SharedObject::Sync => {
                "leave it to one of the owners".to_owned()
            }
            SharedObject::LeavingService(_) => {
                format!(
                    "wait for its drain, or run `evenkeel apply{option}` with the other spec again"
                )
            }
            SharedObject::Sysctl { .. } | SharedObject::HostObject { .. } => {
                "give it the same value in both specs, or leave it to one of the owners".to_owned()
            }
        }
    }
}
