//! Reads again the objects that operations touched.

use std::collections::BTreeSet;

use evenkeel_model::{Live, ServiceKey};
use evenkeel_plan::{Object, Op};

use crate::{Kernel, KernelError, ReadRequest};

/// How often the remaining steps are planned and executed again before they count as mismatches.
pub(crate) const FURTHER_ROUNDS: usize = 2;

/// The services that the operations belong to.
pub(crate) fn services(ops: &[Op]) -> BTreeSet<ServiceKey> {
    ops.iter().filter_map(Op::service).collect()
}

/// Updates `live` with a fresh reading of the objects that the operations touched.
pub(crate) fn read_touched(
    kernel: &mut dyn Kernel,
    live: &mut Live,
    ops: &[Op],
) -> Result<(), KernelError> {
    let touched = services(ops);
    let read = kernel.services(&touched)?;
    live.services.retain(|key, _| !touched.contains(key));
    if live.services.is_empty() {
        live.services = read;
    } else {
        live.services.extend(read);
    }
    if ops.iter().any(|op| op.service().is_none()) {
        let mut request = ReadRequest::again(live);
        // Some exist only since an earlier operation created their device.
        request.extend(ops.iter().filter_map(|op| match op.object() {
            Object::Sysctl(key) => Some(key),
            _ => None,
        }));
        kernel.read_namespace(&request, live)?;
    }
    Ok(())
}
