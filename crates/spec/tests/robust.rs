//! Every text gets a result in bounded time, with positions that lie in the text.

use std::fmt::Write;

use evenkeel_spec::{MAX_SNAPSHOT, MAX_SOURCE, Position, Source, SourceKind, load};
use proptest::prelude::*;
use proptest::sample::{Index, select};

const SPECS: [&str; 18] = [
    include_str!("checks.yaml"),
    include_str!("../../../examples/dr.yaml"),
    include_str!("../../../examples/nat.yaml"),
    include_str!("../../../examples/tun.yaml"),
    include_str!("../../../examples/ipv6.yaml"),
    include_str!("../../../examples/fwmark.yaml"),
    include_str!("../../../examples/persistence.yaml"),
    include_str!("../../../examples/pool.yaml"),
    include_str!("../../../examples/ports.yaml"),
    include_str!("../../../examples/failover.yaml"),
    include_str!("../../../examples/drain.yaml"),
    include_str!("../../../examples/gre.yaml"),
    include_str!("../../../examples/gue.yaml"),
    include_str!("../../../examples/local-node.yaml"),
    include_str!("../../../examples/two-directors.yaml"),
    include_str!("../../../examples/health.yaml"),
    include_str!("../../../examples/checks.yaml"),
    include_str!("../../../examples/gateway.yaml"),
];

/// Fragments that change the meaning of a spec.
const PIECES: [&str; 41] = [
    "", " ", "\t", "\n", "\r", "\n\n  - ", ":", ": ", "- ", "? ", "|", ">", "&a ", "*a", "!t ",
    "!!int ", "[", "]", "{", "}", ",", "\"", "'", "#", " #", "%", "---\n", "...\n", "<<: *a",
    "null", "0x10", "1e999", "${", "$${", "${x}", "${env:X}", "}", "\u{feff}", "\0", "→", "\u{85}",
];

fn check(sources: &[Source]) {
    let (problems, failed) = match load(sources) {
        Ok(loaded) => {
            let provenance = loaded.provenance(sources);
            for key in loaded.desired.services.keys() {
                // The two parsers disagree on some texts that are barely YAML.
                if let Some(place) = provenance.service(key) {
                    check_place(place, &sources[place.source]);
                }
            }
            (loaded.warnings, false)
        }
        Err(problems) => (problems, true),
    };
    assert_eq!(problems.has_errors(), failed);
    for problem in &problems {
        let related = problem.related.iter().map(|related| &related.place);
        for place in problem.place.iter().chain(related) {
            check_place(place, &sources[place.source]);
        }
    }
    let rendered = problems.render(sources, false);
    assert!(rendered.chars().all(|character| character == '\n' || !character.is_control()));
}

fn check_place(place: &Position, source: &Source) {
    let text = String::from_utf8_lossy(&source.text);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    assert!(place.span.start <= place.span.end && place.span.end <= text.len().max(3));
    let before = text.get(..place.span.start).expect("it begins at a character");
    let lines = before.replace("\r\n", "\n").replace('\r', "\n");
    assert_eq!(place.line, lines.matches('\n').count() + 1, "{place}");
    let line = lines.rsplit('\n').next().unwrap_or("");
    assert_eq!(place.column, line.chars().count() + 1, "{place}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn arbitrary_bytes_get_a_result(text in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&[Source::new("any", text)]);
    }

    #[test]
    fn arbitrary_yaml_punctuation_gets_a_result(
        pieces in prop::collection::vec(select(PIECES.to_vec()), 0..40),
    ) {
        check(&[Source::new("marks", pieces.concat())]);
    }

    #[test]
    fn a_mutated_spec_gets_a_result(
        spec in select(SPECS.to_vec()),
        changes in prop::collection::vec((any::<Index>(), 0..12_usize, select(PIECES.to_vec())), 1..5),
    ) {
        let mut text: Vec<char> = spec.chars().collect();
        for (at, length, piece) in changes {
            let at = at.index(text.len() + 1);
            let end = (at + length).min(text.len());
            text.splice(at..end, piece.chars());
        }
        check(&[Source::new("changed", text.into_iter().collect::<String>())]);
    }

    #[test]
    fn two_mutated_specs_together_get_a_result(
        specs in (select(SPECS.to_vec()), select(SPECS.to_vec())),
        cut in any::<Index>(),
    ) {
        let cut = cut.index(specs.0.len());
        let first = specs.0.as_bytes()[..cut].to_vec();
        check(&[Source::new("cut", first), Source::new("whole", specs.1)]);
    }
}

fn first_problem(text: impl Into<Vec<u8>>) -> String {
    let problems = load(&[Source::new("big", text)]).expect_err("it is refused");
    problems.iter().next().expect("there is one").to_string()
}

const TEN_MIB: usize = 10 << 20;

#[test]
fn ten_mebibytes_of_anchors_are_refused_at_the_first_excess_alias() {
    let mut expansions =
        String::from("version: 1\nobserved:\n  a: &a [x, x, x, x, x, x, x, x, x, x]\n");
    for (before, next) in ('a'..='k').zip('b'..) {
        let aliases = format!("*{before}, ").repeat(10);
        writeln!(expansions, "  {next}: &{next} [{aliases}x]").expect("a string");
    }
    expansions += &"# padding\n".repeat((TEN_MIB - expansions.len()) / 10);
    let found = first_problem(expansions);
    assert!(found.starts_with("big:8:"), "{found}");
    assert!(found.contains("the aliases up to here expand to more than 1000000 values"), "{found}");

    let mut many = String::from("version: 1\nobserved:\n  a: &a x\n  b: [");
    many += &"*a,".repeat(TEN_MIB / 3);
    assert!(first_problem(many + "x]\n").contains("expand to more than"));
}

#[test]
fn ten_mebibytes_of_nesting_are_refused() {
    for level in ["[", "{", "- ", "? ", "- ? "] {
        let found = first_problem(level.repeat(TEN_MIB / level.len()));
        assert!(found.contains("are nested more than 64 deep"), "{level}: {found}");
    }
}

#[test]
fn ten_mebibytes_of_anything_else_terminate_too() {
    for piece in ["\"", "x ", ",", "!", "&a ", "%T\n", "---\n", "\t", "'", "|\n", "@", "\r"] {
        let found = first_problem(piece.repeat(TEN_MIB / piece.len()));
        assert!(found.starts_with("big:"), "{piece}: {found}");
    }
}

#[test]
fn a_text_that_is_too_long_is_not_parsed() {
    let found = first_problem(vec![b'#'; MAX_SOURCE + 1]);
    assert!(
        found.contains("has more than 16777216 bytes, the most that are read; split it"),
        "{found}"
    );
}

#[test]
fn a_text_of_known_length_is_refused_with_it() {
    let mut source = Source::new("big", vec![b'#'; MAX_SOURCE + 1]);
    source.length = Some(20_000_000);
    let found = load(&[source.clone()]).expect_err("it is too long").to_string();
    let expected = "the text has 20000000 bytes, and at most 16777216 are read; split it";
    assert!(found.contains(expected), "{found}");
    // A snapshot may be longer.
    source.kind = SourceKind::Snapshot;
    let found = load(&[source.clone()]).expect_err("it is empty").to_string();
    assert!(found.contains("the spec is empty"), "{found}");
    source.text = vec![b'#'; MAX_SNAPSHOT + 1];
    source.length = None;
    let found = load(&[source]).expect_err("it is too long").to_string();
    let expected = "has more than 67108864 bytes, the most that are read; take it with `--pools`";
    assert!(found.contains(expected), "{found}");
}

#[test]
fn a_thousand_problems_are_reported_and_the_rest_is_counted() {
    let mut text = String::from("version: 1\n");
    for number in 0..5_000 {
        writeln!(text, "k{number}: 1").expect("a string");
    }
    let problems = load(&[Source::new("many", text)]).expect_err("it is refused");
    assert_eq!((problems.len(), problems.left_out()), (1000, 4000));
    assert!(problems.to_string().ends_with("and 4000 more"));
}

#[test]
fn a_spec_of_many_real_servers_with_a_problem_in_each_gets_a_result() {
    let mut text = String::from("version: 1\nservices:\n");
    for number in 0..2_000 {
        writeln!(text, "  - name: s{number}\n    vip: 192.0.2.1\n    port: 0").expect("a string");
        writeln!(text, "    real_servers: [ {{ address: 224.0.0.1 }} ]").expect("a string");
    }
    let problems = load(&[Source::new("many", text)]).expect_err("it is refused");
    assert_eq!(problems.len(), 1000);
    assert!(problems.left_out() > 0);
}

/// Returns a spec with more services than are read at once; their real servers are `first` or
/// `other`.
fn large(first: &str, other: &str) -> String {
    let mut text = String::from("version: 1\nservices:\n");
    for port in 1..=500 {
        let real_servers = if port == 1 { first } else { other };
        writeln!(text, "  - {{ name: s{port}, vip: 192.0.2.1, port: {port},").expect("a string");
        writeln!(text, "      real_servers: {real_servers} }}").expect("a string");
    }
    text
}

#[test]
fn a_large_spec_whose_pieces_need_each_other_is_read_as_a_whole() {
    let list = "[{ address: 192.0.2.9 }]";
    let spelt_out = load(&[Source::new("x", large(list, list))]).expect("it is good");
    let aliased = load(&[Source::new("x", large(&format!("&all {list}"), "*all"))]);
    let aliased = aliased.expect("it is good");
    assert_eq!(aliased.desired.services.len(), 500);
    assert_eq!(aliased, spelt_out);
}

#[test]
fn a_problem_behind_many_good_services_is_reported_once() {
    let good = large("[]", "[]");
    let sources = [
        Source::new("bad", "version: 1\nscope: nonsense\n"),
        Source::new(
            "late",
            good + "  - { name: late, vip: nonsense, port: 1, real_servers: [] }\n",
        ),
    ];
    let problems = load(&sources).expect_err("it is refused").to_string();
    assert_eq!(problems.matches("bad:").count(), 1, "{problems}");
    assert_eq!(problems.matches("late:1003:").count(), 1, "{problems}");
}
