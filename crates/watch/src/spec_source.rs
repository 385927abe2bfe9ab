//! Where the spec comes from: files today, whatever can be read tomorrow. What is read is the
//! texts and what they ask for; to watch for changes is somebody else's part.

use std::sync::Arc;

use evenkeel_engine::{ParameterValues, StoredSpec, StoredSpecTexts};
use evenkeel_model::{Desired, FileContents};

/// Reads and understands specs.
pub trait SpecSource: Send {
    /// Reads the spec as it is now.
    ///
    /// # Errors
    /// It cannot be read or is wrong: every problem, with its place, in lines for people.
    fn read(&mut self) -> Result<SpecText, String>;

    /// Understands the texts of a spec that was applied before; `None` where this version does not
    /// take them any more.
    fn remembered(&mut self, last: StoredSpecTexts) -> Option<SpecText>;

    /// What each text of a good spec lists.
    fn contents(&self, spec: &SpecText) -> Vec<FileContents>;
}

/// A spec that holds together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecText {
    /// What it asks for.
    pub desired: Arc<Desired>,
    /// Its texts by their names, in their order.
    pub texts: Vec<(String, Vec<u8>)>,
    /// What the parameters in them came to.
    pub parameters: ParameterValues,
    /// What is doubtful in it, in lines for people; empty for nothing.
    pub warnings: String,
}

impl SpecText {
    /// The texts as the journal and the guards take them.
    pub(crate) fn texts(&self) -> Vec<(&str, &[u8])> {
        self.texts.iter().map(|(name, text)| (&**name, &**text)).collect()
    }

    /// SHA-256 of its texts, in hexadecimal digits.
    pub(crate) fn digest(&self) -> String {
        StoredSpec::new(&self.texts(), &self.parameters).digest.into()
    }

    /// Whether it asks for the same by the same texts, whatever their names are: a path may be
    /// written in many ways.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let texts = self.texts.iter().map(|(_, text)| text);
        texts.eq(other.texts.iter().map(|(_, text)| text)) && self.parameters == other.parameters
    }

    /// Whether that is what the journal says of it; names do not matter here either.
    pub(crate) fn is_stored_as(&self, stored: &StoredSpec) -> bool {
        self.parameters == stored.parameters && *self.digest() == *stored.digest
    }
}
