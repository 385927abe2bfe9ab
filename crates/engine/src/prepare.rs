//! Plans with all that is known, and reads no more than that takes.
//!
//! What the last applied spec was, and how many connections there are, only plans with changes
//! need. A host in sync is the common case, and costs nothing of it.

use std::collections::BTreeSet;

use evenkeel_model::{Desired, Live, ServiceKey};
use evenkeel_plan::{CutOff, Inputs, Op, Plan, Record, plan};

use crate::{Kernel, KernelError};

/// The sysctls that tell what a change means for connections.
pub const CONNECTION_SYSCTLS: [&str; 3] = [
    "net.ipv4.vs.conn_reuse_mode",
    "net.ipv4.vs.expire_nodest_conn",
    "net.ipv4.vs.expire_quiescent_template",
];

/// What is known of the last applied spec.
#[derive(Debug, Default)]
pub struct History {
    /// What it asked for; `None` where none is on record.
    pub last: Option<Desired>,
    /// The text of the new spec that is one of the last applied one cut short.
    pub cut_off: Option<CutOff>,
}

impl History {
    /// Whether nothing of it is on record, so that no plan depends on it.
    fn is_unknown(&self) -> bool {
        self.last.is_none() && self.cut_off.is_none()
    }
}

/// Plans; only if there is something to do, looks up the history and counts connections. The
/// history comes back for the execution.
///
/// # Errors
/// The kernel cannot be read.
pub fn prepare(
    kernel: &mut impl Kernel,
    desired: &Desired,
    live: &Live,
    record: &Record,
    history: impl FnOnce() -> History,
) -> Result<(Plan, History), KernelError> {
    let inputs = Inputs::new(desired, live, record);
    let first = plan(inputs);
    if first.is_in_sync() {
        return Ok((first, History::default()));
    }
    let history = history();
    let concerned = concerned(&first.steps, live);
    if history.is_unknown() && concerned.is_empty() {
        return Ok((first, history));
    }
    drop(first);
    let statistics = match concerned.is_empty() {
        true => None,
        false => Some(kernel.services_with_statistics(&concerned)?.1),
    };
    let (last, cut_off) = (history.last.as_ref(), history.cut_off.as_ref());
    let plan = plan(Inputs { last, cut_off, statistics: statistics.as_ref(), ..inputs });
    Ok((plan, history))
}

/// The live services whose connections those operations may concern.
fn concerned(steps: &[Op], live: &Live) -> BTreeSet<ServiceKey> {
    let mut concerned = BTreeSet::new();
    for op in steps {
        match op {
            Op::Unbind { binding } => {
                let comes_in = |key: &&ServiceKey| key.may_be_reached_by(binding.address);
                concerned.extend(live.services.keys().filter(comes_in));
            }
            _ => concerned.extend(op.service().filter(|key| live.services.contains_key(key))),
        }
    }
    concerned
}
