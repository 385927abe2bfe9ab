//! Checks whether a plan that was made earlier is still valid.
//!
//! It is valid as long as the same inputs give the same steps. Changes that do not concern the plan
//! are ignored: fields that the spec leaves to other programs, timeouts that it does not name,
//! kernel modules that were loaded, drains that were started, sysctls that the kernel rewrites with
//! another one.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};

use evenkeel_model::{
    Desired, Ignore, IgnoredField, Names, RealServer, Service, ServiceKey, Timeouts,
};

use crate::render::{Labels, Line, NamedText, unified_diff_of};
use crate::resource::service::leave_config;
use crate::{Object, Op};

/// Compares the steps of an earlier plan with those of a fresh one; returns a unified diff of their
/// lines, or `None` if the earlier plan is still valid.
///
/// `last` is the last applied spec: for services that leave the spec, the fields that it left to
/// other programs are ignored.
pub fn staleness_diff(
    saved: &[Op],
    fresh: &[Op],
    desired: &Desired,
    last: Option<&Desired>,
) -> Option<String> {
    let mut known: HashMap<(Object, Discriminant<Op>), &Op> = HashMap::with_capacity(saved.len());
    known.extend(saved.iter().map(|op| ((op.object(), discriminant(op)), op)));
    let ignored = |key: ServiceKey| {
        let specs = [Some(desired), last].into_iter().flatten();
        let listed = specs.filter_map(|spec| spec.services.get(&key)).next();
        listed.map_or(Ignore::NOTHING, |named| named.ignore)
    };
    let mut masked = Vec::with_capacity(fresh.len());
    for op in fresh.iter().filter(|op| is_compared(op)) {
        let mut op = op.clone();
        if let Some(saved) = known.get(&(op.object(), discriminant(&op))) {
            let ignore = op.service().map_or(Ignore::NOTHING, ignored);
            mask_ignored(&mut op, saved, ignore);
        }
        masked.push(op);
    }
    if saved.iter().filter(|op| is_compared(op)).eq(&masked) {
        return None;
    }
    let labels = Labels::new(Names { desired, last });
    let (before, after) = (text(saved, &labels), text(&masked, &labels));
    let before = NamedText { name: "the saved plan", text: &before };
    Some(unified_diff_of(before, NamedText { name: "a fresh plan", text: &after }, 1))
}

/// Whether a step is compared: modules are not, as they are loaded only if missing.
fn is_compared(op: &Op) -> bool {
    !matches!(op, Op::AddModule { .. })
}

/// Copies the values that may have changed meanwhile from the earlier step.
fn mask_ignored(op: &mut Op, saved: &Op, ignore: Ignore) {
    match (op, saved) {
        (
            Op::EditRealServer { before, after, .. },
            Op::EditRealServer { before: saved_before, after: saved_after, .. },
        ) => {
            for field in ignored_numbers(ignore) {
                // A weight that is restored after a drain is a decision of the plan.
                mask_number(field, [before.as_mut(), after], [**saved_before, *saved_after]);
            }
        }
        (Op::DrainRealServer { before, .. }, Op::DrainRealServer { before: saved, .. }) => {
            *before = take_over_ignored(ignore, *before, *saved);
            if before.weight == 0 {
                before.weight = saved.weight;
            }
        }
        (Op::DeleteRealServer { before, .. }, Op::DeleteRealServer { before: saved, .. }) => {
            *before = take_over_ignored(ignore, *before, *saved);
        }
        (Op::DeleteService { before, .. }, Op::DeleteService { before: saved, .. }) => {
            let Service { config, real_servers } = &mut **before;
            *config = leave_config(ignore, config.clone(), &saved.config);
            real_servers.for_each_mut(|key, value| {
                if let Some(saved) = saved.real_servers.get(key) {
                    *value = take_over_ignored(ignore, *value, *saved);
                }
            });
        }
        (
            Op::EditService { before, after, .. },
            Op::EditService { before: saved_before, after: saved_after, .. },
        ) => {
            **before = leave_config(ignore, (**before).clone(), saved_before);
            **after = leave_config(ignore, (**after).clone(), saved_after);
        }
        (
            Op::EditTimeouts { before, after },
            Op::EditTimeouts { before: saved_before, after: saved_after },
        ) => {
            for field in TIMEOUTS {
                mask_number(field, [before, after], [*saved_before, *saved_after]);
            }
        }
        // An interface that appeared or vanished does not concern the plan.
        (
            Op::EditSysctl { rewrites, .. } | Op::RestoreSysctl { rewrites, .. },
            Op::EditSysctl { rewrites: saved, .. } | Op::RestoreSysctl { rewrites: saved, .. },
        ) => rewrites.clone_from(saved),
        _ => {}
    }
}

/// An accessor of a number among the fields of an object.
type Number<T> = fn(&mut T) -> &mut u32;

const TIMEOUTS: [Number<Timeouts>; 3] = [|it| &mut it.tcp, |it| &mut it.tcp_fin, |it| &mut it.udp];

fn ignored_numbers(ignore: Ignore) -> impl Iterator<Item = Number<RealServer>> {
    ignore.iter().filter_map(|field| {
        let number: Number<RealServer> = match field {
            IgnoredField::Weight => |it| &mut it.weight,
            IgnoredField::UpperThreshold => |it| &mut it.upper_threshold,
            IgnoredField::LowerThreshold => |it| &mut it.lower_threshold,
            IgnoredField::Scheduler | IgnoredField::Persistence | IgnoredField::RealServers => {
                return None;
            }
        };
        Some(number)
    })
}

/// Copies a number that neither edit changes.
fn mask_number<T>(number: Number<T>, [before, after]: [&mut T; 2], mut saved: [T; 2]) {
    let [saved_before, saved_after] = saved.each_mut().map(|it| *number(it));
    if saved_before == saved_after && *number(before) == *number(after) {
        *number(before) = saved_before;
        *number(after) = saved_before;
    }
}

fn take_over_ignored(ignore: Ignore, mut value: RealServer, mut saved: RealServer) -> RealServer {
    for number in ignored_numbers(ignore) {
        *number(&mut value) = *number(&mut saved);
    }
    value
}

/// Returns the lines of those steps; the parts that are deleted with a service follow its line.
fn text(steps: &[Op], labels: &Labels<'_>) -> String {
    let mut text = String::new();
    for op in steps.iter().filter(|op| is_compared(op)) {
        text.push_str(&format!("{}\n", Line { op, labels }));
        if let Op::DeleteService { key, before } = op {
            let config = Box::new(before.config.clone());
            let config = Op::AddService { key: *key, after: config };
            let real_servers = before.real_servers.iter().map(|(real_server, value)| {
                Op::DeleteRealServer { service: *key, key: *real_server, before: *value }
            });
            for part in std::iter::once(config).chain(real_servers) {
                let line = Line { op: &part, labels }.to_string();
                // Without the verb, as these are not steps.
                let words = line.splitn(3, ' ').nth(2).unwrap_or_default();
                text.push_str(&format!("    {words}\n"));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests;
