use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use super::*;

const USES: [FileUse; 2] = [FileUse::State, FileUse::Export];

fn directory() -> (TempDir, Directory) {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = Directory::open(folder.path()).expect("it is there");
    (folder, directory)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("it can be listed");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().expect("text")).collect();
    names.sort();
    names
}

/// The temporary file of `file`.
fn temporary(folder: &Path, file_use: FileUse) -> std::path::PathBuf {
    folder.join(file_use.temporary_name(OsStr::new("file")))
}

#[test]
fn a_file_holds_the_concatenated_parts_and_nothing_is_left_beside_it() {
    for file_use in USES {
        let (folder, directory) = directory();
        for parts in [&[&b"one"[..], b"", b"two"][..], &[], &[&[7; 300_000]]] {
            directory.replace("file", file_use, parts).expect("it can be written");
            assert_eq!(fs::read(folder.path().join("file")).expect("it is there"), parts.concat());
            assert_eq!(names(folder.path()), ["file"]);
        }
    }
}

#[test]
fn a_reader_sees_the_old_or_the_new_content_at_any_time() {
    let (folder, directory) = directory();
    let path = folder.path().join("file");
    let contents = [vec![b'a'; 70_000], vec![b'b'; 1_000], Vec::new()];
    directory.replace("file", FileUse::State, &[&contents[0]]).expect("it can be written");
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = [0; 3];
            while !ended.load(Ordering::Relaxed) {
                let found = fs::read(&path).expect("it is always there");
                let which = contents.iter().position(|content| *content == found);
                seen[which.unwrap_or_else(|| panic!("{} bytes", found.len()))] += 1;
            }
            seen
        });
        for number in 0..300 {
            let content = &contents[number % contents.len()];
            // In two parts, so that there is a moment between them.
            let (first, second) = content.split_at(content.len() / 2);
            directory.replace("file", FileUse::State, &[first, second]).expect("written");
        }
        ended.store(true, Ordering::Relaxed);
        let seen = reader.join().expect("it saw whole files only");
        assert!(seen.iter().filter(|count| **count > 0).count() > 1, "{seen:?}");
    });
}

#[test]
fn a_process_that_opened_the_old_file_keeps_it() {
    let (folder, directory) = directory();
    directory.replace("file", FileUse::State, &[b"old"]).expect("it can be written");
    let old = fs::File::open(folder.path().join("file")).expect("it is there");
    directory.replace("file", FileUse::State, &[b"new"]).expect("it can be written");
    assert_eq!(io::read_to_string(old).expect("text"), "old");
}

#[test]
fn a_temporary_file_that_was_left_behind_is_replaced() {
    for file_use in USES {
        let (folder, directory) = directory();
        fs::write(folder.path().join("file"), "old").expect("a file");
        // It is longer than the new content, and a second name of another file.
        let other = folder.path().join("other");
        fs::write(&other, "a partial file of a killed process").expect("a file");
        fs::hard_link(&other, temporary(folder.path(), file_use)).expect("a link");
        directory.replace("file", file_use, &[b"new"]).expect("it can be written");
        assert_eq!(fs::read(folder.path().join("file")).expect("it is there"), b"new");
        assert!(fs::read_to_string(&other).expect("it is there").starts_with("a partial"));
        assert_eq!(names(folder.path()), ["file", "other"]);
    }
}

#[test]
fn a_symbolic_link_in_place_of_the_file_or_its_temporary_file_is_replaced_and_not_followed() {
    for file_use in USES {
        for is_dangling in [false, true] {
            let (folder, directory) = directory();
            let victim = tempfile::tempdir().expect("another folder");
            let victim = victim.path().join("victim");
            if !is_dangling {
                fs::write(&victim, "untouched").expect("a file");
            }
            for link in [folder.path().join("file"), temporary(folder.path(), file_use)] {
                symlink(&victim, &link).expect("a link");
            }
            directory.replace("file", file_use, &[b"new"]).expect("it can be written");
            let file = folder.path().join("file");
            assert!(file.symlink_metadata().expect("it is there").is_file());
            assert_eq!(fs::read(&file).expect("it is there"), b"new");
            assert_eq!(names(folder.path()), ["file"]);
            assert_eq!(
                fs::read_to_string(&victim).ok().as_deref(),
                match is_dangling {
                    true => None,
                    false => Some("untouched"),
                }
            );
        }
    }
}

#[test]
fn a_directory_in_place_of_the_file_or_its_temporary_file_is_an_error_that_names_it() {
    for file_use in USES {
        let (folder, directory) = directory();
        let in_the_way = temporary(folder.path(), file_use);
        fs::create_dir(&in_the_way).expect("a folder");
        fs::write(folder.path().join("file"), "old").expect("a file");
        let error = directory.replace("file", file_use, &[b"new"]).expect_err("it is in the way");
        assert_eq!(error.to_string(), format!("cannot write {}", in_the_way.display()));
        assert_eq!(fs::read(folder.path().join("file")).expect("it is there"), b"old");
        fs::remove_dir(&in_the_way).expect("it is empty");

        let file = folder.path().join("file");
        fs::remove_file(&file).expect("it is there");
        fs::create_dir(&file).expect("a folder");
        let error = directory.replace("file", file_use, &[b"new"]).expect_err("it is in the way");
        assert_eq!(error.to_string(), format!("cannot replace {}", file.display()));
        assert_eq!(names(folder.path()), ["file"], "no partial file is left");
    }
}

#[test]
fn a_full_disk_is_an_error_that_keeps_the_old_file_and_leaves_no_partial_one() {
    for file_use in USES {
        let (folder, directory) = directory();
        directory.replace("file", file_use, &[b"old"]).expect("it can be written");
        let error = directory.replace_with(OsStr::new("file"), file_use, |file| {
            file.write_all(b"half of the new")?;
            assert!(temporary(folder.path(), file_use).exists());
            // Every write to it fails with "no space left".
            File::options().write(true).open("/dev/full")?.write_all(b" content")
        });
        let error = error.expect_err("there is no room");
        let cause = std::error::Error::source(&error).expect("a cause").to_string();
        assert!(cause.contains("No space left"), "{error}: {cause}");
        assert_eq!(fs::read(folder.path().join("file")).expect("it is there"), b"old");
        assert_eq!(names(folder.path()), ["file"]);
    }
}

#[test]
fn a_file_is_readable_by_its_owner_only_whatever_the_umask_and_the_mode_of_an_earlier_one() {
    let (folder, directory) = directory();
    let mode = |name: &str| {
        let found = fs::metadata(folder.path().join(name)).expect("it is there");
        found.permissions().mode() & 0o7777
    };
    for (file_use, umask) in [(FileUse::State, 0o022), (FileUse::State, 0), (FileUse::Export, 0)] {
        // A file that was there before has no influence on it.
        for before in [None, Some(0o644), Some(0o640)] {
            let path = folder.path().join("file");
            if let Some(before) = before {
                fs::write(&path, "").expect("a file");
                fs::set_permissions(&path, fs::Permissions::from_mode(before)).expect("chmod");
            }
            let usual = rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
            let replaced = directory.replace("file", file_use, &[b"new"]);
            rustix::process::umask(usual);
            replaced.expect("it can be written");
            assert_eq!(mode("file"), 0o600, "{file_use:?} after {before:?}, umask {umask:o}");
        }
    }
}

#[test]
fn a_directory_that_was_renamed_meanwhile_is_written_where_it_is_now() {
    let (folder, _) = directory();
    let place = folder.path().join("place");
    fs::create_dir(&place).expect("a folder");
    let directory = Directory::open(&place).expect("it is there");
    let moved = folder.path().join("moved");
    fs::rename(&place, &moved).expect("renamed");
    let victim = tempfile::tempdir().expect("another folder");
    symlink(victim.path(), &place).expect("a link");
    directory.replace("file", FileUse::State, &[b"new"]).expect("it can be written");
    assert_eq!(names(&moved), ["file"]);
    assert!(names(victim.path()).is_empty());
    assert_eq!(fs::metadata(moved.join("file")).expect("it is there").nlink(), 1);
}
