//! Plans the rollback of steps that were executed, in whole or in part.
//!
//! Every step holds its object's value before and after. The live value decides: an object with its
//! value from before needs nothing, an object with a value that a step set is rolled back, and any
//! other value was set by another program and is kept. A rollback is a plan like any other, in the
//! order of [`crate::order`].

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{Desired, Live};

use crate::order::order;
use crate::resource::host_object::add_lost_again;
use crate::resource::sysctl::keep_rewritten;
use crate::rollback_builder::{ObjectTrace, RollbackBuilder, TouchedObjects};
use crate::value::Value;
use crate::{Object, Op};

/// The plan of a rollback.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RollbackPlan {
    /// The operations, in the order of their execution.
    pub steps: Vec<Op>,
    /// Objects that have neither their value from before nor one that a step set: another program
    /// changed them, and they are left alone. Also those that another program had changed before, into
    /// something that evenkeel cannot set: they keep the value that a step set.
    pub foreign: BTreeSet<Object>,
    /// The values of every object that differs from before.
    pub traces: BTreeMap<Object, ObjectTrace>,
}

/// Plans the rollback of `done`, steps that may or may not have been executed, from the live state.
/// Kernel modules stay loaded: nothing depends on their absence.
pub fn rollback_plan(done: &[Op], live: &Live) -> RollbackPlan {
    let touched = TouchedObjects::of(done);
    let mut builder = RollbackBuilder {
        touched: &touched,
        live,
        added: Vec::new(),
        ops: Vec::new(),
        foreign: BTreeSet::new(),
        traces: BTreeMap::new(),
        used: None,
        removed: BTreeMap::new(),
    };
    for (object, history) in &touched.0 {
        builder.restore(object, history);
    }
    let RollbackBuilder { added, mut ops, foreign, mut traces, .. } = builder;
    keep_rewritten(&mut ops, &touched, live);
    for (object, value) in add_lost_again(&mut ops, &[], live, |_| true) {
        let object = Object::Host(object.clone());
        let now = || Some(Value::Host(value.clone()));
        let after = touched.0.get(&object).map_or_else(|| vec![now()], |it| it.after.clone());
        traces.insert(object, ObjectTrace { before: now(), after, now: now() });
    }
    RollbackPlan {
        steps: order(added, Vec::new(), ops, &Desired::default(), live),
        foreign,
        traces,
    }
}

#[cfg(test)]
mod tests;
