//! Specs that were parsed and are valid.

use std::sync::Arc;

use evenkeel_model::{Desired, FileContents};
use evenkeel_spec::{Parameters, RememberedParameters, Source, load_with};

use crate::recorded::{ParameterValues, contents};

/// A valid spec with its texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecText {
    /// Its desired state.
    pub desired: Arc<Desired>,
    /// The values of the parameters in its texts.
    pub parameters: ParameterValues,
    /// Warnings about it, a text for people; empty if there are none.
    pub warnings: String,
    sources: Vec<Source>,
}

impl SpecText {
    /// Parses the texts of a spec.
    ///
    /// # Errors
    /// Every problem with its position, a text for people.
    pub fn load(sources: Vec<Source>, parameters: &dyn Parameters) -> Result<Self, String> {
        let loaded =
            load_with(&sources, parameters).map_err(|problems| problems.render(&sources, false))?;
        let warnings = match loaded.warnings.is_empty() {
            true => String::new(),
            false => loaded.warnings.render(&sources, false),
        };
        let parameters = loaded.parameters();
        Ok(Self { desired: Arc::new(loaded.desired), parameters, warnings, sources })
    }

    /// Parses the recorded texts of a spec with the recorded values of its parameters; `None` if this
    /// version does not accept them any more.
    pub fn recorded(texts: Vec<(String, Vec<u8>)>, parameters: ParameterValues) -> Option<Self> {
        let sources = texts.into_iter().map(|(name, text)| Source::new(name, text)).collect();
        let spec = Self::load(sources, &RememberedParameters(parameters.clone())).ok()?;
        // They were reported when it was new.
        Some(Self { parameters, warnings: String::new(), ..spec })
    }

    /// Returns the texts with their names, in order.
    pub fn texts(&self) -> Vec<(&str, &[u8])> {
        self.sources.iter().map(|source| (&*source.name, &*source.text)).collect()
    }

    /// Returns what each text lists.
    pub fn contents(&self) -> Vec<FileContents> {
        contents(&self.sources, &self.parameters)
    }

    /// Whether it has the same texts and parameters. Names are not compared: a path can be written in
    /// many ways.
    pub fn is_same(&self, other: &Self) -> bool {
        let texts = self.sources.iter().map(|source| &source.text);
        texts.eq(other.sources.iter().map(|source| &source.text))
            && self.parameters == other.parameters
    }
}
