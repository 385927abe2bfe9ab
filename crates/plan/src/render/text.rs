//! A plan as lines of text.

use std::collections::BTreeMap;
use std::fmt;

use evenkeel_model::{Drain, Names, ServiceKey};

use super::{Labels, count};
use crate::left_scope::left_objects;
use crate::{Cause, HeldServer, Op, Plan, StayingObject, StayingService, Stays, Verb, WiderScope};

/// One operation in words: `~ edit real server 10.0.0.1:80 of web/192.0.2.1:80/tcp: weight 1 -> 2`.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// The operation.
    pub op: &'a Op,
    /// The labels of services.
    pub labels: &'a Labels<'a>,
}

/// The cause and the impact of a step, as a comment after its line, or nothing: ` # drift; 17
/// connections would break: drain first`.
#[derive(Debug, Clone, Copy)]
pub struct Remark<'a> {
    plan: &'a Plan,
    place: usize,
    all: bool,
}

impl<'a> Remark<'a> {
    /// Creates the remark on the step at that index: whether it repairs drift or left the scope, and its impact if
    /// notable. With `all`, the cause and the impact in any case.
    pub fn new(plan: &'a Plan, place: usize, all: bool) -> Self {
        Self { plan, place, all }
    }
}

impl fmt::Display for Remark<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, place, all } = *self;
        let cause = plan.causes.get(place).filter(|cause| all || **cause != Cause::SpecChanged);
        let impact = plan.impacts.get(&place).filter(|impact| all || impact.is_notable());
        match (cause, impact) {
            (None, None) => Ok(()),
            (Some(cause), None) => write!(f, " # {}", cause.as_str()),
            (None, Some(impact)) => write!(f, " # {impact}"),
            (Some(cause), Some(impact)) => write!(f, " # {}; {impact}", cause.as_str()),
        }
    }
}

/// Returns the last line of a plan: the counts, or that it is in sync.
pub fn summary(plan: &Plan) -> String {
    let mut text = if plan.is_in_sync() {
        match plan.staying.iter().map(|it| it.left).max() {
            None => "In sync".to_owned(),
            Some(left) => {
                let objects = count(plan.staying.len(), "object");
                format!("In sync for now; to remove within {left}: {objects}")
            }
        }
    } else {
        let counts = plan.counts();
        let parts: Vec<String> = Verb::ALL
            .into_iter()
            .filter(|verb| counts.get(*verb) > 0 || !is_occasional(*verb))
            .map(|verb| format!("{} to {}", counts.get(verb), verb.as_str()))
            .collect();
        format!("Plan: {}", parts.join(", "))
    };
    let kept = left_objects(&plan.kept).count();
    if kept > 0 {
        text.push_str(&format!("; left the scope: {}", count(kept, "object")));
    }
    if !plan.held.is_empty() {
        text.push_str(&format!("; held: {}", count(plan.held.len(), "real server")));
    }
    let unchanged = [
        count(plan.unchanged.services, "service"),
        count(plan.unchanged.real_servers, "real server"),
        count(plan.unchanged.vips, "VIP"),
    ];
    text.push_str(&format!("; unchanged: {}", unchanged.join(", ")));
    if plan.out_of_scope > 0 {
        text.push_str(&format!("; out of scope: {}", count(plan.out_of_scope, "service")));
    }
    text.push('.');
    text
}

/// Returns a line for each service for which objects stay on this real server.
pub fn leaving(staying: &[StayingObject]) -> impl Iterator<Item = String> {
    let mut parts: BTreeMap<(ServiceKey, Drain, bool), Vec<&StayingObject>> = BTreeMap::new();
    for it in staying {
        parts.entry((it.service, it.left, it.is_begun)).or_default().push(it);
    }
    parts.into_iter().map(|((_, left, is_begun), of_service)| {
        let objects: Vec<String> = of_service.iter().map(|it| it.object.to_string()).collect();
        let stay = match objects.len() {
            1 => "1 object stays".to_owned(),
            several => format!("{several} objects stay"),
        };
        format!(
            "  {stay} for {}{left}, while directors may still drain this real server in {}: {}",
            if is_begun { "another " } else { "" },
            of_service[0].label(),
            objects.join(", ")
        )
    })
}

/// Returns a line for each object that left the scope and stays: `  left the scope, stays: vip
/// 192.0.2.1/32 on eth0`.
pub fn kept<'a>(plan: &'a Plan, names: Names<'a>) -> impl Iterator<Item = String> + 'a {
    let kept = left_objects(&plan.kept);
    kept.map(move |object| format!("  left the scope, stays: {}", object.named(names)))
}

/// Returns a line for each real server that an overlay holds: `= real server 10.0.0.1:80 of
/// web/192.0.2.1:80/tcp: weight 0 (spec 5): override of root, maintenance, until 2026-01-01 14:00:00 UTC`.
pub fn held<'a>(plan: &'a Plan, names: Names<'a>) -> impl Iterator<Item = String> + 'a {
    plan.held.iter().map(move |held| {
        let HeldServer { service, real_server, .. } = held;
        format!("= real server {real_server} of {}: {held}", names.label(service))
    })
}

/// Returns a line for each adopted object that a teardown keeps: `  adopted, stays: service
/// web/192.0.2.1:80/tcp with 2 real servers`.
pub fn staying<'a>(stays: &'a Stays, names: Names<'a>) -> impl Iterator<Item = String> {
    let service = move |StayingService { key, real_servers }: &StayingService| {
        let real_servers = count(*real_servers, "real server");
        format!("  adopted, stays: service {} with {real_servers}", names.label(key))
    };
    let sync = stays.sync.iter().map(|state| format!("  adopted, stays: sync daemon {state}"));
    stays.services.iter().map(service).chain(sync)
}

/// Returns a warning for each adopted object that another program changed, so that a teardown keeps
/// it.
pub fn changed_by_others<'a>(stays: &'a Stays, names: Names<'a>) -> impl Iterator<Item = String> {
    stays.changed.iter().map(move |object| {
        format!(
            "{} stays as it is: another program changed it, and it is neither as it was before \
             evenkeel nor as the spec asks",
            object.named(names)
        )
    })
}

/// Verbs that the counts omit if there are none.
fn is_occasional(verb: Verb) -> bool {
    matches!(verb, Verb::Drain | Verb::Bind | Verb::Unbind)
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { op, labels } = self;
        write!(f, "{} {} ", op.verb().sign(), op.verb().as_str())?;
        op.write(f, labels)
    }
}

impl fmt::Display for WiderScope {
    /// `~ edit scope: vips 10.0.0.0/24 -> all, which newly covers 5 live services`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, after, services } = self;
        let (sign, verb) = (Verb::Edit.sign(), Verb::Edit.as_str());
        let services = count(*services, "live service");
        write!(f, "{sign} {verb} scope: {before} -> {after}, which newly covers {services}")
    }
}
