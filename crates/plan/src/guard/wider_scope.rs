//! `take-over` and `wider-scope`: objects that a scope newly covers belong to other programs.
//!
//! Before the first apply everything live is newly covered. Objects that the spec lists are
//! intended and may be edited: that is how a host is adopted. Objects that it does not list are not
//! deleted without consent. A scope that widens later may be caused by a lost file or a lost line,
//! so its plan must not change anything that is newly covered.

use std::collections::BTreeSet;

use evenkeel_model::{Scope, ServiceKey};

use super::{labels, some_of};
use crate::render::count;
use crate::{Inputs, Op};

/// Refuses a first apply that deletes live objects.
pub(super) fn take_over(inputs: &Inputs<'_>, ops: &[Op]) -> Option<String> {
    if inputs.record.applied {
        return None;
    }
    let listed = inputs.desired.sync.iter().flatten().map(|(state, _)| *state);
    let listed: BTreeSet<_> = listed.collect();
    let mut unlisted = Vec::new();
    for op in ops {
        match op {
            Op::DeleteService { key, .. } => unlisted.push(format!("service {key}")),
            Op::DeleteSync { state, .. } if !listed.contains(state) => {
                unlisted.push(format!("sync daemon {state}"));
            }
            _ => {}
        }
    }
    (!unlisted.is_empty()).then(|| {
        let governed = match inputs.desired.scope {
            Scope::Implied => "the spec has no `scope`, so it governs the whole table",
            Scope::All => "the spec's scope is the whole table",
            Scope::Limited(_) => "the spec's scope covers more than it lists",
        };
        format!(
            "nothing was applied here before, and {governed}: this plan would delete {} that it \
             does not list ({}); list them, or narrow `scope` to what is the spec's own",
            count(unlisted.len(), "live object"),
            some_of(&unlisted),
        )
    })
}

/// Refuses a scope wider than the one in force.
pub(super) fn wider_scope(inputs: &Inputs<'_>, ops: &[Op]) -> Option<String> {
    let Inputs { desired, live, last, .. } = inputs;
    let before = inputs.scope_in_force()?;
    if let (Scope::Limited(limits), Scope::Implied) = (before, &desired.scope) {
        // Independent of what is live now: objects that are created later would be deleted as
        // drift.
        return Some(format!(
            "the spec has no `scope`, so it governs the whole table; the one in force governs \
             {limits}; restore the `scope`, or write `scope: all` if the whole table is meant"
        ));
    }
    // What an earlier apply was to remove was governed before that.
    let removed = &desired.removed;
    let is_newly_covered = |key: &ServiceKey| {
        live.services.contains_key(key) && !before.contains(key) && !removed.services.contains(key)
    };
    // A spec without `sync` leaves the sync daemons to other programs.
    let governed_sync = last.is_none_or(|last| last.sync.is_some());
    let (mut services, mut others) = (BTreeSet::new(), BTreeSet::new());
    for op in ops {
        match op {
            Op::Unbind { binding, .. }
                if !before.contains_address(binding.address) && !removed.vips.contains(binding) =>
            {
                others.insert(format!("vip {binding}"));
            }
            Op::DeleteSync { state, .. } if !governed_sync && !removed.sync.contains(state) => {
                others.insert(format!("sync daemon {state}"));
            }
            _ => services.extend(op.service().filter(is_newly_covered)),
        }
    }
    let mut touched = labels(inputs, &services);
    touched.extend(others);
    (!touched.is_empty()).then(|| {
        let scopes = match before.covers(&desired.scope) {
            true => "it leaves sync daemons to others".to_owned(),
            false => format!("its scope is {before}, and that of this spec is {}", desired.scope),
        };
        format!(
            "the spec in force does not govern {} that this plan would change ({}): {scopes}",
            count(touched.len(), "live object"),
            some_of(&touched),
        )
    })
}
