use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// The spec parsed in pieces of at least one byte; `None` if that is not possible.
fn from_pieces(text: &str) -> Option<Spec> {
    let mut reading = in_pieces(text, 1)?;
    let is_list = reading.unread.is_some() || reading.spec.services.value().is_some();
    let services = reading.take_services().collect::<Result<Vec<_>, PieceError>>().ok()?;
    if is_list {
        reading.spec.services = Field::Value(List(services));
    }
    Some(reading.spec)
}

/// Lines that are likely to break cutting.
const LINES: [&str; 62] = [
    "version: 1",
    "{}",
    "{ version: 1 }",
    "[]",
    "~",
    "null",
    "&a {}",
    "!!map {}",
    "? version",
    ": 1",
    "  &a {}",
    "  !!map {}",
    "  { modules: [] }",
    "  ~",
    "  : 1",
    "services:",
    "services: # all of them",
    "pools:",
    "services: []",
    "defaults: { weight: 2 }",
    "defaults: {",
    "weight: 2 }",
    "scope: all",
    "observed: |",
    "observed:",
    "observed: # at noon",
    "  {}",
    "  time: x",
    "  counters:",
    "  modules: [ip_vs]",
    "    - service: 192.0.2.1:80/tcp",
    "      traffic: 1 2",
    "      real_servers:",
    "        - 10.0.0.1:80 3",
    "observed: \"",
    "\"",
    "  - { name: a, port: 1 }",
    "  - name: b",
    "    vip: 192.0.2.1",
    "    ports: [80,",
    "  - 443]",
    "  - name: \"c",
    "    d\"",
    "  - name: 'e",
    "- name: f",
    "  vip: 192.0.2.2",
    "    real_servers:",
    "      - { address: 192.0.2.3 }",
    "    real_servers: []",
    " - name: g",
    "  - &x { name: h }",
    "  - *x",
    "# a comment",
    "  # - name: i",
    "",
    "---",
    "...",
    "  -",
    "timeouts: { tcp: 5m }",
    "sync:",
    "sysctls:",
    "  net.a: 1",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn pieces_parse_to_the_same_result_as_the_whole(
        lines in prop::collection::vec(select(LINES.to_vec()), 0..14),
        end in select(vec!["\n", "\r\n", "\r"]),
    ) {
        let text: String = lines.iter().flat_map(|line| [*line, end]).collect();
        if let Some(spec) = from_pieces(&text) {
            let whole = serde_yaml::from_str::<Spec>(&text);
            prop_assert_eq!(format!("{:?}", Ok::<_, String>(spec)), format!("{:?}", whole.map_err(|e| e.to_string())));
        }
    }
}

#[test]
fn a_second_value_beside_a_section_or_an_observation_is_refused_in_pieces_too() {
    for text in ["observed:\n  {}\n  {}\n", "version: 1\n{}\n", "{}\nversion: 1\n"] {
        assert!(serde_yaml::from_str::<Spec>(text).is_err(), "{text}");
        assert!(from_pieces(text).is_none(), "{text}");
    }
}

#[test]
fn a_large_spec_is_read_in_pieces() {
    let mut text = String::from("version: 1 # the first\nservices:\n");
    for number in 0..2000 {
        text +=
            &format!("  - name: s{number}\n    fwmark: 7\n    real_servers: []\n  # {number}\n");
    }
    text += "pools: # none yet\n- name: p\n  real_servers: []\ndefaults:\n  weight: 3\n";
    let spec = from_pieces(&text).expect("it can be cut");
    assert_eq!(spec.services.value().map(|list| list.0.len()), Some(2000));
    assert_eq!(spec.pools.value().map(|list| list.0.len()), Some(1));
    assert!(!spec.defaults.is_absent() && !spec.version.is_absent());
}
