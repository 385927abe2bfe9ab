//! Disturbances of links and addresses, and the losses of VIPs that are measured.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use evenkeel_lab_tests::dice::TestRng;
use evenkeel_lab_tests::route_socket::{AddressChange, RouteSocket, Verb, link_index};
use evenkeel_lab_tests::run;

use super::Host;
use super::ledger::Owner;
use super::timeline::Disturbance;

/// VIPs of each owner, half of them IPv6.
///
/// The losses of one VIP are more than 30 s apart, so that fewer than five are within a minute, the time in which
/// a daemon with an interval of 1 s counts the same changes: no conflict is due.
const VIPS: u8 = 50;

/// Addresses of a storm that are changed with one system call.
const BATCH: u8 = 50;

/// The links of the host beside `lo` and evenkeel's `eth0`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Links {
    pub(super) evenkeel: u32,
    pub(super) floor: u32,
    storm: u32,
    flapping: u32,
}

/// An address of another program on the link that flaps.
const ON_FLAPPING: &str = "203.0.113.99";

impl Links {
    /// Creates them in the namespace of the calling thread, beside `eth0`.
    pub(super) fn create() -> Self {
        for name in ["floor0", "storm0", "flap0"] {
            run(&format!("ip link add {name} up type dummy"));
        }
        run(&format!("ip address add {ON_FLAPPING}/32 dev flap0"));
        Self {
            evenkeel: link_index("eth0"),
            floor: link_index("floor0"),
            storm: link_index("storm0"),
            flapping: link_index("flap0"),
        }
    }

    /// Returns the addresses of other programs.
    pub(super) fn foreign(self) -> [(u32, IpAddr); 3] {
        let of = |link, text: &str| (link, text.parse().unwrap());
        [
            of(self.evenkeel, "203.0.113.1"),
            of(self.evenkeel, "192.0.2.77"),
            of(self.flapping, ON_FLAPPING),
        ]
    }

    /// Returns the VIPs whose losses are measured.
    pub(super) fn owners(self) -> BTreeMap<(u32, IpAddr), Owner> {
        let of = |owner, link| vips(owner).into_iter().map(move |vip| ((link, vip), owner));
        of(Owner::Evenkeel, self.evenkeel).chain(of(Owner::Floor, self.floor)).collect()
    }
}

/// Returns the VIPs of an owner.
pub(super) fn vips(owner: Owner) -> Vec<IpAddr> {
    let (ipv4, ipv6): ([u8; 3], u128) = match owner {
        Owner::Evenkeel => ([192, 0, 2], 0x2001_0db8),
        Owner::Floor => ([198, 51, 100], 0xfd00_0000),
    };
    let [a, b, c] = ipv4;
    let vip = |number: u8| match number % 2 {
        0 => IpAddr::from([a, b, c, 150 + number]),
        _ => Ipv6Addr::from_bits(ipv6 << 96 | (0x100 + u128::from(number))).into(),
    };
    (0..VIPS).map(vip).collect()
}

/// Takes a VIP from evenkeel and one from the floor by turns, always in the same way.
pub(super) fn take_vips(host: &Host<'_>, mut rng: TestRng, links: Links) {
    let socket = RouteSocket::open();
    let owners = [(Owner::Evenkeel, links.evenkeel), (Owner::Floor, links.floor)];
    let mut rounds = owners.map(|(owner, link)| (link, vips(owner), Vec::new()));
    // The usual time between two losses is no subject of the pace: it is what keeps conflicts from being due.
    while host.run.pause(Duration::from_millis(rng.between(150, 450) as u64)) {
        rounds.rotate_left(1);
        let (link, vips, left) = &mut rounds[0];
        if left.is_empty() {
            left.clone_from(vips);
        }
        let address = left.swap_remove(rng.below(left.len()));
        if !host.ledger.take((*link, address)) {
            host.count("VIPs that were missing when their turn came");
            continue;
        }
        host.count("losses of VIPs");
        let change = AddressChange { verb: Verb::Remove, address, link: *link };
        if socket.change(&[change]) > 0 {
            host.run.fail(format!("the kernel refused to remove {address}"));
        }
    }
}

/// Adds and removes thousands of addresses a second on a link that neither program uses, in bursts.
pub(super) fn storm(host: &Host<'_>, mut rng: TestRng, links: Links) {
    let socket = RouteSocket::open();
    let all: Vec<IpAddr> = (0..BATCH)
        .map(|number| match number % 4 {
            0 => Ipv6Addr::from_bits(0xfd11_u128 << 112 | u128::from(number)).into(),
            _ => Ipv4Addr::new(10, 99, 0, number).into(),
        })
        .collect();
    let changes = |verb| -> Vec<AddressChange> {
        all.iter().map(|&address| AddressChange { verb, address, link: links.storm }).collect()
    };
    let [add, remove] = [Verb::Add, Verb::Remove].map(changes);
    while host.pause(&mut rng, 5_000..=12_000) {
        let _during = host.timeline.during(Disturbance::Storm);
        for _ in 0..rng.between(20, 50) {
            socket.change(&add);
            socket.change(&remove);
            host.count("bursts of 100 changes of addresses");
            if !host.run.pause(Duration::from_millis(40)) {
                break;
            }
        }
    }
}

/// Sets a link that neither program uses down and up, and takes the carrier of the links with VIPs for moments, as
/// when a cable is pulled: this does not itself remove addresses, while a link that is set down would lose those of IPv6.
pub(super) fn flap(host: &Host<'_>, mut rng: TestRng, links: Links) {
    let socket = RouteSocket::open();
    while host.pause(&mut rng, 300..=2_000) {
        if rng.percent(75) {
            let _during = host.timeline.during(Disturbance::OtherLink);
            socket.set_up(links.flapping, false);
            host.pause(&mut rng, 0..=200);
            socket.set_up(links.flapping, true);
        } else {
            let _during = host.timeline.during(Disturbance::Carrier);
            for has_carrier in [false, true] {
                for link in [links.evenkeel, links.floor] {
                    socket.set_carrier(link, has_carrier);
                }
                host.pause(&mut rng, 0..=500);
            }
        }
    }
}
