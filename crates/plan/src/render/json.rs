//! A plan as JSON, for programs.
//!
//! The document is versioned by [`FORMAT`]; within a version fields may be added, but none
//! is removed or changes its meaning.
//!
//! ```text
//! format        number   version of this document, 2
//! in_sync       boolean  whether there is nothing to do
//! steps         array    the operations in the order of their execution, each:
//!   verb        string   add | edit | drain | delete | bind | unbind
//!   object      string   kernel module | sysctl | timeouts | sync daemon | dummy device |
//!                        service | real server | vip | the kind of a host object
//!   service     object   name (absent where neither this spec nor the last
//!                        applied one lists it), address, port and
//!                        protocol or fwmark and family; for services and real servers
//!   real_server object   address, port
//!   vip         object   address, prefix, interface; label where it is not the interface's name
//!   KIND        object   for host objects: their identity, under the name of their kind
//!                        (docs/commands.md lists the kinds and their fields)
//!   interface   string   the dummy device's name
//!   module      string   the kernel module's name
//!   sysctl      string   the sysctl's key; before and after hold its value
//!   sync        string   the sync daemon's state: master | backup
//!   before      object   the fields as read; absent for add
//!   after       object   the fields to set; absent for delete
//!   changes     array    for edit and drain: field, before, after
//!   limit       number   for drain: its maximum duration in seconds
//!   left        number   for a continuing drain: the rest of that, in seconds; absent if it is
//!                        not recorded
//!   cause       string   spec_changed | drift; absent if no last applied spec is known
//!   impact      object   the impact on existing connections; absent if the step affects
//!                        none:
//!     effect      string   stay | retimed | quiesced | keep_forward | rewrapped | rescheduled |
//!                          drain | drained | break | interrupted | cut_off | rebound |
//!                          uncopied
//!     connections number   how many are affected; absent if they were not counted
//!     breaks      number   how many of them certainly break; absent if not counted
//!     notable     boolean  whether the text of a plan shows it by default
//!     text        string   the same in words
//! scope         object   where the spec governs more than the one in force: before and after in
//!                        words, newly_covered the number of live services; absent else
//! counts        object   operations by verb
//! unchanged     object   services, real_servers, vips
//! out_of_scope  number   live services that are out of the scope of the spec
//! refusals      array    guard, message
//! guards_not_judged array strings: the guards that could refuse this plan and were not judged,
//!                        because it was made without the journal of the host (`--live FILE`)
//! unmet_preconditions array strings
//! warnings      array    strings
//! ```

use evenkeel_model::{Names, ServiceKey};
use serde_json::{Map, Value, json};

use crate::{Effect, Guard, GuardRefusal, Impact, Op, Plan, Warning, WiderScope};

/// The version of the JSON document.
pub const FORMAT: u32 = 2;

/// Returns the JSON document of a plan.
pub fn json<'a>(plan: &Plan, names: impl Into<Names<'a>>) -> Value {
    let names = names.into();
    let Plan {
        steps,
        wider_scope,
        causes,
        impacts,
        refusals,
        unmet_preconditions,
        warnings,
        unchanged,
        out_of_scope,
    } = plan;
    let all = steps.iter().enumerate().map(|(place, op)| {
        let mut step = json_step(op, names);
        if let Some(cause) = causes.get(place) {
            step.insert("cause".to_owned(), json!(cause));
        }
        if let Some(found) = impacts.get(&place) {
            if let Effect::Drain { left: Some(left), .. } = found.effect {
                step.insert("left".to_owned(), json!(left));
            }
            step.insert("impact".to_owned(), impact(found));
        }
        Value::Object(step)
    });
    let all: Vec<Value> = all.collect();
    let mut document = json!({
        "format": FORMAT,
        "in_sync": plan.is_in_sync(),
        "steps": all,
        "counts": plan.counts(),
        "unchanged": unchanged,
        "out_of_scope": out_of_scope,
        "refusals": refusals.iter().map(json_refusal).collect::<Vec<_>>(),
        "guards_not_judged": guards_not_judged(warnings),
        "unmet_preconditions": unmet_preconditions.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "warnings": warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    if let Some(WiderScope { before, after, services }) = wider_scope {
        document["scope"] = json!({
            "before": before.to_string(),
            "after": after.to_string(),
            "newly_covered": services,
        });
    }
    document
}

/// Returns a refusal as in the document of a plan.
pub fn json_refusal(refusal: &GuardRefusal) -> Value {
    json!({ "guard": refusal.guard, "message": refusal.to_string() })
}

fn guards_not_judged(warnings: &[Warning]) -> Vec<Guard> {
    let lists = warnings.iter().filter_map(|warning| match warning {
        Warning::GuardsNotJudged(guards) => Some(guards),
        _ => None,
    });
    lists.flatten().copied().collect()
}

fn impact(impact: &Impact) -> Value {
    let mut value = json!({
        "effect": impact.effect.name(),
        "notable": impact.is_notable(),
        "text": impact.to_string(),
    });
    let numbers = [("connections", impact.connections), ("breaks", impact.breaks())];
    for (key, number) in numbers {
        if let Some(number) = number {
            value[key] = json!(number);
        }
    }
    value
}

/// Returns an operation as in the document of a plan, without its cause and its impact.
pub fn json_step(op: &Op, names: Names<'_>) -> Map<String, Value> {
    let mut step = Map::new();
    step.insert("verb".to_owned(), json!(op.verb()));
    step.insert("object".to_owned(), json!(op.object().kind()));
    if let Some(key) = op.service() {
        step.insert("service".to_owned(), json_service(&key, names));
    }
    op.write_json(&mut step);
    step
}

/// Returns a service as in the document of a plan.
pub fn json_service(key: &ServiceKey, names: Names<'_>) -> Value {
    let mut value = match key {
        ServiceKey::Address { address, port, protocol } => {
            json!({ "address": address, "port": port, "protocol": protocol.to_string() })
        }
        ServiceKey::Fwmark { family, fwmark } => json!({ "family": family, "fwmark": fwmark }),
    };
    if let Some(name) = names.name(key) {
        value["name"] = json!(name);
    }
    value
}
