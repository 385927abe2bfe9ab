//! A plan as lines of text.

use evenkeel_model::{Desired, RealServer, ServiceConfig};

use crate::field::{FieldChange, FieldValue, changes, real_server_fields, service_fields};
use crate::{Op, Plan, Verb};

/// One line of a plan, so that the caller can colour it by its verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What the operation does.
    pub verb: Verb,
    /// The line, beginning with the verb's sign, without a line end.
    pub text: String,
}

/// The operations of a plan, a line each, in the order of their execution.
pub fn text<'a>(plan: &'a Plan, desired: &'a Desired) -> impl Iterator<Item = Line> + 'a {
    plan.steps.iter().map(move |op| Line {
        verb: op.verb(),
        text: format!("{} {}", op.verb().sign(), describe(op, desired)),
    })
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

/// One operation in words: `edit real server 10.0.0.1:80 of web/192.0.2.1:80/tcp: weight 1 -> 2`.
pub fn describe(op: &Op, desired: &Desired) -> String {
    let verb = op.verb().word();
    match op {
        Op::AddDummy { interface } => format!("{verb} dummy device {interface}"),
        Op::AddService { key, after } => {
            format!("{verb} service {}: {}", desired.label(key), service_words(after))
        }
        Op::EditService { key, before, after } => {
            let changed = changes(service_fields(before), service_fields(after));
            format!("{verb} service {}: {}", desired.label(key), arrows(&changed))
        }
        Op::DeleteService { key, before } => {
            let taken = count(before.real_servers.len(), "real server");
            format!("{verb} service {} with {taken}", desired.label(key))
        }
        Op::AddRealServer { service, key, after } => format!(
            "{verb} real server {key} to {}: {}",
            desired.label(service),
            real_server_words(after)
        ),
        Op::EditRealServer { service, key, before, after } => {
            let changed = changes(real_server_fields(before), real_server_fields(after));
            format!("{verb} real server {key} of {}: {}", desired.label(service), arrows(&changed))
        }
        Op::DeleteRealServer { service, key, before } => format!(
            "{verb} real server {key} of {}: {}",
            desired.label(service),
            real_server_words(before)
        ),
        Op::Bind { binding } | Op::Unbind { binding } => format!("{verb} vip {binding}"),
    }
}

fn arrows(changes: &[FieldChange]) -> String {
    let words =
        |change: &FieldChange| format!("{} {} -> {}", change.field, change.before, change.after);
    changes.iter().map(words).collect::<Vec<_>>().join(", ")
}

fn service_words(config: &ServiceConfig) -> String {
    words(service_fields(config))
}

fn real_server_words(real_server: &RealServer) -> String {
    words(real_server_fields(real_server))
}

/// The fields that say something: all but the ones that are not set. A weight of 0 is a value.
fn words<const N: usize>(fields: [(&'static str, FieldValue); N]) -> String {
    let says = |(field, value): &(&'static str, FieldValue)| match value {
        FieldValue::None | FieldValue::Switch(false) => false,
        FieldValue::Words(words) => !words.is_empty(),
        FieldValue::Number(number) => *field == "weight" || *field == "persistence" || *number > 0,
        FieldValue::Word(_) | FieldValue::Switch(true) => true,
    };
    let shown = fields.into_iter().filter(says).map(|(field, value)| format!("{field} {value}"));
    shown.collect::<Vec<_>>().join(", ")
}
