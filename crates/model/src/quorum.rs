//! Whether enough of a service is up, with a hysteresis of its own.

use std::num::NonZeroU8;

use serde::{Deserialize, Serialize};

/// How much must be up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuorumSize {
    /// So many servers.
    Servers(u32),
    /// So many percent of the weight of all servers.
    Weight(NonZeroU8),
}

/// The quorum of a service. With a hysteresis, it is lost below `size - hysteresis` and regained at
/// `size + hysteresis`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Quorum {
    /// How much must be up.
    pub size: QuorumSize,
    /// In the unit of the size.
    pub hysteresis: u32,
}

/// A server, as the quorum counts it. What an operator overrode is not given to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its weight in the spec.
    pub weight: u32,
    /// Whether it is up.
    pub up: bool,
}

impl Default for Quorum {
    /// One server.
    fn default() -> Self {
        Self { size: QuorumSize::Servers(1), hysteresis: 0 }
    }
}

impl Quorum {
    /// Whether the quorum is there, given whether it was.
    ///
    /// What is asked for is never more than all members, so that a pool that becomes smaller than its
    /// quorum, or than quorum and hysteresis, can still have it. A service without members has none,
    /// unless it asks for nothing.
    pub fn is_there(&self, had: bool, members: &[Member]) -> bool {
        // In hundredths, so that a percentage needs no rounding.
        let (up, all, unit) = match self.size {
            QuorumSize::Servers(_) => {
                let count = |up: bool| members.iter().filter(|it| it.up || !up).count() as u128;
                (count(true) * 100, count(false) * 100, 100)
            }
            QuorumSize::Weight(_) => {
                let sum = |up: bool| {
                    members
                        .iter()
                        .filter(|it| it.up || !up)
                        .map(|it| u128::from(it.weight))
                        .sum::<u128>()
                };
                (sum(true) * 100, sum(false) * 100, sum(false))
            }
        };
        let size = u128::from(match self.size {
            QuorumSize::Servers(count) => count,
            QuorumSize::Weight(percent) => u32::from(percent.get()),
        });
        let hysteresis = u128::from(self.hysteresis);
        if size == 0 {
            return true;
        }
        if all == 0 {
            return false;
        }
        let wanted = if had {
            // At least something must be up: a quorum never holds on nothing.
            (size.saturating_sub(hysteresis) * unit).max(1)
        } else {
            (size + hysteresis) * unit
        };
        up >= wanted.min(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(up: usize, down: usize) -> Vec<Member> {
        let one = |up| Member { weight: 10, up };
        let mut all = vec![one(true); up];
        all.extend(vec![one(false); down]);
        all
    }

    fn servers(count: u32, hysteresis: u32) -> Quorum {
        Quorum { size: QuorumSize::Servers(count), hysteresis }
    }

    fn weight(percent: u8, hysteresis: u32) -> Quorum {
        Quorum { size: QuorumSize::Weight(NonZeroU8::new(percent).unwrap()), hysteresis }
    }

    #[test]
    fn servers_are_counted() {
        for had in [false, true] {
            assert!(servers(2, 0).is_there(had, &members(2, 8)));
            assert!(!servers(2, 0).is_there(had, &members(1, 9)));
            assert!(servers(0, 0).is_there(had, &members(0, 3)));
            assert!(!servers(1, 0).is_there(had, &[]));
            assert!(!servers(1, 0).is_there(had, &members(0, 3)));
        }
    }

    #[test]
    fn a_hysteresis_keeps_what_is_and_asks_more_of_what_is_not() {
        let quorum = servers(3, 1);
        assert!(quorum.is_there(true, &members(2, 8)));
        assert!(!quorum.is_there(true, &members(1, 9)));
        assert!(!quorum.is_there(false, &members(3, 7)));
        assert!(quorum.is_there(false, &members(4, 6)));
        // A quorum never holds on nothing.
        assert!(!servers(1, 1).is_there(true, &members(0, 5)));
    }

    #[test]
    fn a_small_pool_has_its_quorum_when_all_are_up() {
        assert!(servers(3, 2).is_there(false, &members(2, 0)));
        assert!(!servers(3, 2).is_there(false, &members(1, 1)));
        assert!(weight(80, 40).is_there(false, &members(3, 0)));
    }

    #[test]
    fn percentages_are_of_the_weight() {
        let mut pool = members(1, 1);
        pool[0].weight = 1;
        pool[1].weight = 2;
        assert!(weight(33, 0).is_there(false, &pool));
        assert!(!weight(34, 0).is_there(false, &pool));
        assert!(weight(34, 1).is_there(true, &pool));
        // Weight 0 is no weight.
        let drained = [Member { weight: 0, up: true }];
        assert!(!weight(50, 0).is_there(true, &drained));
        let large = vec![Member { weight: u32::MAX, up: true }; 3];
        assert!(weight(100, 0).is_there(false, &large));
    }
}
