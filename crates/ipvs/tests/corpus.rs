//! Replays the corpus collected by fuzzing.

use std::fs;
use std::path::Path;

#[path = "corpus/datagram.rs"]
mod datagram;

#[test]
fn every_datagram_of_the_corpus_is_decoded_without_panic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/codec");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("a corpus") {
        let bytes = fs::read(entry.expect("an entry").path()).expect("a file");
        datagram::check(&bytes);
        count += 1;
    }
    assert!(count > 8, "{count} files are no corpus");
}
