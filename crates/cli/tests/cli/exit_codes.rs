//! Tests the exit statuses that need no kernel; the lab tests 1, 3, 4, 75 and 77.

use crate::program::{evenkeel_in, evenkeel_reading, folder_with, root};

#[test]
fn help_and_version_are_answers() {
    let root = root();
    for command in ["--help", "-h", "--version", "help", "plan --help", "help apply"] {
        let answer = evenkeel_in(&root, command);
        assert_eq!((answer.status, &*answer.stderr), (0, ""), "{command}");
        assert!(!answer.stdout.is_empty(), "{command}");
    }
    let help = evenkeel_in(&root, "--help").stdout;
    for status in ["0 ", "1 ", "2 ", "3 ", "4 ", "10", "16", "64", "65", "75", "77"] {
        assert!(help.contains(&format!("\n  {status}  ")), "{status}: {help}");
    }
}

#[test]
fn a_wrong_command_line_is_64() {
    let root = root();
    for command in [
        "",
        "destroy",
        "plan --frobnicate",
        "plan examples/dr.yaml --live none --output xml",
        "plan examples/dr.yaml --live",
        "apply examples/dr.yaml --allow everything",
        "apply examples/dr.yaml --allow empty,everything",
        "validate examples/dr.yaml --color sometimes",
        "validate examples/dr.yaml --detailed-exitcode",
        "plan --role gatekeeper",
        "schema examples/dr.yaml",
        "doctor --explain EK000",
        "doctor examples/dr.yaml --ignore EK012,EK000",
        "doctor examples/dr.yaml --explain EK012",
        "doctor --probe --explain EK012",
        "watch examples/dr.yaml --listen nonsense",
        "watch examples/dr.yaml --listen 127.0.0.1:http",
    ] {
        let answer = evenkeel_in(&root, command);
        assert_eq!((answer.status, &*answer.stdout), (64, ""), "{command}: {answer:?}");
        assert!(!answer.stderr.is_empty(), "{command}");
    }
    let answer = evenkeel_in(&root, "apply examples/dr.yaml --allow everything");
    assert!(answer.stderr.contains("empty, cut-off, take-over, mass-delete"), "{answer:?}");
}

#[test]
fn without_a_terminal_and_without_yes_changing_commands_are_64_whatever_stdin_contains() {
    let root = root();
    for (command, input) in [
        ("apply examples/dr.yaml", ""),
        ("apply examples/dr.yaml", "y\n"),
        ("apply -", "version: 1\n"),
        ("apply missing.yaml", ""),
        ("zero", "y\n"),
        ("zero web --spec -", "version: 1\n"),
    ] {
        let answer = evenkeel_reading(&root, command, input);
        assert_eq!((answer.status, &*answer.stdout), (64, ""), "{command}: {answer:?}");
        assert!(answer.stderr.contains("--yes"), "{answer:?}");
    }
}

#[test]
fn changes_are_2_only_with_detailed_exitcode() {
    let root = root();
    let example = "plan examples/pool.yaml --live";
    for (command, status) in [
        (format!("{example} none"), 0),
        (format!("{example} none --detailed-exitcode"), 2),
        (format!("{example} none --output json --detailed-exitcode"), 2),
        (format!("{example} none --output diff --detailed-exitcode"), 2),
        (format!("{example} examples/pool.yaml --detailed-exitcode"), 0),
        (format!("{example} examples/pool.yaml"), 0),
    ] {
        assert_eq!(evenkeel_in(&root, &command).status, status, "{command}");
    }
}

#[test]
fn a_refused_plan_is_3_only_with_detailed_exitcode() {
    let service = |address: u8, port: u16| {
        format!("  - {{ name: s{port}, vip: 192.0.2.{address}, port: {port}, real_servers: [] }}\n")
    };
    let all: String = (1..=4).map(|port| service(1, port)).collect();
    let folder = folder_with(&[
        ("live.yaml", &format!("version: 1\nservices:\n{all}")),
        ("one.yaml", &format!("version: 1\nservices:\n{}", service(1, 1))),
    ]);
    for (options, status) in
        [("", 0), ("--output json", 0), ("--detailed-exitcode", 3), ("--target s1", 0)]
    {
        let command = format!("plan one.yaml --live live.yaml {options}");
        let answer = evenkeel_in(folder.path(), &command);
        assert_eq!(answer.status, status, "{command}: {answer:?}");
    }
    let selected = "plan one.yaml --live live.yaml --target s1 --detailed-exitcode";
    assert_eq!(evenkeel_in(folder.path(), selected).status, 0);
}

#[test]
fn errors_keep_their_own_status_with_detailed_exitcode() {
    let folder =
        folder_with(&[("bad.yaml", "version: 1\nservice: []\n"), ("good.yaml", "version: 1\n")]);
    for (command, status) in [
        ("plan bad.yaml --live none --detailed-exitcode", 65),
        ("plan good.yaml --live bad.yaml --detailed-exitcode", 65),
        ("plan missing.yaml --live none --detailed-exitcode", 65),
        ("plan good.yaml --live none --detailed-exitcode --no-such-option", 64),
    ] {
        let answer = evenkeel_in(folder.path(), command);
        assert_eq!((answer.status, &*answer.stdout), (status, ""), "{command}: {answer:?}");
    }
}

#[test]
fn the_schema_is_the_one_that_the_examples_are_checked_against() {
    let answer = evenkeel_in(&root(), "schema");
    assert_eq!((answer.status, &*answer.stderr), (0, ""));
    let schema: serde_json::Value = serde_json::from_str(&answer.stdout).expect("JSON");
    assert_eq!(schema, evenkeel_spec::schema());
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}
