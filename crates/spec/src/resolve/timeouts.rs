//! Resolves the timeouts of all sources.

use evenkeel_model::DesiredTimeouts;

use super::once;
use crate::path::{At, Path};
use crate::recovering_de::Field;
use crate::resolve::{Diagnostics, SpecObject};
use crate::spec::{Duration, Spec};

pub(crate) fn merge(sources: &[(At<'_>, &Spec)], diagnostics: &mut Diagnostics) -> DesiredTimeouts {
    let mut timeouts = DesiredTimeouts::default();
    let mut written = [None, None, None];
    for (root, spec) in sources {
        let Some(keys) = spec.timeouts.value() else { continue };
        let at = root.key("timeouts");
        let [tcp, tcp_fin, udp] = &mut written;
        for (key, field, timeout, first) in [
            ("tcp", &keys.tcp, &mut timeouts.tcp, tcp),
            ("tcp_fin", &keys.tcp_fin, &mut timeouts.tcp_fin, tcp_fin),
            ("udp", &keys.udp, &mut timeouts.udp, udp),
        ] {
            if let Some(seconds) = check(field, &at.key(key), first, diagnostics) {
                *timeout = Some(seconds);
                diagnostics.origin(SpecObject::Timeout(key), || at.key(key).path());
            }
        }
    }
    timeouts
}

/// Checks a timeout and returns its seconds.
fn check(
    field: &Field<Duration>,
    at: &At<'_>,
    first: &mut Option<Path>,
    diagnostics: &mut Diagnostics,
) -> Option<u32> {
    let seconds = field.value()?.0;
    once(first, at, "this timeout is written twice", diagnostics);
    if seconds == 0 {
        diagnostics
            .error(at, "a timeout of 0 cannot be set: to the kernel 0 means `leave it unchanged`")
            .remedy("write at least 1s, or remove it");
    } else if seconds > DesiredTimeouts::MAX {
        diagnostics
            .error(at, format!("the kernel accepts timeouts of at most {} s", DesiredTimeouts::MAX))
            .remedy("write at most 24d");
    }
    Some(seconds)
}
