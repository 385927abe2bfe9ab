//! Tests plans against a snapshot, which have no journal.

use crate::program::{evenkeel_in, evenkeel_reading, folder_with};

const WEB: &str = "version: 1\nservices:\n  - { name: web, vip: 192.0.2.1, port: 80, real_servers: [ { address: 10.0.0.1 } ] }\n";
const OTHER: &str =
    "  - { name: other, vip: 203.0.113.1, port: 80, real_servers: [ { address: 10.0.0.9 } ] }\n";

#[test]
fn a_plan_for_a_snapshot_names_the_guards_that_it_did_not_judge() {
    let both = format!("{WEB}{OTHER}");
    let marked = format!("{WEB}...\n");
    let folder = folder_with(&[("live.yaml", &both), ("web.yaml", WEB), ("marked.yaml", &marked)]);
    let warning = |names: &str| {
        format!(
            "warning: not judged, without the journal of the host: {names}; `evenkeel plan` and \
             `evenkeel apply` on the host judge every guard\n"
        )
    };
    for (spec, names) in [
        ("web.yaml", "cut-off, take-over, wider-scope, missing-file"),
        ("marked.yaml", "take-over, wider-scope, missing-file"),
    ] {
        let answer = evenkeel_in(folder.path(), &format!("plan {spec} --live live.yaml"));
        assert!(answer.stdout.contains("- delete service 203.0.113.1:80/tcp"), "{answer:?}");
        assert_eq!(answer.stderr, warning(names), "{spec}");
        let json =
            evenkeel_in(folder.path(), &format!("plan {spec} --live live.yaml --output json"));
        let json: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
        let listed: Vec<&str> = names.split(", ").collect();
        assert_eq!(json["guards_not_judged"], serde_json::json!(listed), "{spec}");
        assert_eq!(json["warnings"].as_array().map(Vec::len), Some(1), "{json:#}");
    }
}

#[test]
fn a_plan_that_takes_nothing_away_leaves_no_guard_unjudged() {
    let both = format!("{WEB}{OTHER}");
    let folder = folder_with(&[("both.yaml", &both), ("web.yaml", WEB)]);
    for live in ["none", "web.yaml", "both.yaml"] {
        let command = format!("plan both.yaml --live {live} --output json");
        let answer = evenkeel_in(folder.path(), &command);
        assert_eq!(answer.stderr, "", "{live}");
        let json: serde_json::Value = serde_json::from_str(&answer.stdout).expect("JSON");
        assert_eq!(json["guards_not_judged"], serde_json::json!([]), "{live}");
    }
}

#[test]
fn a_snapshot_may_be_longer_than_a_spec_and_a_refusal_names_its_length() {
    let long = format!("{WEB}{}", "# counters of a large table\n".repeat(700_000));
    let folder = folder_with(&[("web.yaml", WEB), ("long.yaml", &long)]);
    let answer = evenkeel_in(folder.path(), "plan web.yaml --live long.yaml");
    assert_eq!(answer.stdout, "In sync; unchanged: 1 service, 1 real server, 0 VIPs.\n");
    assert_eq!((answer.status, &*answer.stderr), (0, ""));
    let piped = evenkeel_reading(folder.path(), "plan web.yaml --live -", &long);
    assert_eq!((piped.status, piped.stdout), (0, answer.stdout));
    let too_long = std::fs::File::create(folder.path().join("too-long.yaml")).expect("a file");
    too_long.set_len(70_000_000).expect("a sparse file");
    let length = long.len();
    for (command, expected) in [
        (
            "validate long.yaml",
            format!("the text has {length} bytes, and at most 16777216 are read"),
        ),
        (
            "plan web.yaml --live too-long.yaml",
            "the text has 70000000 bytes, and at most 67108864 are read".to_owned(),
        ),
    ] {
        let answer = evenkeel_in(folder.path(), command);
        assert_eq!(answer.status, 65, "{command}: {}", answer.stderr);
        assert!(answer.stderr.contains(&expected), "{command}: {}", answer.stderr);
    }
}
