//! The difference between two states, before it is ordered.

use crate::{Op, Unchanged};

/// The operations that remove the difference, the objects that need no change, and the number of
/// services that are out of scope.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    /// Services that are added, each followed by its real servers.
    pub(crate) added: Vec<Op>,
    /// Real servers that are deleted and added again, each deletion followed by its addition, and
    /// new ones that are added between them, for services in `canonical_order`.
    pub(crate) readded: Vec<Op>,
    /// All other operations.
    pub(crate) ops: Vec<Op>,
    pub(crate) unchanged: Unchanged,
    pub(crate) out_of_scope: usize,
}
