//! Laws of neighbour entries that the kernel deletes with the last IPv4 address of their interface.

use std::net::IpAddr;

use evenkeel_model::{
    HostObject, HostObjectKind, HostValue, LiveHostObject, LiveHostObjects, MacAddress, Neighbour,
    NeighbourValue,
};

use super::*;
use crate::rollback_plan;

fn neighbour(address: &str, interface: &str) -> HostObject {
    let address: IpAddr = address.parse().expect("an address");
    Neighbour { address, interface: interface.into() }.into()
}

fn mac(last: u8) -> HostValue {
    HostValue::Neighbour(NeighbourValue { mac: MacAddress([2, 0, 0, 0, 0, last]) })
}

/// A spec that asks for these entries.
fn asking<const N: usize>(neighbours: [(HostObject, HostValue); N]) -> Desired {
    Desired { host_objects: neighbours.into(), ..spec([]) }
}

/// A host with these entries of that program.
fn found<const N: usize>(owner: Owner, neighbours: [(HostObject, HostValue); N]) -> Live {
    let live = |(object, value)| (object, LiveHostObject { owner, value });
    let objects = neighbours.into_iter().map(live).collect();
    let read = [HostObjectKind::Neighbour].into();
    Live {
        host_objects: LiveHostObjects { read, objects, ..Default::default() },
        ..Live::default()
    }
}

fn both() -> [(HostObject, HostValue); 2] {
    [(neighbour("198.51.100.1", "eth0"), mac(1)), (neighbour("2001:db8::1", "eth0"), mac(2))]
}

/// A spec that asks for these VIPs and entries.
fn with_vips<const N: usize>(vips: [Binding; N], wanted: Desired) -> Desired {
    Desired { vips: vips.map(|binding| (binding, Vip::default())).into(), ..wanted }
}

fn bound<const N: usize>(vips: [Binding; N], live: Live) -> Live {
    Live { addresses: vips.map(|binding| (binding, Owner::Evenkeel)).into(), ..live }
}

#[test]
fn entries_that_the_kernel_deletes_with_the_last_address_are_added_again() {
    let [(one, first), (two, second)] = both();
    let new = neighbour("198.51.100.9", "eth0");
    let (own, unbound) = (found(Owner::Evenkeel, both()), "- unbind vip 192.0.2.1/32 on eth0");
    // One stays, one is edited, one is new; those of IPv6 are not affected.
    let kept = asking(both());
    let edited = asking([(one.clone(), mac(7)), (two.clone(), second.clone())]);
    let added = asking([(one, first), (two, second), (new.clone(), mac(9))]);
    let deleted_again = "- delete neighbour 198.51.100.1 dev eth0: mac 02:00:00:00:00:01";
    let added_again = "+ add neighbour 198.51.100.1 dev eth0: mac 02:00:00:00:00:01";
    let (new_line, new_deleted) = (
        "+ add neighbour 198.51.100.9 dev eth0: mac 02:00:00:00:00:09",
        "- delete neighbour 198.51.100.9 dev eth0: mac 02:00:00:00:00:09",
    );
    let edited_line = "+ add neighbour 198.51.100.1 dev eth0: mac 02:00:00:00:00:07";
    let cases: [(&Desired, &[&str]); 3] = [
        (&kept, &[deleted_again, unbound, added_again]),
        (&edited, &[deleted_again, unbound, edited_line]),
        (&added, &[new_line, deleted_again, new_deleted, unbound, new_line, added_again]),
    ];
    for (wanted, expected) in cases {
        let live = bound([vip(1)], own.clone());
        let found = lines(wanted, &live);
        let sorted = |lines: &[&str]| {
            let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            lines.sort();
            lines
        };
        let texts: Vec<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(sorted(&texts), sorted(expected));
        let place = texts.iter().position(|line| *line == unbound);
        assert_eq!(place, expected.iter().position(|line| *line == unbound), "{texts:?}");
        let steps = plan_of(wanted, &live).steps;
        let after = simulate(&live, &steps);
        assert!(plan_of(wanted, &after).is_in_sync(), "{texts:?}");
        assert_eq!(simulate(&after, &rollback_plan(&steps, &after).steps), live, "{texts:?}");
    }
    // The rollback of the first VIP on an interface.
    let (wanted, live) = (with_vips([vip(1)], kept.clone()), own.clone());
    let steps = plan_of(&wanted, &live).steps;
    let after = simulate(&live, &steps);
    assert_eq!(steps.len(), 1);
    assert_eq!(simulate(&after, &rollback_plan(&steps, &after).steps), live);
    // Another label.
    let mut wanted = with_vips([vip(1)], kept.clone());
    wanted.vips.entry(vip(1)).or_default().label = Some("eth0:1".into());
    assert_eq!(
        lines(&wanted, &bound([vip(1)], own.clone())),
        [deleted_again, unbound, added_again, "+ bind vip 192.0.2.1/32 on eth0 label eth0:1"]
    );
    // An address stays, or another one is bound before.
    for vips in [vip(2), Binding { prefix: 24, ..vip(1) }] {
        let wanted = with_vips([vips.clone()], kept.clone());
        assert_eq!(lines(&wanted, &bound([vip(1), vips.clone()], own.clone())), [unbound]);
        assert_eq!(lines(&wanted, &bound([vip(1)], own.clone())).len(), 2);
    }
}
