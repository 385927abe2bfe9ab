//! `left-scope`: what evenkeel manages is no longer governed, and the spec does not say what becomes of it.
//!
//! A narrower scope may give something to another program, so nothing is removed without
//! `left: remove`; and what stays may be bound twice as soon as it moves to another host, so nothing stays
//! without `left: keep`. The counterpart is `wider-scope`.

use evenkeel_model::Names;

use super::some_of;
use crate::Inputs;
use crate::left_scope::left_objects;
use crate::render::count;

pub(super) fn refusal(inputs: &Inputs<'_>) -> Option<String> {
    let Inputs { desired, last, .. } = *inputs;
    if desired.kept.is_empty() || desired.when_left.is_some() {
        return None;
    }
    let names = Names { desired, last };
    let left = left_objects(&desired.kept).map(|object| object.named(names).to_string());
    let left: Vec<String> = left.collect();
    let before = match inputs.scope_in_force().filter(|before| !desired.scope.covers(before)) {
        Some(before) => format!(", and that of the spec in force is {before}"),
        None => String::new(),
    };
    Some(format!(
        "this spec does not govern {} that evenkeel manages ({}): its scope is {}{before}; write `left: \
         remove` under `scope` to remove what left it, or `left: keep` to leave it to another program",
        count(left.len(), "live object"),
        some_of(&left),
        desired.scope,
    ))
}
