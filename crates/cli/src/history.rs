//! What is known of the last applied spec, for plans that change something.

use evenkeel_engine::{History, Journal, LastSpec, StateDir, in_full};
use evenkeel_model::Desired;
use evenkeel_plan::cut_off;
use evenkeel_spec::{RememberedParameters, Source, load_with};

use crate::output::Output;
use crate::texts::Texts;

/// Reads the last applied spec, and compares the texts of the new one with it.
///
/// Nothing of it is an error: what cannot be known is a warning, and then nothing is known.
pub(crate) fn history(
    state: &StateDir,
    journal: &Journal,
    texts: &Texts,
    output: &mut Output,
) -> History {
    let last = match state.last_spec(journal) {
        Ok(Some(last)) => last,
        Ok(None) => {
            return History { last: journal.targeted_in_force().over(None), cut_off: None };
        }
        Err(lost) => {
            output.warning(&lost.to_string());
            return History::default();
        }
    };
    let sources = match texts.read() {
        Ok(sources) => sources,
        Err(error) => {
            output.warning(&in_full(&error));
            return History::default();
        }
    };
    let texts: Vec<(&str, &[u8])> =
        sources.iter().map(|source| (&*source.name, &*source.text)).collect();
    let before: Vec<&[u8]> = last.texts.iter().map(|(_, text)| &**text).collect();
    let cut_off = cut_off(&texts, &before);
    History { last: journal.targeted_in_force().over(desired(last)), cut_off }
}

/// What the last applied spec asked for; `None` where that cannot be known.
pub(crate) fn stored(state: &StateDir, journal: &Journal) -> Option<Desired> {
    state.last_spec(journal).ok().flatten().and_then(desired)
}

/// What the last applied spec asked for. One that an earlier version took and this one does not
/// tells nothing.
pub(crate) fn desired(last: LastSpec) -> Option<Desired> {
    let LastSpec { texts, parameters } = last;
    let sources: Vec<Source> =
        texts.into_iter().map(|(name, text)| Source::new(name, text)).collect();
    let loaded = load_with(&sources, &RememberedParameters(parameters));
    loaded.ok().map(|loaded| loaded.desired)
}
