//! The kinds of objects in plans, one file for each kind.
//!
//! A kind of object has two parts: its operations ([`Operation`]: phase, simulation, rollback
//! value, impact, cause, dependencies, text and JSON) and its objects ([`Resource`]: name, live
//! value, how it is restored); its file also holds its comparison. [`Op`] and [`Object`] are closed
//! enums, and only this file matches all of their variants: a new kind is a variant of each, a file
//! here, and an arm in each of the two dispatchers below. The order of a plan is defined in
//! [`crate::order`].

pub(crate) mod dummy;
pub(crate) mod host_object;
pub(crate) mod module;
pub(crate) mod real_server;
pub(crate) mod service;
pub(crate) mod sync;
pub(crate) mod sysctl;
pub(crate) mod timeouts;
pub(crate) mod vip;

use std::fmt;

use evenkeel_model::{Live, Names, ServiceKey};
use serde_json::Map;

use crate::cause::SpecPair;
use crate::field::FieldChange;
use crate::hold_back::OmittedSteps;
use crate::impact_analysis::AnalysisContext;
use crate::order::{Phase, Stage};
use crate::render::Labels;
use crate::rollback_builder::{OpHistory, RollbackBuilder, TouchedObjects};
use crate::value::Value;
use crate::{Impact, Object, Op, Verb};

use self::dummy::{DeviceObject, DeviceOp};
use self::host_object::{HostObjectOp, HostObjectResource};
use self::module::{ModuleObject, ModuleOp};
use self::real_server::{RealServerObject, RealServerOp};
use self::service::{ServiceObject, ServiceOp};
use self::sync::{SyncObject, SyncOp};
pub use self::sysctl::UNSET;
use self::sysctl::{SysctlObject, SysctlOp};
use self::timeouts::{TimeoutsObject, TimeoutsOp};
use self::vip::{VipObject, VipOp};

/// An operation on one kind of object.
pub(crate) trait Operation<'a> {
    /// Returns the verb.
    fn verb(&self) -> Verb;

    /// Returns the object that it changes.
    fn object(&self) -> Object;

    /// Returns its service; `None` for everything outside the IPVS table.
    fn service(&self) -> Option<ServiceKey> {
        None
    }

    /// Returns its phase in a plan.
    fn phase(&self) -> Phase;

    /// Returns the fields that it changes; empty if it adds or deletes a whole object.
    fn changes(&self) -> Vec<FieldChange> {
        Vec::new()
    }

    /// Returns the kernel modules that it needs.
    fn needed_modules(&self) -> Vec<String> {
        Vec::new()
    }

    /// Changes the state as the kernel would. An operation on an absent object changes nothing.
    fn simulate(&self, state: &mut Live);

    /// Records the values before and after, for a rollback. An operation that is never rolled back
    /// records nothing.
    fn record(&self, touched: &mut TouchedObjects);

    /// Returns its impact on existing connections; `None` if it affects none. `next` is the
    /// following step.
    fn impact(&self, _context: &AnalysisContext<'_>, _next: Option<&Op>) -> Option<Impact> {
        None
    }

    /// Whether both specs ask for the same here, so that the host has drifted; `None` for an
    /// operation that only serves others and shares their cause.
    fn is_drift(&self, specs: &SpecPair<'_>) -> Option<bool>;

    /// Records what is missing if it is omitted.
    fn note_omitted(&self, _omitted: &mut OmittedSteps<'a>) {}

    /// Whether it depends on something that is missing.
    fn is_blocked(&self, _omitted: &OmittedSteps<'_>) -> bool {
        false
    }

    /// Writes its object and values as in a line of a plan, after sign and verb.
    fn write(&self, f: &mut fmt::Formatter<'_>, labels: &Labels<'_>) -> fmt::Result;

    /// Adds the keys of its kind to its JSON.
    fn write_json(&self, step: &mut Map<String, serde_json::Value>);
}

/// An object of one kind.
pub(crate) trait Resource {
    /// Returns the kind as plans name it.
    fn kind(&self) -> &'static str;

    /// Writes its name after its kind, with a leading space; nothing for the only object of a kind.
    /// Services are written with their names if they have any.
    fn write_name(&self, f: &mut fmt::Formatter<'_>, names: Option<Names<'_>>) -> fmt::Result;

    /// Returns its value in that state; `None` if it is absent or never rolled back.
    fn value_in(&self, live: &Live) -> Option<Value>;

    /// Adds the operations that restore its value from before the first step.
    fn restore(&self, history: &OpHistory, now: Option<Value>, rollback: &mut RollbackBuilder<'_>);
}

impl Op {
    /// Calls `run` with this operation as one of its kind: the only match of all operations.
    fn with<'a, R>(&'a self, run: impl FnOnce(&dyn Operation<'a>) -> R) -> R {
        match self {
            Self::AddModule { module } => run(&ModuleOp { module }),
            Self::EditSysctl { key, before, after, rewrites } => {
                run(&SysctlOp { key, before, after, rewrites, is_restored: false })
            }
            Self::RestoreSysctl { key, before, after, rewrites } => {
                run(&SysctlOp { key, before, after, rewrites, is_restored: true })
            }
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
            Self::AddHostObject { object, after } => run(&HostObjectOp::Add { object, after }),
            Self::EditHostObject { object, before, after } => {
                run(&HostObjectOp::Edit { object, before, after })
            }
            Self::DeleteHostObject { object, before } => {
                run(&HostObjectOp::Delete { object, before })
            }
        }
    }

    /// Returns the verb.
    pub fn verb(&self) -> Verb {
        self.with(|it| it.verb())
    }

    /// Returns the object that it changes.
    pub fn object(&self) -> Object {
        self.with(|it| it.object())
    }

    /// Returns its service; `None` for everything outside the IPVS table.
    pub fn service(&self) -> Option<ServiceKey> {
        self.with(|it| it.service())
    }

    /// Returns the fields that it changes; empty if it adds or deletes a whole object.
    pub fn changes(&self) -> Vec<FieldChange> {
        self.with(|it| it.changes())
    }

    /// Returns its phase in a plan.
    pub(crate) fn phase(&self) -> Phase {
        self.with(|it| it.phase())
    }

    /// Returns the stage of a plan that it belongs to, for its execution.
    pub fn stage(&self) -> Stage {
        self.phase().stage()
    }

    /// Returns the kernel modules that it needs.
    pub(crate) fn needed_modules(&self) -> Vec<String> {
        self.with(|it| it.needed_modules())
    }

    /// Changes the state as the kernel would.
    pub(crate) fn simulate(&self, state: &mut Live) {
        self.with(|it| it.simulate(state));
    }

    /// Records the values before and after, for a rollback.
    pub(crate) fn record(&self, touched: &mut TouchedObjects) {
        self.with(|it| it.record(touched));
    }

    /// Returns its impact on existing connections.
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

    /// Records what is missing if it is omitted.
    pub(crate) fn note_omitted<'a>(&'a self, omitted: &mut OmittedSteps<'a>) {
        self.with(|it| it.note_omitted(omitted));
    }

    /// Whether it depends on something that is missing.
    pub(crate) fn is_blocked(&self, omitted: &OmittedSteps<'_>) -> bool {
        self.with(|it| it.is_blocked(omitted))
    }

    /// Writes the part of a line of a plan after sign and verb.
    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>, labels: &Labels<'_>) -> fmt::Result {
        self.with(|it| it.write(f, labels))
    }

    /// Adds the keys of its kind to its JSON.
    pub(crate) fn write_json(&self, step: &mut Map<String, serde_json::Value>) {
        self.with(|it| it.write_json(step));
    }
}

impl Object {
    /// Calls `run` with this object as one of its kind: the only match of all objects.
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
            Self::Host(object) => run(&HostObjectResource(object)),
        }
    }

    /// Returns the kind of object as plans name it.
    pub fn kind(&self) -> &'static str {
        self.with(|it| it.kind())
    }

    /// Returns its kind and its name, services with the names of the specs.
    pub fn named<'a>(&'a self, names: impl Into<Names<'a>>) -> impl fmt::Display {
        NamedObject { object: self, names: Some(names.into()) }
    }

    /// Returns its value in that state, for a rollback.
    pub(crate) fn value_in(&self, live: &Live) -> Option<Value> {
        self.with(|it| it.value_in(live))
    }

    /// Adds the operations that restore its value from before the first step.
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
    /// Writes its kind and its name, services by their keys.
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

/// Writes a service with its name if it has one.
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
