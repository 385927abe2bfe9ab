//! Resolves the addresses that evenkeel binds.

use std::collections::BTreeMap;
use std::net::IpAddr;

use evenkeel_model::{Binding, Vip};

use super::not_unicast;
use super::scope::Merged;
use crate::path::{At, Path};
use crate::resolve::{Diagnostics, SpecObject};
use crate::spec::{Prefixed, Spec, VipEntry};

pub(crate) fn collect(
    sources: &[(At<'_>, &Spec)],
    scope: &Merged,
    diagnostics: &mut Diagnostics,
) -> BTreeMap<Binding, Vip> {
    let mut vips = BTreeMap::new();
    let mut written: BTreeMap<(IpAddr, Box<str>), Path> = BTreeMap::new();
    for (root, spec) in sources {
        let at = root.key("vips");
        for (index, entry) in spec.vips.value().into_iter().flat_map(|list| list.values()) {
            let at = at.item(index);
            let Some((binding, vip)) = check(entry, &at, scope, diagnostics) else { continue };
            let place = (binding.address, binding.interface.clone());
            if let Some(first) = written.get(&place) {
                diagnostics
                    .error(
                        &at.key("address"),
                        format!("{} on {} is listed twice", place.0, place.1),
                    )
                    .remedy("keep one of them")
                    .related(first.clone(), "first written here");
                continue;
            }
            written.insert(place, at.key("address").path());
            diagnostics.origin(SpecObject::Vip(binding.clone()), || at.path());
            vips.insert(binding, vip);
        }
    }
    vips
}

fn check(
    entry: &VipEntry,
    at: &At<'_>,
    scope: &Merged,
    diagnostics: &mut Diagnostics,
) -> Option<(Binding, Vip)> {
    let VipEntry { address, interface, dummy } = entry;
    if address.is_absent() {
        diagnostics
            .error(at, "the VIP has no `address`")
            .remedy("write it, such as `address: 192.0.2.1`");
    }
    if interface.is_absent() {
        diagnostics
            .error(at, "the VIP has no `interface`")
            .remedy("write the one it is bound on, such as `interface: eth0`");
    }
    if let Some(address) = address.value() {
        let at = at.key("address");
        if let Some(why) = not_unicast(address.address) {
            diagnostics
                .error(&at, format!("{} {why}", address.address))
                .remedy("a VIP is a unicast address");
        } else if scope.excludes(address.address) {
            diagnostics
                .error(&at, format!("{} is outside the spec's own scope", address.address))
                .remedy("add it to `scope`, or remove the VIP")
                .related(scope.written.clone(), "the scope");
        }
    }
    let (address, interface) = (address.value()?, interface.value()?);
    let dummy = dummy.value().is_some_and(|flag| flag.0);
    let Prefixed { address, prefix } = *address;
    Some((Binding { address, interface: interface.0.clone(), prefix }, Vip { dummy }))
}
