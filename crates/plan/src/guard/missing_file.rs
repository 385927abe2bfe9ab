//! `missing-file`: a file of the spec in force is gone, or lists other objects, and objects that it
//! listed would be deleted.

use std::collections::BTreeSet;

use evenkeel_model::FileContents;

use super::{label, list_of};
use crate::render::count;
use crate::{Inputs, Loss, LostFile, Op, Verb};

/// How many objects a refusal lists; the plan shows the others.
const LISTED: usize = 20;

pub(super) fn refusal(inputs: &Inputs<'_>, ops: &[Op]) -> Option<String> {
    let parts: Vec<String> =
        inputs.lost_files.iter().filter_map(|lost| lost_objects(inputs, lost, ops)).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Describes the loss of one file; `None` if the plan deletes nothing that it listed.
fn lost_objects(inputs: &Inputs<'_>, lost: &LostFile, ops: &[Op]) -> Option<String> {
    let LostFile { contents, loss } = lost;
    let FileContents { name, services, vips, host_objects, sync, sysctls, defaults } = contents;
    let gone = ops.iter().filter_map(|op| match op {
        Op::DeleteService { key, .. } if services.contains(key) => {
            Some(format!("service {}", label(inputs, key)))
        }
        Op::Unbind { binding, .. } if vips.contains(binding) => Some(format!("vip {binding}")),
        Op::DeleteHostObject { object, .. } if host_objects.contains(object) => {
            Some(op.object().to_string())
        }
        Op::DeleteSync { state, .. } if sync.contains(state) => {
            Some(format!("sync daemon {state}"))
        }
        Op::RestoreSysctl { key, after, .. }
            if sysctls.contains(key) && !inputs.desired.sysctls.contains_key(key) =>
        {
            Some(format!("sysctl {key} (restored to {after})"))
        }
        _ => None,
    });
    let mut gone: Vec<String> = gone.collect();
    let edited = ops.iter().filter(|op| op.verb() == Verb::Edit && op.service().is_some());
    let edited: BTreeSet<_> = edited.filter_map(Op::service).collect();
    if *defaults && *loss == Loss::Missing && !edited.is_empty() {
        gone.push(format!("its `defaults` ({} would be edited)", count(edited.len(), "service")));
    }
    if gone.is_empty() {
        return None;
    }
    let gone = list_of(&gone, LISTED);
    Some(match loss {
        Loss::Missing => format!(
            "{name} is a file of the spec in force and is missing; this plan would remove what it \
             lists: {gone}; restore it, or empty it (`services: []`) in one change and remove it in \
             a later one"
        ),
        Loss::Replaced => format!(
            "{name} lists other addresses than it does in the spec in force, as another cluster's \
             file would; this plan would remove what it listed: {gone}; restore it, or list the new \
             services in one change and remove the old ones in a later one"
        ),
    })
}
