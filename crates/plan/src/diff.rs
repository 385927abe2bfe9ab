//! Finds the objects that differ, kind by kind. [`crate::order`] puts the result in order.

use crate::Inputs;
use crate::difference::Difference;
use crate::resource::{dummy, host_object, module, service, sync, sysctl, timeouts, vip};

/// Compares the two states in canonical form.
pub(crate) fn difference(inputs: &Inputs<'_>) -> Difference {
    let Inputs { desired, live, record, .. } = *inputs;
    let mut found = Difference::default();
    service::diff(inputs, &mut found);
    found.ops.extend(dummy::diff(desired, live));
    found.ops.extend(vip::diff(desired, live, record, &mut found.unchanged.vips));
    let host_objects = host_object::diff(inputs, &found.ops);
    found.ops.extend(host_objects);
    found.ops.extend(sysctl::diff(desired, live, record));
    found.ops.extend(timeouts::diff(desired, live));
    found.ops.extend(sync::diff(desired, live, record));
    // Modules that those operations need.
    let modules = module::diff(found.added.iter().chain(&found.ops), live);
    found.ops.extend(modules);
    found
}
