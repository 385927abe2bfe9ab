//! Reads and changes host objects, each kind with the functions of the host crate.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_host::{Action, Error, Route};
use evenkeel_model::{
    HostObject, HostObjectKind, HostRoute, HostValue, LiveHostObject, LiveHostObjects, MacAddress,
    Neighbour, NeighbourValue, Owner, RouteValue,
};

use super::{HostKernel, host_error};
use crate::error::KernelError;

type Objects = BTreeMap<HostObject, LiveHostObject>;

impl HostKernel {
    /// Reads the host objects of these kinds.
    pub(super) fn read_host_objects(
        &mut self,
        kinds: &BTreeSet<HostObjectKind>,
    ) -> Result<LiveHostObjects, KernelError> {
        let mut objects = Objects::new();
        for kind in kinds {
            match kind {
                HostObjectKind::Route => {
                    let read = self.host.host_routes();
                    let read = read.map_err(|error| host_error("reading the routes", error))?;
                    read.into_iter().for_each(|found| insert_route(&mut objects, found));
                }
                HostObjectKind::Neighbour => {
                    let read = self.host.neighbours();
                    let read = read.map_err(|error| host_error("reading the neighbours", error))?;
                    objects.extend(read.into_iter().filter_map(neighbour));
                }
            }
        }
        Ok(LiveHostObjects { read: kinds.clone(), objects })
    }

    /// Adds a host object.
    pub(super) fn add_host_object(
        &mut self,
        object: &HostObject,
        value: &HostValue,
    ) -> Result<(), Error> {
        match (object, value) {
            // The only value of a route is its source, which is its destination.
            (HostObject::Route(HostRoute { destination, interface }), HostValue::Route(_)) => {
                self.host.add_host_route(*destination, interface)
            }
            (HostObject::Neighbour(it), HostValue::Neighbour(NeighbourValue { mac })) => {
                self.host.add_neighbour(it.address, &it.interface, mac.0)
            }
            (HostObject::Route(_) | HostObject::Neighbour(_), _) => Err(other_kind(object)),
        }
    }

    /// Edits a host object of evenkeel.
    pub(super) fn edit_host_object(
        &mut self,
        object: &HostObject,
        after: &HostValue,
    ) -> Result<(), Error> {
        match (object, after) {
            // An atomic replacement could hit a route of another program.
            (HostObject::Route(_), HostValue::Route(_)) => {
                self.delete_host_object(object)?;
                self.add_host_object(object, after)
            }
            (HostObject::Neighbour(it), HostValue::Neighbour(NeighbourValue { mac })) => {
                self.host.replace_neighbour(it.address, &it.interface, mac.0)
            }
            (HostObject::Route(_) | HostObject::Neighbour(_), _) => Err(other_kind(object)),
        }
    }

    /// Deletes a host object of evenkeel.
    pub(super) fn delete_host_object(&mut self, object: &HostObject) -> Result<(), Error> {
        match object {
            HostObject::Route(HostRoute { destination, interface }) => {
                self.host.delete_host_route(*destination, interface)
            }
            HostObject::Neighbour(Neighbour { address, interface }) => {
                self.host.delete_neighbour(*address, interface)
            }
        }
    }
}

/// Inserts a route as read. If several lead through one interface, with different metrics, evenkeel's
/// own counts.
fn insert_route(objects: &mut Objects, found: Route) {
    let value = HostValue::Route(RouteValue { source: found.source });
    let owner = if found.is_ours() { Owner::Evenkeel } else { Owner::Other };
    let route = HostRoute { destination: found.destination, interface: found.interface.into() };
    let live = LiveHostObject { owner, value };
    match owner {
        Owner::Evenkeel => drop(objects.insert(route.into(), live)),
        Owner::Other => drop(objects.entry(route.into()).or_insert(live)),
    }
}

/// Converts an entry as read. One without a MAC address is on no interface that a spec can name.
fn neighbour(found: evenkeel_host::Neighbour) -> Option<(HostObject, LiveHostObject)> {
    let owner = if found.is_ours() { Owner::Evenkeel } else { Owner::Other };
    let value = HostValue::from(MacAddress(found.mac?));
    let neighbour = Neighbour { address: found.address, interface: found.interface.into() };
    Some((neighbour.into(), LiveHostObject { owner, value }))
}

/// An edited plan may give an object a value of another kind.
fn other_kind(object: &HostObject) -> Error {
    let what = "its value is of another kind".to_owned();
    Error::Malformed { action: Action::Add(object.to_string()), what }
}
