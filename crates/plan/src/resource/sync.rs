//! Sync daemons. The kernel cannot edit them: a change stops and restarts the daemon.

use std::fmt;

use evenkeel_model::{Desired, Live, Names, SyncDaemon, SyncState};
use serde_json::{Map, Value as Json, json};

use super::{Operation, Resource, Value};
use crate::cause::SpecPair;
use crate::field::sync_fields;
use crate::hold_back::OmittedSteps;
use crate::impact_analysis::AnalysisContext;
use crate::order::Phase;
use crate::render::{Labels, json_fields};
use crate::rollback_builder::{OpHistory, RollbackBuilder, TouchedObjects};
use crate::sync_links::is_orphaned;
use crate::{Effect, Impact, Object, Op, PriorState, Verb};

pub(super) enum SyncOp<'a> {
    Add { state: SyncState, after: &'a SyncDaemon },
    Delete { state: SyncState, before: &'a SyncDaemon },
}

pub(super) struct SyncObject(pub(super) SyncState);

/// Compares the sync daemons, unless the spec leaves them to other programs. Those
/// that left the scope are stopped if they are to be removed. One whose interface was made anew is restarted.
pub(crate) fn diff(desired: &Desired, live: &Live, record: &PriorState) -> Vec<Op> {
    let delete = |state: &SyncState, daemon: &SyncDaemon| Op::DeleteSync {
        state: *state,
        before: Box::new(daemon.clone()),
    };
    let Some(expected) = &desired.sync else {
        let left = live.sync.iter().filter(|(state, _)| desired.removed.sync.contains(state));
        return left.map(|(state, daemon)| delete(state, daemon)).collect();
    };
    let is_met = |state, asked: &SyncDaemon, daemon: &SyncDaemon| {
        asked.is_met_by(daemon) && !is_orphaned(state, daemon, live, record)
    };
    let mut ops = Vec::new();
    for (state, daemon) in &live.sync {
        if expected.get(state).is_none_or(|asked| !is_met(*state, asked, daemon)) {
            ops.push(delete(state, daemon));
        }
    }
    for (state, asked) in expected {
        if live.sync.get(state).is_none_or(|daemon| !is_met(*state, asked, daemon)) {
            ops.push(Op::AddSync { state: *state, after: Box::new(asked.clone()) });
        }
    }
    ops
}

impl SyncOp<'_> {
    fn state(&self) -> SyncState {
        match self {
            Self::Add { state, .. } | Self::Delete { state, .. } => *state,
        }
    }
}

impl<'a> Operation<'a> for SyncOp<'a> {
    fn verb(&self) -> Verb {
        match self {
            Self::Add { .. } => Verb::Add,
            Self::Delete { .. } => Verb::Delete,
        }
    }

    fn object(&self) -> Object {
        Object::Sync(self.state())
    }

    fn phase(&self) -> Phase {
        match self {
            Self::Add { .. } => Phase::AddSync,
            Self::Delete { .. } => Phase::DeleteSync,
        }
    }

    fn simulate(&self, live: &mut Live) {
        match self {
            Self::Add { state, after } => live.sync.insert(*state, (*after).clone()),
            Self::Delete { state, .. } => live.sync.remove(state),
        };
    }

    fn record(&self, touched: &mut TouchedObjects) {
        let value = |daemon: &SyncDaemon| Some(Value::Sync(daemon.clone()));
        match self {
            Self::Add { after, .. } => touched.note(self.object(), None, value(after)),
            Self::Delete { before, .. } => touched.note(self.object(), value(before), None),
        }
    }

    fn impact(&self, context: &AnalysisContext<'_>, _: Option<&Op>) -> Option<Impact> {
        match self {
            Self::Add { .. } => None,
            Self::Delete { state, .. } => {
                let comes_back = context.started.contains(state);
                Some(context.everywhere(Effect::Uncopied { state: *state, comes_back }))
            }
        }
    }

    fn is_drift(&self, specs: &SpecPair<'_>) -> Option<bool> {
        let state = self.state();
        let daemon = |spec: &Desired| spec.sync.as_ref().map(|it| it.get(&state).cloned());
        Some(daemon(specs.last) == daemon(specs.desired))
    }

    fn note_omitted(&self, omitted: &mut OmittedSteps<'a>) {
        omitted.is_synced |= matches!(self, Self::Delete { .. });
    }

    fn is_blocked(&self, omitted: &OmittedSteps<'_>) -> bool {
        match self {
            // The kernel refuses to start one while a service has real servers of the other family.
            Self::Add { after, .. } => {
                omitted.is_mixed || omitted.devices.contains(&*after.interface)
            }
            Self::Delete { .. } => false,
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, _: &Labels<'_>) -> fmt::Result {
        match self {
            Self::Add { state, after: daemon } | Self::Delete { state, before: daemon } => {
                write!(f, "sync daemon {state}: {daemon}")
            }
        }
    }

    fn write_json(&self, step: &mut Map<String, Json>) {
        step.insert("sync".to_owned(), json!(self.state()));
        let (key, daemon) = match self {
            Self::Add { after, .. } => ("after", after),
            Self::Delete { before, .. } => ("before", before),
        };
        step.insert(key.to_owned(), json_fields(sync_fields(daemon)));
    }
}

impl Resource for SyncObject {
    fn kind(&self) -> &'static str {
        "sync daemon"
    }

    fn write_name(&self, f: &mut fmt::Formatter<'_>, _: Option<Names<'_>>) -> fmt::Result {
        write!(f, " {}", self.0)
    }

    fn value_in(&self, live: &Live) -> Option<Value> {
        Some(Value::Sync(live.sync.get(&self.0)?.clone()))
    }

    fn restore(&self, history: &OpHistory, now: Option<Value>, rollback: &mut RollbackBuilder<'_>) {
        let state = self.0;
        if let Some(Value::Sync(before)) = now {
            rollback.ops.push(Op::DeleteSync { state, before: Box::new(before) });
        }
        if let Some(Value::Sync(after)) = &history.before {
            rollback.ops.push(Op::AddSync { state, after: Box::new(after.clone()) });
        }
    }
}
