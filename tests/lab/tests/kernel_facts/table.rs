//! Checks the table in the parent module's documentation.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The facts about the table that a test can provoke.
const FACTS: [std::ops::RangeInclusive<u8>; 4] = [1..=25, 27..=34, 41..=50, 53..=53];

/// Returns the number of each row, and the names in backquotes behind its subject.
fn rows() -> BTreeMap<u8, Vec<&'static str>> {
    let rows =
        include_str!("../kernel_facts.rs").lines().filter_map(|line| line.strip_prefix("//! | P"));
    rows.map(|row| {
        let [number, _about, tests] = row.splitn(3, " | ").collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let names = tests.split('`').skip(1).step_by(2);
        (number.parse().unwrap(), names.collect())
    })
    .collect()
}

/// Returns the source texts of all tests.
fn sources(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| match path.is_dir() {
            true => sources(&path),
            false => fs::read_to_string(path).unwrap(),
        })
        .collect()
}

#[test]
fn every_fact_has_its_row_and_every_row_names_existing_tests() {
    let rows = rows();
    assert!(rows.keys().copied().eq(FACTS.into_iter().flatten()), "{:?}", rows.keys());
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"));
    for (number, names) in rows {
        assert!(names.iter().any(|name| *name != "BUG_ON"), "P{number} has no test");
        for name in names {
            let last = name.rsplit("::").next().unwrap();
            let exists = match name {
                "none" | "BUG_ON" => true,
                _ if name.contains("::") => [format!("fn {last}("), format!("mod {last};")]
                    .iter()
                    .any(|declaration| sources.contains(declaration)),
                _ => sources.contains(&format!("fn {name}_")),
            };
            assert!(exists, "P{number}: there is no {name}");
        }
    }
}
