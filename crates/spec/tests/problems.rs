//! Tests every rule of the spec with texts that violate it, and the exact report.
//!
//! `problems.txt` holds the cases: a title after `###`, the spec, and after `--->` the report.
//! `UPDATE=1` rewrites the reports; read the difference before committing it.

use std::fmt::Write;

use evenkeel_model::Family;
use evenkeel_spec::{Parameter, Parameters, Source, load_with};

const CASES: &str = include_str!("problems.txt");

/// Resolves the parameters of the cases.
struct Known;

impl Parameters for Known {
    fn value(&self, parameter: Parameter<'_>) -> Result<Option<String>, String> {
        let value = match parameter {
            Parameter::Set("port") => "80",
            Parameter::Set("far") => "99999",
            Parameter::Set("yes") => "true",
            Parameter::Set("empty") => "",
            Parameter::Set("more") => "web\n    port: 1 # ${port}",
            Parameter::Set("servers") => "[ { address: 10.0.0.1 } ]",
            Parameter::Env("NODE") => "lvs-1",
            Parameter::Env("ODD") => return Err("the variable is not UTF-8".to_owned()),
            Parameter::Host { interface: "eth0", family: None } => "192.0.2.1",
            Parameter::Host { interface: "eth0", family: Some(Family::Ipv6) } => "2001:db8::1",
            _ => return Ok(None),
        };
        Ok(Some(value.to_owned()))
    }
}

fn answer(text: &str) -> String {
    match load_with(&[Source::new("spec.yaml", text)], &Known) {
        Ok(loaded) if loaded.warnings.is_empty() => "good\n".to_owned(),
        Ok(loaded) => format!("{}\n", loaded.warnings),
        Err(problems) => format!("{problems}\n"),
    }
}

/// Returns title, spec and report of each case.
fn cases() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    CASES.split("### ").skip(1).map(|case| {
        let (title, rest) = case.split_once('\n').expect("a title");
        let (text, answer) = rest.split_once("--->\n").expect("an answer");
        (title, text, answer.trim_end_matches('\n'))
    })
}

#[test]
fn each_bad_input_is_reported_at_its_position() {
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
fn every_error_has_a_remedy() {
    for (title, text, _) in cases() {
        if let Err(problems) = load_with(&[Source::new("spec.yaml", text)], &Known) {
            for problem in &problems {
                assert!(problem.remedy.is_some(), "{title}: {problem}");
                assert!(problem.place.is_some(), "{title}: {problem}");
            }
        }
    }
}
