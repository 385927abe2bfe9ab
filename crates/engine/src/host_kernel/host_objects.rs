//! Reads and changes host objects, each kind with the functions of the host crate.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_host::{Error, Route};
use evenkeel_model::{
    HostObject, HostObjectKind, HostRoute, HostValue, LiveHostObject, LiveHostObjects, Owner,
    RouteValue,
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
            }
        }
        Ok(LiveHostObjects { read: kinds.clone(), objects })
    }

    /// Adds a host object.
    pub(super) fn add_host_object(
        &mut self,
        object: &HostObject,
        _: &HostValue,
    ) -> Result<(), Error> {
        match object {
            // The only value of a route is its source, which is its destination.
            HostObject::Route(HostRoute { destination, interface }) => {
                self.host.add_host_route(*destination, interface)
            }
        }
    }

    /// Edits a host object of evenkeel.
    pub(super) fn edit_host_object(
        &mut self,
        object: &HostObject,
        after: &HostValue,
    ) -> Result<(), Error> {
        match object {
            // An atomic replacement could hit a route of another program.
            HostObject::Route(_) => {
                self.delete_host_object(object)?;
                self.add_host_object(object, after)
            }
        }
    }

    /// Deletes a host object of evenkeel.
    pub(super) fn delete_host_object(&mut self, object: &HostObject) -> Result<(), Error> {
        match object {
            HostObject::Route(HostRoute { destination, interface }) => {
                self.host.delete_host_route(*destination, interface)
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
