//! Describes the live state of a host as a spec, for which a plan has no changes.

use std::collections::BTreeSet;

use evenkeel_engine::{Journal, Kernel, ReadRequest};
use evenkeel_model::{Desired, HostObject, HostObjectKind, Scope};
use evenkeel_spec::WriteInput;

use crate::error::WorkflowError;
use crate::event::{Event, EventSink};
use crate::host::{Access, Host};

/// What a snapshot contains.
#[derive(Debug, Clone, Default)]
pub struct SnapshotOptions {
    /// The spec whose names and scope it has; `None` for the whole table, under names made of the
    /// services' addresses.
    pub named: Option<Desired>,
    /// Whether real servers that several services share are written as pools.
    pub pools: bool,
}

/// Returns the text of a snapshot.
///
/// # Errors
/// The journal or the kernel cannot be read.
pub fn snapshot<K: Kernel>(
    host: &mut Host<'_, K>,
    options: SnapshotOptions,
    events: &mut dyn EventSink,
) -> Result<String, WorkflowError> {
    let SnapshotOptions { named, pools } = options;
    let is_whole = named.is_none();
    let named = named.unwrap_or_else(|| Desired { scope: Scope::All, ..Desired::default() });
    let mut session = host.open(Access::Read, events)?;
    if !is_expressible(&session.journal) {
        events.emit(Event::SnapshotOfRealServer);
    }
    let held = session.journal.record.overlaid.0.len();
    if held > 0 {
        events.emit(Event::SnapshotOfHeld { real_servers: held });
    }
    if named.services.values().any(|it| it.health.is_some()) {
        events.emit(Event::SnapshotWithoutChecks);
    }
    // A snapshot includes all host objects, whatever is recorded.
    let host_objects = HostObjectKind::ALL.into();
    let request =
        ReadRequest { host_objects, masters: BTreeSet::new(), ..session.read_request(&named) };
    let (live, statistics) = session.kernel.observe_with_statistics(&request)?;
    let recorded = &session.journal.host_objects;
    for (kind, why) in &live.host_objects.unavailable {
        if recorded.iter().any(|object| object.kind() == *kind) {
            events.emit(Event::SnapshotWithout { kind: *kind, why: why.clone() });
        }
    }
    let mut input = WriteInput::of_live(&live, &named);
    if is_whole {
        // Applying the snapshot later must not delete objects that were added after it.
        input = input.scoped_to_itself();
    }
    if pools {
        input = input.pooled();
    }
    input.observe(&live);
    input.observe_moment(time(), rustix::system::uname().release().to_string_lossy());
    input.observe_statistics(&statistics);
    Ok(evenkeel_spec::write(&input))
}

/// Whether a spec of this host alone can ask for what evenkeel did: not for what it did for the role of a
/// real server.
fn is_expressible(journal: &Journal) -> bool {
    let is_of_spec = |object: &HostObject| match object.kind() {
        HostObjectKind::Route | HostObjectKind::Neighbour | HostObjectKind::SourceNat => true,
        HostObjectKind::DefaultRoute
        | HostObjectKind::TunnelDevice
        | HostObjectKind::FouPort
        | HostObjectKind::ArpRules => false,
    };
    journal.record.real_server.is_none() && journal.host_objects.iter().all(is_of_spec)
}

/// The time in UTC, to the second: `2026-01-31T23:59:59Z`.
fn time() -> String {
    let now = jiff::Timestamp::now();
    let second = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now);
    second.to_string()
}
