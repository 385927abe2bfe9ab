//! A plan as JSON, for programs.
//!
//! The document is versioned by [`FORMAT`]; within a version fields may be added, but none
//! is removed or changes its meaning.
//!
//! ```text
//! format        number   version of this document, 2
//! roles         object   where the spec lists directors, or the host is no director: director
//!                        (boolean), name (string; null if the spec gives it none), real_server
//!                        (array of the host's addresses that are those of real servers), gateway
//!                        (string, its name as a gateway; absent if it is none)
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
//!   restores    boolean  true for a sysctl that gets the value from before evenkeel; absent else
//!   rewrites    object   the sysctls that the kernel rewrites with this one: their values before, by
//!                        key; absent if there are none, or they were not read
//!   sync        string   the sync daemon's state: master | backup
//!   before      object   the fields as read; absent for add
//!   after       object   the fields to set; absent for delete
//!   changes     array    for edit and drain: field, before, after
//!   limit       number   for drain: its maximum duration in seconds
//!   left        number   for a continuing drain: the rest of that, in seconds; absent if it is
//!                        not recorded
//!   cause       string   spec_changed | left_scope | override | health | drift; absent if no last applied spec is known
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
//! left_scope    object   where the spec no longer governs what evenkeel manages, which stays: answer, the
//!                        spec's `scope.left` (null without one), and objects (array: object, name,
//!                        and service as in steps); absent else
//! counts        object   operations by verb
//! unchanged     object   services, real_servers, vips
//! out_of_scope  number   live services that are out of the scope of the spec
//! staying       array    what stays on a real server for services that no longer list it; absent
//!                        if nothing does:
//!   object      string   the kind, as in steps
//!   name        string   the object in words: vip 192.0.2.1/32 on lo
//!   service     object   as in steps
//!   left        number   the rest of its time in seconds
//!   begun       boolean  whether its time runs; otherwise it begins with the apply
//!   text        string   the same in words
//! held          array    the real servers that overlays hold; absent if there are none:
//!   service     object   as in steps
//!   real_server object   address, port
//!   spec_weight number   the weight of the spec
//!   weight      number   the weight that it is held at; null if it is out of the service
//!   cause       string   override | health | slow_start | quorum | fallback | max_out | when_none
//!   by          string   the operator; null of other causes
//!   reason      string   may be empty
//!   since       number   seconds since 1970
//!   until       number   seconds since 1970; null if it lasts until it is cleared
//!   text        string   the same in words
//! refusals      array    guard, message
//! guards_not_judged array strings: the guards that could refuse this plan and were not judged,
//!                        because it was made without the journal of the host (`--live FILE`)
//! unmet_preconditions array strings
//! warnings      array    strings
//! services_not_local array strings: the services whose address is not local, which no client reaches
//!                        through this host
//! services_without_servers array strings: the services without a real server of positive weight
//! ```

use evenkeel_model::{HostRoles, Names, OverlayCause, ServiceKey};
use serde_json::{Map, Value, json};

use crate::left_scope::left_objects;
use crate::{
    Effect, Guard, GuardRefusal, HeldServer, Impact, Object, Op, Plan, StayingObject, Warning,
    WiderScope,
};

/// The version of the JSON document.
pub const FORMAT: u32 = 2;

/// Returns the JSON document of a plan.
pub fn json<'a>(plan: &Plan, names: impl Into<Names<'a>>) -> Value {
    let names = names.into();
    let Plan {
        steps,
        wider_scope,
        kept,
        causes,
        impacts,
        refusals,
        unmet_preconditions,
        warnings,
        unchanged,
        out_of_scope,
        staying,
        held,
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
        "services_not_local": warnings.iter().flat_map(Warning::not_local).collect::<Vec<_>>(),
        "services_without_servers": warnings.iter().flat_map(Warning::without_servers).collect::<Vec<_>>(),
    });
    let roles = &names.desired.roles;
    if *roles != HostRoles::default() {
        document["roles"] = json!({
            "director": roles.is_director(),
            "name": roles.director_name(),
            "real_server": roles.real_server,
        });
        if let Some(gateway) = &roles.gateway {
            document["roles"]["gateway"] = json!(gateway.name);
        }
    }
    if !staying.is_empty() {
        document["staying"] = staying.iter().map(|it| json_staying(it, names)).collect();
    }
    if !held.is_empty() {
        document["held"] = held.iter().map(|it| json_held(it, names)).collect();
    }
    if let Some(WiderScope { before, after, services }) = wider_scope {
        document["scope"] = json!({
            "before": before.to_string(),
            "after": after.to_string(),
            "newly_covered": services,
        });
    }
    if !kept.is_empty() {
        document["left_scope"] = json_left_scope(plan, names);
    }
    document
}

/// Returns what left the scope and stays, as in the document of a plan.
pub fn json_left_scope(plan: &Plan, names: Names<'_>) -> Value {
    let object = |object: Object| {
        let mut value = json!({ "object": object.kind(), "name": object.named(names).to_string() });
        if let Object::Service(key) = &object {
            value["service"] = json_service(key, names);
        }
        value
    };
    let objects: Vec<Value> = left_objects(&plan.kept).map(object).collect();
    json!({ "answer": names.desired.when_left, "objects": objects })
}

/// Returns a refusal as in the document of a plan.
pub fn json_refusal(refusal: &GuardRefusal) -> Value {
    json!({ "guard": refusal.guard, "message": refusal.to_string() })
}

/// Returns an object that stays as in the document of a plan.
pub fn json_staying(staying: &StayingObject, names: Names<'_>) -> Value {
    let StayingObject { object, service, name, left, is_begun } = staying;
    let mut service = json_service(service, names);
    if !name.is_empty() {
        service["name"] = json!(name);
    }
    json!({
        "object": object.kind(),
        "name": object.to_string(),
        "service": service,
        "left": left,
        "begun": is_begun,
        "text": staying.to_string(),
    })
}

/// Returns a real server that an overlay holds as in the document of a plan.
pub fn json_held(held: &HeldServer, names: Names<'_>) -> Value {
    let HeldServer { service, real_server, spec_weight, overlay } = held;
    let by = match &overlay.cause {
        OverlayCause::Override { by } => Some(by),
        _ => None,
    };
    json!({
        "service": json_service(service, names),
        "real_server": { "address": real_server.address, "port": real_server.port },
        "spec_weight": spec_weight,
        "weight": overlay.effect.weight(*spec_weight),
        "cause": overlay.cause.as_str(),
        "by": by,
        "reason": overlay.reason,
        "since": overlay.since,
        "until": overlay.until,
        "text": held.to_string(),
    })
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
