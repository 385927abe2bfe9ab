//! Tests the property with evenkeel as the writer: random specs, applied to the result of another
//! spec.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use evenkeel_lab_tests::fresh_host;
use evenkeel_lab_tests::property::{cases, check};
use evenkeel_model::arbitrary::{Pair, pair};
use evenkeel_model::{
    Binding, DesiredTimeouts, Ignore, IgnoredField, NamedService, Owner, RealServers, SyncDaemon,
    SyncState, Vip,
};
use proptest::sample::select;

use super::*;
use crate::dump::Dump;

/// A spec with everything that can be expressed, and the state before it.
#[derive(Debug, Clone)]
struct Case {
    before: Desired,
    desired: Desired,
    /// Whether the snapshot gets the spec, from which it takes names and the objects to read.
    named: bool,
    /// Whether it writes real servers that services share as pools.
    pooled: bool,
}

#[test]
fn a_snapshot_of_any_spec_plans_empty_and_rebuilds_it_on_an_empty_host() {
    check(cases(CASES), &case(), |Case { before, desired, named, pooled }| {
        fresh_host();
        apply_completely(&before)?;
        let spec = write(&WriteInput::of_desired(&desired));
        let asked = read(&spec)?.desired;
        prop_assert_eq!(&asked, &desired, "{}", spec);
        apply_completely(&asked)?;
        assert_canonical_orders(&desired)?;

        let known = if named { asked } else { everything() };
        let text = snapshot(&known, pooled);
        let kept = assert_plans_empty(&text)?;
        let (dump, around) = (Dump::take(), read_namespace(&kept));

        fresh_host();
        apply_completely(&kept)?;
        prop_assert_eq!(Dump::take(), dump, "{}", text);
        prop_assert_eq!(read_namespace(&kept), around, "{}", text);
        prop_assert_eq!(snapshot(&known, pooled), text);
        Ok(())
    });
}

/// Reads the addresses that evenkeel bound, and the sysctls that a spec names.
fn read_namespace(named: &Desired) -> impl PartialEq + std::fmt::Debug {
    let mut live = observe(named);
    live.addresses.retain(|_, owner| *owner == Owner::Evenkeel);
    (live.addresses, live.sysctls)
}

fn assert_canonical_orders(desired: &Desired) -> Tested {
    let live = observe(desired);
    for (key, NamedService { service, .. }) in
        desired.services.iter().filter(|it| it.1.canonical_order)
    {
        let there = live.services[key].real_servers.in_order();
        let there: Vec<_> = there.map(|(key, _)| *key).collect();
        let wanted: Vec<_> = service.real_servers.in_order().map(|(key, _)| *key).collect();
        prop_assert_eq!(there, wanted, "{}", key);
    }
    Ok(())
}

fn case() -> impl Strategy<Value = Case> {
    let services = (pair(5), any::<u64>(), any::<u64>());
    let around = (timeouts(), prop::option::of(daemons()), sysctls(), prop::bool::ANY);
    (services, around, prop::bool::ANY, prop::bool::ANY).prop_map(
        |((pair, one, other), (timeouts, sync, sysctls, binds), named, pooled)| {
            let Pair { mut desired, live, .. } = pair;
            let mut before = everything();
            for (number, (key, mut service)) in live.services.into_iter().enumerate() {
                service.real_servers = scattered(&service.real_servers, other);
                before.services.insert(key, NamedService::new(format!("s{number}"), service));
            }
            for (key, named) in &mut desired.services {
                named.service.real_servers = scattered(&named.service.real_servers, one);
                named.canonical_order = number(one, key) % 2 == 0;
                named.ignore = ignored(number(other, key));
                if let ServiceKey::Address { address, .. } = *key
                    && binds
                {
                    desired.vips.insert(Binding::host(address, "eth0"), Vip::default());
                }
            }
            // The kernel has either the one or the other.
            let services = desired.services.iter().map(|(key, named)| (key, &named.service));
            let mixed = is_mixed(services);
            desired.sync = sync.filter(|daemons| daemons.is_empty() || !mixed);
            desired.timeouts = timeouts;
            desired.sysctls = sysctls;
            Case { before, desired, named, pooled }
        },
    )
}

/// Returns the same elements in any order.
fn scattered(real_servers: &RealServers, seed: u64) -> RealServers {
    let mut all: Vec<_> = real_servers.iter().map(|(key, value)| (*key, *value)).collect();
    all.sort_by_key(|(key, _)| number(seed, key));
    all.into_iter().collect()
}

fn number(seed: u64, of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, of).hash(&mut hasher);
    hasher.finish()
}

fn ignored(number: u64) -> Ignore {
    let fields: &[IgnoredField] = match number % 8 {
        0 => &[IgnoredField::Weight],
        1 => &[IgnoredField::Scheduler],
        2 => &[IgnoredField::UpperThreshold, IgnoredField::LowerThreshold],
        3 => &[IgnoredField::Persistence, IgnoredField::Weight],
        _ => &[],
    };
    fields.iter().copied().collect()
}

fn timeouts() -> impl Strategy<Value = DesiredTimeouts> {
    let one = || prop::option::of(1..=DesiredTimeouts::MAX);
    (one(), one(), one()).prop_map(|(tcp, tcp_fin, udp)| DesiredTimeouts { tcp, tcp_fin, udp })
}

fn daemons() -> impl Strategy<Value = BTreeMap<SyncState, SyncDaemon>> {
    prop::collection::btree_map(select(vec![SyncState::Master, SyncState::Backup]), daemon(), 0..=2)
}

fn daemon() -> impl Strategy<Value = SyncDaemon> {
    let groups = ["224.0.0.81", "239.1.2.3", "ff02::81", "ff05::1:2"];
    let groups = groups.map(|text| text.parse::<IpAddr>().unwrap()).to_vec();
    (
        any::<u8>(),
        prop::option::of(1024..=9000_u16),
        prop::option::of(select(groups)),
        prop::option::of(1..=u16::MAX),
        prop::option::of(1..=u8::MAX),
    )
        .prop_map(|(id, max_length, group, port, ttl)| SyncDaemon {
            interface: "eth0".into(),
            id,
            max_length,
            group,
            port,
            ttl,
        })
}

fn sysctls() -> impl Strategy<Value = BTreeMap<Box<str>, Box<str>>> {
    let keys =
        ["net.ipv4.ip_forward", "net.ipv4.vs.expire_nodest_conn", "net.ipv4.vs.nat_icmp_send"];
    prop::collection::btree_map(
        select(keys.map(Box::from).to_vec()),
        select(["0", "1"].map(Box::from).to_vec()),
        0..=3,
    )
}
