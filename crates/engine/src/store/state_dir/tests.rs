use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use rustix::fs::{CWD, FileType, Mode};
use tempfile::TempDir;

use super::*;

const NAME: &str = "journal.json";

fn state_dir() -> (TempDir, StateDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::new(&folder.path().join("state"), "init");
    (folder, state)
}

fn text(state: &StateDir) -> Option<Vec<u8>> {
    state.read_file(NAME).expect("it can be read")
}

/// Asserts that the error names the link, and says what to do.
fn assert_symlink<T: std::fmt::Debug>(outcome: Result<T, FileError>, link: &Path) {
    let error = outcome.expect_err("it is a link");
    let message = format!("{error}; {}", error.remedy());
    let words = [&*link.display().to_string(), "is a symbolic link", "into its place"];
    for word in words {
        assert!(message.contains(word), "{word}: {message}");
    }
}

#[test]
fn a_file_is_read_as_written_and_nothing_is_created_by_reading() {
    let (folder, state) = state_dir();
    assert_eq!(text(&state), None);
    state.remove_file(NAME).expect("there is none");
    assert!(!folder.path().join("state").exists());
    state.replace_file(NAME, &[b"a", b"b"]).expect("it can be written");
    assert_eq!(text(&state).as_deref(), Some(&b"ab"[..]));
    assert_eq!(fs::read(state.folder().join(NAME)).expect("it is there"), b"ab");
    state.remove_file(NAME).expect("it is there");
    assert_eq!(text(&state), None);
}

#[test]
fn the_state_directory_itself_may_be_a_link_and_lie_below_one() {
    let (folder, _) = state_dir();
    fs::create_dir_all(folder.path().join("disk/evenkeel")).expect("folders");
    symlink("disk", folder.path().join("lib")).expect("a link");
    symlink("evenkeel", folder.path().join("disk/link")).expect("a link");
    let state = StateDir::new(&folder.path().join("lib/link"), "init");
    state.replace_file(NAME, &[b"a"]).expect("it can be written");
    assert_eq!(text(&state).as_deref(), Some(&b"a"[..]));
    let file = folder.path().join("disk/evenkeel/init").join(NAME);
    assert_eq!(fs::read(file).expect("it is there"), b"a");
}

#[test]
fn a_link_in_place_of_the_namespace_directory_is_refused() {
    for is_dangling in [false, true] {
        let (folder, state) = state_dir();
        let victim = folder.path().join("victim");
        if !is_dangling {
            fs::create_dir(&victim).expect("a folder");
            fs::write(victim.join(NAME), "secret").expect("a file");
        }
        fs::create_dir(folder.path().join("state")).expect("a folder");
        symlink(&victim, state.folder()).expect("a link");
        assert_symlink(state.read_file(NAME), state.folder());
        assert_symlink(state.replace_file(NAME, &[b"new"]), state.folder());
        assert_symlink(state.remove_file(NAME), state.folder());
        assert_eq!(fs::read(victim.join(NAME)).is_ok_and(|it| it == b"secret"), !is_dangling);
    }
}

#[test]
fn a_link_in_place_of_a_file_is_not_read_and_can_be_removed() {
    for target in ["secret", "nowhere", "/dev/zero"] {
        let (folder, state) = state_dir();
        fs::create_dir_all(state.folder()).expect("folders");
        let secret = folder.path().join("secret");
        fs::write(&secret, "secret").expect("a file");
        let link = state.folder().join(NAME);
        symlink(folder.path().join(target), &link).expect("a link");
        assert_symlink(state.read_file(NAME), &link);
        state.remove_file(NAME).expect("the link is removed");
        assert_eq!(text(&state), None);
        assert_eq!(fs::read(&secret).expect("it is there"), b"secret");
    }
}

/// Opening a pipe would wait for a writer, and reading a device never end.
#[test]
fn what_is_no_regular_file_is_not_read_and_can_be_replaced() {
    let (_folder, state) = state_dir();
    fs::create_dir_all(state.folder()).expect("folders");
    let path = state.folder().join(NAME);
    let assert_refused = || {
        let error = state.read_file(NAME).expect_err("it is no file");
        let message = format!("cannot read {}: it is not a regular file", path.display());
        assert_eq!(error.to_string(), message);
        assert!(error.remedy().contains("remove it"), "{}", error.remedy());
    };
    rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
    assert_refused();
    state.replace_file(NAME, &[b"a"]).expect("the pipe is replaced");
    assert_eq!(text(&state).as_deref(), Some(&b"a"[..]));
    state.remove_file(NAME).expect("it is there");
    let _socket = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    assert_refused();
    state.remove_file(NAME).expect("it is there");
    fs::create_dir(&path).expect("a folder");
    assert_refused();
}

/// Root may do it all, so that there is nothing to test.
#[test]
fn an_ordinary_user_reads_without_listing_and_learns_what_is_denied() {
    if rustix::process::geteuid().is_root() {
        return;
    }
    let (folder, state) = state_dir();
    state.replace_file(NAME, &[b"a"]).expect("it can be written");
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    };
    mode(state.folder(), 0o100);
    assert_eq!(text(&state).as_deref(), Some(&b"a"[..]));
    let error = state.replace_file(NAME, &[b"b"]).expect_err("not permitted");
    assert!(error.to_string().starts_with("cannot write "), "{error}");
    let root = folder.path().join("state");
    mode(&root, 0);
    let error = state.read_file(NAME).expect_err("not permitted");
    assert_eq!(error.to_string(), format!("cannot open {}", state.folder().display()));
    mode(&root, 0o700);
    mode(state.folder(), 0o700);
    assert_eq!(text(&state).as_deref(), Some(&b"a"[..]));
}

#[test]
fn directories_are_the_owners_alone_and_those_of_earlier_versions_are_closed_with_their_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o7777;
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    };
    let root = folder.path().join("new");
    let state = StateDir::new(&root, "init");
    let usual = rustix::process::umask(rustix::fs::Mode::empty());
    let written = state.replace_file("file", &[b"x"]);
    rustix::process::umask(usual);
    written.expect("it can be written");
    assert_eq!((mode(&root), mode(state.folder())), (0o700, 0o700));

    let earlier = state.folder().join("spec-0");
    fs::write(&earlier, "secret").expect("a file");
    set(&earlier, 0o644);
    set(state.folder(), 0o755);
    set(&root, 0o1777);
    state.replace_file("file", &[b"y"]).expect("it can be written");
    assert_eq!((mode(state.folder()), mode(&earlier)), (0o700, 0o600));
    assert_eq!(mode(&root), 0o1777, "a directory that the user named, such as /tmp");
}

#[test]
fn each_owner_has_files_of_its_own_and_is_found() {
    let (_folder, state) = state_dir();
    let web: OwnerName = "web".parse().expect("a name");
    let of_web = state.of_owner(&web);
    assert_eq!(state.owners().expect("nothing is there"), [OwnerName::default()]);
    state.replace_file(NAME, &[b"unnamed"]).expect("it can be written");
    of_web.replace_file(NAME, &[b"web"]).expect("it can be written");
    assert_eq!((text(&state), text(&of_web)), (Some(b"unnamed".into()), Some(b"web".into())));
    assert_eq!(text(&of_web.of_owner(&OwnerName::default())), Some(b"unnamed".into()));
    // What is no name of an owner is none, and a file is no directory.
    fs::create_dir(state.folder().join("owner-.hidden")).expect("a directory");
    assert_eq!(state.owners().expect("it can be listed"), [OwnerName::default(), web.clone()]);
    assert_eq!(of_web.owners().expect("it can be listed"), [OwnerName::default(), web]);
}
