//! `missing-file`: a file of the spec in force is gone, or holds something else, and what it listed
//! would go with it.

use evenkeel_model::FileContents;

use super::{label, list_of};
use crate::{Inputs, Loss, LostFile, Op};

/// How many objects a refusal lists; the plan shows the others.
const LISTED: usize = 20;

pub(super) fn refusal(inputs: &Inputs<'_>, ops: &[Op]) -> Option<String> {
    let parts: Vec<String> =
        inputs.lost_files.iter().filter_map(|lost| lost_objects(inputs, lost, ops)).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// The sentence on one file; `None` where nothing goes with it.
fn lost_objects(inputs: &Inputs<'_>, lost: &LostFile, ops: &[Op]) -> Option<String> {
    let LostFile { contents, loss } = lost;
    let FileContents { name, services, vips, sync, sysctls } = contents;
    let gone = ops.iter().filter_map(|op| match op {
        Op::DeleteService { key, .. } if services.contains(key) => {
            Some(format!("service {}", label(inputs, key)))
        }
        Op::Unbind { binding, .. } if vips.contains(binding) => Some(format!("vip {binding}")),
        Op::DeleteSync { state, .. } if sync.contains(state) => {
            Some(format!("sync daemon {state}"))
        }
        Op::EditSysctl { key, after, .. }
            if sysctls.contains(key) && !inputs.desired.sysctls.contains_key(key) =>
        {
            Some(format!("sysctl {key}, which would go back to {after}"))
        }
        _ => None,
    });
    let gone: Vec<String> = gone.collect();
    if gone.is_empty() {
        return None;
    }
    let gone = list_of(&gone, LISTED);
    Some(match loss {
        Loss::OmittedSteps => format!(
            "{name} is a file of the spec in force and is missing; with it would go {gone}; bring \
             it back, or empty it (`services: []`) in one change and remove it in a later one"
        ),
        Loss::Replaced => format!(
            "{name} lists other addresses than it does in the spec in force, as another cluster's \
             file would; its former content would go: {gone}; restore it, or list the new services \
             in one change and take the old ones out in a later one"
        ),
    })
}
