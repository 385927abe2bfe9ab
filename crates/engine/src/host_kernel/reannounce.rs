//! Announces VIPs again on interfaces that can announce addresses now and could not before: they were
//! set up, got a carrier, or have another hardware address. VIPs that were bound while the link was
//! down were never announced, and neighbours may have learnt something else.

use std::collections::BTreeSet;

use evenkeel_host::Link;
use evenkeel_model::{Binding, Live};

use super::HostKernel;
use crate::error::KernelError;

/// Tracks which interfaces can announce addresses.
#[derive(Debug, Default)]
pub(super) struct LinkTracker {
    /// By name and hardware address, as last read; `None` before the first reading.
    known: Option<BTreeSet<(String, Vec<u8>)>>,
    /// The names of those that came up since the last announcement.
    came_up: BTreeSet<String>,
}

impl LinkTracker {
    /// Records the current state of the interfaces.
    pub(super) fn update(&mut self, links: &[Link]) {
        let announceable = links.iter().filter(|link| link.announcement_source().is_ok());
        let now: BTreeSet<(String, Vec<u8>)> =
            announceable.map(|link| (link.name.clone(), link.hardware_address.clone())).collect();
        if let Some(before) = &self.known {
            self.came_up.extend(now.difference(before).map(|(name, _)| name.clone()));
        }
        self.known = Some(now);
    }
}

impl HostKernel {
    /// Announces the VIPs on interfaces that came up since the last call: see [`Kernel::reannounce`].
    ///
    /// [`Kernel::reannounce`]: crate::Kernel::reannounce
    pub(super) fn announce_on_new_links(
        &mut self,
        vips: &[&Binding],
    ) -> Result<Vec<String>, KernelError> {
        let came_up = std::mem::take(&mut self.link_tracker.came_up);
        if came_up.is_empty() {
            return Ok(Vec::new());
        }
        let mut live = Live::default();
        self.read_addresses(&mut live)?;
        let bound = live.addresses;
        let mut failed = Vec::new();
        for vip in
            vips.iter().filter(|it| came_up.contains(&*it.interface) && bound.contains_key(it))
        {
            if let Err(error) = self.host.announce(vip.address, &vip.interface) {
                failed.push(format!("{vip} is bound, but not announced: {error}"));
            }
        }
        Ok(failed)
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_host::OperationalState;

    use super::*;

    fn link(name: &str, running: bool, last: u8) -> Link {
        Link {
            index: 1,
            name: name.to_owned(),
            kind: None,
            up: true,
            running,
            loopback: false,
            point_to_point: false,
            no_arp: false,
            ethernet: true,
            operational: OperationalState::Up,
            alias: None,
            mtu: 1500,
            hardware_address: vec![2, 0, 0, 0, 0, last],
            tunnel: None,
        }
    }

    #[test]
    fn a_link_with_a_new_carrier_or_hardware_address_is_reannounced() {
        let mut link_tracker = LinkTracker::default();
        let mut came_up = |links: &[Link]| {
            link_tracker.update(links);
            std::mem::take(&mut link_tracker.came_up).into_iter().collect::<Vec<_>>()
        };
        let [up, down] = [true, false].map(|running| link("eth0", running, 1));
        let other = link("eth1", true, 2);
        assert_eq!(came_up(std::slice::from_ref(&up)), [""; 0], "it was up at the first reading");
        assert_eq!(came_up(&[down.clone(), other.clone()]), ["eth1"]);
        assert_eq!(came_up(&[up.clone(), other.clone()]), ["eth0"]);
        assert_eq!(came_up(&[up, other.clone()]), [""; 0]);
        assert_eq!(came_up(&[link("eth0", true, 3), other]), ["eth0"]);
    }
}
