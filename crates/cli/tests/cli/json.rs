//! Tests the documents of `--output json` that need no kernel; the lab tests the others.

use serde_json::{Value, json};

use crate::program::{evenkeel_in, folder_with, root};

fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_valid_spec_is_counted() {
    let answer = evenkeel_in(&root(), "validate examples/dr.yaml --output json");
    assert_eq!((answer.status, &*answer.stderr), (0, ""));
    let expected = json!({
        "format": 1,
        "command": "validate",
        "exit": { "status": 0, "name": "done" },
        "error": null,
        "notices": [],
        "spec_warnings": [],
        "valid": true,
        "problems": [],
        "problems_left_out": 0,
        "services": 1,
        "real_servers": 2,
        "vips": 1,
    });
    assert_eq!(document(&answer.stdout), expected);
}

#[test]
fn the_problems_of_a_spec_have_positions_and_remedies() {
    let folder = folder_with(&[("bad.yaml", "version: 1\nservice: []\n")]);
    let answer = evenkeel_in(folder.path(), "validate bad.yaml --output json");
    assert_eq!(answer.status, 65);
    let expected = json!({
        "format": 1,
        "command": "validate",
        "exit": { "status": 65, "name": "bad_spec" },
        "error": null,
        "notices": [],
        "spec_warnings": [],
        "valid": false,
        "problems": [{
            "severity": "error",
            "file": "bad.yaml",
            "line": 2,
            "column": 1,
            "context": null,
            "message": "unknown key `service`",
            "remedy": "did you mean `services`?",
            "related": [],
        }],
        "problems_left_out": 0,
        "services": null,
        "real_servers": null,
        "vips": null,
    });
    assert_eq!(document(&answer.stdout), expected);
    // Other commands report them as what ended them.
    let other = evenkeel_in(folder.path(), "plan bad.yaml --live none --output json");
    assert_eq!(document(&other.stdout)["error"]["problems"], expected["problems"]);
}

#[test]
fn warnings_of_a_valid_spec_are_in_the_document() {
    let spec = "version: 1\nservices: []\n";
    let folder = folder_with(&[("spec.yaml", spec)]);
    let answer = evenkeel_in(folder.path(), "validate spec.yaml --set unused=1 --output json");
    assert_eq!(answer.status, 0, "{answer:?}");
    let warnings = &document(&answer.stdout)["spec_warnings"];
    assert_eq!(warnings[0]["severity"], "warning");
    assert_eq!(warnings[0]["message"], "--set gives `unused` a value, but no spec has `${unused}`");
}

#[test]
fn an_error_is_a_document_with_the_status_and_the_messages_of_the_text() {
    let folder = folder_with(&[
        ("bad.yaml", "version: 1\nservice: []\n"),
        ("good.yaml", "version: 1\nservices: []\n"),
    ]);
    for (command, status, name) in [
        ("validate missing.yaml", 65, "bad_spec"),
        ("validate bad.yaml", 65, "bad_spec"),
        ("plan bad.yaml --live none", 65, "bad_spec"),
        ("plan good.yaml --live missing.yaml", 65, "bad_spec"),
        ("apply bad.yaml --yes", 65, "bad_spec"),
        ("apply --plan missing", 1, "failed"),
        ("validate good.yaml --set a=1 --set a=2", 64, "usage"),
        ("validate - -", 64, "usage"),
        ("show bad.yaml", 65, "bad_spec"),
    ] {
        let text = evenkeel_in(folder.path(), command);
        let json = evenkeel_in(folder.path(), &format!("{command} --output json"));
        assert_eq!((text.status, json.status), (status, status), "{command}: {text:?} {json:?}");
        assert_eq!(text.stderr, json.stderr, "{command}");
        assert_eq!(text.stdout, "", "{command}");
        let document = document(&json.stdout);
        assert_eq!(document["format"], 1, "{command}");
        assert_eq!(document["exit"], json!({ "status": status, "name": name }), "{command}");
        let message = match document["error"]["message"].as_str() {
            Some("the spec is wrong") => document["error"]["problems"][0]["message"].as_str(),
            None => document["problems"][0]["message"].as_str(),
            message => message,
        };
        assert!(text.stderr.contains(message.expect("a message")), "{command}: {document:#}");
        if let Some(hint) = document["error"]["hint"].as_str() {
            assert!(text.stderr.contains(hint), "{command}: {document:#}");
        }
    }
}

#[test]
fn a_document_asks_no_question() {
    let root = root();
    for command in ["apply examples/dr.yaml", "teardown"] {
        let answer = evenkeel_in(&root, &format!("{command} --output json"));
        assert_eq!(answer.status, 64, "{answer:?}");
        let error = &document(&answer.stdout)["error"]["message"];
        assert!(error.as_str().is_some_and(|it| it.contains("pass --yes")), "{error}");
    }
}

#[test]
fn a_code_is_explained_without_a_spec_and_a_kernel() {
    let answer = evenkeel_in(&root(), "doctor --explain ek012 --output json");
    assert_eq!((answer.status, &*answer.stderr), (0, ""));
    let document = document(&answer.stdout);
    assert_eq!((&document["command"], &document["code"]), (&json!("doctor"), &json!("EK012")));
    let title = document["title"].as_str().expect("a title");
    let text = evenkeel_in(&root(), "doctor --explain EK012").stdout;
    assert!(text.starts_with(&format!("EK012: {title}\n\nDirect routing changes only")), "{text}");
}
