//! `cut-off`: a truncated file can still be a valid spec.

use crate::lost_files::base_name;
use crate::{Op, Verb};

/// The last line of a file that is certainly complete: the end mark of a YAML document.
const END_MARK: &[u8] = b"...";

/// A file of a spec that may be incomplete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutOff {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub length: usize,
    /// The part that it lacks.
    pub lacks: Lack,
}

/// What an incomplete file lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// The end mark, which the file has in the spec in force: it is certainly incomplete.
    EndMark,
    /// All but the first bytes of a file of the spec in force.
    Rest {
        /// The length of that file in bytes.
        of: usize,
    },
    /// The newline at its end, which every file of the spec in force has.
    Newline,
}

/// Returns the first file that may be incomplete.
///
/// A file whose last line is the end mark `...` is complete. A file without the mark is incomplete
/// if its counterpart in the spec in force had it, or if all files of that spec had it. Otherwise a
/// file may be incomplete if it is the beginning of a file of the spec in force that is no longer
/// there in full, or if it lacks a newline at its end and every file of that spec had one.
///
/// Without a spec in force nothing is reported. Empty lines at the end may be added and removed.
pub fn cut_off(texts: &[(&str, &[u8])], last: &[(&str, &[u8])]) -> Option<CutOff> {
    let is_there = |text: &[u8]| texts.iter().any(|(_, other)| *other == text);
    let last_texts = || last.iter().map(|(_, text)| *text);
    let gone: Vec<&[u8]> = last_texts().filter(|text| !is_there(text)).collect();
    let ends = |text: &[u8]| text.ends_with(b"\n");
    let all = |has: fn(&[u8]) -> bool| !last.is_empty() && last_texts().all(has);
    let (all_ended, all_marked) = (all(|text| text.ends_with(b"\n")), all(has_end_mark));
    let was_marked = |name: &str| {
        let counterpart = last.iter().find(|(other, _)| base_name(other) == base_name(name));
        counterpart.map_or(all_marked, |(_, text)| has_end_mark(text))
    };
    let lack = |name: &str, text: &[u8]| {
        let begins = |whole: &&&[u8]| {
            let rest = whole.strip_prefix(text);
            rest.is_some_and(|rest| !(ends(text) && rest.trim_ascii().is_empty()))
        };
        if has_end_mark(text) || last_texts().any(|other| other == text) {
            return None;
        }
        if was_marked(name) {
            return Some(Lack::EndMark);
        }
        let whole = gone.iter().find(begins);
        let no_newline = || (all_ended && !ends(text)).then_some(Lack::Newline);
        whole.map(|whole| Lack::Rest { of: whole.len() }).or_else(no_newline)
    };
    texts.iter().find_map(|(name, text)| {
        let lacks = lack(name, text)?;
        Some(CutOff { name: (*name).to_owned(), length: text.len(), lacks })
    })
}

/// Whether the last line is the end mark; comments and empty lines may follow it.
pub fn has_end_mark(text: &[u8]) -> bool {
    let is_left_out = |line: &&[u8]| line.is_empty() || line.starts_with(b"#");
    let lines = text.rsplit(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let mut lines = lines.skip_while(is_left_out);
    let rest = lines.next().and_then(|last| last.strip_prefix(END_MARK));
    let is_comment = |rest: &[u8]| rest.trim_ascii_start().starts_with(b"#");
    rest.is_some_and(|rest| rest.is_empty() || (rest[0].is_ascii_whitespace() && is_comment(rest)))
}

/// Whether the operation may be due to the part that a file lacks.
pub(super) fn takes(op: &Op) -> bool {
    matches!(op.verb(), Verb::Edit | Verb::Drain | Verb::Delete | Verb::Unbind)
}

pub(super) fn refusal(cut_off: Option<&CutOff>, ops: &[Op]) -> Option<String> {
    let CutOff { name, length, lacks } = cut_off?;
    let is_refused = match lacks {
        // Even without an operation: the missing part may be its scope or its guards.
        Lack::EndMark => true,
        Lack::Rest { .. } | Lack::Newline => ops.iter().any(takes),
    };
    if !is_refused {
        return None;
    }
    Some(match lacks {
        Lack::EndMark => format!(
            "{name} is incomplete: its last line is not the end mark `...`, which it has in the \
             spec in force; write the file again"
        ),
        Lack::Rest { of } => format!(
            "{name} is the first {length} of {of} bytes of a file of the spec in force, and may \
             not have been written in full; if it is complete, end it with a line `...`, which \
             marks it as complete"
        ),
        Lack::Newline => format!(
            "{name}, {length} bytes, does not end with a newline as the spec in force does, and \
             may not have been written in full; if it is complete, end its last line with a \
             newline, or end it with a line `...`"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lack(texts: &[(&str, &[u8])], last: &[(&str, &[u8])]) -> Option<Lack> {
        cut_off(texts, last).map(|it| it.lacks)
    }

    #[test]
    fn a_file_is_cut_off_at_any_byte_unless_only_empty_lines_are_missing() {
        let whole = "version: 1\nservices:\n  - { name: a, weight: 10 }\n\n";
        let texts = |text: &'static str| [("spec.yaml", text.as_bytes())];
        for end in 0..whole.len() - 1 {
            let cut = cut_off(&texts(&whole[..end]), &texts(whole));
            let lacks = Lack::Rest { of: whole.len() };
            let expected = CutOff { name: "spec.yaml".to_owned(), length: end, lacks };
            assert_eq!(cut, Some(expected), "{:?}", &whole[..end]);
        }
        for same in [&whole[..whole.len() - 1], whole] {
            assert_eq!(lack(&texts(same), &texts(whole)), None);
        }
        assert_eq!(lack(&texts("version: 1\n"), &[]), None, "no spec is in force");
    }

    #[test]
    fn an_edited_file_is_cut_off_if_it_lost_its_last_newline() {
        let ended: &[(&str, &[u8])] = &[("a", b"a: 1\n"), ("b", b"b: 2\n")];
        let texts = |text: &'static [u8]| [("a", b"a: 1\n".as_slice()), ("b", text)];
        assert_eq!(lack(&texts(b"b: 3"), ended), Some(Lack::Newline));
        assert_eq!(lack(&texts(b"b: 3\n"), ended), None);
        assert_eq!(lack(&texts(b"b: 3\r\n"), ended), None);
        let unended: &[(&str, &[u8])] = &[("a", b"a: 1\n"), ("b", b"b: 2")];
        assert_eq!(lack(&texts(b"b: 3"), unended), None, "it never had one");
        assert_eq!(lack(&texts(b"b: 2"), unended), None, "it is unchanged");
    }

    #[test]
    fn a_new_file_that_begins_like_another_is_not_cut_off() {
        let last: &[(&str, &[u8])] = &[("1", b"version: 1\nservices: []\n")];
        let beside = [("0", b"version: 1\n".as_slice()), last[0]];
        assert_eq!(lack(&beside, last), None);
        let alone = [("0", b"version: 1\n".as_slice()), ("1", b"services: []\n")];
        assert_eq!(lack(&alone, last), Some(Lack::Rest { of: 24 }));
    }

    #[test]
    fn a_file_with_an_end_mark_is_complete() {
        let last: &[(&str, &[u8])] = &[("a", b"a: 1\nb: 2\n")];
        for complete in
            ["a: 1\n...\n", "a: 1\n...", "a: 1\r\n...\r\n\n", "...", "a: 1\n... # end\n# more\n\n"]
        {
            assert_eq!(lack(&[("a", complete.as_bytes())], last), None, "{complete:?}");
            // This is the beginning of a file that had more before its mark.
            let longer: &[(&str, &[u8])] = &[("a", b"a: 1\n...\nb: 2\n...\n")];
            assert_eq!(lack(&[("a", complete.as_bytes())], longer), None, "{complete:?}");
        }
        for not in
            ["a: 1\n..", "a: 1\n ...", "a: 1...", "a: 1\n....", "a: 1\n...#", "a: 1\n# ...\n"]
        {
            assert!(!has_end_mark(not.as_bytes()), "{not:?}");
        }
    }

    #[test]
    fn a_file_that_lost_its_end_mark_is_incomplete() {
        let last: &[(&str, &[u8])] = &[("/etc/a", b"a: 1\n...\n"), ("/etc/b", b"b: 2\n")];
        let b = last[1];
        assert_eq!(lack(&[("a", b"c: 9\nd: 8\n"), b], last), Some(Lack::EndMark));
        assert_eq!(lack(&[last[0], ("b", b"c: 9\n")], last), None, "it never had one");
        assert_eq!(lack(&[last[0], b, ("c", b"c: 9\n")], last), None);
        // If every file has a mark, a new file is expected to have one too.
        assert_eq!(lack(&[last[0], ("c", b"c: 9\n")], &last[..1]), Some(Lack::EndMark));
    }
}
