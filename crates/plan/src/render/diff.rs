//! Writes the difference of two texts as a unified diff.

use std::fmt::Write as _;

use similar::algorithms::{Capture, Compact, Replace, myers};
use similar::udiff::UnifiedHunkHeader;
use similar::{DiffTag, DiffableStr, group_diff_ops};

/// A text of whole lines, with the name that a diff gives it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NamedText<'t> {
    pub(crate) name: &'t str,
    pub(crate) text: &'t str,
}

/// Returns a unified diff from the live to the desired state, both written by the caller in the
/// syntax of specs; empty if they are equal.
pub fn unified_diff(live: &str, desired: &str) -> String {
    let live = NamedText { name: "live", text: live };
    unified_diff_of(live, NamedText { name: "desired", text: desired }, 3)
}

/// Returns a unified diff of two texts, each change with so many lines of context; empty if they are
/// equal.
///
/// The same as that of [`similar::TextDiff`], which is not used because it contains each algorithm of
/// that crate several times: 400 KB, 5 % of the program.
pub(crate) fn unified_diff_of(
    before: NamedText<'_>,
    after: NamedText<'_>,
    context: usize,
) -> String {
    let (old, new) = (before.text.tokenize_lines(), after.text.tokenize_lines());
    let mut found = Compact::new(Replace::new(Capture::new()), &*old, &*new);
    let Ok(()) = myers::diff(&mut found, &*old, 0..old.len(), &*new, 0..new.len());
    let mut text = String::new();
    for hunk in group_diff_ops(found.into_inner().into_inner().into_ops(), context) {
        if text.is_empty() {
            text = format!("--- {}\n+++ {}\n", before.name, after.name);
        }
        // Writing to a String does not fail.
        let _written = writeln!(text, "{}", UnifiedHunkHeader::new(&hunk));
        for op in hunk {
            let is_kept = op.tag() == DiffTag::Equal;
            push_lines(&mut text, if is_kept { ' ' } else { '-' }, &old[op.old_range()]);
            if !is_kept {
                push_lines(&mut text, '+', &new[op.new_range()]);
            }
        }
    }
    text
}

fn push_lines(text: &mut String, sign: char, lines: &[&str]) {
    for line in lines {
        text.push(sign);
        text.push_str(line);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use similar::TextDiff;

    use super::*;

    fn expected(old: &str, new: &str, context: usize) -> String {
        let diff = TextDiff::from_lines(old, new);
        diff.unified_diff().context_radius(context).header("a", "b").to_string()
    }

    fn found(old: &str, new: &str, context: usize) -> String {
        unified_diff_of(
            NamedText { name: "a", text: old },
            NamedText { name: "b", text: new },
            context,
        )
    }

    fn text(lines: &[u8]) -> String {
        lines.iter().map(|line| format!("line {line}\n")).collect()
    }

    proptest! {
        #[test]
        fn a_diff_is_that_of_text_diff(
            old in prop::collection::vec(0_u8..12, 0..40),
            new in prop::collection::vec(0_u8..12, 0..40),
            context in 0_usize..4,
        ) {
            let (old, new) = (text(&old), text(&new));
            prop_assert_eq!(found(&old, &new, context), expected(&old, &new, context));
        }

        #[test]
        fn so_is_one_of_long_texts_with_few_changes(
            old in prop::collection::vec(any::<u8>(), 300..400),
            changes in prop::collection::vec((0_usize..300, any::<u8>()), 0..6),
            deleted in 0_usize..300,
        ) {
            let mut new = old.clone();
            for (place, line) in changes {
                new[place] = line;
            }
            new.remove(deleted);
            let (old, new) = (text(&old), text(&new));
            prop_assert_eq!(found(&old, &new, 3), expected(&old, &new, 3));
        }
    }

    #[test]
    fn equal_texts_have_an_empty_diff() {
        for same in ["", "a\n", "a\nb\n"] {
            assert_eq!(unified_diff(same, same), "");
        }
        assert_eq!(
            unified_diff("a\nb\n", "a\nc\n"),
            "--- live\n+++ desired\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
        );
    }
}
