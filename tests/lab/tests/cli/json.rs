//! Tests the documents of `--output json` on a real kernel, and the exit statuses beside them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

const SPEC: &str = "version: 1
scope: { vips: [192.0.2.0/24] }
vips: [ { address: 192.0.2.1, interface: eth0 } ]
services:
  - { name: web, vip: 192.0.2.1, port: 80, drain: 0s, real_servers: [ { address: 10.0.0.1 }, { address: 10.0.0.2 } ] }
";

const WITHOUT_SERVERS: &str = "version: 1
scope: { vips: [192.0.2.0/24] }
vips: [ { address: 192.0.2.1, interface: eth0 } ]
services:
  - { name: web, vip: 192.0.2.1, port: 80, drain: 0s, real_servers: [] }
";

/// The kernel refuses the real server of the second service, which no check of the spec can detect: a
/// broadcast route without an address of that network makes it a broadcast address.
const REFUSED: &str = "version: 1
scope: { vips: [192.0.2.0/24] }
vips: [ { address: 192.0.2.1, interface: eth0 } ]
services:
  - { name: web, vip: 192.0.2.1, port: 80, drain: 0s, real_servers: [ { address: 10.0.0.1 }, { address: 10.0.0.2 } ] }
  - { name: bad, vip: 192.0.2.1, port: 81, real_servers: [ { address: 10.5.0.255 } ] }
";

/// Runs a command, asserts its exit status in both places, and returns its document.
#[track_caller]
fn document(fixture: &Fixture, arguments: &str, status: i32, name: &str) -> Value {
    let answer = fixture.evenkeel(&format!("{arguments} --output json"));
    let document: Value = serde_json::from_str(&answer.stdout)
        .unwrap_or_else(|error| panic!("{arguments}: {error}: {answer:?}"));
    assert_eq!(answer.status, status, "{arguments}: {document:#}\n{}", answer.stderr);
    assert_eq!(document["exit"], json!({ "status": status, "name": name }), "{document:#}");
    assert_eq!(document["format"], 1);
    assert_described(&document);
    document
}

/// Asserts that the reference describes every field.
#[track_caller]
fn assert_described(document: &Value) {
    let mut all = BTreeSet::new();
    keys(document, &mut all);
    let page = std::fs::read_to_string(root().join("docs/commands.md")).unwrap();
    for key in all {
        let forms =
            [format!("`{key}`"), format!(".{key}`"), format!("`{key}."), format!("`{key}[]")];
        let is_described = forms.iter().any(|it| page.contains(it));
        assert!(is_described, "{key}: {document:#}");
    }
}

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

fn outcomes(document: &Value) -> BTreeSet<&str> {
    let steps = document["steps"].as_array().unwrap();
    steps.iter().map(|step| step["outcome"].as_str().unwrap()).collect()
}

#[test]
fn an_apply_reports_each_step_and_a_second_one_is_in_sync() {
    let fixture = Fixture::expiring("");
    fixture.write("spec.yaml", SPEC);
    let first = document(&fixture, "apply --yes spec.yaml", 0, "done");
    assert_eq!((&first["result"], &first["error"]), (&json!("executed"), &Value::Null));
    assert_eq!(outcomes(&first), BTreeSet::from(["applied"]), "{first:#}");
    let steps = first["steps"].as_array().unwrap();
    let server = steps.iter().find(|step| step["object"] == "real server").unwrap();
    assert_eq!(server["service"]["name"], "web");
    assert_eq!(first["counts"]["applied"], steps.len());
    assert_eq!(first["plan"]["counts"]["bind"], 1);
    assert_eq!((&first["rollback"], &first["confirm"]), (&Value::Null, &Value::Null));
    let second = document(&fixture, "apply --yes spec.yaml", 0, "done");
    assert_eq!((&second["result"], &second["steps"]), (&json!("in_sync"), &json!([])));
}

#[test]
fn a_refusal_names_its_guard_and_changes_nothing() {
    let fixture = Fixture::expiring("");
    fixture.apply(SPEC);
    let before = everything();
    fixture.write("spec.yaml", WITHOUT_SERVERS);
    let refused = document(&fixture, "apply --yes spec.yaml", 3, "refused");
    assert_eq!(refused["result"], "blocked");
    let guards = refused["refusals"].as_array().unwrap().iter().map(|it| it["guard"].as_str());
    assert!(guards.into_iter().any(|guard| guard == Some("no-server")), "{refused:#}");
    assert_eq!(outcomes(&refused), BTreeSet::from(["skipped"]));
    assert!(everything() == before);
}

#[test]
fn a_failed_step_has_its_errno_and_the_rollback_its_result() {
    let fixture = Fixture::expiring("");
    run("ip route add broadcast 10.5.0.255 dev eth0 table local");
    fixture.apply(SPEC);
    let before = everything();
    fixture.write("spec.yaml", REFUSED);
    let failed = document(&fixture, "apply --yes spec.yaml", 4, "rolled_back");
    let steps = failed["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["outcome"] == "failed").unwrap();
    assert_eq!((&step["object"], &step["failure"]["errno"]), (&json!("real server"), &json!(22)));
    assert_eq!(failed["rollback"]["complete"], true, "{failed:#}");
    assert!(everything() == before);
    let kept = document(&fixture, "apply --yes --on-failure keep spec.yaml", 1, "failed");
    assert_eq!(kept["rollback"], Value::Null);
}

#[test]
fn confirm_and_its_abort_are_documents_and_end_at_a_time() {
    let fixture = Fixture::expiring("");
    fixture.write("spec.yaml", SPEC);
    let nothing = document(&fixture, "confirm", 3, "refused");
    assert_eq!(nothing["error"]["message"], "no apply is waiting for confirmation");
    let applied = document(&fixture, "apply --yes spec.yaml --confirm 10m", 0, "done");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let confirm = &applied["confirm"];
    assert_eq!((&confirm["state"], &confirm["seconds"]), (&json!("waiting"), &json!(600)));
    let end = confirm["until"].as_u64().unwrap();
    assert!((now + 570..=now + 600).contains(&end), "{end}, {now}");
    let blocked = document(&fixture, "teardown --yes", 3, "refused");
    assert!(blocked["error"]["message"].as_str().unwrap().contains("waits for confirmation"));
    let aborted = document(&fixture, "confirm --abort", 0, "done");
    assert_eq!(aborted["result"], "rolled_back");
    assert_eq!(aborted["rollback"]["complete"], true);
    document(&fixture, "apply --yes spec.yaml --confirm 600", 0, "done");
    assert_eq!(document(&fixture, "confirm", 0, "done")["result"], "confirmed");
}

#[test]
fn a_teardown_reports_what_it_undid_and_what_stays() {
    let fixture =
        Fixture::expiring("-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1\n");
    fixture.apply(SPEC);
    let arguments = "teardown --yes --allow unbind-in-use";
    let done = document(&fixture, arguments, 0, "done");
    assert_eq!(done["result"], "executed", "{done:#}");
    assert_eq!(done["stays"]["services"][0]["service"]["name"], "web");
    assert_eq!(done["stays"]["services"][0]["real_servers"], 1);
    assert_eq!(document(&fixture, arguments, 0, "done")["result"], "nothing_to_undo");
}

#[test]
fn a_held_lock_is_an_error_with_its_holder() {
    let fixture = Fixture::expiring("");
    fixture.write("spec.yaml", SPEC);
    let _held = evenkeel_control::Lock::of_namespace().try_acquire().unwrap().unwrap();
    let error = document(&fixture, "apply --yes spec.yaml", 75, "lock_held")["error"].clone();
    assert_eq!(error["lock_holder"]["pid"], std::process::id(), "{error:#}");
}

#[test]
fn commands_to_the_daemon_are_documents_and_status_exits_by_its_state() {
    let fixture = Fixture::expiring("");
    fixture.write("spec.yaml", SPEC);
    assert_eq!(fixture.evenkeel("status").status, 10);
    let absent = document(&fixture, "pause", 1, "failed");
    assert!(absent["error"]["hint"].as_str().unwrap().contains("evenkeel watch"));
    for (options, status) in [("", 0), ("--observe", 12)] {
        let mut command = Command::new(program());
        command.args(["watch", "spec.yaml", "--listen", "none"]).args(options.split_whitespace());
        command.arg("--state-dir").arg(fixture.path().join("state")).current_dir(fixture.path());
        let mut daemon = command.stderr(Stdio::null()).spawn().unwrap();
        await_status(&fixture, status);
        let shown = fixture.evenkeel("status --output json").stdout;
        assert_described(&serde_json::from_str(&shown).unwrap());
        let paused = document(&fixture, "pause 15m", 0, "done");
        assert_eq!((&paused["result"], &paused["seconds"]), (&json!("done"), &json!(900)));
        await_status(&fixture, 14);
        let resumed = document(&fixture, "resume", 0, "done");
        assert_eq!((&resumed["result"], &resumed["until"]), (&json!("done"), &Value::Null));
        await_status(&fixture, status);
        let refused = document(&fixture, "approve 00000000", 3, "refused");
        assert_eq!(refused["result"], "refused");
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }
}

#[test]
fn a_failed_plan_reports_notices_and_warnings_of_the_spec() {
    let fixture = Fixture::expiring("");
    fixture.write("spec.yaml", SPEC);
    document(&fixture, "apply --yes spec.yaml --confirm 10m", 0, "done");
    for arguments in
        ["plan spec.yaml --set absent=1 --target nix", "show spec.yaml --set absent=1 --target nix"]
    {
        let failed = document(&fixture, arguments, 64, "usage");
        assert_eq!(failed["notices"][0]["kind"], "unconfirmed", "{failed:#}");
        let warning = failed["spec_warnings"][0]["message"].as_str().unwrap();
        assert!(warning.contains("`absent`"), "{failed:#}");
    }
    document(&fixture, "confirm", 0, "done");
}

#[test]
fn the_warnings_of_zero_are_in_its_document() {
    let fixture = Fixture::expiring("");
    fixture.apply(SPEC);
    let answer = fixture.evenkeel("zero --yes");
    let done = document(&fixture, "zero --yes", 0, "done");
    let warning = done["warnings"][0].as_str().unwrap();
    assert_eq!(answer.stderr, format!("warning: {warning}\n"));
    run("ipvsadm -D -t 192.0.2.1:80");
    let nothing = document(&fixture, "zero --yes web", 0, "done");
    assert_eq!((&nothing["services"], &nothing["warnings"]), (&json!([]), &json!([])));
}

#[test]
fn a_status_that_is_refused_to_another_user_is_a_document() {
    let fixture = Fixture::expiring("");
    fixture.write("spec.yaml", SPEC);
    std::fs::copy(program(), fixture.path().join("evenkeel")).unwrap();
    let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(fixture.path(), everyone).unwrap();
    let mut command = Command::new(program());
    command.args(["watch", "spec.yaml", "--listen", "none"]);
    command.arg("--state-dir").arg(fixture.path().join("state")).current_dir(fixture.path());
    let mut daemon = command.stderr(Stdio::null()).spawn().unwrap();
    await_status(&fixture, 0);
    for options in [&[][..], &["--follow"]] {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(fixture.path().join("evenkeel")).args(["status", "--output", "json"]);
        let answer = fixture.output({
            command.args(options);
            command
        });
        let refused: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|error| {
            panic!("{error}: {answer:?}");
        });
        assert_eq!(refused["exit"]["status"], answer.status, "{refused:#}");
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(message.contains("user 65534 is not permitted"), "{refused:#}");
        assert_eq!(answer.stderr, format!("refused: {message}\n"));
    }
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

#[track_caller]
fn await_status(fixture: &Fixture, status: i32) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let answer = fixture.evenkeel("status");
        if answer.status == status {
            return;
        }
        assert!(std::time::Instant::now() < end, "{answer:?}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
