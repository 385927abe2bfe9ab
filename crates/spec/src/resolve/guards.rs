//! Resolves the thresholds of guards of all sources.

use evenkeel_model::Guards;

use super::once;
use crate::path::At;
use crate::resolve::{Diagnostics, SpecObject};
use crate::spec::Spec;

pub(crate) fn merge(sources: &[(At<'_>, &Spec)], diagnostics: &mut Diagnostics) -> Guards {
    let mut guards = Guards::default();
    let mut written = [None, None, None];
    for (root, spec) in sources {
        let Some(keys) = spec.guards.value() else { continue };
        let at = root.key("guards");
        let [share, from, unbind] = &mut written;
        let mut note = |key, first| {
            once(first, &at.key(key), "this threshold is written twice", diagnostics);
            diagnostics.origin(SpecObject::Guard(key), || at.key(key).path());
        };
        if let Some(percent) = keys.mass_delete.value() {
            guards.mass_delete = percent.0;
            note("mass_delete", share);
        }
        if let Some(number) = keys.mass_delete_from.value() {
            guards.mass_delete_from = number.0;
            note("mass_delete_from", from);
        }
        if let Some(number) = keys.unbind_in_use.value() {
            guards.unbind_in_use = number.0;
            note("unbind_in_use", unbind);
        }
    }
    guards
}
