//! The texts of the last applied spec, which are stored beside the journal.

use super::*;

#[test]
fn the_texts_of_the_last_spec_are_read_unchanged() {
    let (_folder, state) = state_dir();
    let mut journal = Journal::default();
    assert_eq!(state.last_spec(&journal).expect("none is no loss"), None);
    for texts in [&TEXTS[..], &TEXTS[..1], &[], &[("a", &[0xff; 100_000][..]), ("a", b"\0")]] {
        apply(&state, &mut journal, texts);
        let (read, _) = state.read(false).expect("it can be read");
        let last = state.last_spec(&read).expect("it is whole").expect("it is there");
        let expected: Vec<(String, Vec<u8>)> =
            texts.iter().map(|(name, text)| ((*name).to_owned(), text.to_vec())).collect();
        assert_eq!(last, StoredSpecTexts { texts: expected, parameters: values() });
        assert_eq!(files(&state).len(), 2, "the texts before it are gone: {:?}", files(&state));
    }
}

#[test]
fn the_last_spec_stays_readable_while_another_one_is_applied() {
    let (_folder, state) = state_dir();
    let mut journal = Journal::default();
    apply(&state, &mut journal, &TEXTS);
    state.store_spec(&mut journal, &TEXTS[..1], &values()).expect("it can be stored");
    state.write(&journal).expect("it can be written");
    let (mut journal, _) = state.read(true).expect("it can be read");
    let names = |journal: &Journal| {
        let last = state.last_spec(journal).expect("it is whole").expect("it is there");
        last.texts.len()
    };
    assert_eq!(names(&journal), 3);
    // That apply did not finish; then another one was applied completely.
    apply(&state, &mut journal, &TEXTS[..2]);
    assert_eq!(names(&journal), 2);
    assert_eq!(journal.next, None);
    assert_eq!(files(&state).len(), 2);
}

#[test]
fn storing_the_same_spec_again_writes_nothing() {
    let (_folder, state) = state_dir();
    let mut journal = Journal::default();
    apply(&state, &mut journal, &TEXTS);
    let before = journal.clone();
    let texts = state.texts_of(&journal);
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).expect("it"));
    let written = inode(&texts);
    state.store_spec(&mut journal, &TEXTS, &values()).expect("nothing is to be written");
    journal.promote_next_spec();
    assert_eq!(journal, before);
    assert_eq!(inode(&texts), written);

    type Spec<'a> = (&'a [(&'a str, &'a [u8])], ParameterValues);
    let others: [Spec<'_>; 4] = [
        (&TEXTS[..2], values()),
        (&TEXTS, ParameterValues::new()),
        (&[("c.yaml", TEXTS[0].1), TEXTS[1], TEXTS[2]], values()),
        // The same bytes, split differently.
        (&[("a.yaml", b"version: "), ("empty.yaml", b"1\n"), TEXTS[2]], values()),
    ];
    for (texts, values) in others {
        let mut journal = before.clone();
        state.store_spec(&mut journal, texts, &values).expect("it can be stored");
        assert!(journal.next.is_some());
    }
}

#[test]
fn lost_texts_are_a_warning_and_the_next_apply_stores_them_again() {
    type Loss = fn(&Path);
    let losses: [Loss; 6] = [
        |path| fs::remove_file(path).expect("it is there"),
        |path| fs::write(path, "").expect("it can be written"),
        |path| fs::write(path, "version: 2\nservices: []\n").expect("it can be written"),
        |path| fs::write(path, "version: 1\nservices: []\n\n").expect("it can be written"),
        |path| {
            fs::remove_file(path).expect("it is there");
            fs::create_dir(path).expect("a folder");
        },
        |path| {
            fs::remove_file(path).expect("it is there");
            std::os::unix::fs::symlink("nowhere", path).expect("a link");
        },
    ];
    for (number, lose) in losses.into_iter().enumerate() {
        let (_folder, state) = state_dir();
        let mut journal = Journal::default();
        apply(&state, &mut journal, &TEXTS);
        let path = state.texts_of(&journal);
        lose(&path);
        let lost = state.last_spec(&journal).expect_err("they are lost");
        assert!(lost.to_string().contains("spec-"), "{lost}");
        if path.is_dir() {
            assert!(state.store_spec(&mut journal, &TEXTS, &values()).is_err());
            fs::remove_dir(&path).expect("it is empty");
        }
        apply(&state, &mut journal, &TEXTS);
        let last = state.last_spec(&journal).expect("it is whole again");
        assert!(last.is_some(), "{number}");
    }
}
