//! Writes host objects, each kind as a spec asks for it.

use evenkeel_model::{Binding, HostObject, HostRoute};

use super::WriteInput;

/// Writes the kinds that have a list of their own. Routes have none: [`route_key`] writes them with
/// their VIPs.
pub(super) fn sections(_: &WriteInput, _: &mut String) {}

/// Returns the key of a VIP that asks for its route; nothing if there is no route, or none that a
/// spec can ask for.
pub(super) fn route_key(input: &WriteInput, binding: &Binding) -> &'static str {
    let route = HostRoute::of(binding);
    let is_whole_address = *binding == route.binding();
    let value = input.host_objects.get(&HostObject::from(route.clone()));
    if is_whole_address && value == Some(&route.value()) { ", route: true" } else { "" }
}
