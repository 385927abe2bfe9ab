//! Large states, object by object.

use std::net::{IpAddr, Ipv4Addr};

use evenkeel_engine::fake_kernel::FakeKernel;
use evenkeel_model::statistics::{RealServerStatistics, Statistics};
use evenkeel_model::{
    Binding, Desired, Drain, Family, Forward, HostRoute, Link, Live, LiveHostObject, MacAddress,
    NamedService, Neighbour, Owner, Protocol, RealServer, RealServerKey, RealServers, Scheduler,
    Scope, Service, ServiceConfig, ServiceKey, SourceNat, SourceNatValue, Vip,
};

fn address(first: u8, number: usize) -> IpAddr {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    Ipv4Addr::from_bits(u32::from(first) << 24 | number & 0x00ff_ffff).into()
}

pub(super) fn vip(number: usize) -> IpAddr {
    address(10, number + 1)
}

pub(super) fn key(number: usize) -> ServiceKey {
    ServiceKey::Address { address: vip(number), port: 80, protocol: Protocol::Tcp }
}

/// A service on a port of the first VIP.
pub(super) fn on_port(number: usize) -> ServiceKey {
    let port = u16::try_from(number + 1).unwrap_or(u16::MAX);
    ServiceKey::Address { address: vip(0), port, protocol: Protocol::Tcp }
}

pub(super) fn marked(number: usize) -> ServiceKey {
    let fwmark = u32::try_from(number + 1).unwrap_or(u32::MAX);
    ServiceKey::Fwmark { family: Family::Ipv4, fwmark }
}

pub(super) fn real_server(number: usize) -> RealServerKey {
    RealServerKey { address: address(172, number + 1), port: 80 }
}

pub(super) fn binding(number: usize, prefix: u8) -> Binding {
    Binding { address: vip(number), interface: "eth0".into(), prefix }
}

/// A service with those real servers, all with that weight.
pub(super) fn service(
    scheduler: &Scheduler,
    real_servers: std::ops::Range<usize>,
    weight: u32,
) -> Service {
    let value = RealServer::new(Forward::Nat, weight);
    let real_servers: RealServers =
        real_servers.map(|number| (real_server(number), value)).collect();
    Service { config: ServiceConfig::new(*scheduler), real_servers }
}

/// A spec for the whole table.
pub(super) fn spec(
    services: impl IntoIterator<Item = (ServiceKey, Service)>,
    vips: impl IntoIterator<Item = (Binding, Vip)>,
    drain: Drain,
) -> Desired {
    let named = |(number, (key, service))| {
        (key, NamedService { drain, ..NamedService::new(format!("s{number}"), service) })
    };
    Desired {
        scope: Scope::All,
        services: services.into_iter().enumerate().map(named).collect(),
        vips: vips.into_iter().collect(),
        drain,
        ..Desired::default()
    }
}

/// Adds the route, the neighbour entry and the source NAT of each service.
pub(super) fn with_host_objects(mut desired: Desired, objects: usize) -> Desired {
    for number in 0..objects {
        let interface: Box<str> = "eth0".into();
        let route = HostRoute { destination: vip(number), interface: interface.clone() };
        desired.host_objects.insert(route.clone().into(), route.value());
        let neighbour = Neighbour { address: address(192, number + 1), interface };
        desired.host_objects.insert(neighbour.into(), MacAddress([2, 0, 0, 0, 0, 1]).into());
        let source_nat = SourceNat { service: key(number), real_server: real_server(number) };
        desired.host_objects.insert(source_nat.into(), SourceNatValue::Masquerade.into());
    }
    desired
}

/// A host on which everything is as that spec asks, with connections to every real server.
pub(super) fn host(desired: &Desired) -> FakeKernel {
    let services = desired.services.iter();
    let objects = desired.host_objects.iter();
    let objects =
        objects.map(|(object, value)| (object.clone(), LiveHostObject::set_to(value.clone())));
    let labels = desired.vips.iter();
    let labels = labels.filter_map(|(binding, vip)| Some((binding.clone(), vip.label.clone()?)));
    let mut live = Live {
        services: services.map(|(key, named)| (*key, named.service.clone())).collect(),
        addresses: desired.vips.keys().map(|it| (it.clone(), Owner::Evenkeel)).collect(),
        labels: labels.collect(),
        links: Some([("eth0".into(), Link { up: true, dummy: false, owner: Owner::Other })].into()),
        ..Live::default()
    };
    live.host_objects.read = evenkeel_model::HostObjectKind::ALL.into();
    live.host_objects.objects = objects.collect();
    let mut kernel = FakeKernel::new(live);
    kernel.statistics = statistics(&kernel.live);
    kernel
}

fn statistics(live: &Live) -> Statistics {
    let mut statistics = Statistics::default();
    for (key, service) in &live.services {
        let counted = statistics.services.entry(*key).or_default();
        for (real_server, _) in &service.real_servers {
            let connections = RealServerStatistics { active_connections: 3, ..Default::default() };
            counted.real_servers.insert(*real_server, connections);
        }
    }
    statistics
}
