//! `cut-off`: half a file is half a spec, and may well be a good one.

use crate::Op;

/// The name of a text that looks like one of the last applied spec cut short: it is the beginning
/// of one that is no longer there in full, or it has no end of line at its end where every text of
/// the last spec had one.
///
/// Nothing can be told where no last spec is known. Empty lines at the end may come and go.
pub fn cut_off<'a>(texts: &[(&'a str, &[u8])], last: &[&[u8]]) -> Option<&'a str> {
    let is_there = |text: &[u8]| texts.iter().any(|(_, other)| *other == text);
    let gone: Vec<&[u8]> = last.iter().copied().filter(|text| !is_there(text)).collect();
    let ends = |text: &[u8]| text.ends_with(b"\n");
    let all_ended = !last.is_empty() && last.iter().all(|text| ends(text));
    let is_cut = |text: &[u8]| {
        let begins = |whole: &&&[u8]| {
            let rest = whole.strip_prefix(text);
            rest.is_some_and(|rest| !(ends(text) && rest.trim_ascii().is_empty()))
        };
        !last.contains(&text)
            && (gone.iter().any(|whole| begins(&whole)) || (all_ended && !ends(text)))
    };
    texts.iter().find(|(_, text)| is_cut(text)).map(|(name, _)| *name)
}

pub(super) fn refusal(cut_off: Option<&str>, ops: &[Op]) -> Option<String> {
    let name = cut_off.filter(|_| !ops.is_empty())?;
    Some(format!(
        "{name} is the last applied spec cut short, or has no end of line at its end as that had: \
         it may not have been written in full; look at its end and write it again"
    ))
}
