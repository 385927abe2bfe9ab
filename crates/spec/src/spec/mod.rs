//! The spec as it is written: version 1 of its keys, and the values they take.
//!
//! A value that can be judged by itself (an address, a weight, the name of a scheduler) is judged
//! while it is read. What needs its neighbours is [`crate::resolve`]'s.

mod address;
mod duration;
mod keyword;
mod name;
mod netmask;
mod number;
pub(crate) mod parse_str;
mod percent;
mod persistence;
mod scheduler;
mod scope;
mod sysctl;

pub(crate) use address::{Address, Network, Prefixed};
pub(crate) use duration::Duration;
pub use duration::seconds;
pub(crate) use keyword::{
    ChecksumWord, EngineWord, FamilyWord, Flag, ForwardWord, IgnoreWord, Method, ProtocolWord,
    SyncStateWord, TunnelWord,
};
pub(crate) use name::{InterfaceName, LabelText, Name};
pub(crate) use netmask::NetmaskText;
pub(crate) use number::{
    Connections, Fwmark, MessageLength, Objects, Port, SyncId, SyncPort, Threshold, Ttl, Version,
    Weight,
};
pub(crate) use percent::Percent;
pub(crate) use persistence::PersistenceText;
pub(crate) use scheduler::{FlagName, SchedulerName};
pub(crate) use scope::ScopeText;
pub(crate) use sysctl::{SysctlValue, Sysctls};

use crate::recovering_de::{List, keys};
use crate::snapshot_section::SnapshotSection;

keys! {
    /// What evenkeel keeps a host on.
    #[schemars(title = "evenkeel spec, version 1", extend("required" = ["version"]))]
    Spec, "a spec, a map with keys such as `version` and `services`", {
        /// The version of these keys: 1.
        version: Version,
        /// What the spec governs; absent means the whole table, but the first apply deletes
        /// nothing it finds there.
        scope: ScopeText,
        /// Addresses that evenkeel binds on a director. The VIP of a service that is not listed
        /// here is bound by someone else.
        vips: List<VipEntry>,
        /// The services.
        services: List<Service>,
        /// Lists of real servers that several services share.
        pools: List<Pool>,
        /// What services and real servers take where they say nothing.
        defaults: Defaults,
        /// How long idle connections are remembered. Absent ones are left as they are.
        timeouts: TimeoutKeys,
        /// The sync daemons of this host, one of each state at most; `[]` is none. Absent means
        /// they are someone else's.
        sync: List<SyncEntry>,
        /// Values of sysctls by key. Those that are not named are left as they are.
        sysctls: Sysctls,
        /// From which numbers on guards refuse a plan.
        guards: GuardKeys,
        /// What a snapshot saw. Ignored.
        observed: Box<SnapshotSection>,
    }
}

keys! {
    /// An address that evenkeel binds.
    #[schemars(extend("required" = ["address", "interface"]))]
    VipEntry, "a VIP, a map with `address` and `interface`", {
        /// The address, /32 or /128 unless a prefix is written.
        address: Prefixed,
        /// The interface it is bound on.
        interface: InterfaceName,
        /// The interface is a dummy device, created when it is not there. Absent means false.
        dummy: Flag,
        /// The label of an IPv4 address, as ifconfig shows it: the name of the interface, or that,
        /// a colon and a suffix, such as eth0:1. Absent means any label is fine.
        label: LabelText,
        /// The main table gets a host route to the address, through the interface and with the
        /// address as its source. For /32 and /128 only. Absent means false.
        route: Flag,
    }
}

keys! {
    /// A service: one for each of its VIPs and ports, or one on a firewall mark.
    #[schemars(extend("required" = ["name"], "allOf" = [
        {"oneOf": [
            {"required": ["vip"]}, {"required": ["vips"]}, {"required": ["fwmark", "family"]},
        ]},
        {"oneOf": [
            {"required": ["port"]}, {"required": ["ports"]}, {"required": ["fwmark"]},
        ]},
        {"oneOf": [{"required": ["real_servers"]}, {"required": ["pool"]}]},
    ]))]
    Service, "a service, a map with keys such as `name`, `vip` and `port`", {
        /// Unique; used in plans, logs and metrics.
        name: Name,
        /// The address clients use.
        vip: Address,
        /// Several of them, of either family.
        vips: List<Address>,
        /// The port clients use; 0 takes every port and needs persistence.
        port: Port,
        /// Several of them.
        ports: List<Port>,
        /// The firewall mark of the packets to balance, in place of VIP, port and protocol.
        fwmark: Fwmark,
        /// The family of the marked packets.
        family: FamilyWord,
        /// The transport protocol. Absent means tcp.
        protocol: ProtocolWord,
        /// Chooses the real server of each new connection. Absent means wlc.
        scheduler: SchedulerName,
        /// Flags of the scheduler, by name.
        scheduler_flags: List<FlagName>,
        /// Clients stay on their real server. Absent means each connection is scheduled anew.
        persistence: PersistenceText,
        /// The persistence engine of a service without persistence, which only other tools write:
        /// for what is `unchecked`. Any other service has its engine in `persistence`.
        engine: EngineWord,
        /// Each datagram is scheduled by itself; udp and fwmark only. Absent means false.
        one_packet: Flag,
        /// How packets reach the real servers. Absent means dr.
        forward: ForwardWord,
        /// The wrapping of tunnelled packets. Absent means ipip.
        tunnel: Box<TunnelKeys>,
        /// The real servers; `[]` is none.
        real_servers: List<RealServer>,
        /// The name of a pool that lists them.
        pool: Name,
        /// How long a real server that leaves this service, or leaves with it, may keep its
        /// connections; 0s cuts them. Absent means as `defaults` say; under dh, and under sh and
        /// mh without their fallback flag, 0s.
        drain: Duration,
        /// Fields that someone else sets.
        ignore: List<IgnoreWord>,
        /// The kernel's list of real servers is kept in the order of this one, so that sh and mh
        /// choose alike on every director; real servers are added anew where that takes it.
        /// Absent means false.
        canonical_order: Flag,
        /// Combinations that only other tools write are taken as they are.
        unchecked: Flag,
    }
}

keys! {
    /// A real server of a service or a pool.
    #[schemars(extend("required" = ["address"]))]
    RealServer, "a real server, a map such as `{ address: 192.0.2.1, weight: 1 }`", {
        /// Its address.
        address: Address,
        /// Its port. Absent means the service's. Another one needs forward: nat.
        port: Port,
        /// Its share of new connections; 0 means no new ones. Absent means 1.
        weight: Weight,
        /// No new connections from this many on. Absent or 0 means no limit.
        upper_threshold: Threshold,
        /// New connections again below this many. Absent or 0 means three quarters of the upper.
        lower_threshold: Threshold,
        /// How packets reach it. Absent means as the service says.
        forward: ForwardWord,
        /// The wrapping of tunnelled packets. Absent means as the service says.
        tunnel: Box<TunnelKeys>,
        /// Combinations that only other tools write are taken as they are.
        unchecked: Flag,
    }
}

keys! {
    /// Real servers that several services share.
    #[schemars(extend("required" = ["name", "real_servers"]))]
    Pool, "a pool, a map with `name` and `real_servers`", {
        /// What services call it.
        name: Name,
        /// The real servers; `[]` is none.
        real_servers: List<RealServer>,
    }
}

keys! {
    /// What services and real servers take where they say nothing.
    Defaults, "defaults, a map with `scheduler`, `forward`, `weight` or `drain`", {
        /// For services without a scheduler. Absent means wlc.
        scheduler: SchedulerName,
        /// For services without a forward. Absent means dr.
        forward: ForwardWord,
        /// For real servers without a weight. Absent means 1.
        weight: Weight,
        /// For services without a drain whose scheduler does not tie clients to a real server
        /// that drains, and for those that are no longer listed anywhere. Absent means 30s.
        drain: Duration,
    }
}

keys! {
    /// From which numbers on guards refuse a plan.
    GuardKeys, "guards, a map such as `{ mass_delete: 50% }`", {
        /// The least share of the live services, and of the live real servers, that the spec has to
        /// list: with 50%, a spec with fewer than half as many as are live is refused. `off` never
        /// refuses. Absent means 50%.
        mass_delete: Percent,
        /// From how many live services, or real servers, on `mass_delete` holds: deleting most of a
        /// few is everyday work. Absent means 4.
        mass_delete_from: Objects,
        /// How many connections through a VIP may break when it is unbound. Absent means 0.
        unbind_in_use: Connections,
    }
}

keys! {
    /// How long idle connections are remembered.
    TimeoutKeys, "timeouts, a map with `tcp`, `tcp_fin` or `udp`", {
        /// An established TCP connection. The kernel begins with 15m.
        tcp: Duration,
        /// A TCP connection after a FIN. The kernel begins with 2m.
        tcp_fin: Duration,
        /// A UDP conversation. The kernel begins with 5m.
        udp: Duration,
    }
}

keys! {
    /// A daemon that copies connections between directors.
    #[schemars(extend("required" = ["state", "interface"]))]
    SyncEntry, "a sync daemon, a map such as `{ state: master, interface: eth1 }`", {
        /// Whether it sends the connections of this host or takes those of another.
        state: SyncStateWord,
        /// The interface it sends or listens on.
        interface: InterfaceName,
        /// Daemons hear those of the same id only; a backup of id 0 hears all. Absent means 0.
        id: SyncId,
        /// The largest message in bytes. Absent takes what the kernel chooses.
        max_length: MessageLength,
        /// The multicast group. Absent takes what the kernel chooses, 224.0.0.81.
        group: Address,
        /// The UDP port. Absent takes what the kernel chooses, 8848.
        port: SyncPort,
        /// The multicast TTL. Absent takes what the kernel chooses, 1.
        ttl: Ttl,
    }
}

keys! {
    /// The wrapping of a tunnelled packet.
    #[schemars(extend("required" = ["type"]))]
    TunnelKeys, "a tunnel, a map such as `{ type: gue, port: 6080 }`", {
        /// What the packet is wrapped in.
        kind as "type": TunnelWord,
        /// The UDP port of a gue tunnel.
        port: Port,
        /// The checksum of the outer packet. Absent means none.
        checksum: ChecksumWord,
    }
}

keys! {
    /// How long and how widely clients stick to a real server.
    PersistenceKeys, "persistence, a map such as `{ timeout: 5m }`", {
        /// From a client's last connection until it may be scheduled anew. Absent means 300 s.
        timeout: Duration,
        /// Clients that are equal under it are one. Absent means each stands alone.
        netmask: NetmaskText,
        /// Tells clients apart by more than their address.
        engine: EngineWord,
    }
}
