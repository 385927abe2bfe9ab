//! A service: what can be edited on it in place, and its real servers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Netmask, RealServer, RealServerKey, Scheduler, SchedulerFlags};

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
    /// Chooses the real server of each new connection.
    pub scheduler: Scheduler,
    /// Flags whose meaning depends on the scheduler.
    pub scheduler_flags: SchedulerFlags,
    /// Clients stay on their real server; `None` schedules each connection anew.
    pub persistence: Option<Persistence>,
    /// The persistence engine (`sip`), which tells clients apart by more than their address;
    /// `None` is by address.
    pub engine: Option<Box<str>>,
    /// Each datagram is scheduled by itself; UDP and fwmark services only.
    pub one_packet: bool,
}

/// How long and how widely clients stick to a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persistence {
    /// Seconds from a client's last connection until it may be scheduled anew.
    pub timeout: u32,
    /// Which clients count as one.
    pub netmask: Netmask,
}

/// The real servers of a service, found by key; the order they were added in is kept beside the
/// map, because the sh and mh schedulers depend on it.
///
/// Equality is that of the map: the order takes no part in it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(RealServerKey, RealServer)>", into = "Vec<(RealServerKey, RealServer)>")]
pub struct RealServers {
    map: BTreeMap<RealServerKey, RealServer>,
    order: Vec<RealServerKey>,
}

impl RealServers {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces one; returns what stood under the key before. A new one goes last in the
    /// order, a replaced one keeps its place.
    pub fn insert(&mut self, key: RealServerKey, real_server: RealServer) -> Option<RealServer> {
        let before = self.map.insert(key, real_server);
        if before.is_none() {
            self.order.push(key);
        }
        before
    }

    /// Takes one out.
    pub fn remove(&mut self, key: &RealServerKey) -> Option<RealServer> {
        let removed = self.map.remove(key);
        if removed.is_some() {
            self.order.retain(|kept| kept != key);
        }
        removed
    }

    /// The one under that key.
    pub fn get(&self, key: &RealServerKey) -> Option<&RealServer> {
        self.map.get(key)
    }

    /// The one under that key, to be changed.
    pub fn get_mut(&mut self, key: &RealServerKey) -> Option<&mut RealServer> {
        self.map.get_mut(key)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// All of them by key: the order of plans and of every output.
    pub fn iter(&self) -> std::collections::btree_map::Iter<'_, RealServerKey, RealServer> {
        self.map.iter()
    }

    /// All of them in the order they were added, oldest first.
    pub fn in_order(&self) -> impl Iterator<Item = (&RealServerKey, &RealServer)> {
        self.order.iter().filter_map(|key| self.map.get_key_value(key))
    }

    /// Turns the order round: a kernel lists the newest first.
    pub fn reverse_order(&mut self) {
        self.order.reverse();
    }

    /// Changes every one in place.
    pub fn for_each_mut(&mut self, mut change: impl FnMut(&RealServerKey, &mut RealServer)) {
        for (key, real_server) in &mut self.map {
            change(key, real_server);
        }
    }
}

impl PartialEq for RealServers {
    fn eq(&self, other: &Self) -> bool {
        self.map == other.map
    }
}

impl Eq for RealServers {}

impl FromIterator<(RealServerKey, RealServer)> for RealServers {
    fn from_iter<I: IntoIterator<Item = (RealServerKey, RealServer)>>(items: I) -> Self {
        let mut all = Self::new();
        for (key, real_server) in items {
            all.insert(key, real_server);
        }
        all
    }
}

impl From<Vec<(RealServerKey, RealServer)>> for RealServers {
    fn from(items: Vec<(RealServerKey, RealServer)>) -> Self {
        items.into_iter().collect()
    }
}

impl From<RealServers> for Vec<(RealServerKey, RealServer)> {
    fn from(all: RealServers) -> Self {
        all.in_order().map(|(key, real_server)| (*key, *real_server)).collect()
    }
}

impl<'a> IntoIterator for &'a RealServers {
    type Item = (&'a RealServerKey, &'a RealServer);
    type IntoIter = std::collections::btree_map::Iter<'a, RealServerKey, RealServer>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Forward;

    fn at(last: u8, weight: u32) -> (RealServerKey, RealServer) {
        let key = RealServerKey { address: [10, 0, 0, last].into(), port: 80 };
        let forward = Forward::Dr;
        (key, RealServer { forward, weight, upper_threshold: 0, lower_threshold: 0 })
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
}
