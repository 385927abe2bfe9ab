//! Tests the journal: errors when it cannot be written, and what it provides for planning.

use std::collections::BTreeMap;
use std::fs;

use evenkeel_engine::{Journal, Notice, Pending, StateDir};
use evenkeel_host::Namespace;

use super::*;

const OLD: &str = "-A -t 192.0.2.9:80 -s rr\n-a -t 192.0.2.9:80 -r 10.0.0.9:80 -g -w 1\n";

fn spec(weight: u32) -> String {
    format!(
        "version: 1
scope: all
defaults: {{ drain: 0s }}
vips: [ {{ address: 192.0.2.1, interface: eth0 }} ]
services:
  - name: web
    vip: 192.0.2.1
    port: 80
    real_servers: [ {{ address: 10.0.0.1, weight: {weight} }} ]
"
    )
}

/// Returns the directory of this namespace's journal, as evenkeel reports it.
fn state(fixture: &Fixture) -> StateDir {
    StateDir::new(&fixture.path().join("state"), &label())
}

fn label() -> String {
    Namespace::current().unwrap().label()
}

fn folder(fixture: &Fixture) -> PathBuf {
    fixture.path().join("state").join(label())
}

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// A state directory on a filesystem of this many pages of 4 KiB.
struct Disk<'a>(&'a Fixture);

impl<'a> Disk<'a> {
    fn new(fixture: &'a Fixture, pages: u32) -> Self {
        let state = fixture.path().join("state");
        fs::create_dir_all(&state).unwrap();
        run(&format!("mount -t tmpfs -o size={}k none {}", pages * 4, state.display()));
        Self(fixture)
    }

    /// Fills it up to this many free pages.
    fn fill(&self, free: usize) {
        let ballast = self.0.path().join("state/ballast");
        let mut room = 0;
        while fs::write(&ballast, vec![1; (room + 1) * 4096]).is_ok() {
            room += 1;
        }
        fs::write(&ballast, vec![1; room.saturating_sub(free) * 4096]).unwrap();
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        run(&format!("umount {}", self.0.path().join("state").display()));
    }
}

#[test]
fn a_full_disk_stops_an_apply_before_its_first_change_however_full_it_is() {
    let mut outcomes = BTreeMap::new();
    for is_first in [true, false] {
        for free in 0..8 {
            let fixture = Fixture::new(OLD);
            let disk = Disk::new(&fixture, 64);
            if !is_first {
                fixture.write("spec.yaml", spec(1));
                fixture.done("apply --yes --allow take-over spec.yaml");
            }
            disk.fill(free);
            let before = everything();
            fixture.write("spec.yaml", spec(2));
            let answer = fixture.evenkeel("apply --yes --allow take-over spec.yaml");
            *outcomes.entry((is_first, answer.status)).or_insert(0) += 1;
            if answer.status == 0 {
                fixture.assert_in_sync("spec.yaml");
            } else {
                assert_eq!((answer.status, &*answer.stdout), (1, ""), "{answer:?}");
                for word in ["state/", "No space left on device", "hint: nothing was changed"] {
                    assert!(answer.stderr.contains(word), "{word}: {answer:?}");
                }
                assert!(everything() == before);
            }
            // With free space again the apply succeeds, and no partial file is left.
            fs::remove_file(fixture.path().join("state/ballast")).unwrap();
            fixture.done("apply --yes --allow take-over spec.yaml");
            fixture.assert_in_sync("spec.yaml");
            let names = fs::read_dir(folder(&fixture)).unwrap();
            let names: BTreeSet<_> = names.map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names.len(), 2, "{names:?}");
        }
    }
    for is_first in [true, false] {
        assert!(outcomes[&(is_first, 1)] > 0 && outcomes[&(is_first, 0)] > 0, "{outcomes:?}");
    }
}

#[test]
fn a_directory_in_place_of_the_journal_is_reported_and_stops_an_apply_before_its_first_change() {
    for (name, why) in
        [("journal.json", "not a regular file"), ("journal.json.new", "Is a directory")]
    {
        let fixture = Fixture::new(OLD);
        let in_the_way = folder(&fixture).join(name);
        fs::create_dir_all(in_the_way.join("inside")).unwrap();
        let before = everything();
        fixture.write("spec.yaml", spec(1));
        let answer = fixture.evenkeel("apply --yes --allow take-over spec.yaml");
        assert_eq!((answer.status, &*answer.stdout), (1, ""), "{answer:?}");
        let named = in_the_way.display().to_string();
        for word in [&*named, why, "hint: nothing was changed"] {
            assert!(answer.stderr.contains(word), "{word}: {answer:?}");
        }
        assert!(everything() == before);
    }
}

#[test]
fn lost_texts_of_the_last_spec_cause_a_warning_and_are_written_again() {
    let fixture = Fixture::new("");
    fixture.apply(&spec(1));
    let texts = fs::read_dir(folder(&fixture)).unwrap().map(|entry| entry.unwrap().path());
    let texts: Vec<PathBuf> =
        texts.filter(|path| path.to_string_lossy().contains("/spec-")).collect();
    assert_eq!(texts.len(), 1);
    fs::write(&texts[0], "version: 1\n").unwrap();
    // A plan in sync does not need them.
    fixture.assert_in_sync("spec.yaml");
    assert_eq!(fixture.evenkeel("plan spec.yaml").stderr, "");
    fixture.write("spec.yaml", spec(2));
    let answer = fixture.evenkeel("apply --yes spec.yaml");
    assert_eq!(answer.status, 0, "{answer:?}");
    let warning = "warning: the last applied spec is not available: ";
    assert!(answer.stderr.starts_with(warning), "{answer:?}");
    fixture.apply(&spec(3));
}

#[test]
fn an_unconfirmed_apply_blocks_every_writer() {
    let fixture = Fixture::new(OLD);
    fixture.write("spec.yaml", spec(1));
    let pending = Pending::begin(now(), 600, Vec::new()).unwrap();
    let pending = Pending { deadline: Some(now() + 600), ..pending };
    let journal = Journal { pending: Some(pending), ..Journal::default() };
    state(&fixture).write(&journal).unwrap();
    let before = everything();
    let answer = fixture.evenkeel("apply --yes spec.yaml");
    assert_eq!((answer.status, &*answer.stdout), (3, ""), "{answer:?}");
    for word in ["waits for confirmation until", "evenkeel confirm --abort", "nothing was changed"]
    {
        assert!(answer.stderr.contains(word), "{word}: {answer:?}");
    }
    assert!(everything() == before);
    let plan = fixture.evenkeel("plan spec.yaml");
    assert_eq!(plan.status, 0, "{plan:?}");
    assert!(plan.stderr.starts_with("warning: an apply of "), "{plan:?}");
    assert_eq!(state(&fixture).read(false).unwrap(), (journal, None));
}

#[test]
fn an_unconfirmed_apply_of_an_earlier_boot_is_reported_until_something_is_changed() {
    let fixture = Fixture::new("");
    fixture.write("spec.yaml", spec(1));
    let pending = Pending::begin(now(), 600, Vec::new()).unwrap();
    let pending = Pending { boot: "another".into(), ..pending };
    let notices = vec![Notice::Message("an apply was rolled back".to_owned())];
    let journal = Journal { pending: Some(pending), notices, ..Journal::default() };
    state(&fixture).write(&journal).unwrap();
    for command in ["plan spec.yaml", "apply --yes spec.yaml"] {
        let answer = fixture.evenkeel(command);
        assert_eq!(answer.status, 0, "{answer:?}");
        for word in
            ["warning: an apply was rolled back\n", "was not confirmed when this host went down"]
        {
            assert!(answer.stderr.contains(word), "{word}: {answer:?}");
        }
    }
    fixture.done("plan spec.yaml");
    fixture.done("apply --yes spec.yaml");
}

#[test]
fn a_journal_of_a_newer_evenkeel_stops_every_command_and_stays() {
    let fixture = Fixture::new("");
    fixture.apply(&spec(1));
    let journal = folder(&fixture).join("journal.json");
    fs::write(&journal, "{\"version\":9,\"sha256\":\"\"}\n{}\n").unwrap();
    fixture.write("spec.yaml", spec(2));
    let before = everything();
    for command in ["plan spec.yaml", "apply --yes spec.yaml", "teardown --yes"] {
        let answer = fixture.evenkeel(command);
        assert_eq!((answer.status, &*answer.stdout), (1, ""), "{answer:?}");
        for word in
            ["a newer evenkeel wrote ", "version 9", "nothing was changed; use the evenkeel"]
        {
            assert!(answer.stderr.contains(word), "{word}: {answer:?}");
        }
    }
    assert!(everything() == before);
    assert!(fs::read_to_string(&journal).unwrap().starts_with("{\"version\":9"));
}
