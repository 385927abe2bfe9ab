//! What holds for any bytes taken for a spec. The fuzz target and the replay of its corpus share
//! this file.

use evenkeel_spec::{Source, load};

/// Reads the bytes as one text, and as two: a cut one and its rest.
///
/// # Panics
/// When one of the laws does not hold.
pub(crate) fn check(bytes: &[u8]) {
    sources(&[Source::new("a.yaml", bytes)]);
    let (first, second) = bytes.split_at(bytes.len() / 2);
    sources(&[Source::new("a.yaml", first), Source::new("b.yaml", second)]);
}

/// There is an answer, it says whether it is one, and its places are in the texts.
fn sources(sources: &[Source]) {
    let (problems, is_refused) = match load(sources) {
        Ok(loaded) => (loaded.warnings, false),
        Err(problems) => (problems, true),
    };
    assert_eq!(problems.has_errors(), is_refused);
    for problem in &problems {
        let related = problem.related.iter().map(|related| &related.place);
        for place in problem.place.iter().chain(related) {
            let source = &sources[place.source];
            assert!(place.span.start <= place.span.end, "{place}");
            assert!(place.span.end <= source.text.len().max(3), "{place}");
        }
    }
    let rendered = problems.render(sources, false);
    assert!(rendered.chars().all(|character| character == '\n' || !character.is_control()));
}
