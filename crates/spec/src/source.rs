//! The texts that a spec consists of, before they are parsed as YAML.

use std::ops::Range;

use crate::problem::Position;

/// The largest text that is read, in bytes: enough for some 300,000 real servers. It bounds time
/// and memory before the first byte is parsed.
pub const MAX_SOURCE: usize = 16 << 20;

/// The largest snapshot that is read as a live state, in bytes. A snapshot is written by a program, and
/// holds more of each real server than a spec.
pub const MAX_SNAPSHOT: usize = 64 << 20;

/// What a text is read as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SourceKind {
    /// A spec, or a part of one.
    #[default]
    Spec,
    /// A snapshot, as a live state.
    Snapshot,
}

impl SourceKind {
    /// The most bytes that are read.
    pub fn most(self) -> usize {
        match self {
            Self::Spec => MAX_SOURCE,
            Self::Snapshot => MAX_SNAPSHOT,
        }
    }
}

/// One text of a spec, and its name in errors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// Shown before line and column: a file's path, or `<stdin>`.
    pub name: String,
    /// The bytes as read; [`crate::load`] checks that they are UTF-8. Of a longer text than is read, the
    /// first ones: one more than the most that are read.
    pub text: Vec<u8>,
    /// What it is read as.
    pub kind: SourceKind,
    /// The length of a text of which only a part was read, in bytes; `None` if it is not known, or if
    /// `text` is all of it.
    pub length: Option<u64>,
}

impl Source {
    /// A source of that name.
    pub fn new(name: impl Into<String>, text: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), text: text.into(), ..Self::default() }
    }
}

/// Why a text is refused before it is parsed as YAML.
pub(crate) struct NotText {
    pub(crate) at: usize,
    pub(crate) message: String,
    pub(crate) remedy: &'static str,
}

/// The text of a source without its byte order mark.
pub(crate) fn text(source: &Source) -> Result<&str, NotText> {
    let Source { name: _, text, kind, length } = source;
    let most = kind.most();
    if text.len() > most {
        let message = match length {
            Some(length) => format!("the text has {length} bytes, and at most {most} are read"),
            None => format!("the text has more than {most} bytes, the most that are read"),
        };
        let remedy = match kind {
            SourceKind::Spec => "split it into several files",
            SourceKind::Snapshot => {
                "take it with `--pools`, or with `--names SPEC` and a narrower scope"
            }
        };
        return Err(NotText { at: 0, message, remedy });
    }
    let bytes = without_mark(text);
    let text = std::str::from_utf8(bytes).map_err(|error| NotText {
        at: error.valid_up_to(),
        message: "this is not UTF-8 text".to_owned(),
        remedy: "a spec is a YAML text file; save it as UTF-8",
    })?;
    match forbidden_character(text) {
        None => Ok(text),
        Some((at, character)) => Err(NotText {
            at,
            message: format!(
                "the character U+{:04X} {}",
                u32::from(character),
                match character {
                    '\u{85}' | '\u{2028}' | '\u{2029}' => {
                        "ends a line for some YAML parsers and not for others"
                    }
                    _ => "cannot stand in YAML",
                }
            ),
            remedy: "a spec is a YAML text file; remove the character",
        }),
    }
}

/// The bytes without a leading byte order mark.
pub(crate) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// The first character that YAML 1.2, section 5.1, does not allow (the position-keeping parser
/// would treat a NUL as the end of the text), or that ends a line in YAML 1.1 only, so that the
/// two parsers would read different specs.
fn forbidden_character(text: &str) -> Option<(usize, char)> {
    let suspicious =
        |byte: u8| (byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r')) || byte > 0x7e;
    if !text.bytes().any(suspicious) {
        return None;
    }
    text.char_indices().find(|&(_, character)| match character {
        '\t' | '\n' | '\r' | ' '..='~' => false,
        '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => true,
        other => other < '\u{a0}',
    })
}

/// The start of each line of a text.
pub(crate) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
    /// Whether the text is ASCII. Avoids counting characters, which is slow on a very long line.
    ascii: bool,
}

impl<'t> Lines<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let bytes = text.as_bytes();
        let mut starts = vec![0];
        for (index, byte) in bytes.iter().enumerate() {
            let ends = match byte {
                b'\n' => true,
                b'\r' => bytes.get(index + 1) != Some(&b'\n'),
                _ => false,
            };
            if ends {
                starts.push(index + 1);
            }
        }
        Self { text, starts, ascii: text.is_ascii() }
    }

    /// The offset and text of a line, without its line break; `number` counts from 1. Empty past
    /// the last line.
    pub(crate) fn line(&self, number: usize) -> (usize, &'t str) {
        let Some(&start) = number.checked_sub(1).and_then(|index| self.starts.get(index)) else {
            return (self.text.len(), "");
        };
        let end = self.starts.get(number).copied().unwrap_or(self.text.len());
        (start, self.text[start..end].trim_end_matches(['\n', '\r']))
    }

    /// The first tab in the indentation of a line.
    pub(crate) fn tab_in_indentation(&self, line: usize) -> Option<usize> {
        let (start, text) = self.line(line);
        let indentation = text.len() - text.trim_start_matches([' ', '\t']).len();
        text[..indentation].find('\t').map(|tab| start + tab)
    }

    /// The byte offset of a line and a column, both counted from 1, the column in characters and
    /// limited to the length of the line.
    pub(crate) fn offset(&self, line: usize, column: usize) -> usize {
        let (start, text) = self.line(line);
        let context = text.char_indices().nth(column.saturating_sub(1));
        start + context.map_or(text.len(), |(index, _)| index)
    }

    /// The position of a span of bytes: its part on its first line, without trailing blanks.
    pub(crate) fn place(&self, source: usize, name: &str, span: Range<usize>) -> Position {
        let line = self.starts.partition_point(|start| *start <= span.start).max(1);
        let (start, text) = self.line(line);
        let from = span.start.clamp(start, start + text.len());
        let to = span.end.clamp(from, start + text.len());
        let shown = self.text.get(from..to).unwrap_or_default();
        let to = from + shown.trim_end().len();
        let before = self.text.get(start..from).unwrap_or_default();
        let column = 1 + if self.ascii { before.len() } else { before.chars().count() };
        Position { source, name: name.into(), line, column, span: from..to }
    }
}
