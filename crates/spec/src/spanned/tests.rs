use super::*;
use crate::spec::Spec;

/// Every text of the table of problems, and scalars that YAML may interpret in several ways.
fn texts() -> Vec<String> {
    let cases = include_str!("../../tests/problems.txt").split("### ").skip(1);
    let mut texts: Vec<String> = cases
        .filter_map(|case| Some(case.split_once('\n')?.1.split_once("--->")?.0.to_owned()))
        .collect();
    let scalars = [
        "",
        "~",
        "null",
        "Null",
        "NULL",
        "nULL",
        "true",
        "True",
        "yes",
        "0",
        "-0",
        "+1",
        "++1",
        "-+1",
        "+-1",
        "007",
        "-007",
        "08",
        "0x1F",
        "-0x1F",
        "0x",
        "0x-1",
        "0x+1",
        "0o17",
        "0b11",
        "1_000",
        "1e3",
        "1.0",
        ".5",
        "5.",
        ".inf",
        "-.inf",
        ".nan",
        "inf",
        "NaN",
        "1e999",
        "-1e999",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "-9223372036854775809",
        "\"1\"",
        "'1'",
        "\"\"",
        "\"null\"",
        "|\n   1",
        "!!int 1",
        "!!str 1",
        "a b",
        "a: b",
        "[]",
        "{}",
        "[1]",
        "12:30",
        "1-2",
        "2001:db8::1",
        "10.0.0.1",
        "5m",
        "300",
        "wlc",
        "{ module: x }",
        "\"\\x41\"",
        "# comment",
    ];
    for scalar in scalars {
        for key in
            ["name", "vip", "port", "scheduler", "persistence", "one_packet", "forward", "ports"]
        {
            texts.push(format!("version: 1\nservices:\n - {key}: {scalar}\n"));
            texts.push(format!("version: 1\nservices: [{{ {key}: {scalar}}}]\n"));
        }
        for key in ["state", "interface", "id", "max_length", "group", "port", "ttl"] {
            texts.push(format!("version: 1\nsync:\n - {key}: {scalar}\n"));
        }
        for key in ["tcp", "tcp_fin", "udp"] {
            texts.push(format!("version: 1\ntimeouts:\n {key}: {scalar}\n"));
        }
        texts.push(format!("sysctls:\n net.a: {scalar}\n"));
        texts.push(format!("sysctls:\n {scalar}: 1\n"));
        texts.push(format!("sysctls: {{ {scalar}: 1, {scalar}: 2 }}\n"));
        for key in ["timeouts", "sync", "sysctls"] {
            texts.push(format!("{key}: {scalar}\n"));
            texts.push(format!("{key}: [{scalar}]\n"));
        }
        for (key, list) in [("vips", "vips"), ("fwmarks", "fwmarks")] {
            texts.push(format!("version: 1\nscope:\n {key}:\n  - {scalar}\n{list}: []\n"));
        }
        texts.push(format!("version: {scalar}\n"));
        texts.push(format!("scope: {scalar}\n"));
        texts.push(format!("observed: {scalar}\n"));
        texts.push(format!("services:\n - persistence: {{ netmask: {scalar} }}\n"));
    }
    texts
}

#[test]
fn both_parsers_agree_on_every_text_that_the_quick_one_accepts() {
    let (mut good, mut bad) = (0, 0);
    for text in texts() {
        let quick = serde_yaml_read(&text);
        let careful = build(&text).ok().and_then(|tree| {
            let root = tree.root?;
            let (spec, noted, _) = read::<Spec>(&tree, root);
            let twice = !tree.repeated_keys().is_empty();
            spec.filter(|_| noted.is_empty() && !twice).map(|spec| format!("{spec:?}"))
        });
        match (quick, careful) {
            (Some(quick), careful) => {
                assert_eq!(Some(quick), careful, "{text}");
                good += 1;
            }
            // The position-keeping reading ignores tags; the result of the fast one counts.
            (None, careful) if !text.contains('!') => {
                assert_eq!(careful, None, "{text}");
                bad += 1;
            }
            (None, _) => {}
        }
    }
    assert!(good > 100 && bad > 100, "{good} {bad}");
}

fn serde_yaml_read(text: &str) -> Option<String> {
    crate::yaml::read_whole(text).ok().map(|reading| format!("{:?}", reading.spec))
}
