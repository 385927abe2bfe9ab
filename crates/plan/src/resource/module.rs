//! Kernel modules of schedulers and persistence engines. They are loaded and never unloaded:
//! nothing depends on their absence.

use std::collections::BTreeSet;
use std::fmt;

use evenkeel_model::{Live, Names, Scheduler, ServiceConfig};
use serde_json::{Map, Value as Json, json};

use super::{Operation, Resource, Value};
use crate::cause::SpecPair;
use crate::hold_back::OmittedSteps;
use crate::order::Phase;
use crate::render::Labels;
use crate::rollback_builder::{OpHistory, RollbackBuilder, TouchedObjects};
use crate::{Object, Op, Verb};

pub(super) struct ModuleOp<'a> {
    pub(super) module: &'a str,
}

pub(super) struct ModuleObject<'a>(pub(super) &'a str);

/// Loads the missing modules that those operations need. The module of a scheduler that a live
/// service uses is loaded, whether or not the kernel lists it.
pub(crate) fn diff<'a>(ops: impl IntoIterator<Item = &'a Op>, live: &Live) -> Vec<Op> {
    let Some(present) = &live.modules else {
        return Vec::new();
    };
    let mut needed: BTreeSet<String> = ops.into_iter().flat_map(Op::needed_modules).collect();
    needed.retain(|module| !present.contains(module.as_str()));
    let used = |module: &String| {
        live.services
            .values()
            .any(|service| module.strip_prefix("ip_vs_") == Some(service.config.scheduler.as_str()))
    };
    needed.retain(|module| !used(module));
    needed.into_iter().map(|module| Op::AddModule { module: module.into() }).collect()
}

/// Returns the modules that a service with that configuration needs.
pub(super) fn of_config(config: &ServiceConfig) -> Vec<String> {
    // The kernel reports a missing scheduler as `none`.
    let scheduler = Some(config.scheduler).filter(|it| *it != Scheduler::none());
    let engine = config.engine.as_ref();
    let scheduler = scheduler.map(|scheduler| format!("ip_vs_{scheduler}"));
    scheduler.into_iter().chain(engine.map(|engine| format!("ip_vs_pe_{engine}"))).collect()
}

impl<'a> Operation<'a> for ModuleOp<'a> {
    fn verb(&self) -> Verb {
        Verb::Add
    }

    fn object(&self) -> Object {
        Object::Module(self.module.into())
    }

    fn phase(&self) -> Phase {
        Phase::AddModules
    }

    fn simulate(&self, state: &mut Live) {
        if let Some(modules) = &mut state.modules {
            modules.insert(self.module.into());
        }
    }

    fn record(&self, _: &mut TouchedObjects) {}

    fn is_drift(&self, _: &SpecPair<'_>) -> Option<bool> {
        None
    }

    fn note_omitted(&self, omitted: &mut OmittedSteps<'a>) {
        omitted.modules.insert(self.module);
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, _: &Labels<'_>) -> fmt::Result {
        write!(f, "kernel module {}", self.module)
    }

    fn write_json(&self, step: &mut Map<String, Json>) {
        step.insert("module".to_owned(), json!(self.module));
    }
}

impl Resource for ModuleObject<'_> {
    fn kind(&self) -> &'static str {
        "kernel module"
    }

    fn write_name(&self, f: &mut fmt::Formatter<'_>, _: Option<Names<'_>>) -> fmt::Result {
        write!(f, " {}", self.0)
    }

    fn value_in(&self, _: &Live) -> Option<Value> {
        None
    }

    fn restore(&self, _: &OpHistory, _: Option<Value>, _: &mut RollbackBuilder<'_>) {}
}
