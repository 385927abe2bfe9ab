//! Real servers of weight 0: who gets their connections, and what becomes of those they have.

use std::collections::BTreeSet;

use evenkeel_model::{CONNECTION_TRACKING, Service, ServiceKey};
use evenkeel_plan::Op;
use evenkeel_plan::render::count;

use crate::facts::{EXPIRE_NODEST, EXPIRE_QUIESCENT};
use crate::{Code, Facts, Finding, NotChecked};

pub(super) fn check(facts: &Facts, findings: &mut Vec<Finding>) {
    for (key, _, service) in facts.services() {
        if facts.live.services.contains_key(key) {
            findings.extend(no_real_server(key, service));
        }
        findings.extend(hashed_to_zero(key, service));
        findings.extend(stuck_at_zero(facts, key, service));
    }
    findings.extend(dropped_after_drain(facts));
}

/// Says which sysctls of IPVS the kernel does not show, as in a user namespace, though it has services.
pub(super) fn not_checked(facts: &Facts, found: &mut Vec<NotChecked>) {
    let sysctls = [
        (Code::StuckAtZero, EXPIRE_QUIESCENT),
        (Code::DroppedAfterDrain, EXPIRE_NODEST),
        (Code::Untracked, CONNECTION_TRACKING),
    ];
    if facts.live.services.is_empty() || facts.desired.services.is_empty() {
        return;
    }
    for (code, key) in sysctls.into_iter().filter(|(_, key)| !facts.sysctls.contains_key(*key)) {
        let reason = format!("the kernel does not show {key} here");
        found.push(NotChecked { codes: [code].into(), reason });
    }
}

/// Counts the real servers of weight 0, if others have connections to take.
fn at_zero(service: &Service) -> Option<usize> {
    let zero = service.real_servers.iter().filter(|(_, it)| it.weight == 0).count();
    (zero > 0 && zero < service.real_servers.len()).then_some(zero)
}

fn no_real_server(key: &ServiceKey, service: &Service) -> Option<Finding> {
    if service.real_servers.iter().any(|(_, it)| it.weight > 0) {
        return None;
    }
    let what = match service.real_servers.len() {
        0 => "the service has no real servers".to_owned(),
        1 => "the only real server has weight 0".to_owned(),
        all => format!("each of the {} has weight 0", count(all, "real server")),
    };
    let remedy = "raise a weight, or add a real server".to_owned();
    Some(Finding::of(Code::NoRealServer, [*key], what, remedy))
}

fn hashed_to_zero(key: &ServiceKey, service: &Service) -> Option<Finding> {
    let (scheduler, flags) = (service.config.scheduler, service.config.scheduler_flags);
    let zero = at_zero(service).filter(|_| scheduler.refuses_clients_of_drained(flags))?;
    let zero = count(zero, "real server");
    let what = format!("`{scheduler}` sends a share of the clients to {zero} of weight 0");
    let remedy = match scheduler.as_str() {
        "dh" => "remove it, or use another scheduler".to_owned(),
        name => format!("write `scheduler_flags: [{name}-fallback]`, or remove it"),
    };
    Some(Finding::of(Code::HashedToZero, [*key], what, remedy))
}

fn stuck_at_zero(facts: &Facts, key: &ServiceKey, service: &Service) -> Option<Finding> {
    let is_kept = facts.number(EXPIRE_QUIESCENT) == Some(0);
    service.config.persistence.filter(|_| is_kept)?;
    let zero = count(at_zero(service)?, "real server");
    let what = format!("persistent clients stay with {zero} of weight 0");
    let remedy = facts.to_set(&[EXPIRE_QUIESCENT], "1");
    Some(Finding::of(Code::StuckAtZero, [*key], what, remedy))
}

fn dropped_after_drain(facts: &Facts) -> Option<Finding> {
    let leaving: Vec<ServiceKey> = facts
        .steps
        .iter()
        .filter_map(|op| match op {
            Op::DrainRealServer { service, .. } | Op::DeleteRealServer { service, .. } => {
                Some(*service)
            }
            _ => None,
        })
        .collect();
    // The same plan sets it before.
    let is_asked = facts.desired.sysctls.get(EXPIRE_NODEST).is_some_and(|value| **value == *"1");
    if leaving.is_empty() || is_asked || facts.number(EXPIRE_NODEST) != Some(0) {
        return None;
    }
    let services = BTreeSet::from_iter(leaving);
    let what =
        "real servers leave, and packets of connections that remain will be dropped silently";
    let remedy = facts.to_set(&[EXPIRE_NODEST], "1");
    Some(Finding::of(Code::DroppedAfterDrain, services, what.to_owned(), remedy))
}
