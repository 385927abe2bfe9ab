//! A service: what can be edited on it in place, and its real servers.

use std::collections::{VecDeque, vec_deque};

use serde::{Deserialize, Serialize};

use crate::{Drain, Netmask, RealServer, RealServerKey, Scheduler, SchedulerFlags};

/// A service without its identity, which is the key it is stored under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// What one SET_SERVICE replaces as a whole.
    pub config: ServiceConfig,
    /// Its real servers.
    pub real_servers: RealServers,
}

/// All that can be edited on a service in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceConfig {
    /// The scheduler, which chooses the real server of each new connection.
    pub scheduler: Scheduler,
    /// Flags whose meaning depends on the scheduler.
    pub scheduler_flags: SchedulerFlags,
    /// Clients stay on their real server; `None` schedules each connection anew.
    pub persistence: Option<Persistence>,
    /// The persistence engine (`sip`), which identifies clients by more than their address; `None`
    /// identifies them by address.
    pub engine: Option<Box<str>>,
    /// Each datagram is scheduled by itself; UDP and fwmark services only.
    pub one_packet: bool,
}

impl ServiceConfig {
    /// A service with that scheduler and no other setting.
    pub fn new(scheduler: Scheduler) -> Self {
        Self {
            scheduler,
            scheduler_flags: SchedulerFlags::EMPTY,
            persistence: None,
            engine: None,
            one_packet: false,
        }
    }

    /// The drain of a real server in a service that sets none: `usual`, but none if clients that
    /// the scheduler ties to it would be refused.
    pub fn usual_drain(&self, usual: Drain) -> Drain {
        let refuses = self.scheduler.refuses_clients_of_drained(self.scheduler_flags);
        if refuses { Drain::NONE } else { usual }
    }
}

/// How long and how widely clients stick to a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persistence {
    /// Seconds from a client's last connection until it may be scheduled anew.
    pub timeout: u32,
    /// Which clients count as one.
    pub netmask: Netmask,
}

/// The real servers of a service, found by key; the order they were added in is kept beside
/// them, because the sh and mh schedulers depend on it.
///
/// Equality is that of the sorted list: the order takes no part in it. Large tables hold tens of
/// thousands of these, so they lie close together; collecting from an iterator sorts once, where
/// [`Self::insert`] makes room each time. Adding the last and removing the first or the last moves no other, so
/// that the operations of a plan, which are sorted by key, cost the same for each.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(RealServerKey, RealServer)>", into = "Vec<(RealServerKey, RealServer)>")]
pub struct RealServers {
    /// Sorted by key, no key twice.
    sorted: VecDeque<(RealServerKey, RealServer)>,
    /// Places in `sorted`, the oldest real server first; empty where that is the order of the keys,
    /// as in most specs.
    order: Vec<u32>,
}

impl RealServers {
    /// Creates an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces one and returns the former one of that key. A new one becomes the last in
    /// the order, a replaced one keeps its place.
    pub fn insert(&mut self, key: RealServerKey, real_server: RealServer) -> Option<RealServer> {
        match self.find(&key) {
            Ok(place) => Some(std::mem::replace(&mut self.sorted[place].1, real_server)),
            Err(place) if self.order.is_empty() && place == self.sorted.len() => {
                self.sorted.push_back((key, real_server));
                None
            }
            Err(place) => {
                self.spell_order_out();
                self.sorted.insert(place, (key, real_server));
                self.order.iter_mut().filter(|at| **at as usize >= place).for_each(|at| *at += 1);
                self.order.push(index(place));
                None
            }
        }
    }

    /// Removes one.
    pub fn remove(&mut self, key: &RealServerKey) -> Option<RealServer> {
        let place = self.find(key).ok()?;
        let (_, removed) = self.sorted.remove(place)?;
        self.order.retain(|at| *at as usize != place);
        self.order.iter_mut().filter(|at| **at as usize > place).for_each(|at| *at -= 1);
        Some(removed)
    }

    /// The one under that key.
    pub fn get(&self, key: &RealServerKey) -> Option<&RealServer> {
        Some(&self.sorted[self.find(key).ok()?].1)
    }

    /// The one under that key, to be changed.
    pub fn get_mut(&mut self, key: &RealServerKey) -> Option<&mut RealServer> {
        let place = self.find(key).ok()?;
        Some(&mut self.sorted[place].1)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// All of them by key: the order of plans and of every output.
    pub fn iter(&self) -> Iter<'_> {
        self.sorted.iter().map(|(key, real_server)| (key, real_server))
    }

    /// All of them in the order they were added, oldest first.
    pub fn in_order(&self) -> impl Iterator<Item = (&RealServerKey, &RealServer)> {
        (0..self.sorted.len()).map(|number| {
            let place = self.order.get(number).map_or(number, |at| *at as usize);
            let (key, real_server) = &self.sorted[place];
            (key, real_server)
        })
    }

    fn spell_order_out(&mut self) {
        if self.order.is_empty() {
            self.order = (0..index(self.sorted.len())).collect();
        }
    }

    /// Changes every one in place.
    pub fn for_each_mut(&mut self, mut change: impl FnMut(&RealServerKey, &mut RealServer)) {
        for (key, real_server) in &mut self.sorted {
            change(key, real_server);
        }
    }

    fn find(&self, key: &RealServerKey) -> Result<usize, usize> {
        self.sorted.binary_search_by(|(other, _)| other.cmp(key))
    }
}

/// The real servers of a service by key.
pub type Iter<'a> = std::iter::Map<
    vec_deque::Iter<'a, (RealServerKey, RealServer)>,
    fn(&'a (RealServerKey, RealServer)) -> (&'a RealServerKey, &'a RealServer),
>;

impl<'a> IntoIterator for &'a RealServers {
    type Item = (&'a RealServerKey, &'a RealServer);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A service holds far fewer than 2^32 real servers: the table of 2^32 would not fit a machine.
fn index(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

impl PartialEq for RealServers {
    fn eq(&self, other: &Self) -> bool {
        self.sorted == other.sorted
    }
}

impl Eq for RealServers {}

impl FromIterator<(RealServerKey, RealServer)> for RealServers {
    /// As from a list.
    fn from_iter<I: IntoIterator<Item = (RealServerKey, RealServer)>>(items: I) -> Self {
        Self::from(items.into_iter().collect::<Vec<_>>())
    }
}

impl From<Vec<(RealServerKey, RealServer)>> for RealServers {
    /// Of several under one key the last counts, in the place of the first.
    fn from(mut listed: Vec<(RealServerKey, RealServer)>) -> Self {
        if listed.is_sorted_by(|(one, _), (next, _)| one < next) {
            listed.shrink_to_fit();
            return Self { sorted: listed.into(), order: Vec::new() };
        }
        let mut order: Vec<u32> = (0..index(listed.len())).collect();
        order.sort_by_key(|at| listed[*at as usize].0);
        let unique =
            order.windows(2).all(|pair| listed[pair[0] as usize].0 != listed[pair[1] as usize].0);
        if !unique {
            let mut all = Self::new();
            for (key, real_server) in listed {
                all.insert(key, real_server);
            }
            return all;
        }
        let sorted = order.iter().map(|at| listed[*at as usize]).collect();
        let mut places = vec![0; order.len()];
        for (place, at) in order.into_iter().enumerate() {
            places[at as usize] = index(place);
        }
        Self { sorted, order: places }
    }
}

impl From<RealServers> for Vec<(RealServerKey, RealServer)> {
    fn from(all: RealServers) -> Self {
        all.in_order().map(|(key, real_server)| (*key, *real_server)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Forward;

    fn at(last: u8, weight: u32) -> (RealServerKey, RealServer) {
        let key = RealServerKey { address: [10, 0, 0, last].into(), port: 80 };
        (key, RealServer::new(Forward::Dr, weight))
    }

    #[test]
    fn equality_does_not_see_the_order_but_the_order_is_kept() {
        let (one, other) = ([at(2, 1), at(1, 1)], [at(1, 1), at(2, 1)]);
        let (one, other): (RealServers, RealServers) =
            (one.into_iter().collect(), other.into_iter().collect());
        assert_eq!(one, other);
        let first = one.in_order().next().map(|(key, _)| *key);
        assert_eq!(first, Some(at(2, 1).0));
    }

    #[test]
    fn a_replaced_real_server_keeps_its_place() {
        let mut all: RealServers = [at(2, 1), at(1, 1)].into_iter().collect();
        assert_eq!(all.insert(at(2, 1).0, at(2, 5).1), Some(at(2, 1).1));
        assert_eq!(all.in_order().next(), Some((&at(2, 5).0, &at(2, 5).1)));
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn insertion_removal_and_collection_agree_with_a_list() {
        let added = [at(3, 1), at(1, 1), at(2, 1), at(1, 7)];
        let collected: RealServers = added.into_iter().collect();
        let mut inserted = RealServers::new();
        for (key, real_server) in added {
            inserted.insert(key, real_server);
        }
        assert_eq!(collected, inserted);
        let listed = |all: &RealServers| {
            all.in_order().map(|(key, value)| (*key, *value)).collect::<Vec<_>>()
        };
        assert_eq!(listed(&collected), [at(3, 1), at(1, 7), at(2, 1)]);
        assert_eq!(listed(&inserted), listed(&collected));
        assert_eq!(inserted.remove(&at(1, 0).0), Some(at(1, 7).1));
        assert_eq!(inserted.remove(&at(1, 0).0), None);
        assert_eq!(listed(&inserted), [at(3, 1), at(2, 1)]);
        let by_key: Vec<_> = inserted.iter().map(|(key, _)| *key).collect();
        assert_eq!(by_key, [at(2, 1).0, at(3, 1).0]);
    }
}
