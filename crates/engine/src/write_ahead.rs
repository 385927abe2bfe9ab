//! Executes a pass with write-ahead journalling.
//!
//! The journal records what is about to be bound, created, set and drained before it is done, so
//! that a crash loses nothing, and the outcome afterwards.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{
    AttemptedClaims, Desired, DesiredTimeouts, HostObject, HostValue, Overlays, RealServer,
    RealServers, ServiceKey, SyncState, Timeouts,
};
use evenkeel_plan::{
    Draining, MasterSysctl, Object, Op, PriorState, SyncLink, UNSET, forget_removed, recorded_key,
};

use crate::take_back::take_back;
use crate::{
    ApplyOptions, Done, ExecutionContext, ExecutionWarning, Journal, JournalError, Kernel, Outcome,
    PartialApplies, Pass, Recording, Report, Rollback, StateDir, error_chain, execute,
};

/// Executes a pass as [`execute`] does, and keeps the journal. The journal's record replaces the one
/// of the pass.
///
/// # Errors
/// The journal cannot be written, and the options do not permit the pass all the same; nothing was changed.
pub fn execute_journalled(
    kernel: &mut dyn Kernel,
    mut pass: Pass<'_>,
    options: ApplyOptions,
    context: &mut dyn ExecutionContext,
    state: &StateDir,
    journal: &mut Journal,
) -> Result<Report, JournalError> {
    // The user may have been prompted since the journal was read, and the wall clock set.
    journal.record.drains.rebase(&context.now());
    journal.record.real_server.rebase(&context.now());
    let before = journal.clone();
    let (desired, overlays, is_complete) = (pass.desired, pass.overlays, pass.is_complete);
    record_intent(journal, &pass, context);
    // Written also where the record does not change, so that a journal that cannot be written is
    // found before the first change.
    let is_always = options.recording == Recording::Always;
    let mut is_unwritten = false;
    if !pass.steps.is_empty() && (is_always || *journal != before) {
        let claims_more = journal.record.attempted_claims != before.record.attempted_claims;
        let is_needed = is_always || claims_more || pass.steps.iter().any(|op| before.lacks(op));
        match state.write(journal) {
            Err(error) if is_needed => return Err(error),
            written => is_unwritten = written.is_err(),
        }
    }
    let intended = journal.clone();
    pass.record = journal.record.clone();
    if desired.sync.is_some() {
        pass.record.note_sync_links(&pass.live, &pass.steps);
    }
    let started = pass.record.sync_links.clone();
    let mut report = execute(kernel, pass, options, context);
    record_outcome(journal, &before, &report, (desired, overlays, is_complete));
    record_started(journal, &report, &started);
    if (is_unwritten || *journal != intended)
        && let Err(error) = state.write(journal)
    {
        // The changes were made and are reported; the next apply writes the journal again.
        let error = error_chain(&error);
        report.warnings.push(ExecutionWarning::OutcomeNotRecorded { error });
    }
    Ok(report)
}

/// Records what the steps are about to do.
fn record_intent(journal: &mut Journal, pass: &Pass<'_>, context: &dyn ExecutionContext) {
    // Rounded up, so that a drain never ends early.
    let reading = context.now();
    let now = reading.wall.as_secs() + 1;
    // A pass for single services knows nothing of the others: their drains continue.
    if pass.is_complete {
        journal.record.drains.0.retain(|(service, key), _| {
            let service = pass.live.services.get(service);
            service.is_some_and(|service| service.real_servers.get(key).is_some())
        });
    }
    // The kernel deletes none of these as a side effect: another program did.
    journal.host_objects.retain(|it| !it.carries_vips() || !pass.live.host_objects.is_gone(it));
    journal.record.handed_over.retain_live(&pass.live);
    journal.inherit(pass.desired);
    journal.record.note_foreign_vips(pass.desired, &pass.live, &journal.addresses);
    if pass.desired.sync.is_some() {
        // A new index is recorded after the start: if the process is killed before, the former one makes the
        // next pass restart the daemon.
        journal.record.note_sync_links(&pass.live, &[]);
    }
    // A pass for single services has read no others.
    if pass.is_complete {
        journal.record.forget_filled(pass.desired, &pass.live);
        journal.forget_gone(pass.desired, &pass.live);
        // Repairs of what is in force are recorded already, and need no room on the disk.
        let attempted = AttemptedClaims::of(pass.desired);
        let is_in_force = journal.record.scope.as_ref() == Some(&attempted.scope)
            && journal.record.claims == attempted.claims;
        journal.record.attempted_claims = (!is_in_force).then_some(attempted);
    }
    journal.record.note_new_services(pass.desired, &pass.steps);
    journal.record.begin_overlays(pass.desired, pass.overlays, &pass.live);
    for op in &pass.steps {
        match op {
            Op::EditTimeouts { before, after } => {
                record_timeouts(&mut journal.record, *before, *after);
            }
            Op::Bind { binding, .. } => {
                journal.addresses.insert(binding.clone());
            }
            Op::AddHostObject { object, .. } => {
                journal.host_objects.insert(object.clone());
            }
            Op::EditHostObject { object, before, after } if !after.is_restored() => {
                journal.note_edit(object, before);
            }
            Op::AddDummy { interface } => {
                journal.dummies.insert(interface.clone());
            }
            Op::EditSysctl { key, before, rewrites, .. } => {
                record_sysctl(&mut journal.record, key, before, rewrites);
            }
            Op::DrainRealServer { service, key, before, limit } => {
                let draining = Draining {
                    since: now,
                    weight: before.weight,
                    limit: *limit,
                    uptime: reading.uptime_at(now),
                };
                let drains = &mut journal.record.drains.0;
                if !drains.contains_key(&(*service, *key)) {
                    let (live, last) = (&pass.live, pass.last);
                    journal.adopted.adopt_draining(*service, *key, live, last);
                }
                let drain = drains.entry((*service, *key)).or_insert(draining);
                if before.weight > 0 {
                    // Another program ended the recorded drain; this is a new one.
                    *drain = draining;
                } else if !reading.is_of_this_boot(drain.uptime) {
                    // From here on, steps of the wall clock do not affect it.
                    drain.uptime = reading.uptime_at(drain.since);
                }
            }
            _ => {}
        }
    }
}

/// Records the values from before of the timeouts that change, unless they are on record.
fn record_timeouts(record: &mut PriorState, before: Timeouts, after: Timeouts) {
    let changed = |before: u32, after: u32| (before != after).then_some(before);
    let former = DesiredTimeouts {
        tcp: changed(before.tcp, after.tcp),
        tcp_fin: changed(before.tcp_fin, after.tcp_fin),
        udp: changed(before.udp, after.udp),
    };
    record.former_timeouts = record.former_timeouts.or(former);
}

/// Records the value from before of a sysctl and of those that the kernel rewrites with it, unless
/// they are on record. Interfaces that appear after the first time have no values from before.
fn record_sysctl(
    record: &mut PriorState,
    key: &str,
    before: &str,
    rewrites: &BTreeMap<Box<str>, Box<str>>,
) {
    let key: Box<str> = recorded_key(key).into();
    if record.sysctls.contains_key(&key) {
        return;
    }
    // The value that a master gave to an interface that appeared later is not one from before.
    let is_later = record.side_effects.iter().any(|(master, values)| {
        MasterSysctl::of(master) == MasterSysctl::rewriting(&key) && !values.contains_key(&key)
    });
    record.sysctls.insert(key.clone(), if is_later { UNSET } else { before }.into());
    if rewrites.is_empty() {
        return;
    }
    let originals = rewrites.iter().map(|(key, before)| {
        // evenkeel may have set it itself.
        let recorded = record.sysctls.get(key).map(|value| &**value);
        let recorded = recorded.or_else(|| record.others.former_sysctl(key));
        let recorded = recorded.filter(|value| **value != *UNSET);
        (key.clone(), recorded.unwrap_or(before).into())
    });
    let values = originals.collect();
    record.side_effects.insert(key, values);
}

/// Records the interfaces of the sync daemons that were started, given those of all that were to be. Where the
/// outcome is unknown, the record from before stays: the daemon is restarted once more.
fn record_started(journal: &mut Journal, report: &Report, links: &BTreeMap<SyncState, SyncLink>) {
    for Done { op, outcome } in report.iter() {
        let Op::AddSync { state, .. } = op else { continue };
        if *outcome == Outcome::Applied {
            match links.get(state) {
                Some(link) => journal.record.sync_links.insert(*state, link.clone()),
                // The plan created the interface: the next reading shows its index.
                None => journal.record.sync_links.remove(state),
            };
        }
    }
}

/// Records the outcomes of the steps.
fn record_outcome(
    journal: &mut Journal,
    before: &Journal,
    report: &Report,
    (desired, overlays, is_complete): (&Desired, &Overlays, bool),
) {
    let mut removed = desired.removed.clone();
    for Done { op, outcome } in report.iter() {
        if matches!(outcome, Outcome::Applied | Outcome::AlreadyInPlace) {
            forget_removed(&mut removed, op);
            // What an unconfirmed apply removed is back after its rollback.
            if journal.pending.is_none() {
                forget_removed(&mut journal.record.left, op);
            }
            take_back(&mut journal.record.handed_over, op);
            match op.object() {
                Object::RealServer(service, key) => {
                    journal.record.overlaid.forget_if_ended(&service, &key, overlays);
                }
                Object::Service(service) if matches!(op, Op::DeleteService { .. }) => {
                    journal.record.overlaid.forget_service(&service);
                }
                _ => {}
            }
        }
        let is_applied = *outcome == Outcome::Applied;
        let is_there = matches!(outcome, Outcome::Applied | Outcome::AlreadyInPlace);
        let may_be_done = matches!(outcome, Outcome::Applied | Outcome::Unknown);
        let drains = &mut journal.record.drains;
        match op {
            // Bound by another program, or rolled back, unless it was ours before this pass.
            Op::Bind { binding, .. } if !may_be_done && !before.addresses.contains(binding) => {
                journal.addresses.remove(binding);
            }
            Op::AddHostObject { object, .. } if may_be_done => {
                journal.host_objects.insert(object.clone());
            }
            Op::AddHostObject { object, .. } if !before.host_objects.contains(object) => {
                journal.host_objects.remove(object);
            }
            Op::EditHostObject { object, after, .. } if after.is_restored() && is_there => {
                journal.remove_host_object(object);
            }
            // What was to be restored still is.
            Op::EditHostObject { after, .. } if after.is_restored() => {}
            Op::EditHostObject { object, before: value, .. } if may_be_done => {
                journal.note_edit(object, value);
            }
            Op::EditHostObject { object, .. } => journal.reset_host_object(object, before),
            Op::DeleteHostObject { object, .. } if is_there => {
                journal.remove_host_object(object);
            }
            // It may have been unbound first, to be bound with another label.
            Op::Bind { binding, .. } if may_be_done => {
                journal.addresses.insert(binding.clone());
            }
            Op::AddDummy { interface } if !may_be_done && !before.dummies.contains(interface) => {
                journal.dummies.remove(interface);
            }
            Op::EditSysctl { key, rewrites, .. }
                if !may_be_done
                    && !before.record.sysctls.contains_key(recorded_key(key))
                    && !is_any_left(report, rewrites) =>
            {
                journal.record.sysctls.remove(recorded_key(key));
                journal.record.side_effects.remove(recorded_key(key));
            }
            Op::EditTimeouts { .. } if !may_be_done => {
                journal.record.former_timeouts = before.record.former_timeouts;
            }
            Op::Unbind { binding, .. } if is_there => {
                journal.addresses.remove(binding);
            }
            Op::DeleteDummy { interface } if is_there => {
                journal.dummies.remove(interface);
            }
            Op::DeleteRealServer { service, key, .. } if is_there => {
                drains.0.remove(&(*service, *key));
            }
            Op::DeleteService { key, .. } if is_there => {
                drains.forget_service(key);
            }
            // Listed again: the drain is cancelled.
            Op::EditRealServer { service, key, after: RealServer { weight, .. }, .. }
                if is_applied && *weight > 0 =>
            {
                drains.0.remove(&(*service, *key));
            }
            Op::DrainRealServer { service, key, .. }
                if !may_be_done && *outcome != Outcome::AlreadyInPlace =>
            {
                match before.record.drains.0.get(&(*service, *key)) {
                    Some(draining) => drains.0.insert((*service, *key), *draining),
                    None => drains.0.remove(&(*service, *key)),
                };
            }
            _ => {}
        }
    }
    forget_filled(&mut journal.record.unfilled, desired, report);
    journal.conclude_adoption(report);
    if report.rollback.as_ref().is_some_and(Rollback::is_clean) {
        journal.record.attempted_claims = None;
    }
    if report.is_success() && is_complete {
        journal.set_active_spec(desired);
        journal.record.left = removed;
    }
}

/// Forgets the new services that this report adds with all real servers, adds not at all, or deletes. What was
/// held back is not in a report: such a service is complete when a reading shows it.
fn forget_filled(unfilled: &mut BTreeSet<ServiceKey>, desired: &Desired, report: &Report) {
    let is_there =
        |outcome: &Outcome| matches!(outcome, Outcome::Applied | Outcome::AlreadyInPlace);
    let (mut gone, mut added) = (BTreeSet::new(), BTreeSet::new());
    for Done { op, outcome } in report.iter() {
        match op {
            Op::AddService { key, .. } if !is_there(outcome) => drop(gone.insert(*key)),
            Op::DeleteService { key, .. } if is_there(outcome) => drop(gone.insert(*key)),
            Op::AddRealServer { service, key, .. } if is_there(outcome) => {
                added.insert((*service, *key));
            }
            _ => {}
        }
    }
    unfilled.retain(|service| {
        let listed = desired.services.get(service).map(|named| &named.service.real_servers);
        let is_filled =
            |listed: &RealServers| listed.iter().all(|(key, _)| added.contains(&(*service, *key)));
        !gone.contains(service) && !listed.is_some_and(is_filled)
    });
}

/// Whether the rollback could not restore one of the sysctls that the kernel rewrote with another.
fn is_any_left(report: &Report, rewrites: &BTreeMap<Box<str>, Box<str>>) -> bool {
    if rewrites.is_empty() {
        return false;
    }
    let left = report.rollback.iter().flat_map(|rollback| &rollback.remaining);
    left.map(Op::object)
        .any(|object| matches!(object, Object::Sysctl(key) if rewrites.contains_key(&key)))
}

impl Journal {
    /// Whether the operation must be recorded before it is made, and is not yet. In the IPVS table none must:
    /// the start of a drain that is not recorded is lost with the process, and the drain begins again.
    pub fn lacks(&self, op: &Op) -> bool {
        match op {
            Op::Bind { binding, .. } => !self.addresses.contains(binding),
            Op::AddHostObject { object, .. } => !self.host_objects.contains(object),
            Op::EditHostObject { object, before, after } => {
                let mut replaced = self.record.replaced.clone();
                replaced.note(object, before);
                let is_replacing = before.is_restored() && !after.is_restored();
                is_replacing && replaced != self.record.replaced
            }
            Op::AddDummy { interface } => !self.dummies.contains(interface),
            Op::EditSysctl { key, .. } => !self.record.sysctls.contains_key(recorded_key(key)),
            Op::EditTimeouts { before, after } => {
                let mut record = self.record.clone();
                record_timeouts(&mut record, *before, *after);
                record.former_timeouts != self.record.former_timeouts
            }
            _ => false,
        }
    }

    /// Records that a host object is set to a value of evenkeel, and what it replaces.
    fn note_edit(&mut self, object: &HostObject, before: &HostValue) {
        self.host_objects.insert(object.clone());
        if before.is_restored() {
            self.record.replaced.note(object, before);
        }
    }

    /// Records of a host object what an earlier journal does.
    fn reset_host_object(&mut self, object: &HostObject, before: &Self) {
        self.remove_host_object(object);
        self.host_objects.extend(before.host_objects.get(object).cloned());
        let replaced = before.record.replaced.0.get(object);
        self.record.replaced.0.extend(replaced.map(|value| (object.clone(), value.clone())));
    }

    fn remove_host_object(&mut self, object: &HostObject) {
        self.host_objects.remove(object);
        self.record.replaced.0.remove(object);
    }

    /// Forgets what was replaced by objects that are no longer evenkeel's.
    pub(crate) fn forget_replaced(&mut self) {
        let Self { record, host_objects, .. } = self;
        record.replaced.0.retain(|object, _| host_objects.contains(object));
    }

    /// Records that the spec that asks for `desired` is applied, and makes its texts the last applied
    /// ones.
    pub fn set_active_spec(&mut self, desired: &Desired) {
        self.let_go(desired);
        self.inherit(desired);
        self.leave_to_others(desired);
        self.record.governed_by(desired);
        self.record.forget_foreign_vips(desired);
        self.record.timeouts = desired.timeouts;
        self.record_restored_sysctls(desired);
        let kept = self.record.real_server.kept_host_objects();
        // The kernel deletes a route with its source address. Objects out of scope stay recorded, and so
        // do those whose deletion waits: for a drain, or until no address is on a device. A kind without a
        // record is not read.
        let is_draining = !self.record.drains.0.is_empty();
        self.host_objects.retain(|object| {
            (is_draining && object.reaches_real_servers())
                || object.carries_vips()
                || desired.host_objects.contains_key(object)
                || kept.contains(object)
                || !object.is_in(&desired.scope)
        });
        self.forget_replaced();
        self.targeted = PartialApplies::default();
        self.attempted = PartialApplies::default();
        self.promote_next_spec();
    }

    /// Records what left the scope of a spec that is in force from now on: what stays is another program's,
    /// and what is removed is evenkeel's until it is gone.
    pub fn let_go(&mut self, desired: &Desired) {
        let Desired { kept, removed, timeouts, .. } = desired;
        self.record.left = removed.clone();
        let named = timeouts.or(removed.timeouts);
        self.record.former_timeouts = self.record.former_timeouts.only(named, true);
        if kept.is_empty() {
            return;
        }
        self.record.handed_over.hand_over(kept);
        self.addresses.retain(|binding| !kept.vips.contains(binding));
        self.host_objects.retain(|object| !kept.host_objects.contains(object));
        self.forget_replaced();
        self.dummies.retain(|name| !kept.dummies.contains(name));
        let PriorState { sysctls, side_effects, drains, .. } = &mut self.record;
        sysctls.retain(|key, _| !kept.sysctls.contains(key));
        side_effects.retain(|master, _| !kept.sysctls.contains(master));
        drains.0.retain(|(service, _), _| !kept.services.contains(service));
        self.adopted.services.retain(|key, _| !kept.services.contains(key));
        self.adopted.sync.retain(|state, _| !kept.sync.contains(state));
    }

    /// Forgets the values from before of the sysctls that this spec does not name: they have them
    /// again, unless they wait for a drain, or stay for a service that leaves this real server.
    fn record_restored_sysctls(&mut self, desired: &Desired) {
        let PriorState { sysctls, side_effects, drains, real_server, .. } = &mut self.record;
        if !drains.0.is_empty() {
            return;
        }
        let named: BTreeSet<&str> = desired.sysctls.keys().map(|key| recorded_key(key)).collect();
        let kept = real_server.kept_sysctls();
        let is_kept = |key: &str| named.contains(key) || kept.contains(key);
        sysctls.retain(|key, _| is_kept(key));
        side_effects.retain(|master, values| {
            let stays = is_kept(master);
            if !stays {
                // Its own value is the spec's; without a spec it would now be the one from before.
                let asked = values.iter().filter(|(key, _)| named.contains(&***key));
                sysctls.extend(asked.map(|(key, value)| (key.clone(), value.clone())));
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests;
