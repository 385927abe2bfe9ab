//! What evenkeel adds is its own again, also where it was handed over before.

use evenkeel_model::ForeignMarks;
use evenkeel_plan::Op;

/// Removes what an operation adds from what carries evenkeel's mark and is another program's.
pub(crate) fn take_back(handed_over: &mut ForeignMarks, op: &Op) {
    match op {
        Op::Bind { binding, .. } => drop(handed_over.addresses.remove(binding)),
        Op::AddHostObject { object, .. } | Op::EditHostObject { object, .. } => {
            handed_over.host_objects.remove(object);
        }
        Op::AddDummy { interface } => drop(handed_over.dummies.remove(interface)),
        _ => {}
    }
}
