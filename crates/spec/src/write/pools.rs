//! Finds real servers that several services share, and writes them as pools.

use std::collections::BTreeMap;

use super::line;
use super::scalar::text;
use super::service::Entry;

/// The pools, in the order of the services that use them first.
#[derive(Default)]
pub(super) struct Pools {
    pools: Vec<Pool>,
    /// The pool of a service, by the index of the service.
    used: BTreeMap<usize, usize>,
}

struct Pool {
    name: String,
    items: Vec<String>,
}

impl Pools {
    /// Makes a pool of each list that more than one service has. Its name is the first service's,
    /// so that it does not change when other services are added or removed.
    pub(super) fn of(entries: &[Entry]) -> Self {
        let mut users: BTreeMap<Vec<String>, Vec<usize>> = BTreeMap::new();
        for (index, entry) in entries.iter().enumerate() {
            let items = entry.items();
            if !items.is_empty() {
                users.entry(items).or_default().push(index);
            }
        }
        let mut shared: Vec<_> = users.into_iter().filter(|(_, users)| users.len() > 1).collect();
        shared.sort_by_key(|(_, users)| users[0]);
        let mut all = Self::default();
        for (items, users) in shared {
            let name = entries[users[0]].name.clone();
            all.used.extend(users.into_iter().map(|user| (user, all.pools.len())));
            all.pools.push(Pool { name, items });
        }
        all
    }

    /// The name of the pool that the service of that index uses.
    pub(super) fn used_by(&self, index: usize) -> Option<&str> {
        self.used.get(&index).map(|pool| &*self.pools[*pool].name)
    }

    pub(super) fn write(&self, out: &mut String) {
        if self.pools.is_empty() {
            return;
        }
        out.push_str("\npools:\n");
        for Pool { name, items } in &self.pools {
            line(out, format_args!("  - name: {}", text(name)));
            out.push_str("    real_servers:\n");
            for item in items {
                line(out, format_args!("      - {item}"));
            }
        }
    }
}
