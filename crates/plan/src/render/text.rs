//! A plan as lines of text.

use std::fmt;

use evenkeel_model::Desired;

use crate::field::{FieldChange, FieldValue, changes, real_server_fields, service_fields};
use crate::{Op, Plan, Verb};

/// The operations of a plan, a line each, in the order of their execution.
pub fn text<'a>(plan: &'a Plan, desired: &'a Desired) -> impl Iterator<Item = Line<'a>> {
    plan.steps.iter().map(move |op| Line { op, desired })
}

/// One operation in words: `~ edit real server 10.0.0.1:80 of web/192.0.2.1:80/tcp: weight 1 -> 2`.
///
/// It is written without anything being put together in memory first: plans of large tables have
/// tens of thousands of these.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// The operation.
    pub op: &'a Op,
    /// Where the names of services come from.
    pub desired: &'a Desired,
}

/// The last line of a plan: the counts, or that there is nothing to do.
pub fn summary(plan: &Plan) -> String {
    let mut text = if plan.is_in_sync() {
        "In sync".to_owned()
    } else {
        let counts = plan.counts();
        let parts: Vec<String> = Verb::ALL
            .into_iter()
            .filter(|verb| counts.get(*verb) > 0 || !is_about_addresses(*verb))
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

/// `1 service`, `2 services`.
pub fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn is_about_addresses(verb: Verb) -> bool {
    matches!(verb, Verb::Bind | Verb::Unbind)
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { op, desired } = self;
        write!(f, "{} {} ", op.verb().sign(), op.verb().word())?;
        let label = |key| desired.label(key);
        match op {
            Op::AddDummy { interface } => write!(f, "dummy device {interface}"),
            Op::AddService { key, after } => {
                write!(f, "service {}: ", label(key))?;
                words(f, service_fields(after))
            }
            Op::EditService { key, before, after } => {
                write!(f, "service {}: ", label(key))?;
                arrows(f, changes(service_fields(before), service_fields(after)))
            }
            Op::DeleteService { key, before } => {
                let taken = count(before.real_servers.len(), "real server");
                write!(f, "service {} with {taken}", label(key))
            }
            Op::AddRealServer { service, key, after } => {
                write!(f, "real server {key} to {}: ", label(service))?;
                words(f, real_server_fields(after))
            }
            Op::EditRealServer { service, key, before, after } => {
                write!(f, "real server {key} of {}: ", label(service))?;
                arrows(f, changes(real_server_fields(before), real_server_fields(after)))
            }
            Op::DeleteRealServer { service, key, before } => {
                write!(f, "real server {key} of {}: ", label(service))?;
                words(f, real_server_fields(before))
            }
            Op::Bind { binding } | Op::Unbind { binding } => write!(f, "vip {binding}"),
        }
    }
}

fn arrows(f: &mut fmt::Formatter<'_>, changes: Vec<FieldChange>) -> fmt::Result {
    for (number, FieldChange { field, before, after }) in changes.into_iter().enumerate() {
        let gap = if number == 0 { "" } else { ", " };
        write!(f, "{gap}{field} {before} -> {after}")?;
    }
    Ok(())
}

/// The fields that say something: all but the ones that are not set. A weight of 0 is a value.
fn words<const N: usize>(
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
