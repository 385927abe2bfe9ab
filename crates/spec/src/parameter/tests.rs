use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::{Loaded, Source, load, load_with};

/// Gives every parameter the same value.
struct Always(&'static str);

impl Parameters for Always {
    fn value(&self, _: Parameter<'_>) -> Result<Option<String>, String> {
        Ok(Some(self.0.to_owned()))
    }
}

fn expanded(text: &str) -> Option<String> {
    let found = Values::default().expanded(text, MAX_SOURCE, &Always("v"));
    found.ok().map(|(text, _)| text)
}

#[test]
fn a_parameter_is_replaced_and_any_other_dollar_is_itself() {
    for (written, text) in [
        ("${a}", Some("v")),
        ("x${a}y${env:B}${host:eth0}z", Some("xvyvvz")),
        ("$${a}", Some("${a}")),
        ("$$${a}", Some("$${a}")),
        ("$a $ $$ }", Some("$a $ $$ }")),
        ("$${", Some("${")),
        ("${a", None),
        ("${}", None),
        ("${a}${", None),
    ] {
        assert_eq!(expanded(written).as_deref(), text, "{written}");
    }
}

#[test]
fn a_reference_is_a_name_a_variable_or_an_interface() {
    let host = |interface, family| Some(Parameter::Host { interface, family });
    for (name, parameter) in [
        ("port", Some(Parameter::Set("port"))),
        ("_a1", Some(Parameter::Set("_a1"))),
        ("env:HOME", Some(Parameter::Env("HOME"))),
        ("host:eth0", host("eth0", None)),
        ("host:eth0.100/ipv4", host("eth0.100", Some(Family::Ipv4))),
        ("host:br-1/ipv6", host("br-1", Some(Family::Ipv6))),
        ("", None),
        ("1a", None),
        ("a-b", None),
        ("env:", None),
        ("env:A=B", None),
        ("host:/ipv4", None),
        ("host:eth0/ipv4/x", None),
        ("host:sixteen-chars-xx", None),
        ("other:x", None),
    ] {
        assert_eq!(parse(name), parameter, "{name}");
    }
}

fn with(text: &str, value: &'static str) -> Loaded {
    let source = Source::new("spec.yaml", text);
    load_with(&[source], &Always(value)).unwrap_or_else(|problems| panic!("{problems}"))
}

const SERVICE: &str = "version: 1
services:
  - { name: web, vip: 192.0.2.1, port: 80, scheduler: @, real_servers: [] }
";

#[test]
fn a_value_is_read_as_if_it_stood_there() {
    let written = with(&SERVICE.replace('@', "rr"), "");
    let quoted = with(&SERVICE.replace('@', "\"${x}\""), "rr");
    assert_eq!(quoted.desired, written.desired);
}

#[test]
fn a_value_stays_within_its_scalar() {
    let text = "version: 1\nservices: []\nsysctls: { net.x: \"${x}\" }\n";
    for value in ["\"", "}", "{ a: 1 }", "[", "# no comment", "- a", "*a", "${y}", "a: b"] {
        let loaded = with(text, value);
        let found: Vec<_> = loaded.desired.sysctls.values().map(|value| &**value).collect();
        assert_eq!(found, [value]);
    }
}

#[test]
fn an_unused_parameter_is_not_looked_up() {
    struct Never;

    impl Parameters for Never {
        fn value(&self, parameter: Parameter<'_>) -> Result<Option<String>, String> {
            panic!("{parameter:?}");
        }
    }

    let text = "version: 1 # ${a}\nservices: []\nsysctls: { net.x: \"$${b}\" }\n";
    assert!(load_with(&[Source::new("spec.yaml", text)], &Never).is_ok());
}

#[test]
fn each_parameter_is_looked_up_once() {
    use std::cell::Cell;

    struct Counting(Cell<usize>);

    impl Parameters for Counting {
        fn value(&self, _: Parameter<'_>) -> Result<Option<String>, String> {
            self.0.set(self.0.get() + 1);
            Ok(Some("80".to_owned()))
        }
    }

    let counting = Counting(Cell::new(0));
    let text = "version: 1\nservices:\n  - { name: a, vip: 192.0.2.1, ports: [\"${p}\", \"8${p}\"], scheduler: sh, real_servers: [ { address: 10.0.0.1, weight: 0 } ] }\n";
    let other = "sysctls: { net.x: \"${p}\" }\n";
    let sources = [Source::new("a.yaml", text), Source::new("b.yaml", other)];
    let loaded = load_with(&sources, &counting).expect("it is good");
    assert_eq!(loaded.warnings.len(), 1);
    let _places = loaded.provenance(&sources);
    assert_eq!(counting.0.get(), 1);
}

#[test]
fn a_source_with_its_values_may_not_exceed_the_maximum_length() {
    struct Long;

    impl Parameters for Long {
        fn value(&self, _: Parameter<'_>) -> Result<Option<String>, String> {
            Ok(Some("x".repeat(1 << 20)))
        }
    }

    let one = "\"${a}${a}${a}${a}${a}\"";
    let text = format!("version: 1\nobserved: [{one}, {one}, {one}, {one}]\nservices: []\n");
    let problems = load_with(&[Source::new("long.yaml", text)], &Long).expect_err("too much");
    let found = problems.to_string();
    assert!(found.starts_with("long.yaml:2:"), "{found}");
    assert!(found.contains("amount to more than 16777216 bytes"), "{found}");
    let text = format!("version: 1\nobserved: \"{}\"\n", "${a}".repeat(100_000));
    assert!(load_with(&[Source::new("long.yaml", text)], &Long).is_err());
}

#[test]
fn a_text_with_its_former_values_is_read_as_before() {
    struct Host;
    impl Parameters for Host {
        fn value(&self, parameter: Parameter<'_>) -> Result<Option<String>, String> {
            Ok(Some(match parameter {
                Parameter::Set(_) => "8080".to_owned(),
                Parameter::Env(_) => "web".to_owned(),
                Parameter::Host { family: None, .. } => "192.0.2.1".to_owned(),
                Parameter::Host { .. } => "2001:db8::1".to_owned(),
            }))
        }
    }
    let text = "version: 1\nservices:\n  - name: ${env:NAME}\n    vips: [\"${host:eth0}\", \
                \"${host:eth0/ipv6}\"]\n    port: ${port}\n    real_servers: []\n";
    let sources = [Source::new("spec.yaml", text)];
    let loaded = load_with(&sources, &Host);
    let then = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    let remembered = RememberedParameters(then.parameters());
    assert_eq!(remembered.0.len(), 4);
    assert_eq!(load_with(&sources, &remembered).map(|loaded| loaded.desired), Ok(then.desired));
}

proptest! {
    #[test]
    fn an_escaped_text_is_read_back_unchanged(
        pieces in prop::collection::vec(select(vec!["$", "{", "}", "a", "${", "$${"]), 0..12),
    ) {
        let text = pieces.concat();
        prop_assert_eq!(expanded(&escaped(&text)), Some(text));
    }

    #[test]
    fn a_text_without_a_parameter_is_read_alike_both_ways(
        weight in any::<u32>(),
        name in "[a-z~0-9.$-]{1,8}",
        value in select(vec!["1", "0x1f", "true", "~", "\"1\"", "wlc", "5m", "1.5", "''"]),
    ) {
        let text = format!("version: 1\nservices:\n  - name: {name}\n    vip: 192.0.2.1\n    port: {value}\n    scheduler: {value}\n    persistence: {value}\n    real_servers:\n      - address: 10.0.0.1\n        weight: {weight}\n");
        let quick = load(&[Source::new("spec.yaml", text.as_str())]);
        // The comment alone causes a reading that keeps positions.
        let careful = load(&[Source::new("spec.yaml", format!("{text}# ${{x}}\n"))]);
        match (quick, careful) {
            (Ok(quick), Ok(careful)) => prop_assert_eq!(quick, careful),
            (quick, careful) => prop_assert_eq!(
                quick.expect_err("bad").to_string(),
                careful.expect_err("bad too").to_string()
            ),
        }
    }
}
