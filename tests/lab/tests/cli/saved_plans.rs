//! Tests plans that are saved, reviewed and applied later.

use std::os::unix::fs::PermissionsExt;

use super::*;

const SPEC: &str = "version: 1
vips: [ { address: 192.0.2.1, interface: eth0 } ]
defaults: { drain: 0s }
services:
  - name: web
    vip: 192.0.2.1
    port: 80
    real_servers: [ { address: 10.0.0.1, weight: 1 }, { address: 10.0.0.2, weight: 2 } ]
";

/// Applies the spec and saves a plan that gives the first real server weight 5.
fn planned() -> Fixture {
    let fixture = Fixture::new("");
    fixture.apply(SPEC);
    fixture.write("spec.yaml", SPEC.replace("weight: 1", "weight: 5"));
    let answer = fixture.evenkeel("plan spec.yaml --out plan");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert!(answer.stdout.contains("weight 1 -> 5"), "{answer:?}");
    assert!(answer.stderr.contains("`evenkeel apply --plan plan`"), "{answer:?}");
    fixture
}

/// Asserts that the plan is refused with this message, and that nothing is changed.
fn assert_refused(fixture: &Fixture, words: &[&str]) -> Answer {
    let before = everything();
    let answer = fixture.evenkeel("apply --plan plan");
    assert_eq!((answer.status, &*answer.stdout), (3, ""), "{answer:?}");
    for words in ["refused: "].iter().chain(words) {
        assert!(answer.stderr.contains(words), "{words}: {answer:?}");
    }
    assert!(everything() == before);
    answer
}

fn has(line: &str) -> bool {
    ipvsadm::save().contains(line)
}

const RAISED: &str = "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 5";

#[test]
fn a_saved_plan_is_applied_without_its_spec_and_without_a_prompt() {
    let fixture = planned();
    let mode = std::fs::metadata(fixture.path().join("plan")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::remove_file(fixture.path().join("spec.yaml")).unwrap();
    fixture.done("apply --plan plan");
    assert!(has(RAISED));
    assert_refused(&fixture, &["the plan is out of date"]);
    // It is the active spec from now on, as if it had been applied directly.
    fixture.write("spec.yaml", SPEC.replace("weight: 1", "weight: 5"));
    fixture.assert_in_sync("spec.yaml");
}

#[test]
fn the_values_of_parameters_are_those_of_the_plan() {
    let fixture = Fixture::new("");
    fixture.write("spec.yaml", SPEC.replace("weight: 1", "weight: \"${weight}\""));
    let answer = fixture.evenkeel("plan spec.yaml --set weight=5 --out plan");
    assert_eq!(answer.status, 0, "{answer:?}");
    fixture.done("apply --plan plan");
    assert!(has(RAISED));
}

#[test]
fn every_changed_byte_of_a_saved_plan_is_refused() {
    let fixture = planned();
    let path = fixture.path().join("plan");
    let text = std::fs::read(&path).unwrap();
    let step = (text.len() / 15).max(1);
    for place in (0..text.len()).step_by(step).chain([text.len() - 1]) {
        let mut changed = text.clone();
        changed[place] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        assert_refused(&fixture, &[]);
        std::fs::write(&path, &text[..place]).unwrap();
        assert_refused(&fixture, &[]);
    }
    std::fs::write(&path, &text).unwrap();
    fixture.done("apply --plan plan");
    assert!(has(RAISED));
}

#[test]
fn the_refusal_of_a_saved_plan_names_the_reason() {
    let fixture = planned();
    let text = std::fs::read_to_string(fixture.path().join("plan")).unwrap();
    fixture.write("plan", SPEC);
    assert_refused(&fixture, &["plan is not a plan written by `evenkeel plan --out`"]);
    fixture.write("plan", text.replace("\"weight\": 5", "\"weight\": 6"));
    assert_refused(
        &fixture,
        &["plan was changed after it was written: its checksum does not match"],
    );
    fixture.write("plan", text.replace("{\"evenkeel_plan\":2,", "{\"evenkeel_plan\":1,"));
    assert_refused(&fixture, &["plan has saved-plan format 1; this build reads format 2"]);
    for (from, to, words) in [
        ("\"evenkeel\": \"", "\"evenkeel\": \"9.", "the plan was made by evenkeel 9."),
        ("\"host\": \"", "\"host\": \"other-", "the plan was made on host `other-"),
        ("\"boot\": \"", "\"boot\": \"0", "the host was rebooted since the plan was made"),
        (
            "\"role\": \"director\"",
            "\"role\": \"gateway\"",
            "the plan was made for a host that is gateway",
        ),
    ] {
        fixture.write("plan", sealed(&text.replacen(from, to, 1)));
        assert_refused(&fixture, &[words, "make the plan again"]);
    }
    fixture.write("plan", &text);
    fixture.done("apply --plan plan");
}

/// Returns the same body with a matching checksum, as only a deliberate edit has it.
fn sealed(text: &str) -> String {
    let (_, body) = text.split_once('\n').unwrap();
    let sum = run_with("sha256sum", body);
    let sum = sum.split_whitespace().next().unwrap();
    format!("{{\"evenkeel_plan\":2,\"sha256\":\"{sum}\"}}\n{body}")
}

#[test]
fn a_saved_plan_is_refused_in_another_namespace() {
    let fixture = planned();
    let plan = std::fs::read(fixture.path().join("plan")).unwrap();
    let other = Fixture::new("");
    other.write("plan", plan);
    assert_refused(&other, &["the plan was made in network namespace `net-"]);
}

#[test]
fn a_plan_is_stale_when_its_objects_have_changed_and_shows_the_difference() {
    let fixture = planned();
    run("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 3");
    let label = "edit real server 10.0.0.1:80 of web/192.0.2.1:80/tcp: weight";
    let (saved, fresh) = (format!("-~ {label} 1 -> 5"), format!("+~ {label} 3 -> 5"));
    assert_refused(&fixture, &["the plan is out of date", &saved, &fresh]);
    run("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1");
    run("ip addr del 192.0.2.1/32 dev eth0");
    assert_refused(&fixture, &["\n++ bind vip 192.0.2.1/32 on eth0\n"]);
    run("ip addr add 192.0.2.1/32 dev eth0");
    fixture.done("apply --plan plan");
    assert!(has(RAISED));
}

#[test]
fn changes_of_objects_outside_the_plan_do_not_make_it_stale() {
    let fixture = Fixture::new("");
    let spec = SPEC.replace("port: 80\n", "port: 80\n    ignore: [weight]\n    drain: 1h\n");
    fixture.apply(&spec);
    let threshold = "weight: 1, upper_threshold: 100";
    let changed = spec.replace("weight: 1", threshold);
    fixture.write("spec.yaml", changed.replace(", { address: 10.0.0.2, weight: 2 }", ""));
    let answer = fixture.evenkeel("plan spec.yaml --out plan");
    assert!(answer.stdout.contains("~ drain real server 10.0.0.2:80"), "{answer:?}");
    // A weight set by another program, a running drain, an unrelated address.
    run("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 7");
    run("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 0");
    run("ip addr add 198.51.100.1/32 dev eth0");
    let answer = fixture.evenkeel("apply --plan plan");
    assert_eq!(answer.status, 0, "{answer:?}");
    let kept = "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 7";
    assert!(has(kept), "{:?}", ipvsadm::save());
    assert_eq!(ipvsadm::save().len(), 2, "the other one is gone");
}

#[test]
fn guards_judge_saved_plans_and_overrides_are_not_saved() {
    let fixture = planned();
    fixture.write("spec.yaml", "version: 1\nservices: []\ndefaults: { drain: 0s }\n");
    let answer = fixture.evenkeel("plan spec.yaml --out plan");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert!(answer.stderr.contains("--allow empty"), "{answer:?}");
    assert_refused(&fixture, &["guard empty: "]);
    fixture.done("apply --plan plan --allow empty");
    assert_eq!(ipvsadm::save().len(), 0);
}

#[test]
fn a_saved_plan_of_a_host_in_sync_has_nothing_to_do() {
    let fixture = Fixture::new("");
    fixture.apply(SPEC);
    let answer = fixture.evenkeel("plan spec.yaml --out plan");
    assert!(answer.stdout.starts_with("In sync; "), "{answer:?}");
    assert!(fixture.done("apply --plan plan").starts_with("In sync; "));
    run("ipvsadm -D -t 192.0.2.1:80");
    assert_refused(&fixture, &["\n++ add service web/192.0.2.1:80/tcp"]);
}

#[test]
fn a_saved_plan_excludes_other_sources_on_the_command_line() {
    let fixture = planned();
    let before = everything();
    for arguments in [
        "apply --plan plan spec.yaml",
        "apply --plan plan --target web",
        "apply --plan plan --set a=b",
        "plan spec.yaml --live none --out other",
    ] {
        let answer = fixture.evenkeel(arguments);
        assert_eq!((answer.status, &*answer.stdout), (64, ""), "{answer:?}");
    }
    assert_eq!(fixture.evenkeel("apply --plan nowhere").status, 1);
    let answer = fixture.evenkeel("plan spec.yaml --out nowhere/plan");
    assert_eq!(answer.status, 1, "{answer:?}");
    assert!(answer.stderr.contains("cannot write nowhere/plan: "), "{answer:?}");
    assert!(everything() == before);
}
