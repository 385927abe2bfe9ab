//! The spec as it is written: version 1 of its keys, and their values.
//!
//! A value that can be checked by itself (an address, a weight, the name of a scheduler) is checked
//! while it is read. Rules that need other values are in [`crate::resolve`].

mod address;
mod check;
mod check_text;
mod duration;
mod entries;
mod fine_duration;
mod gateway;
mod health;
mod keyword;
mod mac;
mod name;
mod netmask;
mod number;
mod override_entry;
pub(crate) mod parse_str;
mod percent;
mod persistence;
mod scheduler;
mod scope;
mod sysctl;

pub(crate) use address::{Address, Network, Prefixed};
pub(crate) use check::{
    CheckKeys, CheckRef, CheckText, DnsKeys, ExecKeys, FileKeys, GrpcKeys, HttpKeys, HttpsKeys,
    NONE, StatusText, TcpKeys, TlsCheckKeys, TlsKeys, UdpKeys,
};
pub(crate) use check_text::{
    BodyText, FileText, HeaderValue, HostText, HttpPath, MethodText, ServerName, is_token,
    name_before_port,
};
pub(crate) use duration::Duration;
pub use duration::{InvalidDuration, seconds};
pub(crate) use entries::Entries;
pub(crate) use fine_duration::FineDuration;
pub(crate) use gateway::Gateway;
pub(crate) use health::{FallbackKeys, FlapKeys, HealthKeys, OrNone};
pub(crate) use keyword::{
    ArpMethod, ArpWord, BindWord, ChecksumWord, EngineWord, FamilyWord, Flag, ForwardWord,
    IgnoreWord, Method, ProtocolWord, SyncStateWord, TunnelWord,
};
pub(crate) use mac::{Mac, MacOfDirector};
pub(crate) use name::{InterfaceName, LabelText, Name, OwnerText};
pub(crate) use netmask::NetmaskText;
pub(crate) use number::{
    Connections, Fwmark, Hysteresis, MessageLength, Objects, Port, SyncId, SyncPort, Threshold,
    Ttl, Version, Weight,
};
pub(crate) use override_entry::{Action, DirectoryText, OverrideEntry};
pub(crate) use percent::Percent;
pub(crate) use persistence::PersistenceText;
pub(crate) use scheduler::{FlagName, SchedulerName};
pub(crate) use scope::ScopeText;
pub(crate) use sysctl::{SysctlValue, Sysctls};

use crate::recovering_de::{List, keys};
use crate::snapshot_section::SnapshotSection;

keys! {
    /// The state that evenkeel keeps a host in.
    #[schemars(title = "evenkeel spec, version 1", extend("required" = ["version"]))]
    Spec, "a spec, a map with keys such as `version` and `services`", {
        /// The version of these keys: 1.
        version: Version,
        /// The owner of what this spec asks for, one of several on this host. Each has a scope, a journal
        /// and, if there is one, a daemon of its own. Absent means the owner without a name, unless
        /// `--owner` names one. It takes no parameters.
        owner: OwnerText,
        /// The part of the table that the spec governs; absent means the whole table. Whatever it
        /// is, the first apply refuses to delete live services that the spec does not list (guard
        /// `take-over`).
        scope: ScopeText,
        /// The directors of the cluster. With it, every host of the cluster uses the same spec, and its
        /// role follows from its addresses. Absent means that each host that uses the spec is a
        /// director, unless it was a real server or a gateway.
        directors: List<DirectorEntry>,
        /// Linux routers in front of the directors. They get permanent neighbour entries that give
        /// VIPs the MAC address of their director.
        gateways: List<GatewayEntry>,
        /// Addresses that evenkeel binds on a director. The VIP of a service that is not listed
        /// here is bound by another program.
        vips: List<VipEntry>,
        /// Permanent neighbour entries (ARP, NDP) of VIPs: this host sends packets for the address
        /// to that MAC address without asking for it.
        neighbours: List<NeighbourEntry>,
        /// The services.
        services: List<Service>,
        /// Lists of real servers that several services share.
        pools: List<Pool>,
        /// Values for services and real servers that set none.
        defaults: Defaults,
        /// Health checks by name: `check: web` uses the one of that name.
        checks: Entries<CheckKeys>,
        /// What holds single real servers against the rest of the spec, for a time.
        overrides: List<OverrideEntry>,
        /// An absolute path of a directory: while it has a file with the name of a real server, such as
        /// 10.0.0.5 or 10.0.0.5:80, that real server gets no new connections. Absent means none.
        maintenance_dir: DirectoryText,
        /// How long idle connections are remembered. Absent ones are not changed.
        timeouts: TimeoutKeys,
        /// The sync daemons of this host, one of each state at most; `[]` means none. Absent means
        /// that evenkeel does not manage them.
        sync: List<SyncEntry>,
        /// Values of sysctls by key. Those that are not named are not changed.
        sysctls: Sysctls,
        /// The thresholds of guards.
        guards: GuardKeys,
        /// The observations of a snapshot. Ignored.
        observed: Box<SnapshotSection>,
    }
}

keys! {
    /// A director of the cluster.
    #[schemars(extend("required" = ["name", "addresses"]))]
    DirectorEntry, "a director, a map with `name` and `addresses`", {
        /// The name by which `on` and `gateway` refer to it.
        name: Name,
        /// Its own addresses, by which it is recognized; none of them is a VIP.
        addresses: List<Address>,
        /// The MAC address of its interface that faces the gateways, or `learn`: gateways then learn
        /// it from its addresses, and keep it until the next apply. Required if the spec lists
        /// gateways and the director has a VIP.
        mac: MacOfDirector,
    }
}

keys! {
    /// A Linux router in front of the directors.
    #[schemars(extend("required" = ["name", "addresses"]))]
    GatewayEntry, "a gateway, a map with `name` and `addresses`", {
        /// Its name in messages.
        name: Name,
        /// Its own addresses, by which it is recognized; none of them is a VIP.
        addresses: List<Address>,
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
        /// The director that binds it. Required if the spec lists several directors.
        on: Name,
        /// Whether the interface is a dummy device, which is created if missing. Absent means
        /// false.
        dummy: Flag,
        /// The label of an IPv4 address, as ifconfig shows it: the name of the interface, or that,
        /// a colon and a suffix, such as eth0:1. Absent means any label is fine.
        label: LabelText,
        /// When evenkeel binds it: `auto`, unless another program had bound it and so decides, or
        /// `always` when it is missing. Absent means `auto`.
        bind: BindWord,
        /// The main table gets a host route to the address, through the interface and with the
        /// address as its source. For /32 and /128 only. Absent means false.
        route: Flag,
    }
}

keys! {
    /// A permanent neighbour entry.
    #[schemars(extend("required" = ["address", "interface", "mac"]))]
    NeighbourEntry, "a neighbour, a map with `address`, `interface` and `mac`", {
        /// The address.
        address: Address,
        /// The interface through which it is reached.
        interface: InterfaceName,
        /// The MAC address of the device that has it.
        mac: Mac,
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
        /// The port clients use; 0 covers every port and needs persistence.
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
        /// for `unchecked` services. Any other service has its engine in `persistence`.
        engine: EngineWord,
        /// Whether each datagram is scheduled separately; udp and fwmark only. Absent means false.
        one_packet: Flag,
        /// How packets reach the real servers. Absent means dr.
        forward: ForwardWord,
        /// The encapsulation of tunnelled packets. Absent means ipip.
        tunnel: Box<TunnelKeys>,
        /// The real servers; `[]` means none.
        real_servers: List<RealServer>,
        /// The name of a pool that lists them.
        pool: Name,
        /// Where real servers under `forward: nat` send their answers: `director`, the name of a
        /// director, or an address. They set their default route to it. Absent means that evenkeel
        /// only checks the route.
        gateway: Gateway,
        /// The source address of packets to real servers under `forward: fullnat`: an address of the
        /// director. Absent means that of the interface by which they leave.
        source: Address,
        /// How real servers under dr and tun hide an IPv4 VIP from ARP: by the sysctls arp_ignore and
        /// arp_announce (`sysctl`), or by rules of the kernel's packet filter for this VIP alone
        /// (`arptables`). Absent means the value of `defaults`.
        arp: ArpWord,
        /// What real servers get for this service, beside the VIP.
        on_real_servers: Box<OnRealServers>,
        /// How long a real server that is removed from this service, or with it, may keep its
        /// connections; 0s breaks them. Absent means the value of `defaults`; under dh, and under
        /// sh and mh without their fallback flag, 0s.
        drain: Duration,
        /// The health check of its real servers: the name of one of `checks`, a check, a list of those,
        /// or `none`. Nearest wins: that of a real server, of its pool, this one, that of `defaults`.
        check: Box<CheckText>,
        /// What follows from the results of checks. Absent keys have the values of `defaults`.
        health: Box<HealthKeys>,
        /// Fields that another program sets.
        ignore: List<IgnoreWord>,
        /// Whether the kernel's list of real servers is kept in the order of this one, so that sh
        /// and mh choose alike on every director; where needed, real servers are deleted and added
        /// again. Absent means false.
        canonical_order: Flag,
        /// Whether combinations that only other tools write are accepted.
        unchecked: Flag,
    }
}

keys! {
    /// What real servers get for a service.
    OnRealServers, "what real servers get, a map with `label`, `route` or `vips`", {
        /// The label of an IPv4 VIP there, such as lo:0.
        label: LabelText,
        /// The main table gets a host route to the VIP, through its interface and with the VIP as
        /// its source. Absent means false.
        route: Flag,
        /// The addresses of the packets of a service on a firewall mark, which are bound there.
        vips: List<Address>,

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
        /// How packets reach it. Absent means the service's.
        forward: ForwardWord,
        /// The encapsulation of tunnelled packets. Absent means the service's.
        tunnel: Box<TunnelKeys>,
        /// Its health check: the name of one of `checks`, a check, a list of those, or `none`. Absent
        /// means that of its pool, else that of the service, else that of `defaults`.
        check: Box<CheckText>,
        /// Whether combinations that only other tools write are accepted.
        unchecked: Flag,
    }
}

keys! {
    /// Real servers that several services share.
    #[schemars(extend("required" = ["name", "real_servers"]))]
    Pool, "a pool, a map with `name` and `real_servers`", {
        /// The name by which services refer to it.
        name: Name,
        /// The real servers; `[]` means none.
        real_servers: List<RealServer>,
        /// The health check of its real servers that have none: the name of one of `checks`, a check, a
        /// list of those, or `none`. The pool is nearer to them than the services that use it. Absent
        /// means the check of each service, else that of `defaults`.
        check: Box<CheckText>,
    }
}

keys! {
    /// Values for services and real servers that set none.
    Defaults, "defaults, a map with keys such as `scheduler`, `forward`, `weight` or `check`", {
        /// For services without a scheduler. Absent means wlc.
        scheduler: SchedulerName,
        /// For services without a forward. Absent means dr.
        forward: ForwardWord,
        /// For services without an arp. Absent means sysctl.
        arp: ArpWord,
        /// For real servers without a weight. Absent means 1.
        weight: Weight,
        /// For services without a drain whose scheduler does not tie clients to a real server
        /// that drains, and for those that are no longer listed anywhere. Absent means 30s.
        drain: Duration,
        /// The health check of real servers without one, whose pool and service have none. Absent
        /// means none.
        check: Box<CheckText>,
        /// What follows from the results of checks, for services that do not say it.
        health: Box<HealthKeys>,
    }
}

keys! {
    /// The thresholds of guards.
    GuardKeys, "guards, a map such as `{ mass_delete: 50% }`", {
        /// The smallest share of the live services, of the live VIPs, and of the real servers of
        /// each service, that must be left: with 50%, a plan that would leave fewer than half of
        /// them is refused. `off` never refuses. Absent means 50%.
        mass_delete: Percent,
        /// The number of live services, VIPs or real servers of a service from which `mass_delete`
        /// applies: deleting most of a few is everyday work. Absent means 4.
        mass_delete_from: Objects,
        /// How many connections through a VIP may break when it is unbound. Absent means 0.
        unbind_in_use: Connections,
    }
}

keys! {
    /// How long idle connections are remembered.
    TimeoutKeys, "timeouts, a map with `tcp`, `tcp_fin` or `udp`", {
        /// For an established TCP connection. The kernel's initial value is 15m.
        tcp: Duration,
        /// For a TCP connection after a FIN. The kernel's initial value is 2m.
        tcp_fin: Duration,
        /// For a UDP conversation. The kernel's initial value is 5m.
        udp: Duration,
    }
}

keys! {
    /// A daemon that copies connections between directors.
    #[schemars(extend("required" = ["state", "interface"]))]
    SyncEntry, "a sync daemon, a map such as `{ state: master, interface: eth1 }`", {
        /// Whether it sends the connections of this host or receives those of another.
        state: SyncStateWord,
        /// The interface it sends or listens on.
        interface: InterfaceName,
        /// A backup accepts messages of its own id only; with id 0 it accepts all. Absent means 0.
        id: SyncId,
        /// The largest message in bytes. Absent means the kernel's choice.
        max_length: MessageLength,
        /// The multicast group. Absent means the kernel's choice, 224.0.0.81.
        group: Address,
        /// The UDP port. Absent means the kernel's choice, 8848.
        port: SyncPort,
        /// The multicast TTL. Absent means the kernel's choice, 1.
        ttl: Ttl,
    }
}

keys! {
    /// The encapsulation of a tunnelled packet.
    #[schemars(extend("required" = ["type"]))]
    TunnelKeys, "a tunnel, a map such as `{ type: gue, port: 6080 }`", {
        /// The kind of tunnel.
        kind as "type": TunnelWord,
        /// The UDP port of a gue tunnel.
        port: Port,
        /// The checksum of the outer packet. Absent means none.
        checksum: ChecksumWord,
    }, refuses keyword::tunnel_without_map
}

keys! {
    /// How long and how widely clients stick to a real server.
    PersistenceKeys, "persistence, a map such as `{ timeout: 5m }`", {
        /// The time from a client's last connection until it may be scheduled anew. Absent means
        /// 300 s.
        timeout: Duration,
        /// Clients whose addresses are equal under it count as one. Absent means each counts
        /// separately.
        netmask: NetmaskText,
        /// Identifies clients by more than their address.
        engine: EngineWord,
    }
}
