//! Strategies for services and real servers: any that a spec can write.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::{
    Checksum, Family, Forward, MAX_WEIGHT, Netmask, Persistence, Protocol, RealServer,
    RealServerKey, Scheduler, SchedulerFlags, Service, ServiceConfig, ServiceKey, Tunnel,
    TunnelKind,
};

/// The schedulers that every kernel with IPVS modules has.
const SCHEDULERS: [&str; 13] =
    ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh"];

pub(super) fn service(key: ServiceKey) -> impl Strategy<Value = Service> {
    (config(key), prop::collection::btree_map(real_server_key(key), real_server(), 0..5)).prop_map(
        move |(config, real_servers)| Service {
            config,
            real_servers: real_servers.into_iter().map(|(k, v)| fit(key, k, v)).collect(),
        },
    )
}

/// A key of one of the forms a spec can write.
pub fn service_key() -> impl Strategy<Value = ServiceKey> {
    let protocol = || select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
    let port = || select(vec![53_u16, 80, 443, 8080, 65535]);
    let on = |address: IpAddr, port, protocol| ServiceKey::Address { address, port, protocol };
    prop_oneof![
        4 => (1..6_u8, port(), protocol())
            .prop_map(move |(last, port, protocol)| on([192, 0, 2, last].into(), port, protocol)),
        2 => (1..4_u16, port(), protocol()).prop_map(move |(last, port, protocol)| {
            on(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into(), port, protocol)
        }),
        2 => (select(vec![Family::Ipv4, Family::Ipv6]), select(vec![1, 7, u32::MAX]))
            .prop_map(|(family, fwmark)| ServiceKey::Fwmark { family, fwmark }),
    ]
}

/// A configuration that a spec can write for that key.
pub fn config(key: ServiceKey) -> impl Strategy<Value = ServiceConfig> {
    let may_be_one_packet =
        !matches!(key, ServiceKey::Address { protocol: Protocol::Tcp | Protocol::Sctp, .. });
    (
        select(SCHEDULERS.to_vec()),
        subsequence(vec![1_u8, 2, 4], 0..=3),
        prop::option::of(persistence(key.family())),
        prop::bool::ANY,
        prop::bool::weighted(0.2),
    )
        .prop_map(move |(scheduler, flags, persistence, one_packet, sip)| ServiceConfig {
            scheduler: Scheduler::new(scheduler).unwrap_or_else(Scheduler::none),
            scheduler_flags: SchedulerFlags::from_bits(flags.into_iter().sum()),
            persistence,
            engine: (sip && persistence.is_some() && is_udp(key)).then(|| "sip".into()),
            one_packet: one_packet && may_be_one_packet,
        })
}

/// The sip engine reads UDP only (`ip_vs_sip_fill_param`).
fn is_udp(key: ServiceKey) -> bool {
    matches!(key, ServiceKey::Address { protocol: Protocol::Udp, .. })
}

fn persistence(family: Family) -> impl Strategy<Value = Persistence> {
    (select(vec![1_u32, 300, 2_678_400]), 1..=128_u8).prop_map(move |(timeout, length)| {
        let netmask = match family {
            Family::Ipv4 => Netmask::v4_prefix(length.min(32)),
            Family::Ipv6 => Some(Netmask::V6(length)),
        };
        Persistence { timeout, netmask: netmask.unwrap_or(Netmask::host(family)) }
    })
}

pub(super) fn keyed_real_server(
    key: ServiceKey,
) -> impl Strategy<Value = (RealServerKey, RealServer)> {
    (real_server_key(key), real_server()).prop_map(move |(k, v)| fit(key, k, v))
}

/// Real servers' own port only under NAT, and the other family only through a tunnel.
pub(super) fn fit(
    service: ServiceKey,
    mut key: RealServerKey,
    value: RealServer,
) -> (RealServerKey, RealServer) {
    if value.forward.keeps_port() {
        key.port = service.port();
    }
    if !matches!(value.forward, Forward::Tun(_)) {
        key.address = match (service.family(), key.address) {
            (Family::Ipv4, IpAddr::V6(address)) => v4(address.segments()[7]),
            (Family::Ipv6, IpAddr::V4(address)) => v6(address.octets()[3].into()),
            (_, address) => address,
        };
    }
    (key, value)
}

pub(super) fn v4(last: u16) -> IpAddr {
    Ipv4Addr::new(198, 51, 100, u8::try_from(last).unwrap_or(1)).into()
}

pub(super) fn v6(last: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, last).into()
}

pub(super) fn real_server_key(service: ServiceKey) -> impl Strategy<Value = RealServerKey> {
    let other_family = prop::bool::weighted(0.2);
    (1..9_u16, other_family, select(vec![0_u16, 80, 8080, 9999])).prop_map(
        move |(last, other, port)| {
            let family = if other { service.family().other() } else { service.family() };
            let address = match family {
                Family::Ipv4 => v4(last),
                Family::Ipv6 => v6(last),
            };
            let port = if port == 0 { service.port() } else { port };
            RealServerKey { address, port }
        },
    )
}

pub(super) fn real_server() -> impl Strategy<Value = RealServer> {
    (forward(), weight(), thresholds()).prop_map(|(forward, weight, (lower, upper))| RealServer {
        forward,
        weight,
        upper_threshold: upper,
        lower_threshold: lower,
    })
}

/// Often 0: the difficult case of weights is to lose the last one.
fn weight() -> impl Strategy<Value = u32> {
    select(vec![0, 0, 0, 0, 1, 2, 100, 65535, 65536, MAX_WEIGHT])
}

fn thresholds() -> impl Strategy<Value = (u32, u32)> {
    select(vec![(0, 0), (0, 10), (5, 10), (10, 10), (1, u32::MAX)])
}

fn forward() -> impl Strategy<Value = Forward> {
    let tunnel = |kind, port, checksum| Forward::Tun(Tunnel { kind, port, checksum });
    prop_oneof![
        Just(Forward::Dr),
        Just(Forward::Nat),
        Just(Forward::Tun(Tunnel::IPIP)),
        (1..=u16::MAX, select(vec![Checksum::None, Checksum::Full, Checksum::Remote]))
            .prop_map(move |(port, checksum)| tunnel(TunnelKind::Gue, port, checksum)),
        select(vec![Checksum::None, Checksum::Full]).prop_map(move |checksum| tunnel(
            TunnelKind::Gre,
            0,
            checksum
        )),
    ]
}
