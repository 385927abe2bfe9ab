//! Reads the last applied spec, for plans with changes.

use std::borrow::Cow;
use std::error::Error;

use evenkeel_engine::{
    Journal, LastApplied, ParameterValues, StateDir, StoredSpecTexts, error_chain,
};
use evenkeel_model::{Desired, FileContents};
use evenkeel_plan::{Op, cut_off, lost_files, may_have_lost_files};
use evenkeel_source::{SourceCache, SpecText, contents, desired};
use evenkeel_spec::Source;

use crate::event::{Event, EventSink};

/// The texts of a spec, which may have to be read again.
pub trait SpecTexts {
    /// Returns all texts, in their order.
    ///
    /// # Errors
    /// A text is not available any more.
    fn read(&self) -> Result<Cow<'_, [Source]>, Box<dyn Error + Send + Sync>>;
}

impl SpecTexts for Vec<Source> {
    fn read(&self) -> Result<Cow<'_, [Source]>, Box<dyn Error + Send + Sync>> {
        Ok(Cow::Borrowed(self))
    }
}

impl SpecTexts for SourceCache {
    fn read(&self) -> Result<Cow<'_, [Source]>, Box<dyn Error + Send + Sync>> {
        Ok(Self::read(self)?)
    }
}

/// The spec that a plan is made for, with its texts.
#[derive(Clone, Copy)]
pub struct NewSpec<'a> {
    /// The texts.
    pub texts: &'a dyn SpecTexts,
    /// The values of the parameters in them.
    pub parameters: &'a ParameterValues,
}

/// Reads the last applied spec and compares the texts of the new one with it.
///
/// Compares what the files list only if an operation removes something. What cannot be read is
/// reported as an event, and the result is then empty.
pub fn compare(
    state: &StateDir,
    journal: &Journal,
    new: NewSpec<'_>,
    ops: &[Op],
    events: &mut dyn EventSink,
) -> LastApplied {
    let targeted = journal.active_partial_applies();
    let last = match state.last_spec(journal) {
        Ok(Some(last)) => last,
        Ok(None) => return LastApplied { last: targeted.over(None), ..LastApplied::default() },
        Err(lost) => {
            events.emit(Event::LastSpecUnavailable(lost));
            return LastApplied::default();
        }
    };
    let sources = match new.texts.read() {
        Ok(sources) => sources,
        Err(error) => {
            events.emit(Event::TextsUnavailable(error_chain(&*error)));
            return LastApplied::default();
        }
    };
    let after = LoadedTexts { sources: &sources, parameters: new.parameters };
    let compared = compare_texts(&last, &after, ops);
    let StoredSpecTexts { texts, parameters } = last;
    LastApplied { last: targeted.over(desired(texts, parameters)), ..compared }
}

/// A spec whose texts are compared with those of another one.
pub trait ComparedSpec {
    /// Returns the texts with their names, in order.
    fn texts(&self) -> Vec<(&str, &[u8])>;

    /// Returns what each text lists, which takes a parse.
    fn contents(&self) -> Vec<FileContents>;
}

impl ComparedSpec for SpecText {
    fn texts(&self) -> Vec<(&str, &[u8])> {
        self.texts()
    }

    fn contents(&self) -> Vec<FileContents> {
        self.contents()
    }
}

impl ComparedSpec for StoredSpecTexts {
    fn texts(&self) -> Vec<(&str, &[u8])> {
        self.texts.iter().map(|(name, text)| (&**name, &**text)).collect()
    }

    fn contents(&self) -> Vec<FileContents> {
        let source = |(name, text): &(String, Vec<u8>)| Source::new(name.clone(), text.clone());
        let sources: Vec<Source> = self.texts.iter().map(source).collect();
        contents(&sources, &self.parameters)
    }
}

/// The texts of a new spec.
struct LoadedTexts<'a> {
    sources: &'a [Source],
    parameters: &'a ParameterValues,
}

impl ComparedSpec for LoadedTexts<'_> {
    fn texts(&self) -> Vec<(&str, &[u8])> {
        self.sources.iter().map(|source| (&*source.name, &*source.text)).collect()
    }

    fn contents(&self) -> Vec<FileContents> {
        contents(self.sources, self.parameters)
    }
}

/// Compares the texts of a spec with those of the one before. What the files list is compared only if
/// these operations remove something. The caller adds what the spec before asked for.
pub fn compare_texts(
    before: &impl ComparedSpec,
    after: &impl ComparedSpec,
    ops: &[Op],
) -> LastApplied {
    let (texts, texts_before) = (after.texts(), before.texts());
    let lost_files = match may_have_lost_files(ops, &texts_before, &texts) {
        true => lost_files(&before.contents(), &after.contents()),
        false => Vec::new(),
    };
    LastApplied { last: None, cut_off: cut_off(&texts, &texts_before), lost_files }
}

/// What the last applied spec asked for; `None` where it cannot be read.
pub fn stored(state: &StateDir, journal: &Journal) -> Option<Desired> {
    let StoredSpecTexts { texts, parameters } = state.last_spec(journal).ok().flatten()?;
    desired(texts, parameters)
}
