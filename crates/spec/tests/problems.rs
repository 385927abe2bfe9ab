//! Every rule of the spec, each with the texts that break it and the exact answer.
//!
//! `problems.txt` holds the cases: a title behind `###`, the spec, and behind `--->` what is
//! reported. `UPDATE=1` writes the answers anew; read the difference before committing it.

use std::fmt::Write;

use evenkeel_spec::{Source, load};

const CASES: &str = include_str!("problems.txt");

fn answer(text: &str) -> String {
    match load(&[Source::new("spec.yaml", text)]) {
        Ok(loaded) if loaded.warnings.is_empty() => "good\n".to_owned(),
        Ok(loaded) => format!("{}\n", loaded.warnings),
        Err(problems) => format!("{problems}\n"),
    }
}

/// Title, spec and answer of each case.
fn cases() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    CASES.split("### ").skip(1).map(|case| {
        let (title, rest) = case.split_once('\n').expect("a title");
        let (text, answer) = rest.split_once("--->\n").expect("an answer");
        (title, text, answer.trim_end_matches('\n'))
    })
}

#[test]
fn each_bad_input_has_its_answer_at_its_place() {
    let (mut wrong, mut anew) =
        (String::new(), CASES.split("### ").next().unwrap_or("").to_owned());
    for (title, text, expected) in cases() {
        let found = answer(text);
        if found.trim_end() != expected {
            write!(wrong, "\n### {title}\nexpected:\n{expected}\nfound:\n{found}")
                .expect("a string");
        }
        write!(anew, "### {title}\n{text}--->\n{found}\n").expect("a string");
    }
    if std::env::var_os("UPDATE").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/problems.txt");
        std::fs::write(path, anew).expect("it can be written");
    } else {
        assert!(wrong.is_empty(), "{wrong}");
    }
}

#[test]
fn every_error_says_what_to_do() {
    for (title, text, _) in cases() {
        if let Err(problems) = load(&[Source::new("spec.yaml", text)]) {
            for problem in &problems {
                assert!(problem.remedy.is_some(), "{title}: {problem}");
                assert!(problem.place.is_some(), "{title}: {problem}");
            }
        }
    }
}
