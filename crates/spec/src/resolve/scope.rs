//! Resolves the scope of all sources.

use std::net::IpAddr;

use evenkeel_model::{Limits, Scope, ServiceKey, WhenLeft};

use crate::path::{At, Path};
use crate::resolve::Diagnostics;
use crate::spec::{ScopeText, Spec};

/// The scope, and where it is written.
pub(crate) struct Merged {
    pub(crate) scope: Scope,
    /// What becomes of what leaves it.
    pub(crate) when_left: Option<WhenLeft>,
    /// `None` if no scope was written.
    pub(crate) written: Option<Path>,
    /// Whether a part of it could not be read, so that nothing is certain to be outside.
    pub(crate) doubtful: bool,
}

impl Merged {
    /// Whether that VIP is certainly out of scope.
    pub(crate) fn excludes(&self, address: IpAddr) -> bool {
        !self.doubtful && !self.scope.contains_address(address)
    }

    /// Whether that service is certainly out of scope.
    pub(crate) fn excludes_service(&self, service: &ServiceKey) -> bool {
        !self.doubtful && !self.scope.contains(service)
    }
}

pub(crate) fn merge(sources: &[(At<'_>, &Spec)], diagnostics: &mut Diagnostics) -> Merged {
    let mut merged =
        Merged { scope: Scope::Implied, when_left: None, written: None, doubtful: false };
    let mut answer: Option<(WhenLeft, Path)> = None;
    for (root, spec) in sources {
        merged.doubtful |= spec.scope.is_bad();
        let Some(text) = spec.scope.value() else { continue };
        let at = root.key("scope");
        match (&mut merged.scope, text) {
            (scope @ Scope::Implied, ScopeText::All) => *scope = Scope::All,
            (scope @ Scope::Implied, ScopeText::Limited(_)) => {
                *scope = Scope::Limited(Limits::default());
            }
            (Scope::Limited(_), ScopeText::Limited(_)) => {}
            (Scope::All, _) | (Scope::Limited(_), ScopeText::All) => {
                diagnostics
                    .error(&at, "`scope` is written twice")
                    .remedy("keep one of them")
                    .related(merged.written.clone(), "first written here");
                continue;
            }
        }
        merged.written.get_or_insert_with(|| at.path());
        let (Scope::Limited(limits), ScopeText::Limited(keys)) = (&mut merged.scope, text) else {
            continue;
        };
        if let Some(word) = keys.left.value() {
            let at = at.key("left");
            let (first, place) = answer.get_or_insert_with(|| (word.0, at.path()));
            if *first != word.0 {
                let message = format!(
                    "`left` is `{}` here and `{}` in another file",
                    word.0.as_str(),
                    first.as_str()
                );
                diagnostics
                    .error(&at, message)
                    .remedy("keep one of them: it is the answer for the whole scope")
                    .related(Some(place.clone()), "first written here");
            }
            merged.when_left = Some(*first);
        }
        if keys.vips.is_absent() && keys.fwmarks.is_absent() && keys.services.is_absent() {
            diagnostics
                .error(&at, "the scope has none of `vips`, `fwmarks` and `services`")
                .remedy("list what is governed, or write `scope: all`");
        }
        merged.doubtful |= keys.vips.is_bad() || keys.fwmarks.is_bad() || keys.services.is_bad();
        if let Some(list) = keys.vips.value() {
            merged.doubtful |= list.has_bad();
            limits.vips.extend(list.values().map(|(_, network)| network.0));
        }
        if let Some(list) = keys.fwmarks.value() {
            merged.doubtful |= list.has_bad();
            limits.fwmarks.extend(list.values().map(|(_, range)| range.0.clone()));
        }
        if let Some(list) = keys.services.value() {
            merged.doubtful |= list.has_bad();
            limits.services.extend(list.values().map(|(_, service)| service.0));
        }
    }
    merged
}
