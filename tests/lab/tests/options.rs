//! Tests every option of ipvsadm that writes kernel state against the spec that requests the same.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_lab_tests::{fresh_host, run};

use crate::apply::apply;
use crate::dump::Dump;

mod table;

use table::{EXCEPTED, ROWS, Row};

fn ipvsadm(commands: &[&str]) {
    for command in commands {
        run(&format!("ipvsadm {command}"));
    }
}

/// Returns the options of `ipvsadm --help`, each with its other spelling if it has one.
fn printed() -> BTreeMap<String, Option<String>> {
    let help = run("ipvsadm --help");
    let (_, lists) = help.split_once("\nCommands:\n").expect("a list of commands");
    let mut all = BTreeMap::new();
    for line in lists.lines().filter(|line| line.starts_with("  -")) {
        let words = line.split_whitespace().flat_map(|word| word.split('|'));
        let spellings: Vec<&str> = words.take_while(|word| !word.is_empty()).collect();
        // Later words that begin with a hyphen belong to a description.
        let mut spellings: Vec<&str> =
            spellings.into_iter().take(3).filter(|word| word.starts_with('-')).collect();
        if let Some(first) = spellings.first().copied() {
            let rest = spellings.split_off(1);
            all.insert(first.to_owned(), rest.first().map(|&it| it.to_owned()));
            for other in rest {
                all.insert(other.to_owned(), Some(first.to_owned()));
            }
        }
    }
    all
}

/// Returns the same command with each option in its other spelling.
fn respelled(command: &str, spellings: &BTreeMap<String, Option<String>>) -> String {
    let other = |word: &str| {
        let other = spellings.get(word).and_then(Option::as_deref);
        other.unwrap_or(word).to_owned()
    };
    command.split(' ').map(other).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_table_has_every_option_that_ipvsadm_prints() {
    let used: BTreeSet<&str> =
        ROWS.iter().flat_map(|row| row.commands).flat_map(|it| it.split(' ')).collect();
    let excepted: BTreeSet<&str> =
        EXCEPTED.iter().flat_map(|(options, _)| *options).copied().collect();
    let printed = printed();
    assert!(printed.len() > 70, "{printed:?}");
    for (option, other) in &printed {
        let is_in = |all: &BTreeSet<&str>| {
            all.contains(&**option) || other.as_deref().is_some_and(|it| all.contains(it))
        };
        assert!(is_in(&used) != is_in(&excepted), "{option} stands once: in a row or excepted");
    }
    let known = |option: &str| printed.contains_key(option);
    let all = used.iter().filter(|word| word.starts_with('-')).chain(&excepted);
    assert_eq!(all.filter(|it| !known(it)).collect::<Vec<_>>(), [] as [&&str; 0]);
}

#[test]
fn each_option_of_ipvsadm_has_a_spec_that_leaves_the_same_state() {
    let spellings = printed();
    let mut different = Vec::new();
    for Row { commands, spec } in ROWS {
        fresh_host();
        let empty = Dump::take();
        ipvsadm(commands);
        let wanted = Dump::take();
        let mut compare = |how: &str| {
            let left = Dump::take();
            if left != wanted {
                different.push(format!("{commands:?} {how}:\n{left:#?}\nnot\n{wanted:#?}"));
            }
        };

        fresh_host();
        let other: Vec<String> = commands.iter().map(|it| respelled(it, &spellings)).collect();
        ipvsadm(&other.iter().map(String::as_str).collect::<Vec<_>>());
        compare(&format!("spelled {other:?}"));

        fresh_host();
        let (_, earlier) = commands.split_last().unwrap();
        ipvsadm(earlier);
        assert_ne!(
            Dump::take(),
            wanted,
            "{commands:?}: a last command without effect proves nothing"
        );
        apply(spec);
        compare("by the spec, after the commands before the last");

        if wanted != empty {
            fresh_host();
            apply(spec);
            compare("by the spec, from nothing");
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n\n"));
}

#[test]
fn each_scheduler_that_ipvsadm_prints_has_its_name_in_a_spec() {
    let help = run("ipvsadm --help");
    let (_, names) = help.split_once("scheduler         one of ").expect("a list of schedulers");
    let names = names.split([',', '\n']).next().unwrap().split('|');
    let numbered: Vec<(usize, &str)> = (1..).zip(names).collect();
    assert!(numbered.len() >= 13, "{numbered:?}");

    fresh_host();
    let mut spec = "services:\n".to_owned();
    for (port, name) in &numbered {
        run(&format!("ipvsadm -A -t 192.0.2.1:{port} -s {name}"));
        run(&format!("ipvsadm -a -t 192.0.2.1:{port} -r 10.0.0.1:{port} -g -w 1"));
        spec += &format!("  - name: {name}\n    vip: 192.0.2.1\n    port: {port}\n");
        spec += &format!("    scheduler: {name}\n    real_servers: [{{ address: 10.0.0.1 }}]\n");
    }
    let wanted = Dump::take();
    fresh_host();
    apply(&spec);
    assert_eq!(Dump::take(), wanted);
}
