//! Writes one service of a spec.

use std::net::IpAddr;

use evenkeel_model::{
    Checksum, Drain, Family, Forward, Ignore, Netmask, Persistence, Protocol, RealServer,
    Scheduler, ServiceConfig, SourceNatValue, Tunnel, TunnelKind,
};

use super::line;
use super::scalar::{address, list, text};

/// The longest timeout that the rules of a spec allow.
const LONGEST_TIMEOUT: u32 = 31 * 86_400;

/// A service in the form of a spec.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) target: EntryAddress,
    /// The configuration of the first expanded service.
    pub(super) config: ServiceConfig,
    pub(super) ignore: Ignore,
    pub(super) canonical_order: bool,
    /// `None` means the default drain.
    pub(super) drain: Option<Drain>,
    pub(super) servers: Vec<Server>,
}

pub(super) enum EntryAddress {
    Addresses { vips: Vec<IpAddr>, ports: Vec<u16>, protocol: Protocol },
    Mark { family: Family, fwmark: u32 },
}

/// A real server in the form of a spec.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) address: IpAddr,
    /// `None` means the service's port.
    pub(super) port: Option<u16>,
    pub(super) real_server: RealServer,
    /// The source address that it gets to see; `None` if that is the client's.
    pub(super) source: Option<SourceNatValue>,
}

/// How packets reach a real server, in the form of a spec.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Method {
    forward: Forward,
    is_full_nat: bool,
}

impl Method {
    fn name(self) -> &'static str {
        if self.is_full_nat { "fullnat" } else { self.forward.name() }
    }
}

impl Entry {
    /// Writes it, with the name of a pool in place of its real servers if there is one.
    pub(super) fn write(&self, pool: Option<&str>, out: &mut String) {
        line(out, format_args!("  - name: {}", text(&self.name)));
        match &self.target {
            EntryAddress::Addresses { vips, ports, protocol } => {
                match &**vips {
                    [vip] => line(out, format_args!("    vip: {}", address(*vip))),
                    vips => {
                        let vips = list(vips.iter().map(|vip| address(*vip)));
                        line(out, format_args!("    vips: {vips}"));
                    }
                }
                match &**ports {
                    [port] => line(out, format_args!("    port: {port}")),
                    ports => {
                        let ports = list(ports.iter().map(u16::to_string));
                        line(out, format_args!("    ports: {ports}"));
                    }
                }
                match protocol {
                    Protocol::Tcp => {}
                    Protocol::Other(number) => line(out, format_args!("    protocol: {number}")),
                    named => line(out, format_args!("    protocol: {named}")),
                }
            }
            EntryAddress::Mark { family, fwmark } => {
                line(out, format_args!("    fwmark: {fwmark}"));
                line(out, format_args!("    family: {family}"));
            }
        }
        self.write_config(out);
        self.write_forward(out);
        match pool {
            Some(pool) => line(out, format_args!("    pool: {}", text(pool))),
            None => self.write_servers(out),
        }
        for Server { address, real_server, .. } in &self.servers {
            let forward = real_server.forward;
            if !is_expressible(forward) {
                line(out, format_args!("    # left out: {address}, forward {forward}"));
            }
        }
    }

    fn write_config(&self, out: &mut String) {
        let ServiceConfig { scheduler, scheduler_flags, persistence, engine, one_packet } =
            &self.config;
        if scheduler.is_known() || *scheduler == Scheduler::none() {
            line(out, format_args!("    scheduler: {scheduler}"));
        } else {
            let module = text(scheduler.as_str());
            line(out, format_args!("    scheduler: {{ module: {module} }}"));
        }
        if !scheduler_flags.is_empty() {
            let names = list(scheduler_flags.names(scheduler).map(str::to_owned));
            line(out, format_args!("    scheduler_flags: {names}"));
        }
        let known_engine = engine.as_deref().filter(|engine| *engine == "sip");
        if let Some(persistence) = persistence {
            let engine = known_engine.map_or(String::new(), |engine| format!(", engine: {engine}"));
            let Persistence { timeout, netmask } = persistence;
            let netmask = match netmask {
                host if *host == Netmask::host(host.family()) => String::new(),
                Netmask::V4(mask) if mask.is_unspecified() => ", netmask: 0".to_owned(),
                other => format!(", netmask: {other}"),
            };
            line(out, format_args!("    persistence: {{ timeout: {timeout}{netmask}{engine} }}"));
        }
        match (engine, known_engine) {
            (Some(unknown), None) => {
                let engine = unknown.escape_debug();
                line(out, format_args!("    # left out: the persistence engine {engine}"));
            }
            (_, Some(engine)) if persistence.is_none() => {
                line(out, format_args!("    engine: {engine}"));
            }
            (_, _) => {}
        }
        if *one_packet {
            line(out, format_args!("    one_packet: true"));
        }
        if let Some(drain) = self.drain {
            line(out, format_args!("    drain: {drain}"));
        }
        if self.ignore != Ignore::NOTHING {
            let fields = list(self.ignore.iter().map(|field| field.to_string()));
            line(out, format_args!("    ignore: {fields}"));
        }
        if self.canonical_order {
            line(out, format_args!("    canonical_order: true"));
        }
        if !self.passes_the_rules() {
            line(out, format_args!("    unchecked: true"));
        }
    }

    /// Whether the service satisfies the rules of a spec, apart from its real servers.
    fn passes_the_rules(&self) -> bool {
        let ServiceConfig { scheduler, persistence, one_packet, engine, .. } = &self.config;
        let has_persistence = persistence.is_some();
        let datagrams = match &self.target {
            EntryAddress::Mark { .. } => true,
            EntryAddress::Addresses { protocol, .. } => *protocol == Protocol::Udp,
        };
        let target = match &self.target {
            EntryAddress::Mark { .. } => true,
            EntryAddress::Addresses { vips, ports, protocol } => {
                let unicast = vips.iter().all(|vip| crate::resolve::not_unicast(*vip).is_none());
                let every = ports.contains(&0) && persistence.is_none();
                unicast && !every && !matches!(protocol, Protocol::Other(_))
            }
        };
        let persistence = persistence.as_ref().is_none_or(|Persistence { timeout, netmask }| {
            let everyone = matches!(netmask, Netmask::V4(mask) if mask.is_unspecified());
            (1..=LONGEST_TIMEOUT).contains(timeout) && !everyone
        });
        let engine_alone = engine.as_deref() == Some("sip") && !has_persistence;
        let datagrams_only = *one_packet || (engine.is_some() && has_persistence);
        target
            && persistence
            && !engine_alone
            && (datagrams || !datagrams_only)
            && *scheduler != Scheduler::none()
    }

    fn write_forward(&self, out: &mut String) {
        if let Some(method) = self.common_method() {
            line(out, format_args!("    forward: {}", method.name()));
            if let Some(tunnel) = tunnel(method.forward) {
                line(out, format_args!("    tunnel: {tunnel}"));
            }
        }
        let sources = self.servers.iter().filter_map(|server| match server.source? {
            SourceNatValue::Address(source) => Some(source),
            SourceNatValue::Masquerade | SourceNatValue::Other => None,
        });
        if let Some(source) = sources.min() {
            line(out, format_args!("    source: {}", address(source)));
        }
    }

    fn write_servers(&self, out: &mut String) {
        let items = self.items();
        let none = if items.is_empty() { " []" } else { "" };
        line(out, format_args!("    real_servers:{none}"));
        for item in items {
            line(out, format_args!("      - {item}"));
        }
    }

    /// The real servers as items of a list. Services that write the same items also agree on what
    /// the items leave to the service.
    pub(super) fn items(&self) -> Vec<String> {
        let common = self.common_method();
        let expressible = self.servers.iter().filter(|it| is_expressible(it.real_server.forward));
        expressible.map(|server| format!("{{ {} }}", server.keys(&self.target, common))).collect()
    }

    /// The forwarding method that all real servers have, if a service can have it.
    fn common_method(&self) -> Option<Method> {
        let first = self.servers.first()?.method();
        let all = self.servers.iter().all(|server| server.method() == first);
        let expressible = matches!(first.forward, Forward::Dr | Forward::Nat | Forward::Tun(_));
        (all && expressible && is_expressible(first.forward)).then_some(first)
    }
}

impl Server {
    fn method(&self) -> Method {
        Method { forward: self.real_server.forward, is_full_nat: self.source.is_some() }
    }

    fn keys(&self, target: &EntryAddress, common: Option<Method>) -> String {
        let Self { address: host, port, real_server, source: _ } = self;
        let RealServer { forward, weight, upper_threshold, lower_threshold } = real_server;
        let mut keys = format!("address: {}", address(*host));
        if let Some(port) = port {
            keys += &format!(", port: {port}");
        }
        keys += &format!(", weight: {weight}");
        if *upper_threshold != 0 {
            keys += &format!(", upper_threshold: {upper_threshold}");
        }
        if *lower_threshold != 0 {
            keys += &format!(", lower_threshold: {lower_threshold}");
        }
        if common.is_none() {
            keys += &format!(", forward: {}", self.method().name());
            if let Some(tunnel) = tunnel(*forward) {
                keys += &format!(", tunnel: {tunnel}");
            }
        }
        if !self.passes_the_rules(target) {
            keys += ", unchecked: true";
        }
        keys
    }

    fn passes_the_rules(&self, target: &EntryAddress) -> bool {
        let forward = self.real_server.forward;
        let mapped = match target {
            EntryAddress::Mark { .. } => self.port.is_some_and(|port| port != 0),
            EntryAddress::Addresses { ports, .. } => {
                self.port.is_some_and(|own| ports.iter().any(|port| *port != own))
            }
        };
        let link_local = matches!(self.address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let odd = matches!(forward, Forward::Local | Forward::Bypass);
        !(link_local || odd || (mapped && forward.keeps_port()))
    }
}

/// Whether a spec can express a forwarding method.
fn is_expressible(forward: Forward) -> bool {
    match forward {
        Forward::Dr | Forward::Nat | Forward::Local | Forward::Bypass => true,
        Forward::Other(_) => false,
        Forward::Tun(Tunnel { kind, port, checksum }) => match kind {
            TunnelKind::Ipip => port == 0 && checksum == Checksum::None,
            TunnelKind::Gre => port == 0 && matches!(checksum, Checksum::None | Checksum::Full),
            TunnelKind::Gue => port != 0 && !matches!(checksum, Checksum::Other(_)),
            TunnelKind::Other(_) => false,
        },
    }
}

/// The keys of a tunnel that is not the default.
fn tunnel(forward: Forward) -> Option<String> {
    let Forward::Tun(tunnel) = forward else { return None };
    if tunnel == Tunnel::IPIP {
        return None;
    }
    let Tunnel { kind, port, checksum } = tunnel;
    let mut keys = format!("type: {kind}");
    if port != 0 {
        keys += &format!(", port: {port}");
    }
    if checksum != Checksum::None {
        keys += &format!(", checksum: {checksum}");
    }
    Some(format!("{{ {keys} }}"))
}
