//! What a network namespace has beside services and addresses: timeouts, sync daemons, sysctls,
//! and the kernel modules that the operations need.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{Desired, DesiredTimeouts, Live, Scheduler, Timeouts};

use crate::Op;

/// The operations that close the difference in timeouts, sync daemons and sysctls. `original`
/// holds the values that sysctls had before evenkeel set them: one that the spec no longer names
/// goes back to it.
pub(crate) fn operations(
    desired: &Desired,
    live: &Live,
    original: &BTreeMap<Box<str>, Box<str>>,
) -> Vec<Op> {
    let mut ops = sysctls(desired, live, original);
    ops.extend(timeouts(desired, live));
    sync(desired, live, &mut ops);
    ops
}

fn sysctls(desired: &Desired, live: &Live, original: &BTreeMap<Box<str>, Box<str>>) -> Vec<Op> {
    let mut wanted = original.clone();
    wanted.extend(desired.sysctls.clone());
    wanted
        .into_iter()
        .filter_map(|(key, after)| {
            // One that is not there can only be wished for, not put back.
            let before = match live.sysctls.get(&key) {
                Some(before) => before.clone(),
                None if desired.sysctls.contains_key(&key) => "unset".into(),
                None => return None,
            };
            (before != after).then_some(Op::EditSysctl { key, before, after })
        })
        .collect()
}

fn timeouts(desired: &Desired, live: &Live) -> Option<Op> {
    let before = live.timeouts.unwrap_or(Timeouts::INITIAL);
    let after = desired.timeouts.over(before);
    (after != before).then_some(Op::EditTimeouts { before, after })
}

/// The timeouts that the last spec named and this one does not: they stay as they are, for nobody
/// wrote down what they were before.
pub(crate) fn left_timeouts(desired: &Desired, live: &Live, last: DesiredTimeouts) -> Vec<String> {
    let now = desired.timeouts;
    let Some(live) = live.timeouts else {
        return Vec::new();
    };
    let fields = [
        ("tcp", last.tcp, now.tcp, live.tcp),
        ("tcp_fin", last.tcp_fin, now.tcp_fin, live.tcp_fin),
        ("udp", last.udp, now.udp, live.udp),
    ];
    let left = fields.into_iter().filter(|(_, last, now, _)| last.is_some() && now.is_none());
    left.map(|(field, _, _, live)| {
        format!("timeout {field} is no longer in the spec and stays at {live} s")
    })
    .collect()
}

fn sync(desired: &Desired, live: &Live, ops: &mut Vec<Op>) {
    let Some(wanted) = &desired.sync else {
        return;
    };
    for (state, daemon) in &live.sync {
        if wanted.get(state).is_none_or(|asked| !asked.is_met_by(daemon)) {
            ops.push(Op::DeleteSync { state: *state, before: Box::new(daemon.clone()) });
        }
    }
    for (state, asked) in wanted {
        if live.sync.get(state).is_none_or(|daemon| !asked.is_met_by(daemon)) {
            ops.push(Op::AddSync { state: *state, after: Box::new(asked.clone()) });
        }
    }
}

/// The modules that those operations need and that are not there. One that a live service uses is
/// there, whatever the kernel lists.
pub(crate) fn modules<'a>(ops: impl IntoIterator<Item = &'a Op>, live: &Live) -> Vec<Op> {
    let Some(present) = &live.modules else {
        return Vec::new();
    };
    let mut needed: BTreeSet<String> = ops.into_iter().flat_map(needed_modules).collect();
    needed.retain(|module| !present.contains(module.as_str()));
    let used = |module: &String| {
        live.services
            .values()
            .any(|service| module.strip_prefix("ip_vs_") == Some(service.config.scheduler.as_str()))
    };
    needed.retain(|module| !used(module));
    needed.into_iter().map(|module| Op::AddModule { module: module.into() }).collect()
}

/// The modules that an operation needs.
pub(crate) fn needed_modules(op: &Op) -> impl Iterator<Item = String> {
    let config = match op {
        Op::AddService { after, .. } | Op::EditService { after, .. } => Some(after),
        _ => None,
    };
    config.into_iter().flat_map(|config| {
        // `none` is the kernel's word for the absence of one.
        let scheduler = Some(config.scheduler).filter(|it| *it != Scheduler::none());
        let engine = config.engine.as_ref();
        let scheduler = scheduler.map(|scheduler| format!("ip_vs_{scheduler}"));
        scheduler.into_iter().chain(engine.map(|engine| format!("ip_vs_pe_{engine}")))
    })
}
