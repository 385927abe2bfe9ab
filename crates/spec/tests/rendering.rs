//! Tests how problems are shown to users.

use evenkeel_spec::{Source, load};

fn rendered(sources: &[Source]) -> String {
    load(sources).expect_err("it has problems").render(sources, false)
}

fn one(text: impl Into<Vec<u8>>) -> String {
    rendered(&[Source::new("web.yaml", text)])
}

#[test]
fn an_excerpt_points_at_the_exact_value() {
    let text = "version: 1
services:
  - name: web
    vip: 192.168.56.185
    port: 80
    schedular: wrr
    real_servers:
      - { address: 192.168.56.183, port: 8080 }
";
    assert_eq!(
        one(text),
        "\
error: service web: unknown key `schedular`
 --> web.yaml:6:5
  |
6 |     schedular: wrr
  |     ^^^^^^^^^
  |
  = help: did you mean `scheduler`?

error: service web: real server 192.168.56.183 has port 8080, the service is on 80: in dr the packet is forwarded unchanged, so there is no port mapping
 --> web.yaml:8:42
  |
8 |       - { address: 192.168.56.183, port: 8080 }
  |                                          ^^^^
  |
  = help: use `forward: nat`, or remove the port"
    );
}

#[test]
fn a_second_place_is_shown_too_even_in_another_file() {
    let service = "  - { name: web, vip: 192.0.2.1, port: 80, real_servers: [] }\n";
    let sources = [
        Source::new("a.yaml", format!("version: 1\nservices:\n{service}")),
        Source::new("b.yaml", format!("services:\n{}", service.replace("web", "other"))),
    ];
    assert_eq!(
        rendered(&sources),
        "\
error: service other: two services on 192.0.2.1:80/tcp
 --> b.yaml:2:25
  |
2 |   - { name: other, vip: 192.0.2.1, port: 80, real_servers: [] }
  |                         ^^^^^^^^^
  |
 ::: a.yaml:3:23
  |
3 |   - { name: web, vip: 192.0.2.1, port: 80, real_servers: [] }
  |                       --------- the first one
  |
  = help: remove one of them, or change its VIP, port or protocol"
    );
}

#[test]
fn byte_order_marks_scripts_and_line_ends_do_not_shift_positions() {
    let expected = "\
error: `-1` is not a weight
 --> web.yaml:3:31
  |
3 | defaults: { äöü: \"→\", weight: -1 }
  |                               ^^
  |
  = help: write a number from 0 to 2147483647";
    for end in ["\n", "\r\n", "\r"] {
        for mark in ["", "\u{feff}"] {
            let lines = ["version: 1", "# größer →", "defaults: { äöü: \"→\", weight: -1 }", ""];
            let text = format!("{mark}{}", lines.join(end));
            let found = one(text);
            assert!(found.ends_with(expected), "{end:?} {mark:?}\n{found}");
        }
    }
}

#[test]
fn a_warning_is_labelled_as_one() {
    let text = "version: 1
services:
  - { name: a, vip: 192.0.2.1, port: 80, scheduler: sh, real_servers: [ { address: 10.0.0.1, weight: 0 } ] }
";
    let sources = [Source::new("a.yaml", text)];
    let warnings = load(&sources).expect("it is good").warnings;
    assert!(warnings.render(&sources, false).starts_with("warning: service a: weight 0 under sh"));
    assert!(warnings.render(&sources, true).contains("\u{1b}["));
}

#[test]
fn only_a_part_of_a_very_long_line_is_shown() {
    let many = "1, ".repeat(100_000);
    let last = one(format!("{{ version: 1, observed: [ {many} ], services: [ {{ name: -x }} ] }}"));
    let last = last.split("\n\n").find(|it| it.contains("cannot be a name")).expect("it is there");
    assert!(last.len() < 1200, "{last}");
    assert!(last.contains("-x"), "{last}");
}

#[test]
fn a_position_far_right_on_a_line_is_reported_once() {
    // Characters of two bytes: columns are counted in characters.
    for filler in ["x", "ö"] {
        let many = filler.repeat(200);
        let line =
            format!("  - {{ vip: 192.0.2.1, port: 80, description: {many}, name: -x, name: -y }}");
        let found = one(format!("version: 1\nservices:\n{line}\n"));
        let before = line.find("-x").expect("it is there");
        let place = format!("web.yaml:3:{}\n", 1 + line[..before].chars().count());
        assert!(found.contains(&place), "{place}{found}");
        let doubled = found.lines().filter(|it| it.matches(":3:").count() > 1);
        assert_eq!(doubled.count(), 0, "{found}");
    }
}

#[test]
fn bytes_that_are_not_text_are_reported_with_their_position() {
    assert_eq!(
        one(b"version: 1\nservices: \xff\xfe\x00\n".to_vec()),
        "\
error: this is not UTF-8 text
 --> web.yaml:2:11
  |
2 | services: \u{fffd}\u{fffd}\\u0000
  |           ^
  |
  = help: a spec is a YAML text file; save it as UTF-8"
    );
    assert!(one("version: 1\0").contains("the character U+0000 cannot stand in YAML"));
    assert!(one("version: 1\u{1b}[31m").contains("U+001B"));
    assert!(!one("version: 1\u{1b}[31m").contains('\u{1b}'));
}
