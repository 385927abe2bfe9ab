//! Tests notifications of changes by other programs.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_host::{AddressMonitor, Change, Host};
use evenkeel_lab_tests::{enter_namespace, fresh_host, fresh_namespace, run, this_namespace};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::binding;

const NOTHING: Change =
    Change { addresses: false, gone: BTreeSet::new(), links: false, lost: false };
const ADDRESSES: Change =
    Change { addresses: true, gone: BTreeSet::new(), links: false, lost: false };
const LINKS: Change = Change { addresses: false, gone: BTreeSet::new(), links: true, lost: false };

fn gone(address: &str) -> Change {
    let address: IpAddr = address.parse().unwrap();
    Change { gone: [address].into(), ..ADDRESSES }
}

/// Whether a notification arrives within this time.
fn is_readable(changes: &AddressMonitor, within: Duration) -> bool {
    let within = Timespec::try_from(within).unwrap();
    poll(&mut [PollFd::new(changes, PollFlags::IN)], Some(&within)).unwrap() > 0
}

/// Merges all notifications until none arrives for a moment; the kernel sends some with a delay.
fn received(changes: &mut AddressMonitor) -> Change {
    let mut sum = Change::default();
    while is_readable(changes, Duration::from_millis(20)) {
        let Some(Change { addresses, gone, links, lost }) = changes.take().unwrap() else {
            continue;
        };
        sum.addresses |= addresses;
        sum.gone.extend(gone);
        sum.links |= links;
        sum.lost |= lost;
    }
    assert_eq!(changes.take().unwrap(), None);
    sum
}

#[test]
fn changes_of_addresses_and_links_are_reported_from_any_program() {
    fresh_host();
    let mut changes = AddressMonitor::subscribe().unwrap();
    received(&mut changes);
    for (command, expected) in [
        ("ip addr add 192.0.2.1/32 dev eth0", ADDRESSES),
        ("ip addr del 192.0.2.1/32 dev eth0", gone("192.0.2.1")),
        ("ip addr add 2001:db8::1/128 dev eth0 nodad", ADDRESSES),
        ("ip addr change 2001:db8::1/128 dev eth0 preferred_lft 0", ADDRESSES),
        ("ip addr del 2001:db8::1/128 dev eth0", gone("2001:db8::1")),
        ("ip link add d1 type dummy", LINKS),
        ("ip link set eth0 alias uplink", LINKS),
        ("ip link set d1 name d2", LINKS),
        ("ip link del d2", LINKS),
        ("ip route add 198.51.100.0/24 dev eth0", NOTHING),
        ("ip neigh add 203.0.113.9 lladdr 02:00:00:00:00:01 dev eth0", Change::default()),
    ] {
        run(command);
        assert_eq!(received(&mut changes), expected, "{command}");
    }
    for command in ["ip link set eth0 down", "ip link set eth0 up"] {
        run(command);
        assert!(received(&mut changes).links, "{command}");
    }
    // Changes by evenkeel itself.
    let host = Host::connect().unwrap();
    host.bind(&binding("192.0.2.1/32@eth0")).unwrap();
    assert_eq!(received(&mut changes), ADDRESSES);
}

#[test]
fn another_namespace_is_not_reported() {
    fresh_host();
    let mut changes = AddressMonitor::subscribe().unwrap();
    received(&mut changes);
    let home = this_namespace();
    fresh_namespace();
    run("ip addr add 192.0.2.1/32 dev lo");
    assert_eq!(received(&mut changes), Change::default());
    enter_namespace(&home);
}

#[test]
fn lost_notifications_are_reported_once() {
    fresh_host();
    let mut changes = AddressMonitor::subscribe().unwrap();
    received(&mut changes);
    set_socket_recv_buffer_size(&changes, 1).unwrap();
    let host = Host::connect().unwrap();
    let vip = |last: u8| binding(&format!("192.0.2.{last}/32@eth0"));
    (1..100).for_each(|last| host.bind(&vip(last)).unwrap());
    assert!(is_readable(&changes, Duration::ZERO));
    assert_eq!(changes.take().unwrap(), Some(Change { lost: true, ..ADDRESSES }));
    assert_eq!(changes.take().unwrap(), None);
    host.bind(&vip(100)).unwrap();
    assert_eq!(changes.take().unwrap(), Some(ADDRESSES));
}

#[test]
fn a_burst_of_a_thousand_changes_is_not_lost() {
    fresh_host();
    let mut changes = AddressMonitor::subscribe().unwrap();
    received(&mut changes);
    let host = Host::connect().unwrap();
    let vip = |number: usize| binding(&format!("10.0.{}.{}/32@eth0", number / 250, number % 250));
    (0..1000).for_each(|number| host.bind(&vip(number)).unwrap());
    assert_eq!(changes.take().unwrap(), Some(ADDRESSES));
}
