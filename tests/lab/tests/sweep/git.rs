//! Everyday edits of a Git repository, each brought by `git pull` into the directory that a daemon
//! watches: guards refuse the edits that were expected to be refused, and no others.
//!
//! `EVENKEEL_SWEEP_EDITS` sets the number of edits, `EVENKEEL_LAB_SEED` their seed; `cargo xtask
//! sweep --git` sets both. In the middle of a run every file gets the end mark.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_engine::{ParameterValues, StoredSpec};
use evenkeel_lab_tests::dice::TestRng;
use evenkeel_lab_tests::ipvsadm;

use super::*;
use edits::{Author, Kind};
use predict::Texts;
use repository::Repository;

mod edits;
mod predict;
mod repository;
mod tree;

/// Enough for each kind of edit.
const USUAL: usize = 24;

/// The seed among the other tests.
const SEED: u64 = 10;

/// An edit that was refused, and what was done about it.
struct Refused {
    edit: String,
    expected: BTreeSet<&'static str>,
    found: BTreeSet<String>,
    way_out: &'static str,
}

#[test]
fn everyday_edits_of_a_git_repository_are_refused_only_as_expected() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let edits = number("EVENKEEL_SWEEP_EDITS").map_or(USUAL, |it| usize::try_from(it).unwrap());
    let seed = number("EVENKEEL_LAB_SEED").unwrap_or(SEED);
    say(&format!("{edits} edits, EVENKEEL_LAB_SEED={seed}"));

    let host = Host::new(true);
    let foreign = Observed::now().foreign();
    let mut author = Author::new(TestRng::new(seed));
    let mut tree = author.first();
    let mut before_last = tree.clone();
    let repository = Repository::new(host.path("author"), host.specs(), &tree.texts());
    let daemon = host.watch();
    let (mut refused, mut unexpected) = (Vec::new(), Vec::new());
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for at in 0..edits {
        let before = tree.clone();
        let made = match at {
            // So that there is a commit to revert.
            0 => Some(Kind::AddFile),
            _ if at == edits / 2 => Some(Kind::Mark),
            _ => None,
        };
        let (kind, words) = match made {
            Some(kind) => (kind, author.make(kind, &mut tree).unwrap()),
            None => author.edit(&mut tree),
        };
        let edit = format!("{:>3} {words}", at + 1);
        *kinds.entry(format!("{kind:?}")).or_default() += 1;
        if kind == Kind::Revert {
            tree = std::mem::replace(&mut before_last, before.clone());
            repository.revert();
        } else {
            before_last = before.clone();
            repository.commit(&tree.texts(), &words);
        }
        repository.pull();
        assert_eq!(repository.pulled(), tree.texts(), "{edit}");
        let expected = predict::refusals(&before.texts(), &tree.texts());
        let status = settled(&daemon, &host, &tree.texts(), !expected.is_empty());
        let found = status.guards();
        if !found.iter().map(|it| &**it).eq(expected.iter().copied()) || status.is_bad() {
            unexpected.push(format!(
                "{edit}: expected {expected:?}, found {found:?}, {}",
                status.reasons()
            ));
        }
        if status.held().is_some() {
            // Meanwhile no part of the edit is applied.
            assert_in_force(&before.texts(), &foreign, &edit);
            // Objects of other programs must not be lost in this test.
            let may_be_meant = !expected.contains("wider-scope");
            let way_out = if may_be_meant && author.percent(60) { "approved" } else { "reverted" };
            if way_out == "approved" {
                let id = status.held().unwrap();
                let answer = host.evenkeel(&format!("approve {id}"));
                assert!(answer.status.success(), "{edit}: {answer:?}");
            } else {
                before_last = std::mem::replace(&mut tree, before);
                repository.revert();
                repository.pull();
            }
            let status = settled(&daemon, &host, &tree.texts(), false);
            assert!(status.held().is_none() && status.is_ok(), "{edit}, {way_out}: {status:?}");
            refused.push(Refused { edit, expected, found, way_out });
        }
        assert_in_force(&tree.texts(), &foreign, "after the edit");
    }
    report_edits(&refused, &unexpected, &kinds);
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
}

/// Waits until the daemon holds these files or has activated them, as expected; returns its last
/// status if that does not happen.
fn settled(daemon: &Daemon, host: &Host, texts: &Texts, is_refused: bool) -> Status {
    let named: Vec<(String, &[u8])> = texts
        .iter()
        .map(|(name, text)| (host.specs().join(name).display().to_string(), text.as_bytes()))
        .collect();
    let named: Vec<(&str, &[u8])> = named.iter().map(|(name, text)| (&**name, *text)).collect();
    let digest = StoredSpec::new(&named, &ParameterValues::default()).digest;
    let is_expected = |it: &Status| match it.held() {
        Some(_) => is_refused,
        None => !is_refused && it.is_ok() && it.digest() == Some(&digest),
    };
    // The daemon detects them by itself, ...
    let noticed = daemon.wait_for(is_expected);
    // ... and a reload makes no difference.
    daemon.reload();
    let settled = daemon.wait_for(is_expected);
    noticed.and(settled).unwrap_or_else(|last| last)
}

/// Asserts that the host matches these texts, and that objects of other programs are unchanged.
fn assert_in_force(texts: &Texts, foreign: &Observed, edit: &str) {
    let desired = predict::desired(texts);
    let table = desired.services.iter().map(|(key, named)| (*key, named.service.clone()));
    let wanted = ipvsadm::saved(&table.collect());
    let now = Observed::now();
    assert_eq!(foreign.changes(&now.foreign()), "", "others, {edit}");
    let found = ipvsadm::save();
    let missing: Vec<_> = wanted.difference(&found).collect();
    let ours = |line: &&String| !host::FOREIGN.contains(line.as_str());
    let more: Vec<_> = found.difference(&wanted).filter(ours).collect();
    assert!(missing.is_empty() && more.is_empty(), "{edit}: missing {missing:?}, more {more:?}");
    let vips: BTreeSet<String> = desired.vips.keys().map(|vip| vip.address.to_string()).collect();
    assert_eq!(now.own_addresses(), vips, "{edit}");
}

/// Prints the refusals, or among the other tests how many there were.
fn report_edits(refused: &[Refused], unexpected: &[String], kinds: &BTreeMap<String, usize>) {
    for Refused { edit, expected, found, way_out } in refused {
        let list = |names: &mut dyn Iterator<Item = &str>| names.collect::<Vec<_>>().join(", ");
        let expected = list(&mut expected.iter().copied());
        let found = list(&mut found.iter().map(|it| &**it));
        say(&format!("{edit:<66} expected {expected:<24} found {found:<24} {way_out}"));
    }
    for line in unexpected {
        say(&format!("UNEXPECTED {line}"));
    }
    let kinds: Vec<String> =
        kinds.iter().map(|(kind, number)| format!("{number} {kind}")).collect();
    say(&format!("edits: {}", kinds.join(", ")));
    say(&format!("{} refused, each expected; {} unexpected", refused.len(), unexpected.len()));
}
