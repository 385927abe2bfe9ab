//! The reference pages name everything that the program has, and nothing that it has not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::{printed, root};

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).expect("the page")
}

/// The commands, by the program's own help.
fn commands() -> BTreeSet<String> {
    let help = printed(&["--help"]);
    let (_, list) = help.split_once("Commands:\n").expect("a list");
    let (list, _) = list.split_once("\n\n").expect("its end");
    let names = list.lines().filter_map(|line| {
        // A description that continues on the next line is indented further.
        let entry = line.strip_prefix("  ").filter(|entry| !entry.starts_with(' '))?;
        entry.split_whitespace().next()
    });
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// The options of a command, by its own help.
fn options(command: &str) -> BTreeSet<String> {
    let help = printed(&[command, "--help"]);
    let lines = help.lines().map(str::trim).filter(|line| line.starts_with('-'));
    let words = lines.flat_map(|line| line.split([' ', ',', '.']));
    words.filter(|word| word.starts_with("--")).map(str::to_owned).collect()
}

/// The sections of a page, by their headings.
fn sections(text: &str) -> BTreeMap<&str, &str> {
    let sections = text.split("\n## ").skip(1);
    sections.filter_map(|section| section.split_once('\n')).collect()
}

#[test]
fn every_command_and_option_is_described() {
    let text = page("docs/commands.md");
    let sections = sections(&text);
    let common = sections["Options of all commands"];
    for command in commands() {
        let named =
            sections.iter().find(|(heading, _)| heading.split(", ").any(|it| it == command));
        let (_, section) = named.unwrap_or_else(|| panic!("{command} has no section"));
        for option in options(&command) {
            let is_described = [section, common].iter().any(|it| it.contains(&option));
            assert!(is_described, "{command} {option}");
        }
    }
}

#[test]
fn commands_and_options_in_the_text_exist() {
    let options: BTreeMap<String, BTreeSet<String>> =
        commands().into_iter().map(|command| (command.clone(), options(&command))).collect();
    let mut checked = 0;
    for page in crate::markdown::pages(&root()) {
        let text = self::page(page.path.to_str().expect("text"));
        // Odd parts are in backquotes. Fences have an even number of them and change nothing.
        for code in text.replace("```", "").split('`').skip(1).step_by(2) {
            let words: Vec<&str> = code.split_whitespace().collect();
            let (command, rest) = match words.as_slice() {
                ["evenkeel", command, rest @ ..] if !command.starts_with('-') => (*command, rest),
                [command, rest @ ..] if rest.first().is_some_and(|it| it.starts_with("--")) => {
                    (*command, rest)
                }
                _ => continue,
            };
            let known = options.get(command);
            let Some(known) = known else {
                assert!(words[0] != "evenkeel" || command == "COMMAND", "{code}");
                continue;
            };
            for option in rest.iter().filter(|word| word.starts_with("--")) {
                assert!(known.contains(*option), "{}: {code}", page.path.display());
            }
            checked += 1;
        }
    }
    assert!(checked >= 30, "only {checked} commands were found");
}

#[test]
fn tasks_of_the_source_tree_in_the_text_exist() {
    let mut checked = 0;
    for page in crate::markdown::pages(&root()) {
        let text = self::page(page.path.to_str().expect("text"));
        for rest in text.split("cargo xtask ").skip(1) {
            let task: String = rest.chars().take_while(|it| it.is_alphanumeric()).collect();
            let path = root().join(format!("crates/xtask/src/{task}.rs"));
            assert!(path.exists(), "{}: there is no task {task}", page.path.display());
            checked += 1;
        }
    }
    assert!(checked >= 4, "only {checked} tasks were found");
}

#[test]
fn every_exit_status_is_described() {
    let help = printed(&["--help"]);
    let (_, list) = help.split_once("Exit status:\n").expect("a list");
    let numbers = list.lines().filter_map(|line| line.split_whitespace().next());
    let numbers: Vec<&str> = numbers.filter(|word| word.parse::<u8>().is_ok()).collect();
    assert!(numbers.len() >= 9, "{numbers:?}");
    let text = page("docs/commands.md");
    for number in numbers {
        assert!(text.contains(&format!("\n| {number} | ")), "{number}");
    }
}

#[test]
fn every_key_of_a_spec_is_described() {
    let text = page("docs/spec.md") + &page("docs/guards.md");
    let schema: Value = serde_json::from_str(&printed(&["schema"])).expect("JSON");
    let mut keys = BTreeSet::new();
    collect_keys(&schema, &mut keys);
    assert!(keys.len() >= 50, "{keys:?}");
    for key in keys {
        let is_described = [format!("`{key}`"), format!("`{key}:"), format!("\n  {key}:")]
            .iter()
            .any(|it| text.contains(it));
        assert!(is_described, "{key}");
    }
}

/// The keys of all maps in a schema.
fn collect_keys(schema: &Value, keys: &mut BTreeSet<String>) {
    let properties = schema["properties"].as_object().into_iter().flatten();
    keys.extend(properties.map(|(key, _)| key.clone()));
    let children: Vec<&Value> = match schema {
        Value::Object(map) => map.values().collect(),
        Value::Array(list) => list.iter().collect(),
        _ => Vec::new(),
    };
    children.into_iter().for_each(|child| collect_keys(child, keys));
}

#[test]
fn every_guard_has_a_section() {
    let help = printed(&["apply", "--help"]);
    let (_, list) = help
        .split_once("Override these guards (safety checks), separated by commas: ")
        .expect("a list");
    let (list, _) = list.split_once("\n\n").expect("its end");
    let text = page("docs/guards.md");
    let sections = sections(&text);
    let guards: Vec<&str> = list.split([',', ' ', '\n']).filter(|word| !word.is_empty()).collect();
    assert!(guards.len() >= 8, "{guards:?}");
    for guard in guards {
        assert!(sections.contains_key(&*format!("`{guard}`")), "{guard}");
    }
}
