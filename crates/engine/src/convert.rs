//! Converts between the types of the netlink crate and those of the model.
//!
//! The netlink crate keeps what the kernel sent, bit by bit; the model keeps what it means. Values
//! without a meaning in their context (the timeout of a service without persistence) are not in
//! the model. What a spec does not govern (flag bits of later kernels) is left unchanged by the way
//! in which edits are sent.

use evenkeel_ipvs as ipvs;
use evenkeel_model::statistics::{Rates, RealServerStatistics, Traffic};
use evenkeel_model::{
    Checksum, Family, Forward, Netmask, Persistence, Protocol, RealServer, RealServerKey,
    Scheduler, SchedulerFlags, ServiceConfig, ServiceKey, SyncDaemon, SyncState, Timeouts, Tunnel,
    TunnelKind,
};

/// The position of the three scheduler flags among a service's flags.
const SCHEDULER_FLAGS_SHIFT: u32 = ipvs::flags::SCHED1.trailing_zeros();

/// The identity of a service; `None` for a family that is neither IPv4 nor IPv6.
pub(crate) fn service_key(key: &ipvs::ServiceKey) -> Option<ServiceKey> {
    Some(match *key {
        ipvs::ServiceKey::Address { address, port, protocol } => {
            ServiceKey::Address { address, port, protocol: Protocol::from(protocol) }
        }
        ipvs::ServiceKey::Fwmark { family, fwmark } => {
            let family = match family {
                ipvs::Family::Ipv4 => Family::Ipv4,
                ipvs::Family::Ipv6 => Family::Ipv6,
                ipvs::Family::Other(_) => return None,
            };
            ServiceKey::Fwmark { family, fwmark }
        }
    })
}

/// The identity of a service as it is sent in requests.
pub(crate) fn wire_service_key(key: &ServiceKey) -> ipvs::ServiceKey {
    match *key {
        ServiceKey::Address { address, port, protocol } => {
            ipvs::ServiceKey::Address { address, port, protocol: protocol.number() }
        }
        ServiceKey::Fwmark { family, fwmark } => {
            ipvs::ServiceKey::Fwmark { family: wire_family(family), fwmark }
        }
    }
}

fn wire_family(family: Family) -> ipvs::Family {
    match family {
        Family::Ipv4 => ipvs::Family::Ipv4,
        Family::Ipv6 => ipvs::Family::Ipv6,
    }
}

/// A service's configuration.
pub(crate) fn service_config(service: &ipvs::Service) -> ServiceConfig {
    let flags = service.flags;
    let bits = (flags >> SCHEDULER_FLAGS_SHIFT) & 0b111;
    let family = service.key.family();
    let persistence = (flags & ipvs::flags::PERSISTENT != 0).then(|| Persistence {
        timeout: service.timeout,
        netmask: netmask(service.netmask, family),
    });
    ServiceConfig {
        // An invalid name can only come from a faulty kernel; the next edit corrects it.
        scheduler: Scheduler::new(service.scheduler.as_str()).unwrap_or_else(Scheduler::none),
        scheduler_flags: SchedulerFlags::from_bits(u8::try_from(bits).unwrap_or_default()),
        persistence,
        engine: service.persistence_engine.map(|engine| engine.as_str().into()),
        one_packet: flags & ipvs::flags::ONE_PACKET != 0,
    }
}

fn netmask(netmask: ipvs::Netmask, family: ipvs::Family) -> Netmask {
    match netmask {
        ipvs::Netmask::Ipv4(mask) => Netmask::V4(mask),
        ipvs::Netmask::Ipv6(length) => Netmask::V6(u8::try_from(length).unwrap_or(128)),
        ipvs::Netmask::Other(_) => Netmask::host(match family {
            ipvs::Family::Ipv6 => Family::Ipv6,
            _ => Family::Ipv4,
        }),
    }
}

/// A service as it is sent in requests; `None` for names that no kernel can store.
pub(crate) fn wire_service(key: &ServiceKey, config: &ServiceConfig) -> Option<ipvs::Service> {
    let ServiceConfig { scheduler, scheduler_flags, persistence, engine, one_packet } = config;
    let mut service =
        ipvs::Service::new(wire_service_key(key), ipvs::Name::new(scheduler.as_str()).ok()?);
    service.flags = u32::from(scheduler_flags.bits()) << SCHEDULER_FLAGS_SHIFT;
    if *one_packet {
        service.flags |= ipvs::flags::ONE_PACKET;
    }
    if let Some(Persistence { timeout, netmask }) = *persistence {
        service.flags |= ipvs::flags::PERSISTENT;
        service.timeout = timeout;
        service.netmask = match netmask {
            Netmask::V4(mask) => ipvs::Netmask::Ipv4(mask),
            Netmask::V6(length) => ipvs::Netmask::Ipv6(length.into()),
        };
    }
    if let Some(engine) = engine {
        service.persistence_engine = Some(ipvs::Name::new(engine).ok()?);
    }
    Some(service)
}

/// A real server and its identity.
pub(crate) fn real_server(destination: &ipvs::Destination) -> (RealServerKey, RealServer) {
    let ipvs::Destination {
        address,
        port,
        forward,
        weight,
        upper_threshold,
        lower_threshold,
        tunnel,
    } = *destination;
    let forward = match forward {
        ipvs::forward::MASQ => Forward::Nat,
        ipvs::forward::LOCALNODE => Forward::Local,
        ipvs::forward::TUNNEL => Forward::Tun(self::tunnel(tunnel)),
        ipvs::forward::DROUTE => Forward::Dr,
        ipvs::forward::BYPASS => Forward::Bypass,
        other => Forward::Other(u8::try_from(other).unwrap_or(u8::MAX)),
    };
    let key = RealServerKey { address, port };
    (key, RealServer { forward, weight, upper_threshold, lower_threshold })
}

fn tunnel(tunnel: ipvs::Tunnel) -> Tunnel {
    let kind = match tunnel.kind {
        ipvs::tunnel_kind::IPIP => TunnelKind::Ipip,
        ipvs::tunnel_kind::GUE => TunnelKind::Gue,
        ipvs::tunnel_kind::GRE => TunnelKind::Gre,
        other => TunnelKind::Other(other),
    };
    let checksum = match tunnel.flags {
        ipvs::tunnel_flags::NOCSUM => Checksum::None,
        ipvs::tunnel_flags::CSUM => Checksum::Full,
        ipvs::tunnel_flags::REMCSUM => Checksum::Remote,
        other => Checksum::Other(other),
    };
    Tunnel { kind, port: tunnel.port, checksum }
}

/// The identity of a real server as it is sent in requests.
pub(crate) fn wire_key(key: &RealServerKey) -> ipvs::DestinationKey {
    ipvs::DestinationKey { address: key.address, port: key.port }
}

/// A real server as it is sent in requests.
pub(crate) fn wire_destination(key: &RealServerKey, real_server: &RealServer) -> ipvs::Destination {
    let RealServer { forward, weight, upper_threshold, lower_threshold } = *real_server;
    let method = match forward {
        Forward::Nat => ipvs::forward::MASQ,
        Forward::Local => ipvs::forward::LOCALNODE,
        Forward::Tun(_) => ipvs::forward::TUNNEL,
        Forward::Dr => ipvs::forward::DROUTE,
        Forward::Bypass => ipvs::forward::BYPASS,
        Forward::Other(number) => number.into(),
    };
    let mut destination = ipvs::Destination::new(wire_key(key), method);
    destination.weight = weight;
    destination.upper_threshold = upper_threshold;
    destination.lower_threshold = lower_threshold;
    if let Forward::Tun(tunnel) = forward {
        destination.tunnel = wire_tunnel(tunnel);
    }
    destination
}

fn wire_tunnel(tunnel: Tunnel) -> ipvs::Tunnel {
    let Tunnel { kind, port, checksum } = tunnel;
    let kind = match kind {
        TunnelKind::Ipip => ipvs::tunnel_kind::IPIP,
        TunnelKind::Gue => ipvs::tunnel_kind::GUE,
        TunnelKind::Gre => ipvs::tunnel_kind::GRE,
        TunnelKind::Other(number) => number,
    };
    let flags = match checksum {
        Checksum::None => ipvs::tunnel_flags::NOCSUM,
        Checksum::Full => ipvs::tunnel_flags::CSUM,
        Checksum::Remote => ipvs::tunnel_flags::REMCSUM,
        Checksum::Other(flags) => flags,
    };
    ipvs::Tunnel { kind, port, flags }
}

/// Counters, and the rates that the kernel computes from them.
pub(crate) fn traffic(statistics: &ipvs::Statistics) -> Traffic {
    let ipvs::Statistics { connections, packets_in, packets_out, bytes_in, bytes_out, rates } =
        *statistics;
    let rates = Rates {
        connections: rates.connections,
        packets_in: rates.packets_in,
        packets_out: rates.packets_out,
        bytes_in: rates.bytes_in,
        bytes_out: rates.bytes_out,
    };
    Traffic { connections, packets_in, packets_out, bytes_in, bytes_out, rates }
}

/// The counters of a real server.
pub(crate) fn real_server_statistics(
    connections: ipvs::Connections,
    statistics: &ipvs::Statistics,
) -> RealServerStatistics {
    RealServerStatistics {
        active_connections: connections.active,
        inactive_connections: connections.inactive,
        persistent_connections: connections.persistent,
        traffic: traffic(statistics),
    }
}

/// Timeouts.
pub(crate) fn timeouts(timeouts: ipvs::Timeouts) -> Timeouts {
    let ipvs::Timeouts { tcp, tcp_fin, udp } = timeouts;
    Timeouts { tcp, tcp_fin, udp }
}

/// Timeouts as they are sent in a request: 0 leaves one unchanged, so only changed ones are sent.
pub(crate) fn wire_timeouts(before: Timeouts, after: Timeouts) -> ipvs::Timeouts {
    let changed = |before, after| if before == after { 0 } else { after };
    ipvs::Timeouts {
        tcp: changed(before.tcp, after.tcp),
        tcp_fin: changed(before.tcp_fin, after.tcp_fin),
        udp: changed(before.udp, after.udp),
    }
}

/// A sync daemon and its state; `None` for a state that no current kernel has.
pub(crate) fn sync_daemon(daemon: &ipvs::SyncDaemon) -> Option<(SyncState, SyncDaemon)> {
    let state = match daemon.state {
        ipvs::SyncState::Master => SyncState::Master,
        ipvs::SyncState::Backup => SyncState::Backup,
        ipvs::SyncState::Other(_) => return None,
    };
    let model = SyncDaemon {
        interface: daemon.interface.as_str().into(),
        // Messages carry the low eight bits only.
        id: daemon.sync_id.to_le_bytes()[0],
        max_length: daemon.max_length,
        group: daemon.group,
        port: daemon.port,
        ttl: daemon.ttl,
    };
    Some((state, model))
}

/// The state of a sync daemon as it is sent in requests.
pub(crate) fn wire_sync_state(state: SyncState) -> ipvs::SyncState {
    match state {
        SyncState::Master => ipvs::SyncState::Master,
        SyncState::Backup => ipvs::SyncState::Backup,
    }
}

/// A sync daemon as it is sent in requests; `None` for an interface name that no kernel can store.
pub(crate) fn wire_sync_daemon(state: SyncState, daemon: &SyncDaemon) -> Option<ipvs::SyncDaemon> {
    let SyncDaemon { interface, id, max_length, group, port, ttl } = daemon;
    Some(ipvs::SyncDaemon {
        state: wire_sync_state(state),
        interface: ipvs::Name::new(interface).ok()?,
        sync_id: u32::from(*id),
        max_length: *max_length,
        group: *group,
        port: *port,
        ttl: *ttl,
    })
}
