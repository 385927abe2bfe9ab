//! The one module that knows serde_yaml.
//!
//! serde_yaml keeps every event of a document in memory, some twenty times the text. A large spec
//! is therefore read in pieces, cut where a new item of `services` or `pools` or a new key of the
//! top begins. A cut can only go wrong inside a quoted text or brackets that run over several
//! lines, and then neither side of it is YAML: whenever a piece cannot be read, the whole is.

use serde::Deserialize;

use crate::field::{Field, List};
use crate::spec::{Pool, Service, Spec};

/// About how many bytes go into one piece: the events of one fit into memory that is used again
/// for the next.
const PIECE: usize = 2 << 10;

/// What serde_yaml says where the position-keeping parser finds nothing wrong.
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// Reads a text that holds one spec.
pub(crate) fn read(text: &str) -> Result<Spec, Failure> {
    if text.len() > 4 * PIECE
        && let Some(spec) = in_pieces(text, PIECE)
    {
        return Ok(spec);
    }
    serde_yaml::from_str(text).map_err(|error| {
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
fn in_pieces(text: &str, piece: usize) -> Option<Spec> {
    let text = text.strip_prefix("---\n").unwrap_or(text);
    if text.is_empty() || text.starts_with("---") || text.contains("\n---") {
        return None;
    }
    let mut spec = Spec::default();
    for section in Cuts::new(text, begins_section) {
        let (header, body) = section.split_once('\n').unwrap_or((section, ""));
        let header = header.split_once(" #").map_or(header, |(header, _)| header);
        match header.trim_end() {
            "services:" => spec.services = items::<Service>(body, piece, &spec.services)?,
            "pools:" => spec.pools = items::<Pool>(body, piece, &spec.pools)?,
            _ => merge(&mut spec, serde_yaml::from_str(section).ok()?)?,
        }
    }
    Some(spec)
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
    let Spec { version, scope, vips, services, pools, defaults, timeouts, sync, sysctls, observed } =
        section;
    once(&mut spec.version, version)?;
    once(&mut spec.scope, scope)?;
    once(&mut spec.vips, vips)?;
    once(&mut spec.services, services)?;
    once(&mut spec.pools, pools)?;
    once(&mut spec.defaults, defaults)?;
    once(&mut spec.timeouts, timeouts)?;
    once(&mut spec.sync, sync)?;
    once(&mut spec.sysctls, sysctls)?;
    once(&mut spec.observed, observed)
}

/// A list from what stands below its key.
fn items<'t, T: Deserialize<'t>>(
    body: &'t str,
    piece: usize,
    before: &Field<List<T>>,
) -> Option<Field<List<T>>> {
    let first = body.lines().find(|line| !is_blank(line))?;
    let indentation = first.len() - first.trim_start_matches(' ').len();
    if !before.is_absent() || !begins_item(first, indentation) {
        return None;
    }
    let mut all = Vec::new();
    for piece in Cuts::new(body, |line| begins_item(line, indentation)).packed(piece) {
        let List(items) = serde_yaml::from_str::<List<T>>(piece).ok()?;
        all.extend(items);
    }
    Some(Field::Value(List(all)))
}

fn is_blank(line: &str) -> bool {
    let rest = line.trim_start_matches([' ', '\t']);
    rest.trim_end().is_empty() || rest.starts_with('#')
}

/// A key at the very left. A list may stand as far left as the key it belongs to.
fn begins_section(line: &str) -> bool {
    !line.starts_with([' ', '\t', '#', '-', '\r', '\n'])
}

fn begins_item(line: &str, indentation: usize) -> bool {
    let spaces = line.len() - line.trim_start_matches(' ').len();
    let rest = &line[spaces..];
    spaces == indentation && (rest.starts_with("- ") || rest.trim_end() == "-")
}

/// A text cut before every line that begins something.
struct Cuts<'t, F> {
    rest: &'t str,
    begins: F,
    at_least: usize,
}

impl<'t, F: Fn(&str) -> bool> Cuts<'t, F> {
    fn new(text: &'t str, begins: F) -> Self {
        Self { rest: text, begins, at_least: 0 }
    }

    /// Only cut when a piece has so many bytes.
    fn packed(self, at_least: usize) -> Self {
        Self { at_least, ..self }
    }
}

impl<'t, F: Fn(&str) -> bool> Iterator for Cuts<'t, F> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let (mut end, mut filled) = (0, false);
        for line in self.rest.split_inclusive('\n') {
            let begins = (self.begins)(line);
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
