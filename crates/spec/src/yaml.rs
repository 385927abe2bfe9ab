//! Parses specs with serde_yaml; the only module that uses it.
//!
//! serde_yaml keeps every event of a document in memory, some twenty times the size of the text. A
//! large spec is therefore parsed in pieces, cut where a new item of `services` or `pools` or a new
//! top-level key begins. A cut can be wrong only inside a quoted text or brackets that span several
//! lines, and then neither side of it is YAML: if a piece cannot be parsed, the whole text is
//! parsed.
//!
//! The pieces of `services`, which are most of a large spec, are parsed one by one as they are
//! consumed, so that the parsed spec is never in memory as a whole.

use std::vec;

use evenkeel_model::OwnerName;
use serde::Deserialize;

use crate::recovering_de::{Field, List};
use crate::snapshot_section::{SnapshotPart, SnapshotSection};
use crate::spec::{OwnerText, Service, Spec};

/// The approximate size of a piece in bytes: the memory for its events is reused for the next one.
const PIECE: usize = 2 << 10;

/// The error of serde_yaml, for texts in which the position-keeping parser finds none.
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A parsed spec, except for services that are not parsed yet.
#[derive(Debug)]
pub(crate) struct Reading<'t> {
    pub(crate) spec: Spec,
    unread: Option<Cuts<'t>>,
}

impl From<Spec> for Reading<'_> {
    fn from(spec: Spec) -> Self {
        Self { spec, unread: None }
    }
}

impl<'t> Reading<'t> {
    /// Takes the services, to be consumed one by one.
    pub(crate) fn take_services(&mut self) -> Services<'t> {
        let read = std::mem::take(&mut self.spec.services).into_value();
        let List(read) = read.unwrap_or(List(Vec::new()));
        Services { read: read.into_iter(), unread: self.unread.take() }
    }
}

/// Services in the order of the text.
#[derive(Debug)]
pub(crate) struct Services<'t> {
    read: vec::IntoIter<Field<Service>>,
    unread: Option<Cuts<'t>>,
}

/// A piece could not be parsed; the whole text may still be valid.
#[derive(Debug)]
pub(crate) struct PieceError;

impl Iterator for Services<'_> {
    type Item = Result<Field<Service>, PieceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(service) = self.read.next() {
                return Some(Ok(service));
            }
            let piece = self.unread.as_mut()?.next()?;
            let Ok(List(services)) = serde_yaml::from_str(piece) else {
                self.unread = None;
                return Some(Err(PieceError));
            };
            self.read = services.into_iter();
        }
    }
}

/// Returns what a text names as its owner, without reading the rest; `None` if it names none, or cannot be
/// read.
pub(crate) fn owner(text: &str) -> Option<OwnerName> {
    #[derive(Deserialize)]
    struct Peeked {
        owner: OwnerText,
    }
    // A spec in braces is a small one.
    let is_in_braces = text.lines().any(|line| line.starts_with('{'));
    let begins =
        |line: &&str| ["owner", "\"owner\"", "'owner'"].iter().any(|it| line.starts_with(it));
    let piece = match is_in_braces {
        true => text,
        false => text.lines().find(begins)?,
    };
    serde_yaml::from_str(piece).ok().map(|Peeked { owner }| owner.0)
}

/// Parses a text that holds one spec. The services of a large one are parsed when they are
/// consumed; if that fails, use [`read_whole`].
pub(crate) fn read(text: &str) -> Result<Reading<'_>, Failure> {
    if text.len() > 4 * PIECE
        && let Some(reading) = in_pieces(text, PIECE)
    {
        return Ok(reading);
    }
    read_whole(text)
}

/// Parses a text as [`read`] does, all of it at once.
pub(crate) fn read_whole(text: &str) -> Result<Reading<'_>, Failure> {
    serde_yaml::from_str::<Spec>(text).map(Reading::from).map_err(|error| {
        let (line, column) =
            error.location().map_or((1, 1), |place| (place.line(), place.column()));
        Failure { message: error.to_string(), line, column }
    })
}

/// The text as other tools that use the JSON Schema see it.
#[cfg(test)]
pub(crate) fn json(text: &str) -> Option<serde_json::Value> {
    serde_yaml::from_str(text).ok()
}

/// Parses it in pieces of at least `piece` bytes; `None` if that is not possible.
fn in_pieces(text: &str, piece: usize) -> Option<Reading<'_>> {
    let text = text.strip_prefix("---\n").unwrap_or(text);
    let is_marked = ["---", "..."].iter().any(|marker| {
        let mut found = text.match_indices(marker).map(|(at, _)| at);
        found.any(|at| at == 0 || text[..at].ends_with(['\n', '\r']))
    });
    if text.is_empty() || is_marked {
        return None;
    }
    let mut reading = Reading::from(Spec::default());
    for section in Cuts::new(text, Beginning::Section) {
        let (header, body) = section.split_once('\n').unwrap_or((section, ""));
        let header = header.split_once(" #").map_or(header, |(header, _)| header);
        match header.trim_end() {
            "services:" if reading.unread.is_none() && reading.spec.services.is_absent() => {
                reading.unread = Some(items(body, piece)?);
            }
            "pools:" if reading.spec.pools.is_absent() => {
                reading.spec.pools = Field::Value(all(items(body, piece)?)?);
            }
            // A comment may end with it.
            "observed:" if reading.spec.observed.is_absent() && !section.contains('\r') => {
                reading.spec.observed = Field::Value(Box::new(observed(body, piece)?));
            }
            _ => {
                let section: Spec = serde_yaml::from_str(section).ok()?;
                if reading.unread.is_some() && !section.services.is_absent() {
                    return None;
                }
                reading.spec.merge(section)?;
            }
        }
    }
    Some(reading)
}

/// The observations of a snapshot, in pieces of their lists; `None` if they cannot be cut.
fn observed(body: &str, piece: usize) -> Option<SnapshotSection> {
    let lines = || body.lines().filter(|line| !is_blank(line));
    let first = lines().next()?;
    let key = Beginning::Key { indentation: first.len() - first.trim_start_matches(' ').len() };
    if first.starts_with(' ') && first.trim() == "{}" && lines().count() == 1 {
        return Some(SnapshotSection::default());
    }
    if !key.begins(first) {
        return None;
    }
    let mut all = SnapshotSection::default();
    for entry in Cuts::new(without_blank_lines(body), key) {
        let (name, list) = entry.split_once('\n').unwrap_or((entry, ""));
        let mut found = SnapshotSection::default();
        match items(list, piece).filter(|_| name.trim_end().ends_with(':')) {
            Some(pieces) => {
                for items in pieces {
                    let SnapshotPart(part) =
                        serde_yaml::from_str(&format!("{name}\n{items}")).ok()?;
                    found.extend(part);
                }
            }
            None => SnapshotPart(found) = serde_yaml::from_str(entry).ok()?,
        }
        if all.overlaps(&found) {
            return None;
        }
        all.extend(found);
    }
    Some(all)
}

/// The text from its first line that is not blank.
fn without_blank_lines(text: &str) -> &str {
    let blank = text.split_inclusive('\n').take_while(|line| is_blank(line));
    &text[blank.map(str::len).sum()..]
}

/// The list below its key, in pieces of at least `piece` bytes.
fn items(body: &str, piece: usize) -> Option<Cuts<'_>> {
    let first = body.lines().find(|line| !is_blank(line))?;
    let item = Beginning::Item { indentation: first.len() - first.trim_start_matches(' ').len() };
    item.begins(first).then(|| Cuts::new(body, item).packed(piece))
}

/// All items of all pieces of a list.
fn all<'t, T: Deserialize<'t>>(pieces: Cuts<'t>) -> Option<List<T>> {
    let mut all = Vec::new();
    for piece in pieces {
        let List(items) = serde_yaml::from_str::<List<T>>(piece).ok()?;
        all.extend(items);
    }
    Some(List(all))
}

fn is_blank(line: &str) -> bool {
    let rest = line.trim_start_matches([' ', '\t']);
    rest.trim_end().is_empty() || rest.starts_with('#')
}

/// Whether a line may begin with a key. With the other characters, a line begins with a comment, an item, or a
/// value that would be valid alone, and is not beside a key.
fn may_be_key(line: &str) -> bool {
    !line.starts_with([
        '#', '-', '?', ':', '\r', '\n', '{', '}', '[', ']', '&', '*', '!', '|', '>', '~', '%', '@',
        '`',
    ])
}

/// Where a text is cut.
#[derive(Debug, Clone, Copy)]
enum Beginning {
    /// Before a key without indentation. A list may have the same indentation as its key.
    Section,
    /// Before a key with that indentation.
    Key { indentation: usize },
    /// Before an item of a list with that indentation.
    Item { indentation: usize },
}

impl Beginning {
    fn begins(self, line: &str) -> bool {
        match self {
            Self::Section => !line.starts_with([' ', '\t']) && may_be_key(line),
            Self::Key { indentation } => {
                let spaces = line.len() - line.trim_start_matches(' ').len();
                let rest = &line[spaces..];
                let begins = !rest.is_empty() && !rest.starts_with('\t') && may_be_key(rest);
                indentation > 0 && spaces == indentation && begins
            }
            Self::Item { indentation } => {
                let spaces = line.len() - line.trim_start_matches(' ').len();
                let rest = &line[spaces..];
                spaces == indentation && (rest.starts_with("- ") || rest.trim_end() == "-")
            }
        }
    }
}

/// The pieces of a text.
#[derive(Debug)]
struct Cuts<'t> {
    rest: &'t str,
    before: Beginning,
    at_least: usize,
}

impl<'t> Cuts<'t> {
    fn new(text: &'t str, before: Beginning) -> Self {
        Self { rest: text, before, at_least: 0 }
    }

    /// Cuts only when a piece has at least that many bytes.
    fn packed(self, at_least: usize) -> Self {
        Self { at_least, ..self }
    }
}

impl<'t> Iterator for Cuts<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let (mut end, mut filled) = (0, false);
        for line in self.rest.split_inclusive('\n') {
            let begins = self.before.begins(line);
            if begins && filled && end >= self.at_least {
                break;
            }
            // Anything before the first start, mostly comments, belongs to the first piece.
            filled |= begins;
            end += line.len();
        }
        let (piece, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!piece.is_empty()).then_some(piece)
    }
}

#[cfg(test)]
mod tests;
