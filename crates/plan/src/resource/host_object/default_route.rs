//! Default routes: added, or set in the place of another program's, which is restored later.

use std::collections::BTreeSet;
use std::net::IpAddr;

use evenkeel_model::{
    DefaultRoute, DefaultRouteValue, Desired, Family, HostObject, HostValue, Live, Owner,
    RecordedRoute,
};

use crate::field::{Field, FieldValue};
use crate::prior_state::ReplacedObjects;
use crate::{Op, Warning};

/// Numbers of programs that add routes (`RTPROT_*` and /etc/iproute2/rt_protos).
const PROTOCOLS: [(u8, &str); 10] = [
    (2, "kernel"),
    (3, "boot"),
    (4, "static"),
    (9, "ra"),
    (11, "zebra"),
    (12, "bird"),
    (16, "dhcp"),
    (186, "bgp"),
    (188, "ospf"),
    (196, "zebra"),
];

/// Returns the fields of a value: of another program's route, what `ip route` shows of it.
pub(super) fn fields(value: &DefaultRouteValue) -> Vec<Field> {
    let word = |value: Option<String>| value.map_or(FieldValue::None, FieldValue::Word);
    let mut fields = vec![("gateway", word(value.gateway().map(|gateway| gateway.to_string())))];
    if let DefaultRouteValue::Found(routes) = value
        && let Some(route) = routes.first()
    {
        let interfaces = route.interfaces.join(",");
        let known = PROTOCOLS.iter().find(|(number, _)| *number == route.protocol);
        let protocol = known.map_or(route.protocol.to_string(), |(_, name)| (*name).to_owned());
        fields.extend([
            ("interface", word((!interfaces.is_empty()).then_some(interfaces))),
            ("metric", FieldValue::Number(route.metric)),
            ("protocol", word(Some(protocol))),
        ]);
    }
    fields
}

/// Compares the default routes. Warns of a former one that cannot be restored.
pub(super) fn diff(
    desired: &Desired,
    live: &Live,
    replaced: &ReplacedObjects,
) -> (Vec<Op>, Vec<Warning>) {
    let (mut ops, mut warnings) = (Vec::new(), Vec::new());
    for family in [Family::Ipv4, Family::Ipv6] {
        let route = DefaultRoute { family };
        let object = HostObject::from(route);
        let found = live.host_objects.get(&object).and_then(|live| match &live.value {
            HostValue::DefaultRoute(value) => Some((live.owner, value)),
            _ => None,
        });
        let edit = |before: &DefaultRouteValue, after: DefaultRouteValue| {
            let (before, after) = (before.clone().into(), after.into());
            let object = object.clone();
            Op::EditHostObject { object, before: Box::new(before), after: Box::new(after) }
        };
        let former = match replaced.0.get(&object) {
            Some(HostValue::DefaultRoute(former)) => Some(former),
            _ => None,
        };
        match (desired.host_objects.get(&object), found) {
            (Some(after), None) => ops.push(super::add(&object, after)),
            (Some(HostValue::DefaultRoute(after)), Some((owner, before))) => {
                let is_used = after.gateway().is_some_and(|it| before.already_leads_to(it));
                // One of a plan for other services is left alone.
                let is_left = owner == Owner::Other && before.owner() == Owner::Evenkeel;
                if before != after && !is_used && !is_left {
                    ops.push(edit(before, after.clone()));
                }
            }
            (Some(_), Some(_)) => {}
            (None, Some((Owner::Evenkeel, before))) => {
                let (possible, impossible) = restorable(former, live);
                warnings.extend(impossible.into_iter().map(|(former, interface)| {
                    Warning::RouteNotRestored { route, former, interface: Some(interface) }
                }));
                ops.push(match possible.is_empty() {
                    true => super::delete(&object, &before.clone().into()),
                    false => edit(before, DefaultRouteValue::Found(possible)),
                });
            }
            // Its own have no effect any more; what they replaced is restored behind that of the other
            // program.
            (None, Some((Owner::Other, before))) => {
                let is_over_ours = matches!(
                    before, DefaultRouteValue::Found(routes) if routes.iter().any(|it| it.is_ours)
                );
                if is_over_ours && former.is_some() {
                    let after = DefaultRouteValue::replaced(before, former);
                    let (possible, _) = restorable(Some(&after), live);
                    ops.push(edit(before, DefaultRouteValue::Found(possible)));
                }
            }
            // The former one would have been lost in the same way.
            (None, None) => {
                if let Some(former) = former
                    && live.host_objects.is_gone(&object)
                {
                    warnings.push(Warning::RouteNotRestored {
                        route,
                        former: named(former),
                        interface: None,
                    });
                }
            }
        }
    }
    (ops, warnings)
}

/// Divides the former routes into those whose interfaces are up, and the others, by name, with an
/// interface that is missing or down.
fn restorable(
    former: Option<&DefaultRouteValue>,
    live: &Live,
) -> (Vec<RecordedRoute>, Vec<(String, Box<str>)>) {
    let is_usable = |name: &str| {
        let links = live.links.as_ref();
        links.is_none_or(|links| links.get(name).is_some_and(|link| link.up))
    };
    let (mut possible, mut impossible) = (Vec::new(), Vec::new());
    for route in former.iter().flat_map(|former| former.foreign()) {
        match route.interfaces.iter().find(|interface| !is_usable(interface)) {
            Some(interface) => impossible.push((route.to_string(), interface.clone())),
            None => possible.push(route.clone()),
        }
    }
    (possible, impossible)
}

fn named(routes: &DefaultRouteValue) -> String {
    let routes: Vec<String> = routes.foreign().map(ToString::to_string).collect();
    routes.join(", ")
}

/// Warns of default routes that do not lead to a director where NAT needs it and the spec asks for none.
pub(super) fn unexpected<'a>(
    desired: &'a Desired,
    live: &'a Live,
) -> impl Iterator<Item = Warning> + 'a {
    let known = |family: Family| {
        let route = HostObject::from(DefaultRoute { family });
        let is_asked = desired.host_objects.contains_key(&route);
        let gateway = match live.host_objects.get(&route).map(|live| &live.value) {
            Some(HostValue::DefaultRoute(value)) => Some(value.gateway()),
            _ => None,
        };
        let is_known = gateway.is_some() || live.host_objects.is_gone(&route);
        (is_known && !is_asked).then_some(gateway)
    };
    desired.expected_gateways.iter().filter_map(move |(family, expected)| {
        let found = known(*family)?;
        let is_expected = |gateway: IpAddr| expected.contains(&gateway);
        let gateway = found.flatten();
        (!expected.is_empty() && !gateway.is_some_and(is_expected)).then(|| {
            let expected: BTreeSet<IpAddr> = expected.clone();
            Warning::OtherGateway {
                family: *family,
                gateway,
                is_missing: found.is_none(),
                expected,
            }
        })
    })
}
