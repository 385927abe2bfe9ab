//! Tests with the real inotify, each in its own directory.

mod listener;
mod watch_set;
mod writers;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::debounce::{Debounce, LIMIT, STABLE_FOR, Stability, Writer};
use listener::{Listener, MAX_SILENCE, SOON, append, replace, write};

#[test]
fn a_file_written_in_place_is_noticed() {
    let mut listener = Listener::of_file();
    listener.gets_event(|root| append(&root.join("spec.yaml"), "more"));
    listener.gets_event(|root| append(&root.join("spec.yaml"), "and more"));
}

#[test]
fn a_file_emptied_and_written_is_noticed() {
    let mut listener = Listener::of_file();
    listener.gets_event(|root| write(&root.join("spec.yaml"), ""));
    listener.gets_event(|root| write(&root.join("spec.yaml"), "again"));
}

#[test]
fn a_file_that_replaces_another_is_noticed_each_time() {
    let mut listener = Listener::of_file();
    for text in ["one", "two", "three"] {
        listener.gets_event(|root| replace(&root.join("spec.yaml"), text));
    }
    listener.gets_event(|root| append(&root.join("spec.yaml"), "more"));
}

#[test]
fn an_editor_is_noticed_when_it_saves_and_not_before() {
    let mut listener = Listener::of_file();
    listener.gets_nothing(|root| write(&root.join(".spec.yaml.swp"), "swap"));
    listener.gets_nothing(|root| write(&root.join("4913"), "a test of write permission"));
    listener.gets_event(|root| {
        fs::rename(root.join("spec.yaml"), root.join("spec.yaml~")).expect("renamed");
        write(&root.join("spec.yaml"), "saved");
        fs::remove_file(root.join("spec.yaml~")).expect("removed");
    });
    listener.gets_nothing(|root| {
        fs::remove_file(root.join(".spec.yaml.swp")).expect("removed");
    });
    listener.gets_event(|root| append(&root.join("spec.yaml"), "more"));
}

/// Writes files as a kubelet does for a ConfigMap.
fn config_map(root: &Path, generation: u32) {
    let folder = format!("..2026_11_{generation}");
    fs::create_dir(root.join(&folder)).expect("a folder");
    write(&root.join(&folder).join("spec.yaml"), &format!("generation {generation}"));
    symlink(&folder, root.join("..data_tmp")).expect("a link");
    fs::rename(root.join("..data_tmp"), root.join("..data")).expect("renamed");
    if generation == 1 {
        symlink("..data/spec.yaml", root.join("spec.yaml")).expect("a link");
    } else {
        fs::remove_dir_all(root.join(format!("..2026_11_{}", generation - 1))).expect("removed");
    }
}

#[test]
fn a_config_map_is_noticed_each_time_it_is_swapped() {
    for place in ["spec.yaml", "."] {
        let mut listener = Listener::of(&[place], |root| config_map(root, 1));
        for generation in 2..5 {
            listener.gets_event(|root| config_map(root, generation));
        }
        listener.gets_event(|root| append(&root.join("..data/spec.yaml"), "more"));
    }
}

#[test]
fn a_directory_behind_a_link_is_detected_and_so_is_a_new_one() {
    let mut listener = Listener::of(&["current/spec.yaml"], |root| {
        for release in ["one", "two"] {
            fs::create_dir(root.join(release)).expect("a folder");
            write(&root.join(release).join("spec.yaml"), release);
        }
        symlink("one", root.join("current")).expect("a link");
    });
    listener.gets_event(|root| append(&root.join("one/spec.yaml"), "more"));
    listener.gets_event(|root| {
        symlink("two", root.join("next")).expect("a link");
        fs::rename(root.join("next"), root.join("current")).expect("renamed");
    });
    listener.gets_event(|root| append(&root.join("two/spec.yaml"), "more"));
    listener.gets_nothing(|root| append(&root.join("one/spec.yaml"), "old"));
}

#[test]
fn a_file_removed_and_made_again_is_noticed() {
    let mut listener = Listener::of_file();
    for text in ["one", "two"] {
        listener.gets_event(|root| fs::remove_file(root.join("spec.yaml")).expect("removed"));
        listener.gets_event(|root| write(&root.join("spec.yaml"), text));
    }
}

#[test]
fn a_directory_removed_and_made_again_is_noticed() {
    for place in ["specs/spec.yaml", "specs"] {
        let mut listener = Listener::of(&[place], |root| {
            fs::create_dir(root.join("specs")).expect("a folder");
            write(&root.join("specs/spec.yaml"), "first");
        });
        for text in ["one", "two"] {
            listener.gets_event(|root| fs::remove_dir_all(root.join("specs")).expect("removed"));
            listener.gets_event(|root| {
                fs::create_dir(root.join("specs")).expect("a folder");
                write(&root.join("specs/spec.yaml"), text);
            });
            listener.gets_event(|root| append(&root.join("specs/spec.yaml"), "more"));
        }
    }
}

#[test]
fn a_directory_moved_away_and_replaced_is_noticed() {
    let mut listener = Listener::of(&["specs/spec.yaml"], |root| {
        for folder in ["specs", "next"] {
            fs::create_dir(root.join(folder)).expect("a folder");
            write(&root.join(folder).join("spec.yaml"), folder);
        }
    });
    listener.gets_event(|root| {
        fs::rename(root.join("specs"), root.join("old")).expect("renamed");
        fs::rename(root.join("next"), root.join("specs")).expect("renamed");
    });
    listener.gets_event(|root| append(&root.join("specs/spec.yaml"), "more"));
    listener.gets_nothing(|root| append(&root.join("old/spec.yaml"), "old"));
}

#[test]
fn a_directory_moved_away_and_back_is_still_noticed() {
    let mut listener = Listener::of(&["a/spec.yaml", "a/b/spec.yaml"], |root| {
        fs::create_dir_all(root.join("a/b")).expect("folders");
        write(&root.join("a/spec.yaml"), "first");
        write(&root.join("a/b/spec.yaml"), "second");
    });
    listener.notices_path_changes(|root| {
        fs::rename(root.join("a/b"), root.join("a/c")).expect("renamed");
        fs::rename(root.join("a/c"), root.join("a/b")).expect("renamed");
    });
    listener.gets_event(|root| append(&root.join("a/b/spec.yaml"), "more"));
}

#[test]
fn a_directory_replaced_without_an_event_is_watched_from_the_next_check() {
    let mut listener = Listener::of(&["above/specs/spec.yaml"], |root| {
        for folder in ["above/specs", "next/specs"] {
            fs::create_dir_all(root.join(folder)).expect("folders");
            write(&root.join(folder).join("spec.yaml"), folder);
        }
    });
    // Changes further up cause no event.
    fs::rename(listener.root.path().join("above"), listener.root.path().join("old"))
        .expect("renamed");
    fs::rename(listener.root.path().join("next"), listener.root.path().join("above"))
        .expect("renamed");
    assert!(listener.events.recv_timeout(MAX_SILENCE).is_err(), "no event");
    listener.files.rearm();
    listener.gets_event(|root| append(&root.join("above/specs/spec.yaml"), "more"));
    listener.gets_nothing(|root| append(&root.join("old/specs/spec.yaml"), "old"));
}

#[test]
fn a_file_created_while_the_watches_are_set_is_not_missed() {
    for round in 0_u64..80 {
        let root = tempfile::tempdir().expect("a folder");
        let spec = root.path().join("a/b/spec.yaml");
        let (sender, events) = channel();
        let mut files = FileWatcher::new(vec![spec.clone()], move || {
            let _ = sender.send(());
        });
        // Starts its threads before the race.
        files.rearm();
        for path in std::mem::take(&mut files.watched).into_keys() {
            files.unwatch(&path);
        }
        let writer = thread::spawn(move || {
            thread::sleep(Duration::from_micros(round * 5));
            fs::create_dir(spec.ancestors().nth(2).expect("two up")).expect("a folder");
            thread::sleep(Duration::from_millis(2));
            fs::create_dir(spec.parent().expect("a folder")).expect("a folder");
            write(&spec, "there");
        });
        while files.rearm().is_empty() && format!("{:?}", files.fingerprint()).contains("NotFound")
        {
            events.recv_timeout(SOON).expect("an event");
        }
        writer.join().expect("it writes");
    }
}

#[test]
fn a_path_that_does_not_exist_yet_is_noticed_when_created() {
    let mut listener = Listener::of(&["a/b/c/spec.yaml"], |_| {});
    listener.notices_path_changes(|root| fs::create_dir(root.join("a")).expect("a folder"));
    listener.notices_path_changes(|root| fs::create_dir(root.join("a/b")).expect("a folder"));
    listener.gets_event(|root| {
        fs::create_dir(root.join("a/b/c")).expect("a folder");
        write(&root.join("a/b/c/spec.yaml"), "at last");
    });
    listener.gets_event(|root| append(&root.join("a/b/c/spec.yaml"), "more"));
}

#[test]
fn a_dangling_link_is_noticed_when_its_target_is_created() {
    let mut listener = Listener::of(&["spec.yaml"], |root| {
        symlink("elsewhere/real.yaml", root.join("spec.yaml")).expect("a link");
    });
    listener.gets_event(|root| {
        fs::create_dir(root.join("elsewhere")).expect("a folder");
        write(&root.join("elsewhere/real.yaml"), "at last");
    });
    listener.gets_event(|root| replace(&root.join("elsewhere/real.yaml"), "more"));
}

#[test]
fn files_added_to_or_removed_from_a_directory_are_noticed() {
    let mut listener = Listener::of(&["."], |root| write(&root.join("a.yaml"), "a"));
    listener.gets_event(|root| write(&root.join("b.yml"), "b"));
    listener.gets_event(|root| append(&root.join("b.yml"), "more"));
    listener.gets_event(|root| fs::remove_file(root.join("a.yaml")).expect("removed"));
    listener
        .gets_event(|root| fs::rename(root.join("b.yml"), root.join("c.yml")).expect("renamed"));
    listener.gets_event(|root| fs::remove_file(root.join("c.yml")).expect("removed"));
    listener.gets_event(|root| write(&root.join("d.yaml"), "d"));
    listener.gets_nothing(|root| {
        write(&root.join("notes.txt"), "");
        write(&root.join(".d.yaml.swp"), "");
        write(&root.join(".hidden.yaml"), "");
        write(&root.join("d.yaml~"), "");
    });
}

#[test]
fn a_link_among_the_files_of_a_directory_is_followed() {
    let mut listener = Listener::of(&["specs"], |root| {
        for folder in ["specs", "shared"] {
            fs::create_dir(root.join(folder)).expect("a folder");
        }
        write(&root.join("specs/a.yaml"), "a");
        write(&root.join("shared/common.txt"), "common");
        symlink("../shared/common.txt", root.join("specs/b.yaml")).expect("a link");
    });
    listener.gets_event(|root| append(&root.join("shared/common.txt"), "more"));
    listener.gets_event(|root| replace(&root.join("shared/common.txt"), "other"));
    listener.gets_event(|root| {
        write(&root.join("shared/own.txt"), "c");
        symlink("../shared/own.txt", root.join("specs/c.yaml")).expect("a link");
    });
    listener.gets_event(|root| append(&root.join("shared/own.txt"), "more"));
}

#[test]
fn permission_changes_are_noticed() {
    let mut listener = Listener::of_file();
    let mode = |mode| {
        move |root: &Path| {
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(root.join("spec.yaml"), permissions).expect("chmod");
        }
    };
    listener.gets_event(mode(0o000));
    listener.gets_event(mode(0o644));
}

#[test]
fn our_own_reading_causes_no_event() {
    let mut listener = Listener::of(&["a.yaml", "."], |root| write(&root.join("a.yaml"), "a"));
    listener.gets_nothing(|root| {
        for _ in 0..10 {
            assert_eq!(fs::read(root.join("a.yaml")).expect("it is read"), b"a");
            assert_eq!(fs::read_dir(root).expect("it is listed").count(), 1);
        }
    });
    for _ in 0..10 {
        listener.files.rearm();
        listener.gets_nothing(|_| {});
    }
    listener.gets_event(|root| append(&root.join("a.yaml"), "more"));
}

#[test]
fn the_callback_is_called_once_until_it_is_rearmed() {
    let mut listener = Listener::of_file();
    let path = listener.root.path().join("spec.yaml");
    for step in 0..1_000 {
        replace(&path, &step.to_string());
    }
    let end = listener.files.fingerprint();
    listener.events.recv_timeout(SOON).expect("an event");
    assert!(listener.events.recv_timeout(MAX_SILENCE).is_err(), "once");
    assert_eq!(listener.calls.load(Ordering::SeqCst), 1);
    listener.files.rearm();
    assert_eq!(listener.files.fingerprint(), end);
    listener.gets_event(|root| append(&root.join("spec.yaml"), "more"));
}

/// Works as the daemon does, but takes samples only after events.
#[test]
fn a_file_replaced_a_thousand_times_in_a_second_is_sampled_seldom_and_read_at_the_end() {
    let Listener { root, mut files, events, calls } = Listener::of_file();
    let path = root.path().join("spec.yaml");
    let (spec, writes) = (path.clone(), Arc::new(AtomicBool::new(true)));
    let writing = Arc::clone(&writes);
    let writer = thread::spawn(move || {
        let start = Instant::now();
        for step in 1..=1_000 {
            replace(&spec, &step.to_string());
            thread::sleep(Duration::from_millis(step).saturating_sub(start.elapsed()));
        }
        writing.store(false, Ordering::SeqCst);
    });
    let mut debounce = Debounce::new(STABLE_FOR, LIMIT);
    let (mut due, mut samples, mut read) = (Some(Instant::now()), 0, String::new());
    let deadline = Instant::now() + Duration::from_secs(10);
    while read != "1000" {
        assert!(Instant::now() < deadline, "the last one is read, not {read:?}");
        let now = Instant::now();
        let wait = due.map_or(SOON, |due| due.saturating_duration_since(now));
        if events.recv_timeout(wait).is_ok() {
            let at = debounce.next_sample(Instant::now());
            due = Some(due.map_or(at, |due| due.min(at)));
            continue;
        }
        samples += 1;
        files.rearm();
        let now = Instant::now();
        due = match debounce.sample(now, &files.fingerprint(), Writer::Closed) {
            Stability::Idle => None,
            Stability::WaitUntil(at) => Some(at),
            Stability::Read | Stability::ReadAnyway => {
                let text = fs::read_to_string(&path).expect("it is read");
                if debounce.accept_read(&files.fingerprint()) {
                    read = text;
                }
                Some(now)
            }
        };
    }
    writer.join().expect("it writes");
    assert!(!writes.load(Ordering::SeqCst), "nothing is read before the last was written");
    let calls = calls.load(Ordering::SeqCst);
    assert!(samples < 200 && calls < 200, "{samples} samples, called {calls} times");
}

#[test]
fn a_directory_created_and_removed_many_times_is_still_noticed_afterwards() {
    let mut listener = Listener::of(&["a/b/spec.yaml", "a/spec.yaml"], |_| {});
    let root = listener.root.path().to_owned();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let churn = thread::spawn(move || {
        for _ in 0..300 {
            fs::create_dir_all(root.join("a/b")).expect("folders");
            write(&root.join("a/b/spec.yaml"), "there");
            fs::remove_dir_all(root.join("a")).expect("removed");
        }
        fs::create_dir_all(root.join("a/b")).expect("folders");
        write(&root.join("a/b/spec.yaml"), "to stay");
        stopped.store(true, Ordering::SeqCst);
    });
    // Sometimes events are not read for a while, and then all at once.
    while !stop.load(Ordering::SeqCst) {
        if listener.events.recv_timeout(Duration::from_millis(1)).is_ok() {
            listener.files.rearm();
        }
    }
    churn.join().expect("it creates and removes");
    listener.calms_down();
    listener.gets_event(|root| append(&root.join("a/b/spec.yaml"), "more"));
    listener.gets_event(|root| write(&root.join("a/spec.yaml"), "new"));
}

#[test]
fn a_directory_that_cannot_be_watched_is_reported_until_it_can() {
    let root = tempfile::tempdir().expect("a folder");
    let folder = root.path().join("secret");
    fs::create_dir(&folder).expect("a folder");
    write(&folder.join("spec.yaml"), "text");
    let mode = |mode| {
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("chmod");
    };
    let test = || {
        become_unprivileged(&[root.path(), &folder]);
        let mut files = FileWatcher::new(vec![folder.join("spec.yaml")], || {});
        mode(0o300);
        let expected =
            format!("cannot watch {}: Permission denied (os error 13)", folder.display());
        assert_eq!(files.rearm(), [expected]);
        mode(0o700);
        assert!(files.rearm().is_empty());
    };
    thread::scope(|scope| scope.spawn(test).join().expect("it is reported"));
}

/// Makes this thread another user, to whom these directories belong: root may read everything.
fn become_unprivileged(folders: &[&Path]) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let user = rustix::process::Uid::from_raw(65_534);
    for folder in folders {
        std::os::unix::fs::chown(folder, Some(user.as_raw()), None).expect("chown");
    }
    rustix::thread::set_thread_res_uid(None, user, None).expect("root may become any user");
}

#[test]
fn a_fingerprint_covers_missing_and_unreadable_files() {
    let root = tempfile::tempdir().expect("a folder");
    let place = root.path().join("spec.yaml");
    let fingerprint = |places: &[&PathBuf]| {
        FileWatcher::new(places.iter().map(|it| (*it).clone()).collect(), || {}).fingerprint()
    };
    let missing = fingerprint(&[&place]);
    assert!(format!("{missing:?}").contains("NotFound"), "{missing:?}");
    fs::create_dir(&place).expect("a folder");
    let empty = fingerprint(&[&place]);
    assert_ne!(missing, empty);
    symlink("nowhere", place.join("a.yaml")).expect("a link");
    let broken = fingerprint(&[&place]);
    assert_ne!(empty, broken);
    fs::create_dir(place.join("b.yaml")).expect("a folder");
    write(&place.join(".c.yaml"), "hidden");
    assert_eq!(fingerprint(&[&place]), broken);
    let other = root.path().to_owned();
    assert_ne!(fingerprint(&[&place, &other]), fingerprint(&[&other, &place]));
}

#[test]
fn no_thread_outlives_the_files() {
    let gone = Arc::new(());
    let root = tempfile::tempdir().expect("a folder");
    let held = Arc::clone(&gone);
    let mut files = FileWatcher::new(vec![root.path().to_owned()], move || {
        assert!(Arc::strong_count(&held) > 0);
    });
    files.rearm();
    assert!(Arc::strong_count(&gone) > 1);
    drop(files);
    let deadline = Instant::now() + SOON;
    while Arc::strong_count(&gone) > 1 {
        assert!(Instant::now() < deadline, "both threads end");
        thread::sleep(Duration::from_millis(1));
    }
}
