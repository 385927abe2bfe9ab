//! How a pass is carried out.

/// How a pass is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplyOptions {
    /// What happens to the applied steps when a later one fails.
    pub on_failure: OnFailure,
    /// Whether the pass waits for drains; otherwise it starts them and leaves the steps that depend
    /// on them to a later pass.
    pub wait: bool,
    /// What a journal that cannot be written stops.
    pub recording: Recording,
}

impl Default for ApplyOptions {
    /// As `apply` without options: rolls back on failure and waits for drains.
    fn default() -> Self {
        Self { on_failure: OnFailure::Rollback, wait: true, recording: Recording::Always }
    }
}

/// What a journal that cannot be written stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    /// Every pass, even one that would change nothing in it.
    Always,
    /// A pass that claims more than before, or has an operation that the journal lacks ([`Journal::lacks`]):
    /// the caller holds those back. Other passes are made, and the journal in memory records them.
    ///
    /// [`Journal::lacks`]: crate::Journal::lacks
    WherePossible,
}

/// What happens to the applied steps when a later one fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The objects they touched are restored.
    Rollback,
    /// They stay applied.
    Keep,
}
