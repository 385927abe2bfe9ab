//! Sync daemons whose interface was made anew.
//!
//! The kernel binds the sockets of a sync daemon to the index of its interface. If that is deleted and
//! created again (a VLAN, a bond, a hot-plugged card), the daemon still runs and is still shown with the
//! name of the interface, but sends and receives nothing. So the index at its start is recorded.

use evenkeel_model::{Live, SyncDaemon, SyncState};
use serde::{Deserialize, Serialize};

use crate::{Op, PriorState};

/// The interface of a sync daemon when it was started, or first seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncLink {
    /// Its name.
    pub interface: Box<str>,
    /// The kernel's number for it, which no other interface of the namespace gets.
    pub index: u32,
}

/// Whether a running daemon is bound to an interface that is gone, while another one has its name. Only the
/// record shows that: without one it is not known.
pub(crate) fn is_orphaned(
    state: SyncState,
    daemon: &SyncDaemon,
    live: &Live,
    record: &PriorState,
) -> bool {
    let Some(index) = live.sync_links.get(&daemon.interface) else { return false };
    let recorded = record.sync_links.get(&state).filter(|it| it.interface == daemon.interface);
    recorded.is_some_and(|it| it.index != *index)
}

impl PriorState {
    /// Records the interfaces of the sync daemons that these steps start, and of those that run and have no
    /// record. Returns whether the record changes.
    pub fn note_sync_links(&mut self, live: &Live, steps: &[Op]) -> bool {
        let before = self.sync_links.clone();
        let link = |interface: &str| {
            let index = *live.sync_links.get(interface)?;
            Some(SyncLink { interface: interface.into(), index })
        };
        self.sync_links.retain(|state, recorded| {
            live.sync.get(state).is_some_and(|it| it.interface == recorded.interface)
        });
        for (state, daemon) in &live.sync {
            if let Some(link) = link(&daemon.interface) {
                self.sync_links.entry(*state).or_insert(link);
            }
        }
        for op in steps {
            if let Op::AddSync { state, after } = op {
                match link(&after.interface) {
                    Some(link) => self.sync_links.insert(*state, link),
                    // The plan creates it: the next reading shows its index.
                    None => self.sync_links.remove(state),
                };
            }
        }
        self.sync_links != before
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use evenkeel_model::Desired;

    use super::*;
    use crate::{Inputs, Verb, plan};

    fn daemon(interface: &str) -> SyncDaemon {
        let interface = interface.into();
        SyncDaemon { interface, id: 7, max_length: None, group: None, port: None, ttl: None }
    }

    fn live(index: u32) -> Live {
        Live {
            sync: [(SyncState::Backup, daemon("eth1"))].into(),
            sync_links: [("eth1".into(), index)].into(),
            ..Live::default()
        }
    }

    fn verbs(
        sync: Option<BTreeMap<SyncState, SyncDaemon>>,
        live: &Live,
        record: &PriorState,
    ) -> Vec<Verb> {
        let desired = Desired { sync, ..Desired::default() };
        let steps = plan(Inputs::new(&desired, live, record)).steps;
        assert!(steps.iter().all(|op| matches!(op, Op::AddSync { .. } | Op::DeleteSync { .. })));
        steps.iter().map(Op::verb).collect()
    }

    #[test]
    fn a_daemon_whose_interface_was_made_anew_is_restarted_once() {
        let asked = || Some([(SyncState::Backup, daemon("eth1"))].into());
        let mut record = PriorState { applied: true, ..PriorState::default() };
        assert_eq!(verbs(asked(), &live(3), &record), [], "not known");
        assert!(record.note_sync_links(&live(3), &[]));
        assert!(!record.note_sync_links(&live(3), &[]), "it is recorded already");
        assert_eq!(verbs(asked(), &live(3), &record), []);
        // Seen with another index, it keeps the record of its start.
        assert!(!record.note_sync_links(&live(9), &[]));
        assert_eq!(verbs(asked(), &live(9), &record), [Verb::Delete, Verb::Add]);
        assert_eq!(verbs(None, &live(9), &record), [], "it is another program's");
        let desired = Desired { sync: asked(), ..Desired::default() };
        let steps = plan(Inputs::new(&desired, &live(9), &record)).steps;
        assert!(record.note_sync_links(&live(9), &steps));
        assert_eq!(verbs(asked(), &live(9), &record), []);
    }

    #[test]
    fn an_absent_interface_restarts_nothing_and_a_daemon_that_ended_has_no_record() {
        let asked = || Some([(SyncState::Backup, daemon("eth1"))].into());
        let mut record = PriorState { applied: true, ..PriorState::default() };
        record.note_sync_links(&live(3), &[]);
        let absent = Live { sync_links: BTreeMap::new(), ..live(3) };
        assert_eq!(verbs(asked(), &absent, &record), []);
        assert!(!record.note_sync_links(&absent, &[]), "it may come back");
        assert!(record.note_sync_links(&Live { sync: BTreeMap::new(), ..live(3) }, &[]));
        assert!(record.sync_links.is_empty());
    }
}
