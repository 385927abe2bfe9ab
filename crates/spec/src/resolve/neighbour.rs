//! Resolves the neighbour entries.

use std::collections::BTreeMap;

use evenkeel_model::{HostObject, HostValue, Neighbour};

use super::not_unicast;
use super::scope::Merged;
use crate::path::{At, Path};
use crate::resolve::{Diagnostics, SpecObject};
use crate::spec::{NeighbourEntry, Spec};

/// Adds the neighbour entries to `host_objects`.
pub(crate) fn collect(
    sources: &[(At<'_>, &Spec)],
    scope: &Merged,
    host_objects: &mut BTreeMap<HostObject, HostValue>,
    diagnostics: &mut Diagnostics,
) {
    let mut written: BTreeMap<Neighbour, Path> = BTreeMap::new();
    for (root, spec) in sources {
        let at = root.key("neighbours");
        for (index, entry) in spec.neighbours.value().into_iter().flat_map(|list| list.values()) {
            let at = at.item(index);
            let Some((neighbour, value)) = check(entry, &at, scope, diagnostics) else { continue };
            if let Some(first) = written.get(&neighbour) {
                let Neighbour { address, interface } = neighbour;
                diagnostics
                    .error(
                        &at.key("address"),
                        format!("the neighbour {address} on {interface} is listed twice"),
                    )
                    .remedy("keep one of them")
                    .related(first.clone(), "first written here");
                continue;
            }
            written.insert(neighbour.clone(), at.key("address").path());
            // Without a value it is reported already.
            let Some(value) = value else { continue };
            let object = HostObject::from(neighbour);
            diagnostics.origin(SpecObject::Host(object.clone()), || at.path());
            host_objects.insert(object, value);
        }
    }
}

fn check(
    entry: &NeighbourEntry,
    at: &At<'_>,
    scope: &Merged,
    diagnostics: &mut Diagnostics,
) -> Option<(Neighbour, Option<HostValue>)> {
    let NeighbourEntry { address, interface, mac } = entry;
    let mut absent = |key, example| {
        diagnostics
            .error(at, format!("the neighbour has no `{key}`"))
            .remedy(format!("write it, such as `{key}: {example}`"));
    };
    if address.is_absent() {
        absent("address", "192.0.2.1");
    }
    if interface.is_absent() {
        absent("interface", "eth0");
    }
    if mac.is_absent() {
        absent("mac", "\"02:00:00:00:00:01\"");
    }
    if let Some(address) = address.value() {
        let at = at.key("address");
        if let Some(why) = not_unicast(address.0) {
            diagnostics
                .error(&at, format!("{} {why}", address.0))
                .remedy("a neighbour has a unicast address");
        } else if scope.excludes(address.0) {
            diagnostics
                .error(&at, format!("{} is outside the spec's own scope", address.0))
                .remedy("add it to `scope`, or remove the neighbour")
                .related(scope.written.clone(), "the scope");
        }
    }
    let (address, interface) = (address.value()?.0, interface.value()?.0.clone());
    Some((Neighbour { address, interface }, mac.value().map(|mac| mac.0.into())))
}
