//! Makes a plan and reads only what that plan needs.
//!
//! Only plans with changes need the last applied spec and the number of connections. For a host in
//! sync, the common case, neither is read.

use std::collections::BTreeSet;

use evenkeel_model::{Desired, Live, Overlays, ServiceKey};
use evenkeel_plan::{
    CutOff, Inputs, Leaving, LostFile, Op, Plan, PriorState, interrupted_addresses, plan,
};

use crate::{Kernel, KernelError};

/// The sysctls that determine what a change means for connections.
pub const CONNECTION_SYSCTLS: [&str; 3] = [
    "net.ipv4.vs.conn_reuse_mode",
    "net.ipv4.vs.expire_nodest_conn",
    "net.ipv4.vs.expire_quiescent_template",
];

/// What is known of the last applied spec.
#[derive(Debug, Default)]
pub struct LastApplied {
    /// What it asked for; `None` where none is on record.
    pub last: Option<Desired>,
    /// A text of the new spec that may be incomplete.
    pub cut_off: Option<CutOff>,
    /// The files of the last applied spec whose content is missing from the new one.
    pub lost_files: Vec<LostFile>,
}

impl LastApplied {
    /// Whether nothing is on record, so that no plan depends on it.
    fn is_unknown(&self) -> bool {
        self.last.is_none() && self.cut_off.is_none() && self.lost_files.is_empty()
    }
}

/// What a plan is made for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The desired state.
    pub desired: &'a Desired,
    /// The one by which guards judge what begins to leave ([`evenkeel_plan::Leaving::judged`]).
    pub judged: Option<&'a Desired>,
    /// What holds real servers at another weight, or out.
    pub overlays: &'a Overlays,
    /// The live state.
    pub live: &'a Live,
    /// The record of earlier applies.
    pub record: &'a PriorState,
}

impl<'a> Wanted<'a> {
    /// What a spec asks for, with what stays beside it for services that leave.
    pub fn new(
        spec: &'a Desired,
        leaving: &'a Leaving,
        live: &'a Live,
        record: &'a PriorState,
    ) -> Self {
        let overlays = Overlays::none();
        let (desired, judged) = (leaving.desired(spec), leaving.judged.as_ref());
        Self { desired, judged, overlays, live, record }
    }

    /// The same with these overlays.
    #[must_use]
    pub fn under(self, overlays: &'a Overlays) -> Self {
        Self { overlays, ..self }
    }

    /// A desired state beside which nothing stays.
    pub fn exactly(desired: &'a Desired, live: &'a Live, record: &'a PriorState) -> Self {
        Self { desired, judged: None, overlays: Overlays::none(), live, record }
    }
}

/// Makes a plan, and returns it with the history that it was made with.
///
/// Only if there is something to do, or a text may have lost its end mark, it calls `history` with the operations, which decide how much
/// of it matters, and counts connections. Only if VIPs are unbound, it reads the sessions of programs over them.
///
/// # Errors
/// The kernel cannot be read.
pub fn plan_changes(
    kernel: &mut dyn Kernel,
    Wanted { desired, judged, overlays, live, record }: Wanted<'_>,
    history: impl FnOnce(&[Op]) -> LastApplied,
) -> Result<(Plan, LastApplied), KernelError> {
    let inputs = Inputs { judged, overlays, ..Inputs::new(desired, live, record) };
    let first = plan(inputs);
    if first.is_in_sync() && judged.is_none() && !record.end_marks {
        return Ok((first, LastApplied::default()));
    }
    // What begins to leave is removed later, but compared with the spec before now.
    let at_once = |desired| Inputs { overlays, ..Inputs::new(desired, live, record) };
    let judged = judged.map(|desired| plan(at_once(desired)).steps);
    let steps = judged.as_ref().unwrap_or(&first.steps);
    let history = history(steps);
    if first.is_in_sync() && judged.is_none() && history.cut_off.is_none() {
        return Ok((first, LastApplied::default()));
    }
    let affected_services = affected_services(steps, live);
    let interrupted = interrupted_addresses(live, steps);
    if history.is_unknown() && affected_services.is_empty() && interrupted.is_empty() {
        return Ok((first, history));
    }
    // Reading them may cost as much as the host has sockets.
    let sessions = (!interrupted.is_empty()).then(|| kernel.local_sessions(&interrupted));
    drop(first);
    let statistics = match affected_services.is_empty() {
        true => None,
        false => Some(kernel.services_with_statistics(&affected_services)?.1),
    };
    let LastApplied { last, cut_off, lost_files } = &history;
    let plan = plan(Inputs {
        last: last.as_ref(),
        cut_off: cut_off.as_ref(),
        lost_files,
        statistics: statistics.as_ref(),
        sessions: sessions.as_ref(),
        ..inputs
    });
    Ok((plan, history))
}

/// The live services whose connections the operations may affect.
fn affected_services(steps: &[Op], live: &Live) -> BTreeSet<ServiceKey> {
    let mut affected_services = BTreeSet::new();
    for op in steps {
        match op {
            Op::Unbind { binding, .. } => {
                let comes_in = |key: &&ServiceKey| key.may_be_reached_by(binding.address);
                affected_services.extend(live.services.keys().filter(comes_in));
            }
            _ => {
                affected_services.extend(op.service().filter(|key| live.services.contains_key(key)))
            }
        }
    }
    affected_services
}
