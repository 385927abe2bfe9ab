//! A plan as lines of text.

use std::cell::RefCell;
use std::fmt;

use evenkeel_model::{Names, ServiceKey};

use crate::field::{FieldChange, FieldValue, real_server_fields, service_fields};
use crate::{Cause, Op, Plan, StayingService, Stays, Verb, WiderScope};

/// One operation in words: `~ edit real server 10.0.0.1:80 of web/192.0.2.1:80/tcp: weight 1 -> 2`.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// The operation.
    pub op: &'a Op,
    /// How its service is called.
    pub labels: &'a Labels<'a>,
}

/// What a plan knows of a step beside the operation, behind ` # `; nothing where there is nothing
/// to say: ` # drift; 17 connections would break: drain first`.
#[derive(Debug, Clone, Copy)]
pub struct Remark<'a> {
    plan: &'a Plan,
    place: usize,
    all: bool,
}

impl<'a> Remark<'a> {
    /// What stands behind the step at that place: that it mends drift, and what it does to
    /// connections where that is worth a word. With `all`, the cause and the impact whatever they
    /// are.
    pub fn new(plan: &'a Plan, place: usize, all: bool) -> Self {
        Self { plan, place, all }
    }
}

impl fmt::Display for Remark<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, place, all } = *self;
        let cause = plan.causes.get(place).filter(|cause| all || **cause == Cause::Drift);
        let impact = plan.impacts.get(&place).filter(|impact| all || impact.is_notable());
        match (cause, impact) {
            (None, None) => Ok(()),
            (Some(cause), None) => write!(f, " # {}", cause.word()),
            (None, Some(impact)) => write!(f, " # {impact}"),
            (Some(cause), Some(impact)) => write!(f, " # {}; {impact}", cause.word()),
        }
    }
}

/// How services are called. Plans of large tables name the same one in many lines running, so the
/// last one is remembered.
#[derive(Debug)]
pub struct Labels<'a> {
    names: Names<'a>,
    last: RefCell<Option<(ServiceKey, String)>>,
}

impl<'a> Labels<'a> {
    /// The names of that spec, or of that one and the one before.
    pub fn new(names: impl Into<Names<'a>>) -> Self {
        Self { names: names.into(), last: RefCell::new(None) }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, key: &ServiceKey) -> fmt::Result {
        let mut last = self.last.borrow_mut();
        match &*last {
            Some((known, label)) if known == key => f.write_str(label),
            _ => {
                let label = self.names.label(key).to_string();
                f.write_str(&label)?;
                *last = Some((*key, label));
                Ok(())
            }
        }
    }
}

/// The last line of a plan: the counts, or that there is nothing to do.
pub fn summary(plan: &Plan) -> String {
    let mut text = if plan.is_in_sync() {
        "In sync".to_owned()
    } else {
        let counts = plan.counts();
        let parts: Vec<String> = Verb::ALL
            .into_iter()
            .filter(|verb| counts.get(*verb) > 0 || !is_occasional(*verb))
            .map(|verb| format!("{} to {}", counts.get(verb), verb.word()))
            .collect();
        format!("Plan: {}", parts.join(", "))
    };
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

/// What a teardown leaves because it is adopted, a line each:
/// `  adopted, stays: service web/192.0.2.1:80/tcp with 2 real servers`.
pub fn staying<'a>(stays: &'a Stays, names: Names<'a>) -> impl Iterator<Item = String> {
    let service = move |StayingService { key, real_servers }: &StayingService| {
        let real_servers = count(*real_servers, "real server");
        format!("  adopted, stays: service {} with {real_servers}", names.label(key))
    };
    let sync = stays.sync.iter().map(|state| format!("  adopted, stays: sync daemon {state}"));
    stays.services.iter().map(service).chain(sync)
}

/// A warning for each adopted object that someone else changed, so that a teardown leaves it.
pub fn changed_by_others<'a>(stays: &'a Stays, names: Names<'a>) -> impl Iterator<Item = String> {
    stays.changed.iter().map(move |object| {
        format!(
            "{} stays as it is: someone else changed it since, and it is neither as it was before \
             evenkeel nor as the spec asks",
            object.named(names)
        )
    })
}

/// `1 service`, `2 services`.
pub fn count<N: fmt::Display + From<u8> + PartialEq>(number: N, noun: &str) -> String {
    format!("{number} {noun}{}", if number == N::from(1) { "" } else { "s" })
}

/// Verbs that the counts leave out where there is nothing of them.
fn is_occasional(verb: Verb) -> bool {
    matches!(verb, Verb::Drain | Verb::Bind | Verb::Unbind)
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { op, labels } = self;
        write!(f, "{} {} ", op.verb().sign(), op.verb().word())?;
        match op {
            Op::AddModule { module } => write!(f, "kernel module {module}"),
            Op::EditSysctl { key, before, after } => write!(f, "sysctl {key}: {before} -> {after}"),
            Op::EditTimeouts { .. } => {
                f.write_str("timeouts")?;
                arrows(f, op.changes())
            }
            Op::AddSync { state, after: daemon } | Op::DeleteSync { state, before: daemon } => {
                write!(f, "sync daemon {state}: {daemon}")
            }
            Op::AddDummy { interface } | Op::DeleteDummy { interface } => {
                write!(f, "dummy device {interface}")
            }
            Op::EditDummy { interface } => {
                write!(f, "dummy device {interface}")?;
                arrows(f, op.changes())
            }
            Op::AddService { key, after } => {
                f.write_str("service ")?;
                labels.write(f, key)?;
                words(f, service_fields(after))
            }
            Op::EditService { key, .. } => {
                f.write_str("service ")?;
                labels.write(f, key)?;
                arrows(f, op.changes())
            }
            Op::DeleteService { key, before } => {
                f.write_str("service ")?;
                labels.write(f, key)?;
                write!(f, " with {}", count(before.real_servers.len(), "real server"))
            }
            Op::AddRealServer { service, key, after } => {
                write!(f, "real server {key} to ")?;
                labels.write(f, service)?;
                words(f, real_server_fields(after))
            }
            Op::EditRealServer { service, key, .. } => {
                write!(f, "real server {key} of ")?;
                labels.write(f, service)?;
                arrows(f, op.changes())
            }
            Op::DrainRealServer { service, key, before, limit } => {
                write!(f, "real server {key} of ")?;
                labels.write(f, service)?;
                match before.weight {
                    0 => f.write_str(": weight 0")?,
                    weight => write!(f, ": weight {weight} -> 0")?,
                }
                write!(f, ", for {limit} at most")
            }
            Op::DeleteRealServer { service, key, before } => {
                write!(f, "real server {key} of ")?;
                labels.write(f, service)?;
                words(f, real_server_fields(before))
            }
            Op::Bind { binding } | Op::Unbind { binding } => write!(f, "vip {binding}"),
        }
    }
}

impl fmt::Display for WiderScope {
    /// `~ edit scope: vips 10.0.0.0/24 -> all, which newly covers 5 live services`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, after, services } = self;
        let (sign, verb) = (Verb::Edit.sign(), Verb::Edit.word());
        let services = count(*services, "live service");
        write!(f, "{sign} {verb} scope: {before} -> {after}, which newly covers {services}")
    }
}

fn arrows(f: &mut fmt::Formatter<'_>, changes: Vec<FieldChange>) -> fmt::Result {
    for (number, change) in changes.into_iter().enumerate() {
        let gap = if number == 0 { ": " } else { ", " };
        write!(f, "{gap}{change}")?;
    }
    Ok(())
}

/// The fields that say something: all but the ones that are not set. A weight of 0 is a value.
fn words<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    fields: [(&'static str, FieldValue); N],
) -> fmt::Result {
    f.write_str(": ")?;
    list(f, fields)
}

/// The same, without what stands before them.
pub(crate) fn list<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    fields: [(&'static str, FieldValue); N],
) -> fmt::Result {
    let says = |(field, value): &(&'static str, FieldValue)| match value {
        FieldValue::None | FieldValue::Switch(false) => false,
        FieldValue::Words(words) => !words.is_empty(),
        FieldValue::Number(number) => *field == "weight" || *field == "persistence" || *number > 0,
        FieldValue::Word(_) | FieldValue::Name(_) | FieldValue::Switch(true) => true,
    };
    for (number, (field, value)) in fields.into_iter().filter(says).enumerate() {
        let gap = if number == 0 { "" } else { ", " };
        write!(f, "{gap}{field} {value}")?;
    }
    Ok(())
}
