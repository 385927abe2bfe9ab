//! Resolves the owner that a spec names.

use evenkeel_model::OwnerName;

use crate::path::{At, Path};
use crate::resolve::{Diagnostics, once};
use crate::spec::Spec;

/// Returns the owner; the one without a name if no source names one. `expected` is the owner that the
/// process acts for, if that is fixed: a spec of another one is an error.
pub(crate) fn merge(
    sources: &[(At<'_>, &Spec)],
    expected: Option<&OwnerName>,
    diagnostics: &mut Diagnostics,
) -> OwnerName {
    let mut written: Option<Path> = None;
    let mut owner = OwnerName::default();
    for (root, spec) in sources {
        let Some(text) = spec.owner.value() else { continue };
        let at = root.key("owner");
        once(&mut written, &at, "`owner` is written twice", diagnostics);
        owner = text.0.clone();
        if let Some(expected) = expected.filter(|expected| **expected != owner) {
            diagnostics
                .error(
                    &at,
                    format!("this is a spec of {owner}, and evenkeel acts for {expected} here"),
                )
                .remedy(match expected.as_str() {
                    Some(_) => "leave out --owner, or name the owner of the spec with it",
                    None => "restart evenkeel, so that it acts for the owner of the spec",
                });
        }
    }
    owner
}
