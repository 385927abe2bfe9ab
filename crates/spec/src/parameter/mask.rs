//! Masks the values of environment variables in the texts of problems: they may be secrets, and a spec may
//! name any variable of the process.

use std::collections::BTreeMap;

use crate::problem::Problem;

/// Values shorter than this are masked only as whole words: in other places they mean something else.
const SHORT: usize = 4;
/// What follows the beginning of a long text in a message ([`crate::suggest::shorten`]).
const CUT: &str = "...";

/// Masks these values, by the text between the braces of their parameters.
pub(super) fn mask(problem: &mut Problem, values: &BTreeMap<&str, &str>) {
    let Problem { severity: _, place: _, context, message, remedy, related } = problem;
    let labels = related.iter_mut().map(|it| &mut it.label);
    for text in [message].into_iter().chain(context).chain(remedy).chain(labels) {
        for (name, value) in values {
            let shown = format!("${{{name}}}");
            *text = masked(text, value, &shown);
        }
    }
}

fn masked(text: &str, value: &str, shown: &str) -> String {
    let mut text = without(text, value, shown);
    // A message has control characters escaped, and the beginning of a long text.
    let escaped: String = value.chars().flat_map(escape).collect();
    if escaped != value {
        text = without(&text, &escaped, shown);
    }
    text = without_beginnings(&text, &escaped, shown);
    in_quotes(&text, |quoted| {
        // A part of a value, such as an address of a list.
        let separators = |it: char| !it.is_alphanumeric();
        let mut parts: Vec<&str> = value.split(separators).filter(|it| it.len() >= SHORT).collect();
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        parts.iter().fold(quoted.to_owned(), |quoted, part| without(&quoted, part, shown))
    })
}

fn escape(character: char) -> Vec<char> {
    if character.is_control() { character.escape_default().collect() } else { vec![character] }
}

/// Replaces a value; a short one only where it is a word of its own.
fn without(text: &str, value: &str, shown: &str) -> String {
    if value.is_empty() {
        return text.to_owned();
    }
    let is_short = value.chars().count() < SHORT;
    let mut rest = text;
    let mut masked = String::with_capacity(text.len());
    while let Some(at) = rest.find(value) {
        let (before, behind) = (&rest[..at], &rest[at + value.len()..]);
        let last = before.chars().next_back().or(masked.chars().next_back());
        let is_part = |it: Option<char>| it.is_some_and(char::is_alphanumeric);
        let stays = is_short && (is_part(last) || is_part(behind.chars().next()));
        masked.push_str(before);
        masked.push_str(if stays { value } else { shown });
        rest = behind;
    }
    masked + rest
}

/// Replaces beginnings of a value that a message cuts off.
fn without_beginnings(text: &str, value: &str, shown: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut pieces = text.split(CUT).peekable();
    while let Some(piece) = pieces.next() {
        let is_cut = pieces.peek().is_some();
        let ends = value.char_indices().map(|(at, _)| at).rev().filter(|at| *at > 0);
        let beginning = ends.map(|at| &value[..at]).find(|it| piece.ends_with(it));
        match beginning.filter(|_| is_cut) {
            Some(beginning) => {
                masked.push_str(&piece[..piece.len() - beginning.len()]);
                masked.push_str(shown);
            }
            None => masked.push_str(piece),
        }
        if is_cut {
            masked.push_str(CUT);
        }
    }
    masked
}

/// Changes what stands in quotes, of either kind.
fn in_quotes(text: &str, change: impl Fn(&str) -> String) -> String {
    let mut changed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['`', '"']) {
        let quote = &rest[at..=at];
        let Some(length) = rest[at + 1..].find(quote) else { break };
        let end = at + 1 + length;
        changed.push_str(&rest[..=at]);
        changed.push_str(&change(&rest[at + 1..end]));
        changed.push_str(quote);
        rest = &rest[end + 1..];
    }
    changed + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_masked_whole_shortened_and_in_parts() {
        let masked = |text: &str, value: &str| masked(text, value, "${env:S}");
        for (text, value, shown) in [
            ("`hunter2` is no address", "hunter2", "`${env:S}` is no address"),
            ("service web-hunter2: no port", "hunter2", "service web-${env:S}: no port"),
            ("`hunter2` of a list", "10.0.0.1,hunter2", "`${env:S}` of a list"),
            ("invalid type: string \"hunter2\"", "x hunter2", "invalid type: string \"${env:S}\""),
            ("`a\\u{1b}b12` is no name", "a\u{1b}b12", "`${env:S}` is no name"),
            // Short values are words, or mean something else.
            ("port 100000 of `1` is too large", "1", "port 100000 of `${env:S}` is too large"),
            ("the service is new", "service-a", "the service is new"),
            ("nothing", "", "nothing"),
        ] {
            assert_eq!(masked(text, value), shown, "{text}");
        }
        let long = "k".repeat(99);
        let shown = crate::suggest::quote(&long);
        assert_eq!(masked(&shown, &long), "`${env:S}...`");
        let shown = crate::suggest::quote(&format!("x-{long}"));
        assert_eq!(masked(&shown, &long), "`x-${env:S}...`");
        // Its end is cut off after one character.
        let shown = crate::suggest::quote(&format!("{}s3cret", "-".repeat(59)));
        assert!(masked(&shown, "s3cret").ends_with("-${env:S}...`"), "{shown}");
    }
}
