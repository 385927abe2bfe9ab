//! Finds the objects that differ, kind by kind. [`crate::order`] makes a plan of that.

use crate::Inputs;
use crate::difference::Difference;
use crate::resource::{device, module, route, service, sync, sysctl, timeouts, vip};

/// Compares the two states in canonical form.
pub(crate) fn difference(inputs: &Inputs<'_>) -> Difference {
    let Inputs { desired, live, record, .. } = *inputs;
    let mut found = Difference::default();
    service::diff(inputs, &mut found);
    found.ops.extend(device::diff(desired, live));
    found.ops.extend(vip::diff(desired, live, &mut found.unchanged.vips));
    let routes = route::diff(desired, live, &found.ops);
    found.ops.extend(routes);
    found.ops.extend(sysctl::diff(desired, live, &record.sysctls));
    found.ops.extend(timeouts::diff(desired, live));
    found.ops.extend(sync::diff(desired, live));
    // What all of that needs.
    let modules = module::diff(found.added.iter().chain(&found.ops), live);
    found.ops.extend(modules);
    found
}
