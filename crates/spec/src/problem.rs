//! Problems of a spec: what is wrong, where, and how to correct it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use evenkeel_model::printable_name;

/// Whether a problem prevents the spec from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The spec cannot be used.
    Error,
    /// The spec is used as it is.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// A span of a source's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Which of the sources, counted from 0 in the order they were given.
    pub source: usize,
    /// The source's name.
    pub name: Arc<str>,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// Its bytes, all on that line, not counting a byte order mark.
    pub span: Range<usize>,
}

impl fmt::Display for Position {
    /// `web.yaml:3:5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", printable_name(&self.name), self.line, self.column)
    }
}

/// A second position that a problem concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// The position.
    pub place: Position,
    /// What is written there: `first written here`.
    pub label: String,
}

/// One error or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// The position of the value; `None` only if there is no source at all.
    pub place: Option<Position>,
    /// The service or pool it belongs to: `service web`.
    pub context: Option<String>,
    /// What is wrong, in one sentence.
    pub message: String,
    /// How to correct it.
    pub remedy: Option<String>,
    /// The other positions it concerns.
    pub related: Vec<Related>,
}

impl fmt::Display for Problem {
    /// One line: `web.yaml:3:5: service web: message (also web.yaml:9:5); remedy`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, place, context, message, remedy, related } = self;
        if let Some(place) = place {
            write!(f, "{place}: ")?;
        }
        if *severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if let Some(context) = context {
            write!(f, "{context}: ")?;
        }
        f.write_str(message)?;
        for related in related {
            write!(f, " ({}: {})", related.label, related.place)?;
        }
        if let Some(remedy) = remedy {
            write!(f, "; {remedy}")?;
        }
        Ok(())
    }
}

/// All problems found in one run, in the order of the sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    left_out: usize,
}

impl Problems {
    /// The largest number kept. More than that in a file have a common cause, or it is not a spec.
    pub const MAX: usize = 1000;

    /// Sorts them by position and removes duplicates.
    pub(crate) fn new(mut list: Vec<Problem>, left_out: usize) -> Self {
        list.sort_by_key(|problem| {
            let place = problem.place.as_ref();
            (place.map(|place| (place.source, place.span.start)), problem.severity)
        });
        list.dedup_by(|one, other| one.place == other.place && one.message == other.message);
        let more = list.len().saturating_sub(Self::MAX);
        list.truncate(Self::MAX);
        Self { list, left_out: left_out + more }
    }

    /// All of them, ordered by position.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// The number of problems kept.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The number of problems beyond [`Self::MAX`].
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Whether any of them is an error.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|problem| problem.severity == Severity::Error)
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    /// Writes one line for each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        if self.left_out > 0 {
            write!(f, "\nand {} more", self.left_out)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
