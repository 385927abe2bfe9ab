//! `cut-off`: half a file is half a spec, and may well be a good one.

use crate::Op;

/// A text that looks like one of the last applied spec cut short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutOff {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub length: usize,
    /// Of how many bytes of a text of the last applied spec they are the first; `None` where it has
    /// no end of line at its end, as every text of that spec had.
    pub of: Option<usize>,
}

/// The first text that looks like one of the last applied spec cut short: it is the beginning of one
/// that is no longer there in full, or it has no end of line at its end where every text of the
/// last spec had one.
///
/// Nothing can be told where no last spec is known. Empty lines at the end may come and go.
pub fn cut_off(texts: &[(&str, &[u8])], last: &[&[u8]]) -> Option<CutOff> {
    let is_there = |text: &[u8]| texts.iter().any(|(_, other)| *other == text);
    let gone: Vec<&[u8]> = last.iter().copied().filter(|text| !is_there(text)).collect();
    let ends = |text: &[u8]| text.ends_with(b"\n");
    let all_ended = !last.is_empty() && last.iter().all(|text| ends(text));
    let cut = |(name, text): &(&str, &[u8])| {
        let begins = |whole: &&&[u8]| {
            let rest = whole.strip_prefix(*text);
            rest.is_some_and(|rest| !(ends(text) && rest.trim_ascii().is_empty()))
        };
        if last.contains(text) {
            return None;
        }
        let of = gone.iter().find(begins).map(|whole| whole.len());
        let is_cut = of.is_some() || (all_ended && !ends(text));
        is_cut.then(|| CutOff { name: (*name).to_owned(), length: text.len(), of })
    };
    texts.iter().find_map(cut)
}

pub(super) fn refusal(cut_off: Option<&CutOff>, ops: &[Op]) -> Option<String> {
    let CutOff { name, length, of } = cut_off.filter(|_| !ops.is_empty())?;
    let what = match of {
        Some(of) => format!("{name} is the first {length} of {of} bytes of the last applied spec"),
        None => format!(
            "{name}, {length} bytes, has no end of line at its end, as the last applied spec had"
        ),
    };
    Some(format!(
        "{what}: it may not have been written in full; look at its end and write it again"
    ))
}
