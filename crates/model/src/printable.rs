//! Text that leaves the program: what a terminal, a pager or a viewer of logs would interpret is escaped.
//!
//! The escapes are those of JSON (`\u001b`), so that a document stays the same when it is escaped: there such
//! characters occur only within strings.

use std::borrow::Cow;
use std::fmt::Write;

/// Escapes every control character but line feeds and tabs, and the characters that change the direction of
/// text. It is used where text leaves the program.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |character| is_active(character) && !matches!(character, '\n' | '\t'))
}

/// Escapes line feeds and tabs too: for names, which otherwise could continue as another line.
#[must_use]
pub fn printable_name(text: &str) -> Cow<'_, str> {
    escaped(text, is_active)
}

/// Whether something that shows text may do more with a character than show it: control characters (C0, DEL,
/// C1), separators of lines and paragraphs, marks, embeddings, overrides and isolates of direction.
fn is_active(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

fn escaped(text: &str, escapes: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&escapes) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if escapes(character) {
            // Writing to a string does not fail, and none of them is beyond four digits.
            let _ = write!(shown, "\\u{:04x}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_interpreted_is_escaped_and_everything_else_stays() {
        for plain in ["", "a\tb\nc", "web-ä/192.0.2.1:80/tcp → 例え"] {
            assert!(matches!(printable(plain), Cow::Borrowed(same) if same == plain));
        }
        for (text, shown) in [
            ("a\u{1b}[2Jb", "a\\u001b[2Jb"),
            ("\r\0\u{7f}\u{9b}31m", "\\u000d\\u0000\\u007f\\u009b31m"),
            ("x\u{202e}fdp.yaml", "x\\u202efdp.yaml"),
            ("\u{2066}\u{2069}\u{200f}\u{2028}", "\\u2066\\u2069\\u200f\\u2028"),
        ] {
            assert_eq!(printable(text), shown);
            assert_eq!(printable_name(text), shown);
        }
        assert_eq!(printable_name("a\nerror: b\tc"), "a\\u000aerror: b\\u0009c");
    }
}
