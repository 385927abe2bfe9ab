//! The one module that knows serde_yaml.
//!
//! serde_yaml keeps every event of a document in memory, some twenty times the text. A large spec
//! is therefore read in pieces, cut where a new item of `services` or `pools` or a new key of the
//! top begins. A cut can only go wrong inside a quoted text or brackets that run over several
//! lines, and then neither side of it is YAML: whenever a piece cannot be read, the whole is.
//!
//! The pieces of `services`, which are most of a large spec, are read one by one as they are asked
//! for, so that the spec as it was written is never in memory as a whole.

use std::vec;

use serde::Deserialize;

use crate::recovering_de::{Field, List};
use crate::spec::{Service, Spec};

/// About how many bytes go into one piece: the events of one fit into memory that is used again
/// for the next.
const PIECE: usize = 2 << 10;

/// What serde_yaml says where the position-keeping parser finds nothing wrong.
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A spec as it was read, but for services that are still to be read.
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
    /// The services, given up one by one.
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

/// A piece could not be read; whether the whole can, that has to be seen.
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

/// Reads a text that holds one spec; of a large one the services are read when they are taken, and
/// where that fails [`read_whole`] is to be asked.
pub(crate) fn read(text: &str) -> Result<Reading<'_>, Failure> {
    if text.len() > 4 * PIECE
        && let Some(reading) = in_pieces(text, PIECE)
    {
        return Ok(reading);
    }
    read_whole(text)
}

/// The same at once.
pub(crate) fn read_whole(text: &str) -> Result<Reading<'_>, Failure> {
    serde_yaml::from_str::<Spec>(text).map(Reading::from).map_err(|error| {
        let (line, column) =
            error.location().map_or((1, 1), |place| (place.line(), place.column()));
        Failure { message: error.to_string(), line, column }
    })
}

/// The same text as other tools that know the JSON Schema see it.
#[cfg(test)]
pub(crate) fn json(text: &str) -> Option<serde_json::Value> {
    serde_yaml::from_str(text).ok()
}

/// Reads it in pieces of at least so many bytes; `None` where that does not do.
fn in_pieces(text: &str, piece: usize) -> Option<Reading<'_>> {
    let text = text.strip_prefix("---\n").unwrap_or(text);
    if text.is_empty() || text.starts_with("---") || text.contains("\n---") {
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
            _ => {
                let section: Spec = serde_yaml::from_str(section).ok()?;
                if reading.unread.is_some() && !section.services.is_absent() {
                    return None;
                }
                merge(&mut reading.spec, section)?;
            }
        }
    }
    Some(reading)
}

/// Takes over what a section says; `None` if it was said before.
fn merge(spec: &mut Spec, section: Spec) -> Option<()> {
    fn once<T>(field: &mut Field<T>, said: Field<T>) -> Option<()> {
        match (&*field, said) {
            (_, Field::Absent) => Some(()),
            (Field::Absent, said) => {
                *field = said;
                Some(())
            }
            _ => None,
        }
    }
    let Spec {
        version,
        scope,
        vips,
        services,
        pools,
        defaults,
        timeouts,
        sync,
        sysctls,
        guards,
        observed,
    } = section;
    once(&mut spec.version, version)?;
    once(&mut spec.scope, scope)?;
    once(&mut spec.vips, vips)?;
    once(&mut spec.services, services)?;
    once(&mut spec.pools, pools)?;
    once(&mut spec.defaults, defaults)?;
    once(&mut spec.timeouts, timeouts)?;
    once(&mut spec.sync, sync)?;
    once(&mut spec.sysctls, sysctls)?;
    once(&mut spec.guards, guards)?;
    once(&mut spec.observed, observed)
}

/// The list that stands below its key, in pieces of at least so many bytes.
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

/// What a text is cut before.
#[derive(Debug, Clone, Copy)]
enum Beginning {
    /// A key at the very left. A list may stand as far left as the key it belongs to.
    Section,
    /// An item of a list that is so many spaces from the left.
    Item { indentation: usize },
}

impl Beginning {
    fn begins(self, line: &str) -> bool {
        match self {
            Self::Section => !line.starts_with([' ', '\t', '#', '-', '\r', '\n']),
            Self::Item { indentation } => {
                let spaces = line.len() - line.trim_start_matches(' ').len();
                let rest = &line[spaces..];
                spaces == indentation && (rest.starts_with("- ") || rest.trim_end() == "-")
            }
        }
    }
}

/// A text cut before every line that begins something.
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

    /// Only cut when a piece has so many bytes.
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
            // What stands before the first beginning, comments mostly, goes with it.
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
