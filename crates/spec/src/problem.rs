//! What is wrong with a spec, where, and what to do about it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Whether a problem stops the spec from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The spec cannot be used.
    Error,
    /// The spec is used as it stands.
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

/// A piece of a source's text.
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
    /// The bytes it takes, all on that line, counted behind a byte order mark.
    pub span: Range<usize>,
}

impl fmt::Display for Position {
    /// `web.yaml:3:5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.name, self.line, self.column)
    }
}

/// A second place that a problem is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// Where.
    pub place: Position,
    /// What stands there: `first written here`.
    pub label: String,
}

/// One thing that is wrong or doubtful.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// The very value; `None` only when there is no source at all.
    pub place: Option<Position>,
    /// The service or pool it belongs to: `service web`.
    pub context: Option<String>,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// The other places it is about.
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

/// Everything found in one run, in the order of the sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    left_out: usize,
}

impl Problems {
    /// How many are kept. A file with more than these has one cause, or is no spec.
    pub const MAX: usize = 1000;

    /// Sorts them by place and drops repetitions.
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

    /// All of them, ordered by place.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many more there were than [`Self::MAX`].
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
    /// One line for each.
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
