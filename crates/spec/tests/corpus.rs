//! Replays the corpus collected by fuzzing.

use std::fs;
use std::path::Path;

#[path = "corpus/spec.rs"]
mod spec;

#[test]
fn every_text_of_the_corpus_gets_a_result() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/spec");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("a corpus") {
        let bytes = fs::read(entry.expect("an entry").path()).expect("a file");
        spec::check(&bytes);
        count += 1;
    }
    assert!(count > 8, "{count} files are no corpus");
}
