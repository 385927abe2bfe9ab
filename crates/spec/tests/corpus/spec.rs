//! Properties of arbitrary bytes read as a spec. The fuzz target and the replay of its corpus share
//! this file.

use evenkeel_spec::{Parameter, Parameters, Source, load_with};

/// Reads the bytes as one text, and as two texts that together make it up.
///
/// # Panics
/// Panics if one of the properties does not hold.
pub(crate) fn check(bytes: &[u8]) {
    sources(&[Source::new("a.yaml", bytes)]);
    let (first, second) = bytes.split_at(bytes.len() / 2);
    sources(&[Source::new("a.yaml", first), Source::new("b.yaml", second)]);
}

/// Every parameter is a port, an address or its own name.
struct Echo;

impl Parameters for Echo {
    fn value(&self, parameter: Parameter<'_>) -> Result<Option<String>, String> {
        Ok(match parameter {
            Parameter::Set(name) if name.len() == 1 => Some("80".to_owned()),
            Parameter::Set(name) => Some(format!("${{{name}}}")),
            Parameter::Env(_) => None,
            Parameter::Host { .. } => Some("192.0.2.1".to_owned()),
        })
    }
}

/// Asserts that there is a result, that it says whether the spec is valid, and that its positions
/// lie within the texts.
fn sources(sources: &[Source]) {
    let (problems, is_refused) = match load_with(sources, &Echo) {
        Ok(loaded) => {
            let provenance = loaded.provenance(sources);
            for place in loaded.desired.services.keys().filter_map(|key| provenance.service(key)) {
                assert!(place.span.end <= sources[place.source].text.len().max(3), "{place}");
            }
            (loaded.warnings, false)
        }
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
