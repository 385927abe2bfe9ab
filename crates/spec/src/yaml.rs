//! The one module that knows serde_yaml.

use crate::spec::Spec;

/// What serde_yaml says where the position-keeping parser finds nothing wrong.
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// Reads a text that holds one spec.
pub(crate) fn read(text: &str) -> Result<Spec, Failure> {
    serde_yaml::from_str(text).map_err(|error| {
        let (line, column) =
            error.location().map_or((1, 1), |place| (place.line(), place.column()));
        Failure { message: error.to_string(), line, column }
    })
}
