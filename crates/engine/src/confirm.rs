//! Confirms a pending apply, or rolls it back.

use evenkeel_model::{Desired, HostObject, Live, Owner, Timeouts};
use evenkeel_plan::{Op, PriorState};

use crate::report::Rollback;
use crate::rollback::restore;
use crate::{Done, Journal, Kernel, Outcome, PartialApplies, Pending, ReadRequest, Report};

/// What a rollback of the pending apply reads.
pub fn pending_request(journal: &Journal) -> ReadRequest {
    let steps = journal.pending.iter().flat_map(|pending| &pending.steps);
    let mut request = ReadRequest::for_journal(journal);
    for op in steps.clone() {
        if let Op::EditSysctl { key, rewrites, .. } | Op::RestoreSysctl { key, rewrites, .. } = op {
            request.extend(rewrites.keys().chain([key]).cloned());
        }
    }
    // The journal no longer lists what the apply deleted.
    request.host_objects.extend(steps.filter_map(|op| match op {
        Op::AddHostObject { object, .. }
        | Op::EditHostObject { object, .. }
        | Op::DeleteHostObject { object, .. } => Some(object.kind()),
        _ => None,
    }));
    request
}

/// The steps of a report that a rollback must take into account.
pub fn steps_to_roll_back(report: &Report) -> Vec<Op> {
    let was_sent = |done: &Done<'_>| {
        matches!(done.outcome, Outcome::Applied | Outcome::Unknown | Outcome::Failed(_))
    };
    report.iter().filter(was_sent).map(|done| done.op.clone()).collect()
}

impl Journal {
    /// Confirms the pending apply: its spec, which asks for `desired`, becomes the last applied one.
    ///
    /// Without `desired`, or where only a part of a spec was applied, the last applied spec stays.
    pub fn commit_pending(&mut self, desired: Option<&Desired>) {
        let pending = self.pending.take();
        if let Some(pending) = &pending {
            self.confirm_adoption(&pending.steps);
        }
        let (targeted, kept, removed) = match pending {
            Some(Pending { targeted, kept, removed, .. }) => (targeted, kept, removed),
            None => Default::default(),
        };
        if !targeted.is_empty() {
            self.targeted.extend(targeted);
        } else if let Some(desired) = desired {
            self.set_active_spec(&Desired { kept, removed, ..desired.clone() });
        }
    }
}

/// Rolls the pending apply back and updates the journal.
///
/// Where the rollback is incomplete, the apply stays pending.
pub fn roll_back_pending(
    kernel: &mut dyn Kernel,
    journal: &mut Journal,
    live: &mut Live,
) -> Rollback {
    let Some(pending) = &journal.pending else {
        return Rollback::default();
    };
    let (steps, real_server) = (pending.steps.clone(), pending.real_server.clone());
    let rollback = restore(kernel, &steps, live);
    if rollback.is_pending() {
        return rollback;
    }
    journal.addresses.retain(|binding| live.addresses.get(binding) == Some(&Owner::Evenkeel));
    journal.host_objects.retain(|object| !live.host_objects.is_given_up(object));
    record_restored(journal, &steps, live);
    journal.forget_replaced();
    let links = live.links.as_ref();
    journal.dummies.retain(|dummy| links.is_none_or(|links| links.contains_key(dummy)));
    // A sysctl that has its original value again needs no restoring.
    let PriorState { sysctls, side_effects, .. } = &mut journal.record;
    sysctls.retain(|key, first| live.sysctls.get(key) != Some(first));
    side_effects.retain(|master, _| sysctls.contains_key(master));
    if let Some(Timeouts { tcp, tcp_fin, udp }) = live.timeouts {
        let former = &mut journal.record.former_timeouts;
        former.tcp.take_if(|it| *it == tcp);
        former.tcp_fin.take_if(|it| *it == tcp_fin);
        former.udp.take_if(|it| *it == udp);
    }
    journal.record.drains.0.retain(|(service, key), _| {
        let service = live.services.get(service);
        let real_server = service.and_then(|service| service.real_servers.get(key));
        real_server.is_some_and(|real_server| real_server.weight == 0)
    });
    journal.record.real_server = real_server;
    journal.record.attempted_claims = None;
    journal.pending = None;
    journal.next = None;
    journal.attempted = PartialApplies::default();
    rollback
}

/// Records what the apply removed and the rollback added again: it is evenkeel's as before.
fn record_restored(journal: &mut Journal, steps: &[Op], live: &Live) {
    let is_ours = |object: &HostObject| {
        live.host_objects.get(object).is_some_and(|it| it.owner == Owner::Evenkeel)
    };
    let links = live.links.as_ref();
    let has_device = |name: &str| {
        let link = links.and_then(|links| links.get(name));
        link.is_some_and(|link| link.owner == Owner::Evenkeel)
    };
    for op in steps {
        match op {
            Op::Unbind { binding, .. } if live.addresses.get(binding) == Some(&Owner::Evenkeel) => {
                journal.addresses.insert(binding.clone());
            }
            Op::DeleteDummy { interface } if has_device(interface) => {
                journal.dummies.insert(interface.clone());
            }
            Op::DeleteHostObject { object, .. } if is_ours(object) => {
                journal.host_objects.insert(object.clone());
            }
            Op::EditHostObject { object, after, .. } if after.is_restored() && is_ours(object) => {
                journal.host_objects.insert(object.clone());
                journal.record.replaced.0.insert(object.clone(), (**after).clone());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
