//! The results of rules, by path; positions are computed later, and only if they are needed.

use super::origins::{Origins, SpecObject};
use crate::path::Path;
use crate::problem::{Problems, Severity};

/// The part of an entry that a diagnostic concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpanTarget {
    Key,
    Value,
}

/// An error or a warning.
#[derive(Debug)]
pub(crate) struct Diagnostic {
    pub(crate) severity: Severity,
    pub(crate) path: Path,
    pub(crate) span_target: SpanTarget,
    pub(crate) message: String,
    pub(crate) remedy: Option<String>,
    pub(crate) related: Vec<(Path, &'static str)>,
}

impl Diagnostic {
    pub(crate) fn remedy(&mut self, remedy: impl Into<String>) -> &mut Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Adds a second path that it concerns, if there is one.
    pub(crate) fn related(
        &mut self,
        path: impl Into<Option<Path>>,
        label: &'static str,
    ) -> &mut Self {
        self.related.extend(path.into().map(|path| (path, label)));
        self
    }

    /// Points to the key rather than its value: for a key that should not be there.
    pub(crate) fn at_key(&mut self) -> &mut Self {
        self.span_target = SpanTarget::Key;
        self
    }
}

/// All diagnostics, and on request the origins of all objects.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics {
    list: Vec<Diagnostic>,
    origins: Option<Origins>,
}

impl Diagnostics {
    /// Creates a list that records origins as well.
    pub(crate) fn with_origins() -> Self {
        Self { list: Vec::new(), origins: Some(Origins::new()) }
    }

    /// Records the origin of an object, if origins were requested.
    pub(crate) fn origin(&mut self, object: SpecObject, path: impl FnOnce() -> Path) {
        if let Some(origins) = &mut self.origins {
            origins.push((object, path()));
        }
    }

    /// Returns where an object is written, if origins were requested.
    pub(crate) fn origin_of(&self, object: &SpecObject) -> Option<Path> {
        let mut found = self.origins.iter().flatten().filter(|(it, _)| it == object);
        found.next().map(|(_, path)| path.clone())
    }

    pub(crate) fn error(
        &mut self,
        at: impl Into<Path>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.add(Severity::Error, at.into(), message.into())
    }

    pub(crate) fn warning(
        &mut self,
        at: impl Into<Path>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.add(Severity::Warning, at.into(), message.into())
    }

    /// Whether one of them is an error.
    pub(crate) fn has_errors(&self) -> bool {
        self.list.iter().any(|it| it.severity == Severity::Error)
    }

    pub(crate) fn into_list(self) -> Vec<Diagnostic> {
        self.list
    }

    pub(crate) fn into_origins(self) -> Origins {
        self.origins.unwrap_or_default()
    }

    fn add(&mut self, severity: Severity, path: Path, message: String) -> &mut Diagnostic {
        let (span_target, remedy, related) = (SpanTarget::Value, None, Vec::new());
        // Past the limit only the count matters. The limit is high enough for the duplicates that a
        // shared pool causes.
        if self.list.len() > 4 * Problems::MAX {
            self.list.pop();
        }
        let index = self.list.len();
        self.list.push(Diagnostic { severity, path, span_target, message, remedy, related });
        &mut self.list[index]
    }
}
