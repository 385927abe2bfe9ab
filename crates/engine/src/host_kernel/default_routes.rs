//! Reads and changes default routes. Those of other programs are replaced and restored, so each change
//! begins with a reading: what is replaced is what the plan and the journal contain.

use evenkeel_host::{self as host, Error};
use evenkeel_model::{
    DefaultRoute, DefaultRouteValue, Family, HostObject, LiveHostObject, RecordedRoute,
    RouteMessage,
};

use super::{HostKernel, Objects, host_error};
use crate::error::KernelError;
use crate::error_chain;
use crate::warning::ExecutionWarning;

impl HostKernel {
    /// Reads the default routes of both families.
    pub(super) fn read_default_routes(&mut self, objects: &mut Objects) -> Result<(), KernelError> {
        let routes = self.host.default_routes();
        let routes = routes.map_err(|error| host_error("reading the default routes", error))?;
        for family in [Family::Ipv4, Family::Ipv6] {
            if let Some(value) = value(family, &routes) {
                let route = HostObject::from(DefaultRoute { family });
                objects.insert(route, LiveHostObject::set_to(value.into()));
            }
        }
        Ok(())
    }

    /// Adds a default route where there is none.
    pub(super) fn add_default_route(
        &mut self,
        route: DefaultRoute,
        after: &DefaultRouteValue,
    ) -> Result<(), Error> {
        if value(route.family, &self.host.default_routes()?).is_some() {
            return Err(Error::Exists { object: name(route) });
        }
        match after {
            DefaultRouteValue::Gateway(gateway) => self.host.add_default_route(*gateway),
            DefaultRouteValue::Found(routes) => {
                routes.iter().try_for_each(|it| self.host.restore_default_route(&recorded(it)))
            }
        }
    }

    /// Replaces a default route atomically, by one of evenkeel or by the former one. If the former one is
    /// not possible any more, evenkeel's is deleted with a warning.
    pub(super) fn edit_default_route(
        &mut self,
        route: DefaultRoute,
        before: &DefaultRouteValue,
        after: &DefaultRouteValue,
        warnings: &mut Vec<ExecutionWarning>,
    ) -> Result<(), Error> {
        let all = self.host.default_routes()?;
        if value(route.family, &all).as_ref() != Some(before) {
            return Err(Error::Changed { object: name(route) });
        }
        match after {
            DefaultRouteValue::Gateway(gateway) => {
                let of_family = all.iter().filter(|it| family(it) == route.family);
                let lowest = of_family.clone().map(|it| it.metric).next();
                let ours = of_family.filter(|it| it.is_ours()).map(|it| it.metric);
                let mut metrics: Vec<u32> = lowest.into_iter().chain(ours).collect();
                metrics.dedup();
                for metric in metrics {
                    match self.host.replace_default_route(*gateway, metric) {
                        // It is there behind another one, which is deleted.
                        Ok(()) | Err(Error::Exists { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
                self.delete_all(|it| before.foreign().any(|foreign| converted(it) == *foreign))
            }
            DefaultRouteValue::Found(routes) => {
                let restored = routes.iter().map(recorded);
                let is_stale = |it: &host::DefaultRoute| {
                    let is_kept = |kept: &RecordedRoute| kept.is_ours && kept.metric == it.metric;
                    it.is_ours() && family(it) == route.family && !routes.iter().any(is_kept)
                };
                for (former, restored) in routes.iter().zip(restored) {
                    match self.host.restore_default_route(&restored) {
                        Ok(()) => {}
                        Err(error @ Error::NotPermitted { .. }) => return Err(error),
                        Err(error) => warnings.push(ExecutionWarning::RouteNotRestored {
                            route,
                            former: former.to_string(),
                            error: error_chain(&error),
                        }),
                    }
                }
                self.delete_all(is_stale)
            }
        }
    }

    /// Deletes the default routes of evenkeel.
    pub(super) fn delete_default_route(&mut self, route: DefaultRoute) -> Result<(), Error> {
        let all = self.host.default_routes()?;
        let is_ours = |it: &host::DefaultRoute| it.is_ours() && family(it) == route.family;
        if !all.iter().any(is_ours) {
            return Err(Error::Missing { object: name(route) });
        }
        self.delete_all(is_ours)
    }

    /// Deletes the default routes of that kind; one that is gone is none.
    fn delete_all(&self, is_meant: impl Fn(&host::DefaultRoute) -> bool) -> Result<(), Error> {
        for route in self.host.default_routes()?.iter().filter(|it| is_meant(it)) {
            match self.host.delete_default_route(route) {
                Ok(()) | Err(Error::Missing { .. } | Error::InterfaceMissing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Returns the value of the default route of a family; `None` without any.
fn value(wanted: Family, all: &[host::DefaultRoute]) -> Option<DefaultRouteValue> {
    let of_family: Vec<&host::DefaultRoute> =
        all.iter().filter(|it| family(it) == wanted).collect();
    let first = of_family.first()?;
    let is_effective = |it: &&host::DefaultRoute| match wanted {
        // IPv4 uses the first one of the lowest metric.
        Family::Ipv4 => it == first,
        // IPv6 shares packets between them, or chooses by the reachability of the gateways.
        Family::Ipv6 => it.metric == first.metric,
    };
    let (effective, others): (Vec<&host::DefaultRoute>, Vec<&host::DefaultRoute>) =
        of_family.iter().partition(|it| is_effective(it));
    let (ours, foreign): (Vec<&host::DefaultRoute>, Vec<&host::DefaultRoute>) =
        effective.into_iter().partition(|it| it.is_ours());
    if foreign.is_empty() {
        return Some(DefaultRouteValue::Gateway(ours.first()?.gateway?));
    }
    let ours_behind = others.into_iter().filter(|it| it.is_ours());
    let found = foreign.into_iter().chain(ours).chain(ours_behind);
    Some(DefaultRouteValue::Found(found.map(converted).collect()))
}

fn family(route: &host::DefaultRoute) -> Family {
    if route.is_ipv6() { Family::Ipv6 } else { Family::Ipv4 }
}

fn converted(route: &host::DefaultRoute) -> RecordedRoute {
    RecordedRoute {
        gateway: route.gateway,
        interfaces: route.interfaces.iter().map(|it| it.as_str().into()).collect(),
        metric: route.metric,
        protocol: route.protocol,
        is_ours: route.is_ours(),
        message: RouteMessage(route.message.as_slice().into()),
    }
}

fn recorded(route: &RecordedRoute) -> host::DefaultRoute {
    host::DefaultRoute {
        gateway: route.gateway,
        interfaces: route.interfaces.iter().map(ToString::to_string).collect(),
        metric: route.metric,
        protocol: route.protocol,
        message: route.message.0.to_vec(),
    }
}

/// Names a default route in messages.
fn name(route: DefaultRoute) -> String {
    format!("default route {route}")
}
