//! Host routes to VIPs: `VIP dev INTERFACE scope link src VIP` in the main table.
//!
//! The kernel deletes an IPv4 route whose source address leaves the host, and takes the source
//! from such a route of IPv6. Where a VIP is unbound and bound again, its route is added anew.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use evenkeel_model::{Desired, HostRoute, Live, LiveRoute, Names, Owner};
use serde_json::{Map, Value as Json, json};

use super::{Operation, Resource, Value};
use crate::cause::SpecPair;
use crate::hold_back::OmittedSteps;
use crate::order::Phase;
use crate::render::Labels;
use crate::rollback_plan::{OpHistory, RollbackBuilder, TouchedObjects};
use crate::{Object, Op, Verb};

pub(super) enum RouteOp<'a> {
    Add { route: &'a HostRoute },
    Delete { route: &'a HostRoute },
}

pub(super) struct RouteObject<'a>(pub(super) &'a HostRoute);

/// Compares the routes, given the other operations of the plan. A route of someone else through the
/// same interface is used as it is. None is added through an interface that is down, for the kernel
/// refuses it, unless evenkeel brings the interface up.
pub(crate) fn diff(desired: &Desired, live: &Live, others: &[Op]) -> Vec<Op> {
    let routed = desired.vips.iter().filter(|(_, vip)| vip.route);
    let asked: BTreeSet<HostRoute> = routed.map(|(binding, _)| HostRoute::of(binding)).collect();
    let is_down = |route: &HostRoute| {
        let link = live.links.as_ref().and_then(|links| links.get(&route.interface));
        link.is_some_and(|link| !link.up && link.owner == Owner::Other)
    };
    let mut ops = Vec::new();
    for route in &asked {
        match live.routes.as_ref().and_then(|routes| routes.get(route)) {
            None if is_down(route) => {}
            None => ops.push(Op::AddRoute { route: route.clone() }),
            Some(LiveRoute { owner: Owner::Other, .. }) => {}
            Some(found) if *found == LiveRoute::of_evenkeel(route) => {}
            Some(_) => ops.extend(anew(route)),
        }
    }
    for (route, found) in live.routes.iter().flatten() {
        if found.owner == Owner::Evenkeel
            && desired.scope.contains_address(route.destination)
            && !asked.contains(route)
        {
            ops.push(Op::DeleteRoute { route: route.clone() });
        }
    }
    let lost = lost_sources(others, live).filter(|route| asked.contains(route));
    let lost: Vec<HostRoute> = lost.filter(|route| !touches(&ops, route)).collect();
    ops.extend(lost.iter().flat_map(anew));
    ops
}

/// The routes of evenkeel whose VIP those operations unbind and bind again.
pub(crate) fn lost_sources<'a>(
    ops: &'a [Op],
    live: &'a Live,
) -> impl Iterator<Item = HostRoute> + 'a {
    let rebound = ops.iter().filter_map(|op| match op {
        Op::Unbind { binding, .. } => {
            let again = |op: &Op| matches!(op, Op::Bind { binding: it, .. } if it == binding);
            ops.iter().any(again).then(|| HostRoute::of(binding))
        }
        _ => None,
    });
    rebound.filter(|route| {
        let found = live.routes.as_ref().and_then(|routes| routes.get(route));
        found.is_some_and(|found| found.owner == Owner::Evenkeel)
    })
}

/// Deletes a route and adds it again.
pub(crate) fn anew(route: &HostRoute) -> [Op; 2] {
    [Op::DeleteRoute { route: route.clone() }, Op::AddRoute { route: route.clone() }]
}

pub(crate) fn touches(ops: &[Op], route: &HostRoute) -> bool {
    let is_on_it = |op: &Op| match op {
        Op::AddRoute { route: it } | Op::DeleteRoute { route: it } => it == route,
        _ => false,
    };
    ops.iter().any(is_on_it)
}

/// What becomes of routes when their source address leaves the host.
pub(super) fn lose_source(state: &mut Live, address: IpAddr) {
    if state.addresses.keys().any(|binding| binding.address == address) {
        return;
    }
    let Some(routes) = &mut state.routes else { return };
    match address {
        IpAddr::V4(_) => routes.retain(|_, route| route.source != Some(address)),
        IpAddr::V6(_) => {
            for route in routes.values_mut().filter(|route| route.source == Some(address)) {
                route.source = None;
            }
        }
    }
}

impl<'a> RouteOp<'a> {
    fn route(&self) -> &'a HostRoute {
        match self {
            Self::Add { route } | Self::Delete { route } => route,
        }
    }
}

impl<'a> Operation<'a> for RouteOp<'a> {
    fn verb(&self) -> Verb {
        match self {
            Self::Add { .. } => Verb::Add,
            Self::Delete { .. } => Verb::Delete,
        }
    }

    fn object(&self) -> Object {
        Object::Route(self.route().clone())
    }

    fn phase(&self) -> Phase {
        match self {
            Self::Add { .. } => Phase::AddRoutes,
            Self::Delete { .. } => Phase::DeleteRoutes,
        }
    }

    fn simulate(&self, state: &mut Live) {
        let routes = state.routes.get_or_insert_default();
        match self {
            Self::Add { route } => {
                routes.insert((*route).clone(), LiveRoute::of_evenkeel(route));
            }
            Self::Delete { route } => {
                routes.remove(route);
            }
        }
    }

    fn record(&self, touched: &mut TouchedObjects) {
        match self {
            Self::Add { .. } => touched.note(self.object(), None, Some(Value::Present)),
            Self::Delete { .. } => touched.note(self.object(), Some(Value::Present), None),
        }
    }

    fn is_drift(&self, specs: &SpecPair<'_>) -> Option<bool> {
        let binding = self.route().binding();
        let asked = specs.desired.vips.get(&binding);
        // Only what evenkeel added is deleted, so a spec asked for it once.
        Some(asked.is_some_and(|vip| vip.route) && specs.last.vips.get(&binding) == asked)
    }

    fn note_omitted(&self, omitted: &mut OmittedSteps<'a>) {
        omitted.routes.insert(self.route().destination);
    }

    fn is_blocked(&self, omitted: &OmittedSteps<'_>) -> bool {
        let HostRoute { destination, interface } = self.route();
        // The main table holds one such route to an address: where one is to make room for another,
        // they go together.
        omitted.routes.contains(destination)
            || match self {
                Self::Add { .. } => {
                    omitted.unbound.contains(destination) || omitted.dummies.contains(&**interface)
                }
                Self::Delete { route } => {
                    omitted.bound.iter().any(|binding| HostRoute::of(binding) == **route)
                }
            }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, _: &Labels<'_>) -> fmt::Result {
        write!(f, "route {}", self.route())
    }

    fn write_json(&self, step: &mut Map<String, Json>) {
        let HostRoute { destination, interface } = self.route();
        let route = json!({ "destination": destination, "interface": interface });
        step.insert("route".to_owned(), route);
    }
}

impl Resource for RouteObject<'_> {
    fn kind(&self) -> &'static str {
        "route"
    }

    fn write_name(&self, f: &mut fmt::Formatter<'_>, _: Option<Names<'_>>) -> fmt::Result {
        write!(f, " {}", self.0)
    }

    fn value_in(&self, live: &Live) -> Option<Value> {
        let found = live.routes.as_ref()?.get(self.0)?;
        (found.owner == Owner::Evenkeel).then_some(Value::Present)
    }

    fn restore(&self, history: &OpHistory, _: Option<Value>, rollback: &mut RollbackBuilder<'_>) {
        let route = self.0.clone();
        rollback.ops.push(match history.before {
            Some(_) => Op::AddRoute { route },
            None => Op::DeleteRoute { route },
        });
    }
}
