//! Tests of which files count as being written, with the real inotify.

use std::fs::{self, File, hard_link};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use notify::event::{Event, EventKind, Flag};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};

use super::listener::{Listener, MAX_SILENCE, SOON, replace, write};

/// Waits until exactly the files of these names count as being written, and asserts that it stays so.
#[track_caller]
fn assert_written(listener: &Listener, names: &[&str]) {
    let written = || -> Vec<String> {
        let paths = listener.files.open_writers();
        paths.iter().map(|it| it.file_name().expect("a name").display().to_string()).collect()
    };
    let deadline = Instant::now() + SOON;
    while written() != names {
        assert!(Instant::now() < deadline, "{:?} are written, not {names:?}", written());
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(MAX_SILENCE);
    assert_eq!(written(), names);
}

/// Opens a file to write it in place, and writes a first part.
fn begin(path: &Path) -> File {
    let mut file = File::create(path).expect("a file is opened");
    file.write_all(b"a first part\n").expect("a file is written");
    file
}

#[test]
fn a_file_is_written_from_its_first_change_until_it_is_closed() {
    let mut listener = Listener::of(&["."], |root| write(&root.join("a.yaml"), "first"));
    assert_written(&listener, &[]);
    for name in ["a.yaml", "b.yaml"] {
        let mut file = begin(&listener.root.path().join(name));
        assert_written(&listener, &[name]);
        listener.calms_down();
        file.write_all(b"more\n").expect("it is written");
        assert_written(&listener, &[name]);
        listener.calms_down();
        drop(file);
        listener.events.recv_timeout(SOON).expect("an event of the close");
        listener.files.rearm();
        assert_written(&listener, &[]);
    }
}

#[test]
fn a_file_that_is_emptied_and_not_closed_is_written() {
    let listener = Listener::of_file();
    let file = File::create(listener.root.path().join("spec.yaml")).expect("it is opened");
    assert_written(&listener, &["spec.yaml"]);
    drop(file);
    assert_written(&listener, &[]);
}

#[test]
fn a_file_that_appears_complete_has_no_writer() {
    let mut listener = Listener::of(&["."], |root| {
        write(&root.join("a.yaml"), "first");
        write(&root.join("other"), "other");
    });
    listener.gets_event(|root| replace(&root.join("a.yaml"), "renamed"));
    assert_written(&listener, &[]);
    listener.gets_event(|root| hard_link(root.join("other"), root.join("b.yaml")).expect("a link"));
    assert_written(&listener, &[]);
    listener.gets_event(|root| symlink("other", root.join("c.yaml")).expect("a link"));
    assert_written(&listener, &[]);
    fs::create_dir(listener.root.path().join("d.yaml")).expect("a folder");
    assert_written(&listener, &[]);
}

#[test]
fn a_file_that_is_removed_or_replaced_no_longer_counts_as_written() {
    let ways: [fn(&Path); 3] = [
        |path| fs::remove_file(path).expect("removed"),
        |path| fs::rename(path, path.with_extension("old")).expect("renamed"),
        |path| replace(path, "another"),
    ];
    for way in ways {
        let mut listener = Listener::of_file();
        let path = listener.root.path().join("spec.yaml");
        let file = begin(&path);
        assert_written(&listener, &["spec.yaml"]);
        way(&path);
        assert_written(&listener, &[]);
        drop(file);
        listener.calms_down();
    }
}

#[test]
fn files_of_a_removed_or_moved_directory_no_longer_count_as_written() {
    let ways: [fn(&Path); 2] = [
        |folder| fs::remove_dir_all(folder).expect("removed"),
        |folder| fs::rename(folder, folder.with_extension("old")).expect("renamed"),
    ];
    for way in ways {
        let mut listener = Listener::of(&["specs/spec.yaml"], |root| {
            fs::create_dir(root.join("specs")).expect("a folder");
            write(&root.join("specs/spec.yaml"), "first");
        });
        let folder = listener.root.path().join("specs");
        let file = begin(&folder.join("spec.yaml"));
        assert_written(&listener, &["spec.yaml"]);
        way(&folder);
        assert_written(&listener, &[]);
        listener.calms_down();
        drop(file);
        fs::create_dir(&folder).expect("a folder");
        listener.calms_down();
        let file = begin(&folder.join("spec.yaml"));
        assert_written(&listener, &["spec.yaml"]);
        drop(file);
        assert_written(&listener, &[]);
    }
}

#[test]
fn files_outside_the_spec_do_not_count_as_written() {
    let mut listener = Listener::of(&["current/spec.yaml"], |root| {
        for release in ["one", "two"] {
            fs::create_dir(root.join(release)).expect("a folder");
            write(&root.join(release).join("spec.yaml"), release);
        }
        symlink("one", root.join("current")).expect("a link");
    });
    let root = listener.root.path().to_owned();
    let _swap = begin(&root.join("one/.spec.yaml.swp"));
    let _other = begin(&root.join("two/spec.yaml"));
    assert_written(&listener, &[]);
    let _spec = begin(&root.join("one/spec.yaml"));
    assert_written(&listener, &["spec.yaml"]);
    listener.gets_event(|root| {
        symlink("two", root.join("next")).expect("a link");
        fs::rename(root.join("next"), root.join("current")).expect("renamed");
    });
    assert_written(&listener, &[]);
}

/// No close follows such a change; the limit of waiting exists for it.
#[test]
fn a_file_whose_time_of_change_is_set_by_its_path_counts_as_written() {
    let listener = Listener::of_file();
    let path = listener.root.path().join("spec.yaml");
    let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let times =
        Timestamps { last_access: omit, last_modification: Timespec { tv_sec: 1, tv_nsec: 0 } };
    utimensat(CWD, &path, &times, AtFlags::empty()).expect("it is set");
    assert_written(&listener, &["spec.yaml"]);
    write(&path, "whole");
    assert_written(&listener, &[]);
}

#[test]
fn writers_from_before_the_directory_is_watched_are_unknown() {
    let mut file = None;
    let mut listener = Listener::of(&["spec.yaml"], |root| {
        file = Some(begin(&root.join("spec.yaml")));
    });
    assert_written(&listener, &[]);
    let mut file = file.expect("a file");
    file.write_all(b"more\n").expect("it is written");
    assert_written(&listener, &["spec.yaml"]);
    drop(file);
    listener.calms_down();
    assert_written(&listener, &[]);
}

#[test]
fn writers_are_unknown_after_events_were_lost() {
    let listener = Listener::of_file();
    let mut file = begin(&listener.root.path().join("spec.yaml"));
    assert_written(&listener, &["spec.yaml"]);
    listener.files.event_filter.event(&Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
    assert_written(&listener, &[]);
    file.write_all(b"more\n").expect("it is written");
    assert_written(&listener, &["spec.yaml"]);
    listener.files.event_filter.event(&Err(notify::Error::generic("it cannot be read")));
    assert_written(&listener, &[]);
}

/// After each event the daemon looks up its directories again. If they were not watched during that,
/// some of so many closes would be missed.
#[test]
fn no_close_is_missed_while_the_directories_are_looked_up() {
    for mounts_change in [false, true] {
        let mut listener = Listener::of_file();
        let path = listener.root.path().join("spec.yaml");
        for round in 0_u64..150 {
            let path = path.clone();
            let writer = thread::spawn(move || {
                let file = begin(&path);
                thread::sleep(Duration::from_micros(round * 5));
                drop(file);
            });
            let deadline = Instant::now() + SOON;
            let mut is_closed = false;
            while !is_closed {
                assert!(Instant::now() < deadline, "the close of round {round} is missed");
                is_closed = writer.is_finished() && listener.files.open_writers().is_empty();
                if mounts_change {
                    listener.files.event_filter.mounts_changed();
                }
                if listener.events.recv_timeout(Duration::from_micros(100)).is_ok() {
                    listener.files.rearm();
                }
            }
            writer.join().expect("it writes");
        }
    }
}
