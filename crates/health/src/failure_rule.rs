//! What becomes of a real server that is down: no new connections at once, no old ones after a time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Moment;
use crate::hysteresis::Verdict;

/// What a failure does to a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Weight 0, then removal.
    Weight0,
    /// Removal at once.
    Remove,
}

/// How a service treats its real servers that are down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FailureRule {
    /// What happens first.
    pub on_failure: OnFailure,
    /// How long one stays at weight 0 that still has connections or persistence entries: the kernel sends
    /// their packets to it until it is removed.
    pub cut_after: Duration,
}

/// What is to be done with a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// Nothing: it is up.
    Use,
    /// It gets weight 0. A removal is due then, if it still has connections or persistence entries; one
    /// that has none stays, for a removal has a price (its place in the list, the kernel's trash list).
    Weight0 {
        /// When.
        cut_at: Moment,
    },
    /// It is removed.
    Remove,
}

impl FailureRule {
    /// What is to be done with a real server that has had a verdict since a time. `holds` says whether it has
    /// connections or persistence entries. One that was removed by this is not to be asked about again
    /// until it is up: without entries, it would come back.
    pub fn treatment(
        &self,
        verdict: Verdict,
        since: Moment,
        now: Moment,
        holds: bool,
    ) -> Treatment {
        let cut_at = since + self.cut_after;
        match (verdict, self.on_failure) {
            (Verdict::Up, _) => Treatment::Use,
            (Verdict::Down, OnFailure::Remove) => Treatment::Remove,
            (Verdict::Down, OnFailure::Weight0) if holds && now >= cut_at => Treatment::Remove,
            (Verdict::Down, OnFailure::Weight0) => Treatment::Weight0 { cut_at },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_down_is_removed_once_its_connections_hang_for_too_long() {
        let at = |seconds| Moment(Duration::from_secs(seconds));
        let rule =
            FailureRule { on_failure: OnFailure::Weight0, cut_after: Duration::from_secs(10) };
        let down = |now, holds| rule.treatment(Verdict::Down, at(100), at(now), holds);
        let weight0 = Treatment::Weight0 { cut_at: at(110) };
        assert_eq!(rule.treatment(Verdict::Up, at(0), at(500), true), Treatment::Use);
        assert_eq!(down(100, true), weight0);
        assert_eq!(down(109, true), weight0);
        assert_eq!(down(110, true), Treatment::Remove);
        assert_eq!(down(500, false), weight0);
        // UDP flows move at once.
        let udp = FailureRule { cut_after: Duration::ZERO, ..rule };
        assert_eq!(udp.treatment(Verdict::Down, at(100), at(100), true), Treatment::Remove);
        let remove = FailureRule { on_failure: OnFailure::Remove, ..rule };
        assert_eq!(remove.treatment(Verdict::Down, at(100), at(100), false), Treatment::Remove);
    }
}
