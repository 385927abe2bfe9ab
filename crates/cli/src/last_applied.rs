//! What is known of the last applied spec, for plans that change something.

use std::path::Path;

use evenkeel_engine::{
    Journal, LastApplied, ParameterValues, StateDir, StoredSpecTexts, error_chain,
};
use evenkeel_model::{Desired, FileContents};
use evenkeel_plan::{Op, cut_off, lost_files, may_have_lost_files};
use evenkeel_spec::{RememberedParameters, Source, load_with};

use crate::output::Output;
use crate::source_cache::SourceCache;

/// The spec that a plan is made for, as its files have it.
#[derive(Clone, Copy)]
pub(crate) struct NewSpec<'a> {
    pub(crate) texts: &'a SourceCache,
    /// What the parameters in them came to.
    pub(crate) parameters: &'a ParameterValues,
}

/// Reads the last applied spec, and compares the texts of the new one with it. What its files list
/// is compared only where those operations take something away.
///
/// Nothing of it is an error: what cannot be known is a warning, and then nothing is known.
pub(crate) fn history(
    state: &StateDir,
    journal: &Journal,
    new: NewSpec<'_>,
    ops: &[Op],
    output: &mut Output,
) -> LastApplied {
    let targeted = journal.active_partial_applies();
    let last = match state.last_spec(journal) {
        Ok(Some(last)) => last,
        Ok(None) => return LastApplied { last: targeted.over(None), ..LastApplied::default() },
        Err(lost) => {
            output.warning(&lost.to_string());
            return LastApplied::default();
        }
    };
    let sources = match new.texts.read() {
        Ok(sources) => sources,
        Err(error) => {
            output.warning(&error_chain(&error));
            return LastApplied::default();
        }
    };
    let texts: Vec<(&str, &[u8])> =
        sources.iter().map(|source| (&*source.name, &*source.text)).collect();
    let before: Vec<(&str, &[u8])> =
        last.texts.iter().map(|(name, text)| (&**name, &**text)).collect();
    let cut_off = cut_off(&texts, &before);
    let lost_files = match may_have_lost_files(ops, &before, &texts) {
        true => lost_files(&contents_of_last(&last), &contents(&sources, new.parameters)),
        false => Vec::new(),
    };
    LastApplied { last: targeted.over(desired(last)), cut_off, lost_files }
}

/// What each of those texts lists, by absolute names; nothing where they are no good spec.
pub(crate) fn contents(sources: &[Source], parameters: &ParameterValues) -> Vec<FileContents> {
    let loaded = load_with(sources, &RememberedParameters(parameters.clone()));
    let mut contents = loaded.map(|loaded| loaded.contents(sources)).unwrap_or_default();
    for file in &mut contents {
        file.name = absolute(&file.name);
    }
    contents
}

/// What each text of that spec lists.
pub(crate) fn contents_of_last(last: &StoredSpecTexts) -> Vec<FileContents> {
    let StoredSpecTexts { texts, parameters } = last;
    let source = |(name, text): &(String, Vec<u8>)| Source::new(name.clone(), text.clone());
    let sources: Vec<Source> = texts.iter().map(source).collect();
    contents(&sources, parameters)
}

/// The name of a text wherever it is read from; one that is no file's stays as it is.
pub(crate) fn absolute(name: &str) -> String {
    match name.starts_with('<') {
        true => name.to_owned(),
        false => std::path::absolute(Path::new(name))
            .map_or_else(|_| name.to_owned(), |path| path.display().to_string()),
    }
}

/// What the last applied spec asked for; `None` where that cannot be known.
pub(crate) fn stored(state: &StateDir, journal: &Journal) -> Option<Desired> {
    state.last_spec(journal).ok().flatten().and_then(desired)
}

/// What the last applied spec asked for. One that an earlier version took and this one does not
/// tells nothing.
pub(crate) fn desired(last: StoredSpecTexts) -> Option<Desired> {
    let StoredSpecTexts { texts, parameters } = last;
    let sources: Vec<Source> =
        texts.into_iter().map(|(name, text)| Source::new(name, text)).collect();
    let loaded = load_with(&sources, &RememberedParameters(parameters));
    loaded.ok().map(|loaded| loaded.desired)
}
