//! What plans know of each kind of object, one file for each kind.
//!
//! A kind of object is two things: its operations ([`Operation`]: phase, simulation, rollback
//! value, impact, cause, what they rely on, text and JSON) and its objects ([`Resource`]: name,
//! live value, how it is restored); a file also holds how the kind is compared. [`Op`] and
//! [`Object`] are closed enums, and this page is the only one that matches all of their variants:
//! a new kind is a variant of each, a file here, and an arm in each of the two dispatchers below.
//! The order of a plan is not here but on a page of its own, [`crate::order`].

pub(crate) mod device;
pub(crate) mod module;
pub(crate) mod real_server;
pub(crate) mod route;
pub(crate) mod service;
pub(crate) mod sync;
pub(crate) mod sysctl;
pub(crate) mod timeouts;
pub(crate) mod vip;

use std::fmt;

use evenkeel_model::{Live, Names, RealServer, ServiceConfig, ServiceKey, SyncDaemon, Timeouts};
use serde_json::Map;

use crate::cause::SpecPair;
use crate::field::{FieldChange, real_server_fields, service_fields, timeout_fields};
use crate::hold_back::OmittedSteps;
use crate::impact_analysis::AnalysisContext;
use crate::order::{Phase, Stage};
use crate::render::{Labels, list};
use crate::rollback_plan::{OpHistory, RollbackBuilder, TouchedObjects};
use crate::{Impact, Object, Op, Verb};

use self::device::{DeviceObject, DeviceOp};
use self::module::{ModuleObject, ModuleOp};
use self::real_server::{RealServerObject, RealServerOp};
use self::route::{RouteObject, RouteOp};
use self::service::{ServiceObject, ServiceOp};
use self::sync::{SyncObject, SyncOp};
use self::sysctl::{SysctlObject, SysctlOp};
use self::timeouts::{TimeoutsObject, TimeoutsOp};
use self::vip::{VipObject, VipOp};

/// An operation on one kind of object.
pub(crate) trait Operation<'a> {
    /// What it does.
    fn verb(&self) -> Verb;

    /// What it is done to.
    fn object(&self) -> Object;

    /// The service it belongs to; `None` for all that is not in the IPVS table.
    fn service(&self) -> Option<ServiceKey> {
        None
    }

    /// Where it stands in a plan.
    fn phase(&self) -> Phase;

    /// The fields that it changes; none for what adds or takes away a whole object.
    fn changes(&self) -> Vec<FieldChange> {
        Vec::new()
    }

    /// The kernel modules that it needs.
    fn needed_modules(&self) -> Vec<String> {
        Vec::new()
    }

    /// Changes the state as the kernel would. One on an object that is absent changes nothing.
    fn simulate(&self, state: &mut Live);

    /// Records its values before and after, for a rollback. One that is never rolled back records
    /// nothing.
    fn record(&self, touched: &mut TouchedObjects);

    /// What it means for existing connections; `None` where it touches none. `next` is the step
    /// behind it.
    fn impact(&self, _context: &AnalysisContext<'_>, _next: Option<&Op>) -> Option<Impact> {
        None
    }

    /// Whether both specs ask for the same here, so that the host has drifted; `None` for an
    /// operation that only serves others, and has their cause.
    fn is_drift(&self, specs: &SpecPair<'_>) -> Option<bool>;

    /// Records what is missing while it is held back.
    fn note_omitted(&self, _omitted: &mut OmittedSteps<'a>) {}

    /// Whether it relies on something that is missing.
    fn is_blocked(&self, _omitted: &OmittedSteps<'_>) -> bool {
        false
    }

    /// Writes its object and values as a line of a plan shows them, behind sign and verb.
    fn write(&self, f: &mut fmt::Formatter<'_>, labels: &Labels<'_>) -> fmt::Result;

    /// Adds the keys of its kind to its JSON.
    fn write_json(&self, step: &mut Map<String, serde_json::Value>);
}

/// An object of one kind.
pub(crate) trait Resource {
    /// The kind in the vocabulary of plans.
    fn kind(&self) -> &'static str;

    /// Writes its name behind its kind, with a blank before it; nothing for the only one of a
    /// kind. Services are written by their names where there are any.
    fn write_name(&self, f: &mut fmt::Formatter<'_>, names: Option<Names<'_>>) -> fmt::Result;

    /// Its value in that state; `None` where it is absent, or never rolled back.
    fn value_in(&self, live: &Live) -> Option<Value>;

    /// Adds the operations that give it the value that it had before the first step.
    fn restore(&self, history: &OpHistory, now: Option<Value>, rollback: &mut RollbackBuilder<'_>);
}

/// The value of an object, as a rollback compares and reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Sysctl(Box<str>),
    Timeouts(Timeouts),
    Sync(SyncDaemon),
    Service(ServiceConfig),
    RealServer(RealServer),
    Vip {
        /// `None` for the interface's name.
        label: Option<Box<str>>,
    },
    /// All there is to say of a dummy device or a route.
    Present,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present | Self::Vip { label: None } => f.write_str("there"),
            Self::Vip { label: Some(label) } => write!(f, "there with label {label}"),
            Self::Sysctl(value) => f.write_str(value),
            Self::Timeouts(timeouts) => list(f, timeout_fields(timeouts)),
            Self::Sync(daemon) => write!(f, "{daemon}"),
            Self::Service(config) => list(f, service_fields(config)),
            Self::RealServer(real_server) => list(f, real_server_fields(real_server)),
        }
    }
}

impl Op {
    /// Calls `run` with this operation as one of its kind: the one match of all operations.
    fn with<'a, R>(&'a self, run: impl FnOnce(&dyn Operation<'a>) -> R) -> R {
        match self {
            Self::AddModule { module } => run(&ModuleOp { module }),
            Self::EditSysctl { key, before, after } => run(&SysctlOp { key, before, after }),
            Self::EditTimeouts { before, after } => run(&TimeoutsOp { before, after }),
            Self::AddSync { state, after } => run(&SyncOp::Add { state: *state, after }),
            Self::DeleteSync { state, before } => run(&SyncOp::Delete { state: *state, before }),
            Self::AddDummy { interface } => run(&DeviceOp::Add { interface }),
            Self::EditDummy { interface } => run(&DeviceOp::Edit { interface }),
            Self::DeleteDummy { interface } => run(&DeviceOp::Delete { interface }),
            Self::AddService { key, after } => run(&ServiceOp::Add { key, after }),
            Self::EditService { key, before, after } => {
                run(&ServiceOp::Edit { key, before, after })
            }
            Self::DeleteService { key, before } => run(&ServiceOp::Delete { key, before }),
            Self::AddRealServer { service, key, after } => {
                run(&RealServerOp::Add { service, key, after })
            }
            Self::EditRealServer { service, key, before, after } => {
                run(&RealServerOp::Edit { service, key, before, after })
            }
            Self::DrainRealServer { service, key, before, limit } => {
                run(&RealServerOp::Drain { service, key, before, limit: *limit })
            }
            Self::DeleteRealServer { service, key, before } => {
                run(&RealServerOp::Delete { service, key, before })
            }
            Self::Bind { binding, label } => run(&VipOp::Bind { binding, label }),
            Self::Unbind { binding, label } => run(&VipOp::Unbind { binding, label }),
            Self::AddRoute { route } => run(&RouteOp::Add { route }),
            Self::DeleteRoute { route } => run(&RouteOp::Delete { route }),
        }
    }

    /// What it does.
    pub fn verb(&self) -> Verb {
        self.with(|it| it.verb())
    }

    /// What it is done to.
    pub fn object(&self) -> Object {
        self.with(|it| it.object())
    }

    /// The service it belongs to; `None` for all that is not in the IPVS table.
    pub fn service(&self) -> Option<ServiceKey> {
        self.with(|it| it.service())
    }

    /// The fields that it changes; none for what adds or takes away a whole object.
    pub fn changes(&self) -> Vec<FieldChange> {
        self.with(|it| it.changes())
    }

    /// Where it stands in a plan.
    pub(crate) fn phase(&self) -> Phase {
        self.with(|it| it.phase())
    }

    /// The part of a plan that it belongs to, for whoever executes it.
    pub fn stage(&self) -> Stage {
        self.phase().stage()
    }

    /// The kernel modules that it needs.
    pub(crate) fn needed_modules(&self) -> Vec<String> {
        self.with(|it| it.needed_modules())
    }

    /// Changes the state as the kernel would.
    pub(crate) fn simulate(&self, state: &mut Live) {
        self.with(|it| it.simulate(state));
    }

    /// Records its values before and after, for a rollback.
    pub(crate) fn record(&self, touched: &mut TouchedObjects) {
        self.with(|it| it.record(touched));
    }

    /// What it means for existing connections.
    pub(crate) fn impact(
        &self,
        context: &AnalysisContext<'_>,
        next: Option<&Self>,
    ) -> Option<Impact> {
        self.with(|it| it.impact(context, next))
    }

    /// Whether the host has drifted here: [`Operation::is_drift`].
    pub(crate) fn is_drift(&self, specs: &SpecPair<'_>) -> Option<bool> {
        self.with(|it| it.is_drift(specs))
    }

    /// Records what is missing while it is held back.
    pub(crate) fn note_omitted<'a>(&'a self, omitted: &mut OmittedSteps<'a>) {
        self.with(|it| it.note_omitted(omitted));
    }

    /// Whether it relies on something that is missing.
    pub(crate) fn is_blocked(&self, omitted: &OmittedSteps<'_>) -> bool {
        self.with(|it| it.is_blocked(omitted))
    }

    /// Writes what stands behind sign and verb in a line of a plan.
    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>, labels: &Labels<'_>) -> fmt::Result {
        self.with(|it| it.write(f, labels))
    }

    /// Adds the keys of its kind to its JSON.
    pub(crate) fn write_json(&self, step: &mut Map<String, serde_json::Value>) {
        self.with(|it| it.write_json(step));
    }
}

impl Object {
    /// Calls `run` with this object as one of its kind: the one match of all objects.
    fn with<R>(&self, run: impl FnOnce(&dyn Resource) -> R) -> R {
        match self {
            Self::Module(module) => run(&ModuleObject(module)),
            Self::Sysctl(key) => run(&SysctlObject(key)),
            Self::Timeouts => run(&TimeoutsObject),
            Self::Sync(state) => run(&SyncObject(*state)),
            Self::Dummy(interface) => run(&DeviceObject(interface)),
            Self::Service(key) => run(&ServiceObject(*key)),
            Self::RealServer(service, key) => {
                run(&RealServerObject { service: *service, key: *key })
            }
            Self::Vip(binding) => run(&VipObject(binding)),
            Self::Route(route) => run(&RouteObject(route)),
        }
    }

    /// The kind of object in the vocabulary of plans.
    pub fn kind(&self) -> &'static str {
        self.with(|it| it.kind())
    }

    /// Its kind and its name, services under the names that specs give them.
    pub fn named<'a>(&'a self, names: impl Into<Names<'a>>) -> impl fmt::Display {
        NamedObject { object: self, names: Some(names.into()) }
    }

    /// Its value in that state, for a rollback.
    pub(crate) fn value_in(&self, live: &Live) -> Option<Value> {
        self.with(|it| it.value_in(live))
    }

    /// Adds the operations that give it the value that it had before the first step.
    pub(crate) fn restore(
        &self,
        history: &OpHistory,
        now: Option<Value>,
        rollback: &mut RollbackBuilder<'_>,
    ) {
        self.with(|it| it.restore(history, now, rollback));
    }
}

impl fmt::Display for Object {
    /// Its kind and its name, services by their keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        NamedObject { object: self, names: None }.fmt(f)
    }
}

struct NamedObject<'a> {
    object: &'a Object,
    names: Option<Names<'a>>,
}

impl fmt::Display for NamedObject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.object.with(|it| {
            f.write_str(it.kind())?;
            it.write_name(f, self.names)
        })
    }
}

/// Writes a service under its name where there is one.
pub(crate) fn write_service(
    f: &mut fmt::Formatter<'_>,
    names: Option<Names<'_>>,
    key: &ServiceKey,
) -> fmt::Result {
    match names {
        Some(names) => write!(f, "{}", names.label(key)),
        None => write!(f, "{key}"),
    }
}
