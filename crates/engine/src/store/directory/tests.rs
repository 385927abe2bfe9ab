use std::os::unix::fs::symlink;

use super::*;

#[test]
fn missing_parents_are_created_and_existing_ones_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a/b/c");
    for _ in 0..2 {
        Directory::create(&path).expect("it can be created");
        assert!(path.is_dir());
        fs::write(path.join("kept"), "").expect("a file");
    }
    assert!(path.join("kept").exists());
    let file = folder.path().join("file");
    fs::write(&file, "").expect("a file");
    for path in [file.clone(), file.join("below")] {
        let error = Directory::create(&path).expect_err("a file is in the way");
        assert_eq!(error.to_string(), format!("cannot create {}", path.display()));
    }
}

#[test]
fn links_are_followed_to_a_directory_that_the_user_named_and_to_none_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(folder.path().join("real/child")).expect("folders");
    symlink("real", folder.path().join("root")).expect("a link");
    symlink("child", folder.path().join("real/link")).expect("a link");
    symlink("nowhere", folder.path().join("real/dangling")).expect("a link");
    let root = Directory::create(&folder.path().join("root")).expect("links are followed");
    root.open_child("child").expect("it is there");
    for name in ["link", "dangling"] {
        for outcome in [root.open_child(name), root.create_child(name)] {
            let error = outcome.expect_err("it is a link");
            assert!(matches!(error, FileError::Symlink { .. }), "{error}");
        }
    }
    fs::write(folder.path().join("real/file"), "").expect("a file");
    let error = root.open_child("file").expect_err("it is a file");
    let file = folder.path().join("root/file");
    assert_eq!(error.to_string(), format!("cannot open {}", file.display()));
    assert!(root.open_child("none").expect_err("there is none").is_missing());
}

#[test]
fn a_link_is_removed_and_not_what_it_points_to() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("file"), "").expect("a file");
    symlink("file", folder.path().join("link")).expect("a link");
    let directory = Directory::open(folder.path()).expect("it is there");
    assert!(directory.remove("link").expect("it is removed"));
    assert!(!directory.remove("link").expect("there is none"));
    assert_eq!(directory.names().expect("it can be listed").len(), 3, "with . and ..");
    assert!(directory.has("file"));
}
