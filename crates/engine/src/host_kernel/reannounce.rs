//! Interfaces whose neighbours can be told of addresses, and could not be before: they were set up,
//! got a carrier, or have another hardware address. Who was bound on them meanwhile was told to
//! nobody, and neighbours may have learnt something else.

use std::collections::BTreeSet;

use evenkeel_host::Link;
use evenkeel_model::{Binding, Live};

use super::HostKernel;
use crate::KernelError;

/// Which interfaces have neighbours to tell.
#[derive(Debug, Default)]
pub(super) struct LinkTracker {
    /// By name and hardware address, as they were last seen; `None` before the first look.
    known: Option<BTreeSet<(String, Vec<u8>)>>,
    /// Those that got one since it was asked last.
    came_up: BTreeSet<String>,
}

impl LinkTracker {
    /// Takes note of how the interfaces are now.
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
    /// Announces those of the VIPs that are bound on interfaces that have risen since this was last
    /// called, as far as that was seen in what was read meanwhile: one that was up when it was
    /// connected has not. What could not be announced is told in words.
    ///
    /// # Errors
    /// The addresses cannot be read.
    pub fn reannounce(&mut self, vips: &[&Binding]) -> Result<Vec<String>, KernelError> {
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
            no_arp: false,
            ethernet: true,
            operational: OperationalState::Up,
            alias: None,
            mtu: 1500,
            hardware_address: vec![2, 0, 0, 0, 0, last],
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
        assert_eq!(came_up(std::slice::from_ref(&up)), [""; 0], "it was up before anyone looked");
        assert_eq!(came_up(&[down.clone(), other.clone()]), ["eth1"]);
        assert_eq!(came_up(&[up.clone(), other.clone()]), ["eth0"]);
        assert_eq!(came_up(&[up, other.clone()]), [""; 0]);
        assert_eq!(came_up(&[link("eth0", true, 3), other]), ["eth0"]);
    }
}
