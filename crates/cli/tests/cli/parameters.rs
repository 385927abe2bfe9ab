//! Tests the parameters of specs: `--set`, the environment, the host's addresses.

use std::process::Output;

use crate::program::{command, evenkeel_in, folder_with};

const SPEC: &str = "version: 1
services:
  - name: ${env:CLUSTER}
    vip: ${host:lo}
    port: ${port}
    real_servers: []
";

fn run(arguments: &str) -> Output {
    let folder = folder_with(&[("a.yaml", SPEC)]);
    let mut command = command(folder.path(), arguments);
    command.env("CLUSTER", "web").output().expect("it runs")
}

#[test]
fn a_spec_gets_the_values_of_command_line_environment_and_host() {
    let output = run("plan a.yaml --live none --set port=8080");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("+ add service web/127.0.0.1:8080/tcp: "), "{output:?}");
}

#[test]
fn a_parameter_without_a_value_is_a_bad_spec_at_its_place() {
    let output = run("validate a.yaml");
    assert_eq!(output.status.code(), Some(65));
    let text = String::from_utf8(output.stderr).expect("text");
    assert!(text.contains("`${port}` has no value"), "{text}");
    assert!(text.contains("a.yaml:5:11"), "{text}");
    assert!(text.contains("pass `--set port=VALUE`"), "{text}");
}

#[test]
fn wrong_assignments_are_usage_errors_and_unused_ones_are_reported() {
    let folder = folder_with(&[("a.yaml", "version: 1\nservices: []\n")]);
    for (wrong, message) in [
        ("--set port", "write NAME=VALUE"),
        ("--set a-b=1", "`a-b` cannot be the name of a parameter"),
        ("--set a=1 --set a=1", "--set gives `a` two values"),
    ] {
        let answer = evenkeel_in(folder.path(), &format!("validate a.yaml {wrong}"));
        assert_eq!(answer.status, 64, "{answer:?}");
        assert!(answer.stderr.contains(message), "{answer:?}");
    }
    let answer = evenkeel_in(folder.path(), "validate a.yaml --set prot=80");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert!(answer.stderr.contains("no spec has `${prot}`"), "{answer:?}");
}
