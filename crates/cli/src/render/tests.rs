use std::collections::BTreeSet;
use std::io;

use evenkeel_control::LockError;
use evenkeel_engine::{Exception, KernelError, Notice, Refused, Replies, Rollback};
use evenkeel_model::{Live, Names};
use evenkeel_plan::{Guard, GuardRefusal, Op, UnmetPrecondition};
use evenkeel_spec::{Source, load};
use evenkeel_workflow::{
    Applied, ApplyOutcome, Blocked, Event, PendingUpdate, PlannedHost, ZeroSelection,
};
use serde_json::{Value, json};

use super::*;

const SPEC: &str = "version: 1
services:
  - { name: web, vip: 192.0.2.1, port: 80, real_servers: [ { address: 10.0.0.1 } ] }
";

fn planned() -> PlannedHost {
    let loaded = load(&[Source::new("spec.yaml", SPEC)]).expect("a spec");
    PlannedHost::for_snapshot(
        (Live::default(), None),
        loaded.desired,
        &Vec::<evenkeel_spec::Source>::new(),
        &[],
    )
    .expect("a plan")
}

fn ended(planned: &PlannedHost, outcome: &ApplyOutcome) -> Value {
    Value::Object(apply(ApplyEnd { planned, outcome, drains: None, leaving: None }))
}

#[test]
fn a_blocked_apply_names_its_guards_and_skips_all_steps() {
    let planned = planned();
    let refusal = GuardRefusal { guard: Guard::MassDelete, reasons: Vec::new() };
    let blocked = ApplyOutcome::Blocked(Blocked::Guards(vec![refusal]));
    let document = ended(&planned, &blocked);
    assert_eq!(document["result"], "blocked");
    assert_eq!(document["refusals"][0]["guard"], "mass-delete");
    let steps = document["steps"].as_array().expect("steps");
    assert_eq!(
        (steps.len(), &document["counts"]["skipped"]),
        (planned.plan.steps.len(), &2.into())
    );
    assert!(steps.iter().all(|step| step["outcome"] == "skipped"), "{document:#}");
    assert_eq!(document["plan"]["counts"]["add"], 2);

    let unmet = vec![UnmetPrecondition::LoopbackDown];
    let document = ended(&planned, &ApplyOutcome::Blocked(Blocked::Preconditions(unmet)));
    assert_eq!(document["refusals"], json!([]));
    assert_eq!(document["unmet_preconditions"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_end_of_a_confirm_timeout_is_a_time_and_a_span() {
    let of = |pending| {
        let applied = Applied { report: Default::default(), is_daemon_enforcing: false, pending };
        ended(&planned(), &ApplyOutcome::Applied(Box::new(applied)))["confirm"].clone()
    };
    let waiting = PendingUpdate::Waiting { seconds: 90, deadline: 1_767_268_803 };
    let expected = json!({ "state": "waiting", "seconds": 90, "until": 1_767_268_803 });
    assert_eq!(of(waiting), expected);
    assert_eq!(of(PendingUpdate::NotPending), Value::Null);
    assert_eq!(of(PendingUpdate::Interrupted)["state"], "interrupted");
}

/// A rollback with something in every list.
fn incomplete() -> Rollback {
    let op: Op = planned().plan.steps.remove(0);
    Rollback {
        remaining: vec![op.clone()],
        foreign: BTreeSet::from([op.object()]),
        refused: vec![(op, Refused::from(rustix::io::Errno::EXIST))],
        broken: 3,
        error: Some(KernelError::Failed { tried: "it", source: "no".into() }),
        ..Rollback::default()
    }
}

#[test]
fn a_rollback_says_what_it_did_not_restore() {
    let names = planned();
    let names = Names { desired: &names.desired, last: None };
    let value = super::execution::rollback(&incomplete(), names);
    assert_eq!(value["complete"], false);
    assert_eq!(value["refused"][0]["failure"]["errno"], 17);
    assert_eq!(value["remaining"][0]["service"]["name"], "web");
    assert_eq!(value["changed_by_others"][0]["object"], "service web/192.0.2.1:80/tcp");
    assert_eq!(value["kernel_error"], "it failed: no");
}

#[test]
fn the_exit_status_of_an_error_is_that_of_the_command() {
    let error = Error::Lock(LockError::Held(None));
    let document = document("apply", Map::new(), &Remarks::default(), Err(&error));
    assert_eq!(document["exit"], json!({ "status": 75, "name": "lock_held" }));
    assert_eq!(document["error"]["hint"], error.hint().expect("a hint"));
    assert_eq!(document["command"], "apply");
}

/// A reset of a service and of one that the kernel refused.
fn failed_zero() -> Value {
    let spec = planned().desired;
    let services = spec.services.keys().copied().collect();
    let selection = ZeroSelection { services, absent: BTreeSet::new(), spec };
    let refused = Exception::Refused(Refused::from(rustix::io::Errno::PERM));
    let replies = Replies { exceptions: [(0, refused)].into(), ..Replies::default() };
    Value::Object(zero(&selection, &replies))
}

/// The keys of an object and of everything in it.
fn keys(value: &Value, all: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            all.insert(key.clone());
            // Values of a spec have the names that they have there.
            if !["before", "after"].contains(&key.as_str()) {
                keys(value, all);
            }
        }),
        Value::Array(values) => values.iter().for_each(|value| keys(value, all)),
        _ => {}
    }
}

#[test]
fn every_field_is_described_in_the_reference() {
    let planned = planned();
    let failure = Error::Watchdog(io::Error::other("full"));
    let notice = Notice::RolledBack { begun: 1, is_unfinished: true, is_complete: true };
    let remarks =
        Remarks { events: vec![event(&Event::Notice(notice))], spec_warnings: Vec::new() };
    let problems = load(&[Source::new("spec.yaml", "version: 1\nservice: []\n")]);
    let names = Names { desired: &planned.desired, last: None };
    let pause = Some(PauseEnd { seconds: 1, until: 2 });
    let documents = [
        Value::Object(invalid(&problems.expect_err("it is wrong"))),
        Value::Object(valid(&planned.desired, 1)),
        ended(&planned, &ApplyOutcome::InSync),
        document("apply", Map::new(), &remarks, Err(&failure)),
        Value::Object(kept()),
        super::execution::rollback(&incomplete(), names),
        Value::Object(daemon_command(DaemonCommand { is_done: true, message: "", pause })),
        failed_zero(),
    ];
    let mut all = BTreeSet::new();
    documents.iter().for_each(|document| keys(document, &mut all));
    assert!(all.len() > 60, "{all:?}");
    let page = include_str!("../../../../docs/commands.md");
    for key in all {
        let forms =
            [format!("`{key}`"), format!(".{key}`"), format!("`{key}."), format!("`{key}[]")];
        let is_described = forms.iter().any(|it| page.contains(it));
        assert!(is_described, "{key}");
    }
}
