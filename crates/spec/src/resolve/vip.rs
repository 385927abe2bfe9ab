//! Resolves the addresses that evenkeel binds.

use std::collections::BTreeMap;
use std::net::IpAddr;

use evenkeel_model::{Binding, HostObject, HostRoute, HostValue, MAX_LABEL, Vip};

use super::not_unicast;
use super::role::Directors;
use super::scope::Merged;
use crate::path::{At, Path};
use crate::resolve::{Diagnostics, SpecObject};
use crate::spec::{Prefixed, Spec, VipEntry};
use crate::suggest::quote;

/// The VIPs of a spec.
pub(crate) struct Vips {
    /// Their values.
    pub(crate) vips: BTreeMap<Binding, Vip>,
    /// The directors of those that name one.
    pub(crate) on: BTreeMap<Binding, Box<str>>,
}

/// Resolves the VIPs; their routes are added to `host_objects`.
pub(crate) fn collect(
    sources: &[(At<'_>, &Spec)],
    scope: &Merged,
    directors: &Directors,
    host_objects: &mut BTreeMap<HostObject, HostValue>,
    diagnostics: &mut Diagnostics,
) -> Vips {
    let (mut vips, mut on) = (BTreeMap::new(), BTreeMap::new());
    let mut of_directors: BTreeMap<IpAddr, (Option<Box<str>>, Path)> = BTreeMap::new();
    let mut written: BTreeMap<(IpAddr, Box<str>), Path> = BTreeMap::new();
    let mut routes: BTreeMap<IpAddr, Path> = BTreeMap::new();
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
            directors.check_on(entry.on.value(), &binding, &at, diagnostics);
            let director = entry.on.value().map(|name| name.0.clone());
            check_one_director(
                binding.address,
                director.clone(),
                &at,
                &mut of_directors,
                diagnostics,
            );
            on.extend(director.map(|name| (binding.clone(), name)));
            diagnostics.origin(SpecObject::Vip(binding.clone()), || at.path());
            if entry.route.value().is_some_and(|flag| flag.0) {
                check_only_route(binding.address, &at.key("route"), &mut routes, diagnostics);
                let route = HostRoute::of(&binding);
                let value = route.value();
                let object = HostObject::from(route);
                diagnostics.origin(SpecObject::Host(object.clone()), || at.path());
                host_objects.insert(object, value);
            }
            vips.insert(binding, vip);
        }
    }
    Vips { vips, on }
}

/// Checks that one director binds a VIP, on however many interfaces.
fn check_one_director(
    address: IpAddr,
    director: Option<Box<str>>,
    at: &At<'_>,
    of_directors: &mut BTreeMap<IpAddr, (Option<Box<str>>, Path)>,
    diagnostics: &mut Diagnostics,
) {
    match of_directors.get(&address) {
        Some((first, place)) if *first != director => {
            diagnostics
                .error(at, format!("{address} would be bound on two directors at once"))
                .remedy(
                    "keep one of them; a VIP that moves is bound by another program (VRRP, BGP)",
                )
                .related(place.clone(), "the first one");
        }
        Some(_) => {}
        None => drop(of_directors.insert(address, (director, at.path()))),
    }
}

fn check(
    entry: &VipEntry,
    at: &At<'_>,
    scope: &Merged,
    diagnostics: &mut Diagnostics,
) -> Option<(Binding, Vip)> {
    let VipEntry { address, interface, on: _, dummy, label, bind, route } = entry;
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
    let binding = Binding { address, interface: interface.0.clone(), prefix };
    let label = label.value().map(|label| &*label.0);
    if let Some(label) = label {
        check_label(label, &binding, at, diagnostics);
    }
    let route = route.value().is_some_and(|flag| flag.0);
    if route && binding != Binding::host(address, &binding.interface) {
        diagnostics
            .error(
                &at.key("route"),
                format!("{address}/{prefix} cannot have a host route: the kernel adds a route to its network"),
            )
            .remedy(format!("remove `route`, or write the address alone, `{address}`"));
    }
    let bind = bind.value().map(|word| word.0).unwrap_or_default();
    Some((binding, Vip { dummy, label: label.map(Into::into), bind }))
}

/// Checks that no other VIP of this address has a route: the kernel refuses the second one.
fn check_only_route(
    address: IpAddr,
    at: &At<'_>,
    routes: &mut BTreeMap<IpAddr, Path>,
    diagnostics: &mut Diagnostics,
) {
    match routes.get(&address) {
        Some(first) => {
            diagnostics
                .error(at, format!("{address} cannot have a second host route"))
                .remedy("keep `route` on one of its interfaces")
                .related(first.clone(), "the first one");
        }
        None => drop(routes.insert(address, at.path())),
    }
}

fn check_label(label: &str, binding: &Binding, at: &At<'_>, diagnostics: &mut Diagnostics) {
    let interface = &*binding.interface;
    let at = at.key("label");
    if binding.address.is_ipv6() {
        diagnostics
            .error(
                &at,
                format!("{} cannot have a label: IPv6 addresses have none", binding.address),
            )
            .remedy("remove the label");
    } else if !Vip::is_label(label, interface) {
        let longest = MAX_LABEL.saturating_sub(interface.len() + 1);
        let remedy = match longest {
            0 => format!("write `{interface}`; this name leaves no room for a suffix"),
            _ => format!(
                "write `{interface}`, or `{interface}:` and a suffix of up to {longest} bytes \
                 without blanks, such as `{interface}:0`"
            ),
        };
        diagnostics
            .error(&at, format!("{} cannot be a label on {interface}", quote(label)))
            .remedy(remedy);
    }
}
