//! Resets the counters of services in scope, and of their real servers.

use std::collections::BTreeSet;

use evenkeel_engine::{Kernel, ReadRequest, Replies};
use evenkeel_model::{Desired, Names, ServiceKey};
use evenkeel_source::desired;

use crate::error::WorkflowError;
use crate::event::EventSink;
use crate::host::{Access, Host, Session};
use crate::selection::select_live;

/// Which counters are reset.
#[derive(Debug, Clone, Copy)]
pub struct ZeroOptions<'a> {
    /// The spec whose scope and names count; `None` for the last applied one.
    pub spec: Option<&'a Desired>,
    /// Names or keys of services; empty for all live services in scope.
    pub selectors: &'a [String],
    /// The services that a user has reviewed: no others are reset.
    pub reviewed: Option<&'a BTreeSet<ServiceKey>>,
}

/// The services that are selected.
#[derive(Debug)]
pub struct ZeroSelection {
    /// Those that the kernel has.
    pub services: BTreeSet<ServiceKey>,
    /// Those that it does not have.
    pub absent: BTreeSet<ServiceKey>,
    /// The spec whose scope and names were used.
    pub spec: Desired,
}

/// A reset that has ended.
#[derive(Debug)]
pub struct ZeroResult {
    /// The services.
    pub selection: ZeroSelection,
    /// How it ended.
    pub outcome: ZeroOutcome,
}

/// How a reset ended.
#[derive(Debug)]
pub enum ZeroOutcome {
    /// The services are no longer the reviewed ones; nothing was changed.
    Changed,
    /// The kernel was asked to reset them; its replies, in the order of the services.
    Executed(Replies),
}

impl ZeroSelection {
    /// Returns the names of services.
    pub fn names(&self) -> Names<'_> {
        Names::from(&self.spec)
    }
}

/// Selects the services without the lock, for a user to review.
///
/// # Errors
/// [`WorkflowError`]; as [`zero`].
pub fn review_zero<K: Kernel>(
    host: &mut Host<'_, K>,
    options: &ZeroOptions<'_>,
    events: &mut dyn EventSink,
) -> Result<ZeroSelection, WorkflowError> {
    select(&mut host.open(Access::Review, events)?, options)
}

/// Resets the counters. The journal is not changed, and a daemon may run: no plan depends on counters.
///
/// # Errors
/// [`WorkflowError`]; nothing was changed.
pub fn zero<K: Kernel>(
    host: &mut Host<'_, K>,
    options: &ZeroOptions<'_>,
    events: &mut dyn EventSink,
) -> Result<ZeroResult, WorkflowError> {
    let mut session = host.open(Access::Write, events)?;
    let selection = select(&mut session, options)?;
    let outcome = match options.reviewed {
        Some(reviewed) if *reviewed != selection.services => ZeroOutcome::Changed,
        _ => ZeroOutcome::Executed(session.kernel.zero(&selection.services)?),
    };
    Ok(ZeroResult { selection, outcome })
}

fn select<K: Kernel>(
    session: &mut Session<K>,
    options: &ZeroOptions<'_>,
) -> Result<ZeroSelection, WorkflowError> {
    let spec = match options.spec {
        Some(spec) => spec.clone(),
        None => last_applied(session)?,
    };
    let live = session.kernel.observe(&ReadRequest::new())?;
    let Some(selection) = select_live(options.selectors, &spec, &live)? else {
        let in_scope = live.services.into_keys().filter(|key| spec.scope.contains(key)).collect();
        return Ok(ZeroSelection { services: in_scope, absent: BTreeSet::new(), spec });
    };
    let keys = selection.services();
    if let Some(service) = keys.iter().find(|key| !spec.scope.contains(key)) {
        return Err(WorkflowError::OutOfScope { service: *service, scope: spec.scope });
    }
    let (services, absent) = keys.iter().partition(|key| live.services.contains_key(key));
    Ok(ZeroSelection { services, absent, spec })
}

/// The last applied spec, with the services that were applied one by one since.
fn last_applied<K: Kernel>(session: &Session<K>) -> Result<Desired, WorkflowError> {
    let Session { state, journal, .. } = session;
    // Without an apply in this namespace, a last spec on record is that of an earlier namespace of
    // its name.
    let last = match journal.record.applied {
        true => state.last_spec(journal)?,
        false => None,
    };
    // Services that were applied one by one come without the scope of their spec.
    let last = last.and_then(|last| desired(last.texts, last.parameters));
    let last = last.ok_or(WorkflowError::NoSpec)?;
    journal.active_partial_applies().over(Some(last)).ok_or(WorkflowError::NoSpec)
}
