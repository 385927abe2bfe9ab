//! `take-over` and `wider-scope`: what comes newly under a scope belongs to somebody.
//!
//! Before the first apply everything that is live is newly covered. What the spec lists was meant,
//! and may be edited: that is how a host is adopted. What it does not list is not deleted without a
//! word. A scope that grows later may be a lost file or a lost line, so that its plan must not
//! touch what is newly covered at all.

use std::collections::BTreeSet;

use evenkeel_model::{Scope, ServiceKey};

use super::{labels, some_of};
use crate::render::count;
use crate::{Inputs, Op};

/// The refusal of a first apply.
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

/// The refusal of a scope that governs more than the one in force.
pub(super) fn wider_scope(inputs: &Inputs<'_>, ops: &[Op]) -> Option<String> {
    let Inputs { desired, live, .. } = inputs;
    let before = inputs.scope_in_force()?;
    let is_newly_covered =
        |key: &ServiceKey| live.services.contains_key(key) && !before.contains(key);
    let (mut services, mut vips) = (BTreeSet::new(), BTreeSet::new());
    for op in ops {
        match op {
            Op::Unbind { binding, .. } if !before.contains_address(binding.address) => {
                vips.insert(format!("vip {binding}"));
            }
            _ => services.extend(op.service().filter(is_newly_covered)),
        }
    }
    let mut touched = labels(inputs, &services);
    touched.extend(vips);
    (!touched.is_empty()).then(|| {
        let lost = match desired.scope {
            Scope::Implied => "; if the `scope` of the spec was lost, bring it back",
            Scope::All | Scope::Limited(_) => "",
        };
        format!(
            "the spec in force does not govern {} that this plan would change ({}): its scope is \
             {before}, and that of this spec is {}{lost}",
            count(touched.len(), "live object"),
            some_of(&touched),
            desired.scope,
        )
    })
}
