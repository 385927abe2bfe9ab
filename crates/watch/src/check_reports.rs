//! The last results of all health checks, which the reconciler writes and the metrics read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evenkeel_health::{CheckId, Report};

/// The last results. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reports(Arc<Mutex<HashMap<CheckId, Report>>>);

impl Reports {
    /// Gives access to them. It must not be kept: the reconciler and a scrape exclude each other meanwhile.
    pub(crate) fn lock(&self) -> MutexGuard<'_, HashMap<CheckId, Report>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
