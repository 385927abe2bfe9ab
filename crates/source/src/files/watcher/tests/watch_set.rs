//! Tests of which directories are watched for a path.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::files::watch_set::WatchSet;

/// Returns the watched directories of a path, relative to the root.
fn watched(root: &Path, place: &str) -> Vec<String> {
    let watch_set = WatchSet::of(&[root.join(place)]);
    let below = |path: &PathBuf| match path.strip_prefix(root) {
        Ok(path) => format!("./{}", path.display()),
        Err(_) => path.display().to_string(),
    };
    watch_set.directories.keys().map(below).collect()
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().canonicalize().expect("it exists");
    (folder, root)
}

#[test]
fn a_file_is_watched_for_in_its_directory_alone() {
    let (_folder, root) = folder();
    fs::create_dir_all(root.join("a/b")).expect("folders");
    fs::write(root.join("a/b/spec.yaml"), "").expect("a file");
    assert_eq!(watched(&root, "a/b/spec.yaml"), ["./a/b"]);
    assert_eq!(watched(&root, "a/../a/./b/spec.yaml"), ["./a/b"]);
}

#[test]
fn a_directory_with_specs_is_watched_itself() {
    let (_folder, root) = folder();
    fs::create_dir_all(root.join("a/b")).expect("folders");
    fs::write(root.join("a/b/spec.yaml"), "").expect("a file");
    assert_eq!(watched(&root, "a/b"), ["./a/b"]);
    assert_eq!(watched(&root, "a/b/"), ["./a/b"]);
}

#[test]
fn a_directory_without_specs_is_watched_with_its_parent() {
    let (_folder, root) = folder();
    fs::create_dir_all(root.join("a/b")).expect("folders");
    assert_eq!(watched(&root, "a/b"), ["./a", "./a/b"]);
}

#[test]
fn a_missing_path_is_watched_at_its_last_existing_directory() {
    let (_folder, root) = folder();
    fs::create_dir_all(root.join("a/b")).expect("folders");
    fs::write(root.join("a/file"), "").expect("a file");
    assert_eq!(watched(&root, "a/b/c/d/spec.yaml"), ["./a", "./a/b"]);
    assert_eq!(watched(&root, "a/file/spec.yaml"), ["./a"]);
}

#[test]
fn each_directory_with_a_link_of_the_path_is_watched() {
    let (_folder, root) = folder();
    fs::create_dir_all(root.join("a/real")).expect("folders");
    fs::create_dir_all(root.join("b")).expect("folders");
    fs::write(root.join("a/real/spec.yaml"), "").expect("a file");
    symlink(root.join("a/link"), root.join("b/far")).expect("a link");
    symlink("real", root.join("a/link")).expect("a link");
    assert_eq!(watched(&root, "b/far/spec.yaml"), ["./a", "./a/real", "./b"]);
}

#[test]
fn a_loop_of_links_ends_the_path() {
    let (_folder, root) = folder();
    symlink("two", root.join("one")).expect("a link");
    symlink("one", root.join("two")).expect("a link");
    assert_eq!(watched(&root, "one"), ["./"]);
    let names: Vec<_> = WatchSet::of(&[root.join("one")]).interests().into_values().collect();
    assert_eq!(names[0].names.len(), 2);
}

#[test]
fn a_directory_of_two_paths_is_watched_once() {
    let (_folder, root) = folder();
    fs::create_dir(root.join("a")).expect("a folder");
    for name in ["one.yaml", "two.yaml"] {
        fs::write(root.join("a").join(name), "").expect("a file");
    }
    let watch_set =
        WatchSet::of(&[root.join("a/one.yaml"), root.join("a/two.yaml"), root.join("a")]);
    assert_eq!(watch_set.directories.len(), 1);
}

#[test]
fn a_shared_filesystem_is_reported() {
    // procfs is one on every machine.
    let watch_set = WatchSet::of(&["/proc/version".into()]);
    let expected = "/proc is on procfs, where inotify may miss changes";
    assert_eq!(watch_set.unreliable, [expected]);
}
