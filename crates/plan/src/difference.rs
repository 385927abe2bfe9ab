//! What differs between two states, before it is put into an order.

use crate::{Op, Unchanged};

/// The operations that close the difference, the objects that need none, and how many services
/// are out of scope.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    /// Services that are added, each followed by its real servers.
    pub(crate) added: Vec<Op>,
    /// Real servers that are deleted and added again, each followed by its addition, and the ones
    /// added between them, for services in `canonical_order`.
    pub(crate) readded: Vec<Op>,
    /// Everything else.
    pub(crate) ops: Vec<Op>,
    pub(crate) unchanged: Unchanged,
    pub(crate) out_of_scope: usize,
}
