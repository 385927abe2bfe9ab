//! How a pass is carried out.

/// How a pass is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplyOptions {
    /// What happens to the applied steps when a later one fails.
    pub on_failure: OnFailure,
    /// Whether the pass waits for drains; otherwise it starts them and leaves the steps that depend
    /// on them to a later pass.
    pub wait: bool,
    /// Whether a journal that cannot be written stops the pass even if nothing in it would change.
    pub always_record: bool,
}

impl Default for ApplyOptions {
    /// As `apply` without options: rolls back on failure and waits for drains.
    fn default() -> Self {
        Self { on_failure: OnFailure::Rollback, wait: true, always_record: true }
    }
}

/// What happens to the applied steps when a later one fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The objects they touched are restored.
    Rollback,
    /// They stay applied.
    Keep,
}
