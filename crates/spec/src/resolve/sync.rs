//! Resolves the sync daemons of all sources.

use std::collections::BTreeMap;
use std::net::IpAddr;

use evenkeel_model::{SyncDaemon, SyncState};

use crate::path::{At, Path};
use crate::recovering_de::Field;
use crate::resolve::{Diagnostics, SpecObject};
use crate::spec::{Spec, SyncEntry};

/// The sync daemons, and where the first of them is written.
pub(crate) struct Merged {
    /// `None` if the spec does not govern sync daemons.
    pub(crate) daemons: Option<BTreeMap<SyncState, SyncDaemon>>,
    /// `None` if no sync daemon is written.
    pub(crate) written: Option<Path>,
}

/// The largest message: 65535 bytes less the IP and UDP headers (`start_sync_thread`).
const LONGEST: [(&str, u16); 2] = [("IPv4", 65535 - 28), ("IPv6", 65535 - 48)];

/// The smallest message length of a backup (`start_sync_thread`).
const LEAST_OF_BACKUP: u16 = 1024;

pub(crate) fn merge(sources: &[(At<'_>, &Spec)], diagnostics: &mut Diagnostics) -> Merged {
    let mut merged = Merged { daemons: None, written: None };
    let mut states: BTreeMap<SyncState, Path> = BTreeMap::new();
    for (root, spec) in sources {
        let Some(list) = spec.sync.value() else { continue };
        let daemons = merged.daemons.get_or_insert_default();
        let at = root.key("sync");
        for (index, entry) in list.values() {
            let at = at.item(index);
            merged.written.get_or_insert_with(|| at.path());
            let daemon = check(entry, &at, diagnostics);
            let Some(state) = entry.state.value().map(|word| word.0) else { continue };
            let at_state = at.key("state");
            if let Some(first) = states.get(&state) {
                diagnostics
                    .error(&at_state, format!("two sync daemons are {state}"))
                    .remedy("keep one of them: the kernel runs at most one of each state")
                    .related(first.clone(), "the first one");
                continue;
            }
            states.insert(state, at_state.path());
            if let Some(daemon) = daemon {
                daemons.insert(state, daemon);
                diagnostics.origin(SpecObject::Sync(state), || at.path());
            }
        }
    }
    merged
}

fn check(entry: &SyncEntry, at: &At<'_>, diagnostics: &mut Diagnostics) -> Option<SyncDaemon> {
    let SyncEntry { state, interface, id, max_length, group, port, ttl } = entry;
    if state.is_absent() {
        diagnostics
            .error(at, "the sync daemon has no `state`")
            .remedy("write `state: master` or `state: backup`");
    }
    if interface.is_absent() {
        diagnostics
            .error(at, "the sync daemon has no `interface`")
            .remedy("write the one it sends or listens on, such as `interface: eth1`");
    }
    let address = group.value().map(|group| group.0);
    if let Some(address) = address.filter(|address| !address.is_multicast()) {
        diagnostics
            .error(&at.key("group"), format!("{address} is not a multicast address"))
            .remedy("write one such as 224.0.0.81 or ff02::81, or remove it");
    }
    let max_length = max_length.value().map(|length| length.0);
    if let (Some(length), false) = (max_length, group.is_bad()) {
        let state = state.value().map(|word| word.0);
        check_length(length, state, address, &at.key("max_length"), diagnostics);
    }
    Some(SyncDaemon {
        interface: interface.value()?.0.clone(),
        id: match id {
            Field::Absent => 0,
            Field::Bad => return None,
            Field::Value(id) => id.0,
        },
        max_length,
        group: address,
        port: port.value().map(|port| port.0),
        ttl: ttl.value().map(|ttl| ttl.0),
    })
}

/// Reports a length that the kernel would change silently, so that the live value would never
/// match the spec.
fn check_length(
    length: u16,
    state: Option<SyncState>,
    group: Option<IpAddr>,
    at: &At<'_>,
    diagnostics: &mut Diagnostics,
) {
    let [ipv4, ipv6] = LONGEST;
    let (family, longest) = if group.is_some_and(|group| group.is_ipv6()) { ipv6 } else { ipv4 };
    if length > longest {
        diagnostics
            .error(at, format!("the kernel reduces max_length {length} to {longest} over {family}"))
            .remedy(format!("write at most {longest}, or remove it"));
    } else if state == Some(SyncState::Backup) && length < LEAST_OF_BACKUP {
        diagnostics
            .error(at, format!("the kernel raises a backup's max_length {length} to 1024"))
            .remedy("write at least 1024, or remove it");
    }
}
