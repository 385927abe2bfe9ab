//! Runs the program with every kind of bad input: status 65, and one error with its position and a
//! remedy.

use std::fs;

use crate::program::{difference, evenkeel_in, folder_with};

mod inputs;

/// The errors on stderr, each as `LINE:COLUMN: message; remedy`.
fn errors(stderr: &str, file: &str) -> Vec<String> {
    let mut blocks: Vec<Vec<&str>> = Vec::new();
    for line in stderr.lines() {
        if line.starts_with("error: ") {
            blocks.push(Vec::new());
        }
        blocks.last_mut().expect("an error comes first").push(line);
    }
    let short = |block: Vec<&str>| {
        let find = |start: &str| {
            let found = block.iter().find_map(|line| line.trim_start().strip_prefix(start));
            found.unwrap_or_else(|| panic!("no {start:?} in {stderr}"))
        };
        let place = find("--> ").strip_prefix(file).expect("the file's name");
        format!("{}: {}; {}", &place[1..], find("error: "), find("= help: "))
    };
    blocks.into_iter().map(short).collect()
}

#[test]
fn each_bad_input_has_one_error_with_place_and_remedy() {
    let folder = folder_with(&[]);
    let mut wrong = String::new();
    let mut anew = String::new();
    for input in inputs::all() {
        fs::write(folder.path().join("bad.yaml"), &input.bytes).expect("a file");
        let answer = evenkeel_in(folder.path(), "validate bad.yaml");
        assert_eq!((answer.status, &*answer.stdout), (65, ""), "{}: {answer:?}", input.title);
        let found = errors(&answer.stderr, "bad.yaml");
        assert_eq!(found.len(), 1, "{}: {}", input.title, answer.stderr);
        if found[0] != input.answer {
            wrong += &format!("{}\n{}", input.title, difference(&input.answer, &found[0]));
        }
        if inputs::texts().any(|text| text.title == input.title) {
            let text = String::from_utf8(input.bytes).expect("text");
            anew += &format!("### {}\n{text}---> {}\n\n", input.title, found[0]);
        }
    }
    if std::env::var_os("UPDATE").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/bad_input/cases.txt");
        fs::write(path, anew.trim_end().to_owned() + "\n").expect("it can be written");
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_command_that_reads_a_spec_refuses_it_alike() {
    let folder = folder_with(&[]);
    for input in inputs::texts() {
        fs::write(folder.path().join("bad.yaml"), &input.bytes).expect("a file");
        let validated = evenkeel_in(folder.path(), "validate bad.yaml");
        for command in ["plan bad.yaml --live none", "apply --yes bad.yaml", "show bad.yaml"] {
            let answer = evenkeel_in(folder.path(), command);
            assert_eq!((answer.status, &*answer.stdout), (65, ""), "{}: {command}", input.title);
            assert_eq!(answer.stderr, validated.stderr, "{}: {command}", input.title);
        }
    }
}

#[test]
fn all_problems_are_reported_in_one_run() {
    let folder = folder_with(&[
        (
            "a.yaml",
            "version: 1\nservices:\n  - { name: a, vip: 192.0.2.1, port: 0, scheduler: wr, real_servers: [] }\n",
        ),
        (
            "b.yaml",
            "version: 1\nservices:\n  - { name: b, vip: 224.0.0.1, port: 80, real_servers: [ { address: 10.0.0.1, weight: -1 } ] }\n",
        ),
    ]);
    let answer = evenkeel_in(folder.path(), "validate .");
    assert_eq!(answer.status, 65);
    let places: Vec<&str> =
        answer.stderr.lines().filter_map(|line| line.trim_start().strip_prefix("--> ")).collect();
    assert_eq!(
        places,
        ["./a.yaml:3:38", "./a.yaml:3:52", "./b.yaml:3:21", "./b.yaml:3:87"],
        "{}",
        answer.stderr
    );
}
