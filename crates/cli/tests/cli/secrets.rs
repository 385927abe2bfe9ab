//! Tests that values of the environment are not shown in errors, and that what comes from outside does not
//! control a terminal.

use crate::program::{Answer, command, evenkeel_in, folder_with};

/// Runs the program with a variable of the environment.
fn with_secret(folder: &std::path::Path, arguments: &str, secret: &str) -> Answer {
    let output = command(folder, arguments).env("SECRET", secret).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Answer {
        status: output.status.code().expect("no signal"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Specs that cannot take a value where it stands, or the name that it is a part of. `$` stands for it.
const WRONG: [&str; 9] = [
    "version: 1\nservices: [ { name: a, vip: \"$\", port: 80, real_servers: [] } ]\n",
    "version: 1\nservices: [ { name: a, vip: 192.0.2.1, port: \"$\", real_servers: [] } ]\n",
    "version: 1\nservices: [ { name: a, vip: 192.0.2.1, port: 80, scheduler: \"$\", real_servers: [] } ]\n",
    "version: 1\nservices: [ { name: a, vip: 192.0.2.1, port: 80, real_servers: [ { address: \"x-$\" } ] } ]\n",
    "version: 1\nservices: [ { name: a, vip: 192.0.2.1, port: 80, real_servers: \"$\" } ]\n",
    "version: \"$\"\nservices: []\n",
    "version: 1\nservices: [ { name: \"web-$\", vip: 192.0.2.1, port: 99999, real_servers: [] } ]\n",
    "version: 1\nvips: [ { address: \"192.0.2.1/$\", interface: eth0 } ]\nservices: []\n",
    "version: 1\ndefaults: { drain: \"$\" }\nsysctls: { net.ipv4.vs.conntrack: \"$\" }\nservices: [ { name: a, use: \"$\" } ]\n",
];

#[test]
fn a_value_of_the_environment_is_in_no_error() {
    let long = format!("AKIA{}", "x7".repeat(60));
    for secret in ["hunter2secret", &*long, "10.9.8.7,hunter2secret", "hunter2\u{1b}[2Jsecret"] {
        let parts: Vec<&str> =
            secret.split(|it: char| !it.is_alphanumeric()).filter(|it| it.len() > 3).collect();
        for spec in WRONG {
            let folder = folder_with(&[("a.yaml", &spec.replace('$', "${env:SECRET}"))]);
            for arguments in
                ["validate a.yaml", "validate a.yaml --output json", "plan a.yaml --live none"]
            {
                let answer = with_secret(folder.path(), arguments, secret);
                assert_eq!(answer.status, 65, "{spec}: {answer:?}");
                let shown = answer.stdout + &answer.stderr;
                assert!(shown.contains("env:SECRET"), "{spec}: {shown}");
                for part in &parts {
                    // The beginning is as much of a secret as all of it.
                    let part = &part[..part.len().min(12)];
                    assert!(!shown.contains(part), "{spec}: {part}: {shown}");
                }
            }
        }
    }
}

#[test]
fn control_characters_of_files_and_their_names_are_escaped() {
    let bad = "version: 1\nservices: [ { name: \"a\\e[2J\u{202e}b\", vip: 1, port: 80 } ]\n";
    for name in ["a\u{1b}[2Jb.yaml", "a\u{9b}31mb.yaml", "a\u{202e}lmay.yaml", "a\nerror: b.yaml"] {
        let folder = folder_with(&[(name, bad)]);
        for arguments in [
            vec!["validate", name],
            vec!["validate", "."],
            vec!["validate", "--color", "always", name],
        ] {
            let mut program = command(folder.path(), "");
            let output = program.args(&arguments).output().expect("it runs");
            assert_eq!(output.status.code(), Some(65), "{arguments:?}: {output:?}");
            let shown = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
            let is_coloured = arguments.contains(&"always");
            let active = |it: char| {
                (it.is_control() && it != '\n' && !(is_coloured && it == '\u{1b}'))
                    || it == '\u{202e}'
            };
            assert!(!shown.contains(active), "{shown:?}");
            assert!(!shown.contains("\u{1b}[2J"), "{shown:?}");
            assert!(!shown.lines().any(|line| line.starts_with("error: b.yaml")), "{shown:?}");
        }
        let missing = format!("missing-{name}");
        let output = command(folder.path(), "validate").arg(&missing).output().expect("it runs");
        let shown = String::from_utf8(output.stderr).expect("text");
        assert!(!shown.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{shown:?}");
        assert!(!shown.lines().any(|line| line.starts_with("error: b.yaml")), "{shown:?}");
    }
}

/// The value of a sysctl may have any character.
#[test]
fn a_plan_shows_values_without_what_a_terminal_interprets() {
    let spec = "version: 1\nsysctls: { net.ipv4.vs.conntrack: \"1\\u202e2\" }\nservices: []\n";
    let folder = folder_with(&[("a.yaml", spec)]);
    for output in ["text", "json", "diff"] {
        let arguments = format!("plan a.yaml --live none --output {output}");
        let answer = evenkeel_in(folder.path(), &arguments);
        assert_eq!(answer.status, 0, "{answer:?}");
        assert!(answer.stdout.contains("1\\u202e2"), "{output}: {answer:?}");
        assert!(!answer.stdout.contains('\u{202e}'), "{output}: {answer:?}");
    }
}
