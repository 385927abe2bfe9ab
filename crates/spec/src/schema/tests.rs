use jsonschema::Validator;

use super::*;
use crate::yaml::json;
use crate::{Source, load};

const CASES: &str = include_str!("../../tests/problems.txt");

const EXAMPLES: [(&str, &str); 18] = [
    ("dr", include_str!("../../../../examples/dr.yaml")),
    ("nat", include_str!("../../../../examples/nat.yaml")),
    ("tun", include_str!("../../../../examples/tun.yaml")),
    ("ipv6", include_str!("../../../../examples/ipv6.yaml")),
    ("full-nat", include_str!("../../../../examples/full-nat.yaml")),
    ("fwmark", include_str!("../../../../examples/fwmark.yaml")),
    ("persistence", include_str!("../../../../examples/persistence.yaml")),
    ("pool", include_str!("../../../../examples/pool.yaml")),
    ("ports", include_str!("../../../../examples/ports.yaml")),
    ("drain", include_str!("../../../../examples/drain.yaml")),
    ("failover", include_str!("../../../../examples/failover.yaml")),
    ("gre", include_str!("../../../../examples/gre.yaml")),
    ("gue", include_str!("../../../../examples/gue.yaml")),
    ("local-node", include_str!("../../../../examples/local-node.yaml")),
    ("two-directors", include_str!("../../../../examples/two-directors.yaml")),
    ("gateway", include_str!("../../../../examples/gateway.yaml")),
    ("health", include_str!("../../../../examples/health.yaml")),
    ("checks", include_str!("../../../../examples/checks.yaml")),
];

fn validator() -> Validator {
    jsonschema::draft202012::new(&schema()).expect("it is a schema")
}

#[test]
fn every_example_is_listed_here() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let mut found: Vec<String> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|it| it == "yaml"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    found.sort();
    let mut listed: Vec<&str> = EXAMPLES.iter().map(|(name, _)| *name).collect();
    listed.sort_unstable();
    assert_eq!(found, listed);
}

#[test]
fn every_example_is_good_without_a_warning_and_fits_the_schema() {
    let validator = validator();
    for (name, text) in EXAMPLES {
        let loaded = load(&[Source::new(name, text)]);
        let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
        assert!(loaded.warnings.is_empty(), "{name}: {}", loaded.warnings);
        assert!(!loaded.desired.services.is_empty() && !loaded.desired.is_empty());
        let value = json(text).expect("it is YAML");
        let wrong: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
    }
}

#[test]
fn every_key_of_checks_and_health_fits_the_schema() {
    let value = json(include_str!("../../tests/checks.yaml")).expect("it is YAML");
    let validator = validator();
    let wrong: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn valid_specs_match_the_schema() {
    let validator = validator();
    let mut good = 0;
    for case in CASES.split("### ").skip(1) {
        let (text, answer) = case.split_once("--->\n").expect("an answer");
        let (title, text) = text.split_once('\n').expect("a title");
        let Some(value) = json(text) else { continue };
        if answer.trim() == "good"
            || answer.lines().all(|line| line.is_empty() || line.contains(": warning: "))
        {
            good += 1;
            assert!(validator.is_valid(&value), "{title}");
        }
    }
    assert!(good >= 4, "{good}");
}

#[test]
fn values_that_are_invalid_by_themselves_do_not_match_the_schema() {
    let validator = validator();
    for title in [
        "not a map",
        "a text",
        "no version",
        "another version",
        "the version in quotes",
        "unknown keys on every level, beside impossible values",
        "keys of later versions",
        "a list of real servers forgotten",
        "the key of a list of real servers without the list",
        "a real server without an address",
        "names",
        "a misspelt scheduler",
        "thresholds of the wrong type",
        "an empty scope",
        "weights",
        "vip or vips, port or ports, list or pool: one of the two",
        "fields to ignore",
        "timeouts that are no durations",
        "timeouts that are no map, and one without a value",
        "sync daemons of every wrong kind",
        "sysctls of every wrong kind",
        "canonical order is a flag",
        "drains that are no durations",
        "thresholds of guards that mean nothing",
        "more thresholds of guards that mean nothing",
        "thresholds of guards of the wrong form",
        "a share that is none",
        "guards that are no map",
        "checks without a kind, with two, and with unknown keys",
        "names of checks",
        "checks that are no map",
        "times of checks",
        "requests that HTTP cannot carry",
        "names, texts and programs of checks",
        "values of health that mean nothing",
        "overrides that mean nothing",
    ] {
        let case = CASES.split("### ").find(|case| case.starts_with(&format!("{title}\n")));
        let text = case.expect(title).split_once('\n').expect("a text").1;
        let text = text.split_once("--->").expect("an answer").0;
        let value = json(text).expect(title);
        assert!(!validator.is_valid(&value), "{title}");
    }
}
