//! Writes host objects, each kind as a spec asks for it.

use evenkeel_model::{Binding, HostObject, HostRoute, HostValue, Neighbour, NeighbourValue};

use super::scalar::{address, text};
use super::{WriteInput, line};

/// Writes the kinds that have a list of their own. Routes have none: [`route_key`] writes them with
/// their VIPs.
pub(super) fn sections(input: &WriteInput, out: &mut String) {
    neighbours(input, out);
}

/// Writes the neighbour entries. One that no spec can ask for, as another program changed its MAC
/// address, is left out.
fn neighbours(input: &WriteInput, out: &mut String) {
    let written = input.host_objects.iter().filter_map(|(object, value)| match (object, value) {
        (HostObject::Neighbour(it), HostValue::Neighbour(NeighbourValue { mac })) => {
            mac.is_unicast().then_some((it, mac))
        }
        _ => None,
    });
    for (number, (Neighbour { address: resolved, interface }, mac)) in written.enumerate() {
        if number == 0 {
            out.push_str("\nneighbours:\n");
        }
        let (resolved, interface) = (address(*resolved), text(interface));
        // In quotes: YAML 1.1 takes some for numbers of base 60.
        line(
            out,
            format_args!("  - {{ address: {resolved}, interface: {interface}, mac: \"{mac}\" }}"),
        );
    }
}

/// Returns the key of a VIP that asks for its route; nothing if there is no route, or none that a
/// spec can ask for: it has one for each address.
pub(super) fn route_key(input: &WriteInput, binding: &Binding) -> &'static str {
    let route = HostRoute::of(binding);
    let start = HostRoute { interface: Box::default(), ..route.clone() };
    let of_address = input.host_objects.range(HostObject::from(start)..);
    let of_address = of_address.map_while(|(object, value)| match object {
        HostObject::Route(it) if it.destination == route.destination => Some((it, value)),
        _ => None,
    });
    let mut writable = of_address
        .filter(|(it, value)| **value == it.value() && input.vips.contains_key(&it.binding()));
    let is_whole_address = *binding == route.binding();
    let is_first = writable.next().is_some_and(|(first, _)| *first == route);
    if is_whole_address && is_first { ", route: true" } else { "" }
}
