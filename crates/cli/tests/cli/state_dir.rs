//! Tests a state directory with symbolic links in it, as any user may run into it.

use std::fs;
use std::os::unix::fs::symlink;

use crate::program::{Answer, evenkeel_in, folder_with};

/// Runs a command that reads the journal and needs no privileges.
fn status(folder: &std::path::Path) -> Answer {
    evenkeel_in(folder, "status --state-dir state")
}

/// Returns the name of this network namespace's directory.
fn label() -> String {
    evenkeel_host::Namespace::current().expect("the namespace").label()
}

#[test]
fn a_link_in_place_of_the_journal_or_its_directory_is_an_error_with_a_remedy() {
    let (of_directory, of_journal) = (label(), format!("{}/journal.json", label()));
    for name in [of_directory, of_journal] {
        let secret = "secret/journal.json";
        let folder = folder_with(&[(secret, "{\"version\":9}\n"), ("state/empty", "")]);
        let link = folder.path().join("state").join(name);
        fs::create_dir_all(link.parent().expect("a parent")).expect("a folder");
        let target = if link.ends_with("journal.json") { secret } else { "secret" };
        symlink(folder.path().join(target), &link).expect("a link");
        let Answer { status, stdout, stderr } = status(folder.path());
        assert_eq!((status, &*stdout), (1, ""), "{stderr}");
        let named = link.strip_prefix(folder.path()).expect("below it").display();
        let expected = format!(
            "error: {named} is a symbolic link, and evenkeel follows none below its state directory\n\
             hint: nothing was changed; check who put the link there, and move what it points to into \
             its place; only the state directory as a whole (--state-dir) may be a link\n"
        );
        assert_eq!(stderr, expected);
    }
}

#[test]
fn the_state_directory_may_be_a_link() {
    let journal = format!("disk/{}/journal.json", label());
    let folder = folder_with(&[(&journal, "{\"version\":9}\n")]);
    symlink("disk", folder.path().join("state")).expect("a link");
    let answer = status(folder.path());
    assert!(answer.stderr.contains("a journal of version 9"), "it was read: {answer:?}");
    fs::remove_file(folder.path().join(&journal)).expect("it is there");
    let answer = status(folder.path());
    assert_eq!((answer.status, &*answer.stderr), (10, ""), "{answer:?}");
}
