//! Confirms a pending apply, or rolls it back.

use evenkeel_model::{Desired, Live, Owner};
use evenkeel_plan::Op;

use crate::report::Rollback;
use crate::rollback::restore;
use crate::{Done, Journal, Kernel, Outcome, PartialApplies, ReadRequest, Report};

/// What a rollback of the pending apply reads.
pub fn pending_request(journal: &Journal) -> ReadRequest {
    let steps = journal.pending.iter().flat_map(|pending| &pending.steps);
    let edited = steps.clone().filter_map(|op| match op {
        Op::EditSysctl { key, .. } => Some(key),
        _ => None,
    });
    let sysctls = edited.chain(journal.record.sysctls.keys()).cloned().collect();
    let mut request = ReadRequest { sysctls, ..ReadRequest::for_journal(journal) };
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
        let targeted = pending.map(|pending| pending.targeted).unwrap_or_default();
        if !targeted.is_empty() {
            self.targeted.extend(targeted);
        } else if let Some(desired) = desired {
            self.set_active_spec(desired);
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
    let steps = pending.steps.clone();
    let rollback = restore(kernel, &steps, live);
    if rollback.is_pending() {
        return rollback;
    }
    journal.addresses.retain(|binding| live.addresses.get(binding) == Some(&Owner::Evenkeel));
    journal.host_objects.retain(|object| !live.host_objects.is_gone(object));
    record_restored(journal, &steps, live);
    let links = live.links.as_ref();
    journal.dummies.retain(|dummy| links.is_none_or(|links| links.contains_key(dummy)));
    // A sysctl that has its original value again needs no restoring.
    journal.record.sysctls.retain(|key, first| live.sysctls.get(key) != Some(first));
    journal.record.drains.0.retain(|(service, key), _| {
        let service = live.services.get(service);
        let real_server = service.and_then(|service| service.real_servers.get(key));
        real_server.is_some_and(|real_server| real_server.weight == 0)
    });
    journal.pending = None;
    journal.next = None;
    journal.attempted = PartialApplies::default();
    rollback
}

/// Records what the apply removed and the rollback added again: it is evenkeel's as before.
fn record_restored(journal: &mut Journal, steps: &[Op], live: &Live) {
    for op in steps {
        match op {
            Op::Unbind { binding, .. } if live.addresses.get(binding) == Some(&Owner::Evenkeel) => {
                journal.addresses.insert(binding.clone());
            }
            Op::DeleteHostObject { object, .. }
                if live.host_objects.get(object).is_some_and(|it| it.owner == Owner::Evenkeel) =>
            {
                journal.host_objects.insert(object.clone());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
