//! What a step means for connections that exist.

/// What a step means for connections that exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impact {
    /// How many connections break, as far as they were counted.
    pub breaks: Option<u64>,
    /// In words.
    pub words: String,
}
