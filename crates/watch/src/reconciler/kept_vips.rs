//! Determines which VIPs may be bound again before the next pass ([`crate::lost_vips`]).

use std::collections::BTreeSet;

use evenkeel_control::{Event, EventKind};
use evenkeel_engine::{Kernel, Outcome, Report};
use evenkeel_model::{Binding, Desired, Live, Names, Owner};
use evenkeel_plan::render::{Labels, Line};
use evenkeel_plan::{Object, Op};
use tracing::info;

use super::Reconciler;
use crate::lost_vips::{KeptVips, Rebinds};

/// The most log lines about VIPs that were lost together.
const MAX_LINES: usize = 10;

/// The VIPs of the active spec that evenkeel has bound, as of the last pass.
#[derive(Debug)]
pub(super) struct BoundVips {
    shared: KeptVips,
    rebinds: Rebinds,
    /// Whether the current pass has found them.
    are_observed: bool,
}

impl BoundVips {
    pub(super) fn new(shared: KeptVips) -> Self {
        Self { shared, rebinds: Rebinds::new(), are_observed: false }
    }

    pub(super) fn shared(&self) -> &KeptVips {
        &self.shared
    }

    /// Begins a pass, which may fail before it has observed the host.
    pub(super) fn await_observation(&mut self) {
        self.are_observed = false;
    }

    /// Whether the pass has found them.
    pub(super) fn are_observed(&self) -> bool {
        self.are_observed
    }

    /// Forgets them: the pass has read the host, and may find that no spec keeps any.
    pub(super) fn begin_pass(&mut self) {
        self.rebinds.clear();
    }

    /// Takes those that a pass has found.
    pub(super) fn observed(&mut self, desired: &Desired, live: &Live) {
        let of_real_server: BTreeSet<&Binding> =
            desired.real_server.values().flat_map(|part| &part.vips).collect();
        let kept = desired.vips.iter().filter(|(binding, _)| {
            live.addresses.get(binding) == Some(&Owner::Evenkeel)
                && !of_real_server.contains(binding)
        });
        self.are_observed = true;
        self.rebinds =
            kept.map(|(binding, vip)| (binding.clone(), Op::bind(binding, vip))).collect();
    }

    /// Updates them after an execution.
    pub(super) fn executed(&mut self, desired: &Desired, report: &Report) {
        let is_of_real_server = |binding: &Binding| {
            desired.real_server.values().any(|part| part.vips.contains(binding))
        };
        for done in report.iter().filter(|done| *done.outcome == Outcome::Applied) {
            match done.op {
                Op::Bind { binding, .. }
                    if desired.vips.contains_key(binding) && !is_of_real_server(binding) =>
                {
                    self.rebinds.insert(binding.clone(), done.op.clone());
                }
                Op::Unbind { binding, .. } => {
                    self.rebinds.remove(binding);
                }
                _ => {}
            }
        }
    }
}

impl<K: Kernel> Reconciler<K> {
    /// Records that these lost VIPs were bound again.
    pub(super) fn note_rebound(&mut self, rebound: &[Op]) {
        if rebound.is_empty() {
            return;
        }
        let (now, desired) = (self.schedule.clock.now(), self.specs.desired());
        let vips = rebound.len();
        if vips > MAX_LINES {
            info!(vips, "lost VIPs were bound again at once");
        }
        for op in rebound {
            let object = op.object();
            if vips <= MAX_LINES {
                info!(object = object.to_string(), "a lost VIP was bound again at once");
            }
            self.conflicts.undone(op, false, &desired, now);
            self.outputs.metrics.operation(op.verb().as_str(), Outcome::Applied.as_str());
            self.outputs.metrics.drift(object.kind());
        }
        let publisher = &self.outputs.events;
        if publisher.has_subscribers() {
            let labels = Labels::new(Names { desired: &desired, last: None });
            let at = self.schedule.clock.wall();
            publisher.publish(rebound.iter().map(|op| Event {
                at,
                kind: EventKind::Step {
                    step: Line { op, labels: &labels }.to_string(),
                    repairs_drift: true,
                },
            }));
        }
    }

    /// Returns the VIPs that may be bound again before the next pass.
    pub(super) fn rebinds(&self) -> Rebinds {
        let journal = self.host.journal();
        let is_pending = journal.pending.is_some() || journal.pending_elsewhere().is_some();
        if self.is_read_only() || is_pending {
            return Rebinds::new();
        }
        let now = self.schedule.clock.now();
        let may_be_bound = |(binding, op): &(&Binding, &Op)| {
            !self.conflicts.backs_off(op, now)
                && !self.retries.has(&Object::Vip((*binding).clone()))
        };
        let rebinds = self.bound_vips.rebinds.iter().filter(may_be_bound);
        rebinds.map(|(binding, op)| (binding.clone(), op.clone())).collect()
    }
}
