//! Reads the last applied spec, for plans with changes.

use evenkeel_engine::{
    Journal, LastApplied, ParameterValues, StateDir, StoredSpecTexts, error_chain,
};
use evenkeel_model::{Desired, FileContents};
use evenkeel_plan::{Op, cut_off, lost_files, may_have_lost_files};
use evenkeel_source::{SourceCache, contents};
use evenkeel_spec::Source;

use crate::output::Output;

/// The spec that a plan is made for, with its texts.
#[derive(Clone, Copy)]
pub(crate) struct NewSpec<'a> {
    pub(crate) texts: &'a SourceCache,
    /// The values of the parameters in them.
    pub(crate) parameters: &'a ParameterValues,
}

/// Reads the last applied spec and compares the texts of the new one with it.
///
/// Compares what the files list only if an operation removes something. Failures are printed as
/// warnings, and the result is then empty.
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
            output.warning(lost.to_string());
            return LastApplied::default();
        }
    };
    let sources = match new.texts.read() {
        Ok(sources) => sources,
        Err(error) => {
            output.warning(error_chain(&error));
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

/// What each text of the stored spec lists.
pub(crate) fn contents_of_last(last: &StoredSpecTexts) -> Vec<FileContents> {
    let StoredSpecTexts { texts, parameters } = last;
    let source = |(name, text): &(String, Vec<u8>)| Source::new(name.clone(), text.clone());
    let sources: Vec<Source> = texts.iter().map(source).collect();
    contents(&sources, parameters)
}

/// What the last applied spec asked for; `None` where it cannot be read.
pub(crate) fn stored(state: &StateDir, journal: &Journal) -> Option<Desired> {
    state.last_spec(journal).ok().flatten().and_then(desired)
}

fn desired(last: StoredSpecTexts) -> Option<Desired> {
    let StoredSpecTexts { texts, parameters } = last;
    evenkeel_source::desired(texts, parameters)
}
