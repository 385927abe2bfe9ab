//! The source of specs: files today, anything that can be read tomorrow. It reads texts and parses
//! them; watching for changes is not its task.

use std::sync::Arc;

use evenkeel_engine::{ParameterValues, StoredSpec, StoredSpecTexts};
use evenkeel_model::{Desired, FileContents};

/// Reads and parses specs.
pub trait SpecSource: Send {
    /// Reads the current spec.
    ///
    /// # Errors
    /// It cannot be read or is invalid: a text for people with every problem and its position.
    fn read(&mut self) -> Result<SpecText, String>;

    /// Parses the texts of a spec that was applied before; `None` if this version does not accept
    /// them any more.
    fn remembered(&mut self, last: StoredSpecTexts) -> Option<SpecText>;

    /// Returns what each text of a valid spec lists.
    fn contents(&self, spec: &SpecText) -> Vec<FileContents>;
}

/// A valid spec with its texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecText {
    /// Its desired state.
    pub desired: Arc<Desired>,
    /// Its texts with their names, in order.
    pub texts: Vec<(String, Vec<u8>)>,
    /// The values of the parameters in them.
    pub parameters: ParameterValues,
    /// Warnings about it, a text for people; empty if there are none.
    pub warnings: String,
}

impl SpecText {
    /// Borrows the texts in the form that the journal and the guards take.
    pub(crate) fn texts(&self) -> Vec<(&str, &[u8])> {
        self.texts.iter().map(|(name, text)| (&**name, &**text)).collect()
    }

    /// Returns the SHA-256 of its texts, in hexadecimal digits.
    pub(crate) fn digest(&self) -> String {
        StoredSpec::new(&self.texts(), &self.parameters).digest.into()
    }

    /// Whether it has the same texts and parameters. Names are not compared: a path can be written in
    /// many ways.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let texts = self.texts.iter().map(|(_, text)| text);
        texts.eq(other.texts.iter().map(|(_, text)| text)) && self.parameters == other.parameters
    }

    /// Whether it is the spec that the journal records. Names are not compared here either.
    pub(crate) fn is_stored_as(&self, stored: &StoredSpec) -> bool {
        self.parameters == stored.parameters && *self.digest() == *stored.digest
    }
}
