use std::fs;
use std::path::Path;

use evenkeel_model::arbitrary::pair;
use evenkeel_model::{Drain, ForeignMarks, RealServerKey};
use evenkeel_plan::{DrainRecords, Draining, Inputs, Uptime, plan};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tempfile::TempDir;

use super::*;
use crate::execute::tests::web;
use crate::fake_kernel::FakeKernel;

mod spec_texts;

const TEXTS: [(&str, &[u8]); 3] =
    [("a.yaml", b"version: 1\n"), ("empty.yaml", b""), ("b.yaml", b"services: []\n")];

fn values() -> ParameterValues {
    [("env:CLUSTER".into(), "blue".into())].into()
}

fn state_dir() -> (TempDir, StateDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::new(folder.path(), "init");
    (folder, state)
}

fn example() -> Journal {
    let pending = Pending::begin(5, 120, Vec::new()).expect("this boot has a name");
    Journal {
        namespace: None,
        record: PriorState {
            applied: true,
            handed_over: ForeignMarks { dummies: ["old".into()].into(), ..ForeignMarks::default() },
            ..PriorState::default()
        },
        addresses: BTreeSet::from([Binding::host([192, 0, 2, 1].into(), "eth0")]),
        host_objects: [evenkeel_model::HostRoute {
            destination: [192, 0, 2, 1].into(),
            interface: "eth0".into(),
        }
        .into()]
        .into(),
        dummies: BTreeSet::from(["vips".into()]),
        spec: None,
        next: None,
        targeted: PartialApplies::default(),
        attempted: PartialApplies::default(),
        adopted: Adopted::default(),
        pending: Some(pending),
        notices: vec![Notice::Message("something happened".into())],
    }
}

/// The file names in the directory.
fn files(state: &StateDir) -> Vec<String> {
    let entries = fs::read_dir(state.folder()).expect("it can be listed");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().expect("text")).collect();
    names.sort();
    names
}

impl StateDir {
    /// The file with the texts of the last applied spec.
    fn texts_of(&self, journal: &Journal) -> PathBuf {
        self.folder().join(journal.spec.as_ref().expect("a spec").file_name())
    }
}

/// Stores a spec as the last applied one.
fn apply(state: &StateDir, journal: &mut Journal, texts: &[(&str, &[u8])]) {
    state.store_spec(journal, texts, &values()).expect("it can be stored");
    journal.promote_next_spec();
    state.write(journal).expect("it can be written");
}

#[test]
fn a_written_journal_is_read_unchanged() {
    let (_folder, state) = state_dir();
    assert_eq!(state.read(true).expect("no file is no error"), (Journal::default(), None));
    let mut journal = example();
    apply(&state, &mut journal, &TEXTS);
    assert_eq!(state.read(true).expect("it can be read"), (journal, None));
}

#[test]
fn a_pending_apply_can_have_any_steps() {
    let (_folder, state) = state_dir();
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() };
    let outcome = TestRunner::new(config).run(&pair(6), |pair| {
        let record = PriorState::for_snapshot();
        let steps = plan(Inputs::new(&pair.desired, &pair.live, &record)).steps;
        let pending = Pending::begin(0, 1, steps).expect("this boot has a name");
        let journal = Journal { pending: Some(pending), ..Journal::default() };
        state.write(&journal).expect("it can be written");
        prop_assert_eq!(state.read(true).expect("it can be read"), (journal, None));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_journal_of_version_1_is_read_and_written_in_the_current_version() {
    let (_folder, state) = state_dir();
    let text = r#"{
  "version": 1,
  "record": { "applied": true, "sysctls": { "net.ipv4.vs.conn_reuse_mode": "1" },
    "timeouts": { "tcp": 900, "tcp_fin": null, "udp": null } },
  "addresses": [ { "address": "192.0.2.1", "interface": "eth0", "prefix": 32 } ],
  "dummies": [ "vips" ]
}
"#;
    for text in [text.to_owned(), text.replace('\n', "")] {
        fs::create_dir_all(state.folder()).expect("a folder");
        fs::write(state.path(), text).expect("a file");
        let (journal, warning) = state.read(true).expect("it can be read");
        assert_eq!(warning, None);
        assert!(journal.record.applied && journal.record.sysctls.len() == 1);
        assert_eq!(journal.record.timeouts.tcp, Some(900));
        assert_eq!(journal.addresses, example().addresses);
        assert_eq!(journal.dummies, example().dummies);
        state.write(&journal).expect("it can be written");
        let first = fs::read_to_string(state.path()).expect("text");
        assert!(first.starts_with("{\"version\":4,\"sha256\":\""), "{first}");
        assert_eq!(state.read(true).expect("it can be read"), (journal, None));
    }
}

#[test]
fn a_journal_of_version_2_is_read_and_written_in_the_current_version() {
    let (_folder, state) = state_dir();
    let body = serde_json::to_vec_pretty(&example()).expect("text");
    fs::create_dir_all(state.folder()).expect("a folder");
    let text = [file::ENVELOPE.header(2, &body).as_bytes(), &body].concat();
    fs::write(state.path(), text).expect("a file");
    assert_eq!(state.read(true).expect("it can be read"), (example(), None));
    state.write(&example()).expect("it can be written");
    let first = fs::read_to_string(state.path()).expect("text");
    assert!(first.starts_with("{\"version\":4,"), "{first}");
    assert_eq!(state.read(true).expect("it can be read"), (example(), None));
    // A file of this version with an earlier version number is damaged.
    fs::write(state.path(), first.replace("\"version\":4", "\"version\":2")).expect("a file");
    assert!(matches!(state.find(), Ok(Found::Damaged(_))));
}

/// Asserts that a writer sets that journal aside, and that a reader leaves it in place.
fn assert_set_aside(state: &StateDir, text: &[u8], word: &str) {
    fs::write(state.path(), text).expect("it can be written");
    for is_writer in [false, true] {
        let (journal, warning) = state.read(is_writer).expect("damage is no error");
        assert_eq!(journal, Journal::default());
        let warning = warning.expect("a warning");
        assert!(warning.contains(word), "{warning}");
        assert_eq!(state.path().exists(), !is_writer, "{warning}");
        assert_eq!(warning.contains("journal.json.damaged"), is_writer, "{warning}");
    }
    fs::remove_file(state.folder().join("journal.json.damaged")).expect("it was set aside");
}

#[test]
fn a_truncated_journal_is_set_aside_and_reported() {
    let (_folder, state) = state_dir();
    state.write(&example()).expect("it can be written");
    let text = fs::read(state.path()).expect("it is there");
    for length in 0..text.len() {
        assert_set_aside(&state, &text[..length], "is damaged");
    }
}

#[test]
fn a_journal_with_any_flipped_bit_is_set_aside_and_reported() {
    let (_folder, state) = state_dir();
    state.write(&example()).expect("it can be written");
    let text = fs::read(state.path()).expect("it is there");
    let mut newer = 0;
    for place in 0..text.len() {
        for bit in 0..8 {
            let mut damaged = text.clone();
            damaged[place] ^= 1 << bit;
            if matches!(file::parse(&damaged), Err(Problem::Newer(_))) {
                // It cannot be distinguished from a journal that a newer evenkeel wrote.
                assert_refused(&state, &damaged);
                newer += 1;
                continue;
            }
            assert_set_aside(&state, &damaged, "journal.json ");
        }
    }
    assert_eq!(newer, 2, "a 4 that became a 5 or a 6");
}

#[test]
fn a_journal_of_a_later_version_is_refused_and_left_unchanged() {
    let (_folder, state) = state_dir();
    state.write(&example()).expect("it can be written");
    for text in ["{\"version\":5,\"sha512\":\"\"}\nwhatever", "{\"version\":5}"] {
        assert_refused(&state, text.as_bytes());
        let error = state.read(true).expect_err("it is refused");
        let message = format!("{error}; {}", error.remedy());
        for word in
            ["a newer evenkeel wrote ", "journal.json: it is a journal of version 5", "4; use"]
        {
            assert!(message.contains(word), "{word}: {message}");
        }
    }
    let bad = ["{ \"version\": 0 }", "", "\n", "null", "[]", "\u{fffd}", "{\"version\":2}"];
    for text in bad.into_iter().chain(["{\"version\":4}"]) {
        assert_set_aside(&state, text.as_bytes(), "is damaged");
    }
    assert_set_aside(&state, b"{\"version\":1}", "is damaged");
}

/// Asserts that readers and writers refuse that journal and leave it unchanged.
fn assert_refused(state: &StateDir, text: &[u8]) {
    fs::write(state.path(), text).expect("it can be written");
    for is_writer in [false, true] {
        let outcome = state.read(is_writer);
        assert!(matches!(outcome, Err(JournalError::Newer { .. })), "{outcome:?}");
        assert_eq!(fs::read(state.path()).expect("it is there"), text);
    }
}

#[test]
fn every_damaged_journal_is_kept_under_its_own_name() {
    let (_folder, state) = state_dir();
    state.write(&example()).expect("it can be written");
    for text in ["one", "two", "three"] {
        fs::write(state.path(), text).expect("it can be written");
        let (_, warning) = state.read(true).expect("damage is no error");
        let warning = warning.expect("a warning");
        let name = files(&state).into_iter().find(|name| {
            fs::read_to_string(state.folder().join(name)).expect("it is text") == text
        });
        let name = name.expect("it is kept");
        assert!(
            warning.contains(&format!("renamed to {}", state.folder().join(name).display())),
            "{warning}"
        );
    }
    let names = ["journal.json.damaged", "journal.json.damaged.2", "journal.json.damaged.3"];
    assert_eq!(files(&state), names);
}

#[test]
fn a_reader_of_arbitrary_bytes_never_panics() {
    let config = ProptestConfig { cases: 5_000, failure_persistence: None, ..Default::default() };
    let start = prop_oneof![
        Just(&b""[..]),
        Just(&b"{\"version\":4,"[..]),
        Just(&b"{\"version\":3,"[..]),
        Just(&b"{\"version\":2,"[..]),
        Just(&b"{\"version\":1,"[..])
    ];
    let bytes = (start, prop::collection::vec(any::<u8>(), 0..200));
    let outcome = TestRunner::new(config).run(&bytes, |(start, rest)| {
        prop_assert!(file::parse(&[start, &rest].concat()).is_err());
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_blocked_write_is_an_error_with_its_path_and_keeps_the_old_journal() {
    let (folder, state) = state_dir();
    state.write(&example()).expect("it can be written");
    let after = Journal::default();
    let obstruction = state.folder().join("journal.json.new");
    fs::create_dir(&obstruction).expect("a folder");
    let error = state.write(&after).expect_err("it cannot be written");
    assert_eq!(error.to_string(), format!("cannot write {}", obstruction.display()));
    assert_eq!(state.read(true).expect("it can be read").0, example());

    // The journal itself is a directory.
    fs::remove_dir(&obstruction).expect("it is empty");
    fs::remove_file(state.path()).expect("it is there");
    fs::create_dir_all(state.path().join("inside")).expect("a folder");
    let error = state.read(true).expect_err("it cannot be read");
    let path = state.path();
    assert_eq!(
        error.to_string(),
        format!("cannot read {}: it is not a regular file", path.display())
    );
    let error = state.write(&after).expect_err("it cannot be replaced");
    assert_eq!(error.to_string(), format!("cannot replace {}", state.path().display()));
    assert_eq!(files(&state), ["journal.json"], "no partial file is left");

    // The directory is a file.
    let file = folder.path().join("file");
    fs::write(&file, "").expect("a file");
    let error = StateDir::new(&file, "init").write(&after).expect_err("it cannot be written");
    assert!(error.to_string().starts_with("cannot create "), "{error}");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn a_link_in_place_of_the_journal_is_an_error_with_a_remedy_and_stays() {
    let (folder, state) = state_dir();
    state.write(&example()).expect("it can be written");
    let elsewhere = folder.path().join("elsewhere");
    fs::rename(state.path(), &elsewhere).expect("renamed");
    std::os::unix::fs::symlink(&elsewhere, state.path()).expect("a link");
    for is_writer in [false, true] {
        let error = state.read(is_writer).expect_err("it is a link");
        let message = format!("{error}; {}", error.remedy());
        for word in ["journal.json is a symbolic link", "move what it points to into its place"] {
            assert!(message.contains(word), "{word}: {message}");
        }
        assert!(state.path().is_symlink() && elsewhere.exists());
    }
}

#[test]
fn an_unconfirmed_apply_of_this_boot_refuses_changes() {
    let mut journal = example();
    let refusal = journal.check_writable::<FakeKernel>(0, None).expect_err("it is not confirmed");
    assert!(refusal.to_string().contains("evenkeel confirm"), "{refusal}");
    journal.drop_stale_pending();
    assert_eq!(journal, example());
    journal.pending = None;
    assert_eq!(journal.check_writable::<FakeKernel>(0, None), Ok(()));
}

#[test]
fn an_unconfirmed_apply_of_an_earlier_boot_is_reported_and_dropped() {
    let mut journal = example();
    journal.pending.as_mut().expect("one that waits").boot = "another".into();
    assert_eq!(journal.check_writable::<FakeKernel>(0, None), Ok(()));
    journal.drop_stale_pending();
    assert_eq!(journal.pending, None);
    let notices = [Notice::Message("something happened".into()), Notice::LostAtBoot { begun: 5 }];
    assert_eq!(journal.notices, notices);
    assert!(notices[1].to_string().starts_with("an apply of 1970-01-01 00:00:05"), "{notices:?}");
    journal.drop_stale_pending();
    assert_eq!(journal.notices, notices, "reported once");
}

#[test]
fn plans_compare_with_the_spec_of_a_pending_apply_once_its_steps_are_done() {
    let (_folder, state) = state_dir();
    let mut journal = Journal::default();
    apply(&state, &mut journal, &TEXTS);
    state.store_spec(&mut journal, &TEXTS[..1], &values()).expect("it can be stored");
    let texts = |journal: &Journal| {
        let last = state.last_spec(journal).expect("it is whole").expect("it is there");
        last.texts.len()
    };
    let (key, named) = crate::execute::tests::web([(1, 1)], evenkeel_model::Drain::NONE);
    let desired = evenkeel_model::Desired { services: [(key, named)].into(), ..Default::default() };
    let targeted = PartialApplies::new(&[key].into(), &desired);
    journal.targeted = targeted.clone();
    let pending = Pending::begin(5, 120, Vec::new()).expect("this boot has a name");
    // Until its steps are done, and where it did not finish, the spec before it stays active.
    journal.pending = Some(pending.clone());
    assert_eq!((texts(&journal), journal.active_partial_applies()), (3, targeted.clone()));
    let done = Pending { deadline: Some(125), ..pending };
    journal.pending = Some(done.clone());
    assert_eq!((texts(&journal), journal.active_partial_applies()), (1, PartialApplies::default()));
    // An apply to single services leaves the spec unchanged.
    journal.next = None;
    journal.targeted = PartialApplies::default();
    journal.pending = Some(Pending { targeted: targeted.clone(), ..done });
    assert_eq!((texts(&journal), journal.active_partial_applies()), (3, targeted.clone()));
    let spec = journal.spec.clone();
    journal.commit_pending(Some(&desired));
    assert_eq!((journal.spec, journal.targeted), (spec, targeted));
}

#[test]
fn the_start_of_a_drain_is_converted_to_the_current_wall_clock() {
    let (_folder, state) = state_dir();
    let now = Clock::start().now();
    let Some(uptime) = now.uptime else { panic!("this boot has a name") };
    let wall = now.wall.as_secs();
    // Started a second ago, when the wall clock was an hour behind, or ahead.
    let began = Uptime { milliseconds: uptime.milliseconds - 1_000, ..uptime };
    let other = Uptime { boot: "b".repeat(32).parse().expect("the name of a boot"), ..began };
    for (since, uptime, expected) in [
        (wall - 3_601, Some(began), wall - 1),
        (wall + 3_599, Some(began), wall - 1),
        (wall - 3_601, Some(other), wall - 3_601),
        (wall - 3_601, None, wall - 3_601),
        (wall + 3_599, None, wall),
    ] {
        let mut journal = Journal::default();
        let (service, _) = web([], Drain::NONE);
        let key = RealServerKey { address: [10, 0, 0, 1].into(), port: 80 };
        let draining = Draining { since, weight: 5, limit: Drain(30), uptime };
        journal.record.drains.0.insert((service, key), draining);
        state.write(&journal).expect("it can be written");
        let (read, _) = state.read(false).expect("it can be read");
        let read = read.record.drains.0[&(service, key)];
        assert!(read.since.abs_diff(expected) <= 2, "{read:?}, not {expected}");
        assert_eq!(read, Draining { since: read.since, ..draining });
    }
}

#[test]
fn a_drain_of_an_earlier_version_is_read_unchanged() {
    let (key, _) = web([], Drain::NONE);
    let real_server = RealServerKey { address: [10, 0, 0, 1].into(), port: 80 };
    let draining = Draining { since: 7, weight: 5, limit: Drain(30), uptime: None };
    let drains = DrainRecords([((key, real_server), draining)].into());
    let mut entries = serde_json::to_value(&drains).expect("it can be written");
    let fields = entries[0].as_object_mut().expect("an object");
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    assert_eq!(names, ["limit", "real_server", "service", "since", "weight"]);
    assert_eq!(serde_json::from_value::<DrainRecords>(entries).expect("it can be read"), drains);
}
