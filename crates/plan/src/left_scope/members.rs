//! Which objects are among those that left the scope.

use evenkeel_model::{DesiredTimeouts, LeftScope};

use crate::{Object, recorded_key};

/// Whether an object is among those that left the scope; a real server is if its service is.
pub(crate) fn contains(left: &LeftScope, object: &Object) -> bool {
    match object {
        Object::Service(key) | Object::RealServer(key, _) => left.services.contains(key),
        Object::Vip(vip) => left.vips.contains(vip),
        Object::Host(object) => left.host_objects.contains(object),
        Object::Dummy(name) => left.dummies.contains(name),
        Object::Sysctl(key) => left.sysctls.contains(recorded_key(key)),
        Object::Sync(state) => left.sync.contains(state),
        Object::Timeouts => !left.timeouts.is_empty(),
        Object::Module(_) => false,
    }
}

/// Removes an object from those that left the scope.
pub(super) fn forget_left(left: &mut LeftScope, object: &Object) {
    match object {
        Object::Service(key) => drop(left.services.remove(key)),
        Object::Vip(vip) => drop(left.vips.remove(vip)),
        Object::Host(object) => drop(left.host_objects.remove(object)),
        Object::Dummy(name) => drop(left.dummies.remove(name)),
        Object::Sysctl(key) => drop(left.sysctls.remove(recorded_key(key))),
        Object::Sync(state) => drop(left.sync.remove(state)),
        Object::Timeouts => left.timeouts = DesiredTimeouts::default(),
        Object::RealServer(..) | Object::Module(_) => {}
    }
}
