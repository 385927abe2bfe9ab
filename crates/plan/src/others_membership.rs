//! Services whose real servers another program adds and deletes (`ignore: [real_servers]`): what the record
//! says of them.

use evenkeel_model::{Desired, IgnoredField, Live, ServiceKey};

use crate::{Op, PriorState};

impl PriorState {
    /// Records the services that these operations add, until [`Self::forget_filled`]. The spec decides
    /// later whose their real servers are.
    pub fn note_new_services<'a>(
        &mut self,
        desired: &Desired,
        steps: impl IntoIterator<Item = &'a Op>,
    ) {
        let added = steps.into_iter().filter_map(|op| match op {
            Op::AddService { key, .. } => Some(*key),
            _ => None,
        });
        self.unfilled.extend(added.filter(|key| is_theirs(desired, key)));
    }

    /// Forgets the services that have all real servers that the spec lists, or that are gone, and the drains
    /// that another program ended of real servers that are its own. `live` has all services. Returns
    /// whether the record changes.
    pub fn forget_filled(&mut self, desired: &Desired, live: &Live) -> bool {
        let before = (self.unfilled.len(), self.drains.0.len());
        self.unfilled.retain(|key| {
            let Some(live) = live.services.get(key) else { return false };
            let Some(named) = desired.services.get(key) else { return true };
            let mut listed = named.service.real_servers.iter();
            is_theirs(desired, key) && !listed.all(|(it, _)| live.real_servers.get(it).is_some())
        });
        self.drains.0.retain(|(service, key), _| {
            let is_ended = || {
                let there = live.services.get(service);
                let there = there.and_then(|there| there.real_servers.get(key));
                there.is_none_or(|there| there.weight > 0)
            };
            !is_theirs(desired, service) || !is_ended()
        });
        before != (self.unfilled.len(), self.drains.0.len())
    }
}

fn is_theirs(desired: &Desired, key: &ServiceKey) -> bool {
    let named = desired.services.get(key);
    named.is_some_and(|named| named.ignore.contains(IgnoredField::RealServers))
}

#[cfg(test)]
mod tests;
