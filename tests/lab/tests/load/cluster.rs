//! The cluster under load, and its set-up as a spec and as rules of `ipvsadm`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use evenkeel_lab::net::{Forward, Host, Network, Topology};

/// The number of real servers to choose from.
pub(super) const REAL_SERVERS: u8 = 5;
/// The port of the loaded service.
const PORT: u16 = 80;
/// The number of addresses that services have; the first is the loaded service's.
const VIPS: u8 = 3;
const CLIENTS: u8 = 4;

/// The forwarding method and the protocol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) forward: Forward,
    pub(super) is_ipv6: bool,
}

/// The desired state of the director.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Setup {
    pub(super) scheduler: &'static str,
    /// The loaded service's real servers, by number, with their weights.
    pub(super) real_servers: BTreeMap<u8, u32>,
    /// Services without clients, by number.
    pub(super) others: BTreeMap<u8, Other>,
}

/// A service beside the loaded one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Other {
    pub(super) scheduler: &'static str,
    pub(super) real_servers: BTreeSet<u8>,
}

/// A service to be written: the number of its VIP, its real servers' numbers and weights.
struct Service {
    vip: u8,
    port: u16,
    scheduler: &'static str,
    real_servers: Vec<(u8, u32)>,
}

impl Kind {
    pub(super) fn build(self) -> Network {
        let real_servers = (1..=REAL_SERVERS)
            .map(|number| Host::new(&format!("rs{number}"), &[&self.in_net(self.server(number))]));
        let mut director = vec![self.in_net(self.address(0, 1))];
        if self.forward == Forward::Nat {
            director.push(self.in_net(self.address(9, 1)));
        }
        let clients: Vec<String> =
            self.clients().into_iter().map(|address| self.in_net(address)).collect();
        let texts = |all: &[String]| all.iter().map(|text| text.parse().unwrap()).collect();
        let topology = Topology {
            forward: self.forward,
            vips: (0..VIPS).map(|number| self.vip(number)).collect(),
            client: Host { name: "client".to_owned(), addresses: texts(&clients) },
            director: Host { name: "ds1".to_owned(), addresses: texts(&director) },
            real_servers: real_servers.collect(),
            ports: vec![self.server_port(PORT)],
        };
        topology.build().unwrap()
    }

    /// Returns four clients, so that their ports suffice for a quarter of a million connections.
    /// For NAT they are in another network than the real servers.
    pub(super) fn clients(self) -> Vec<IpAddr> {
        let net = if self.forward == Forward::Nat { 9 } else { 0 };
        (0..CLIENTS).map(|number| self.address(net, 21 + number)).collect()
    }

    /// Returns the address to which the clients connect.
    pub(super) fn target(self) -> SocketAddr {
        SocketAddr::new(self.vip(0), PORT)
    }

    fn address(self, net: u8, number: u8) -> IpAddr {
        let text = if self.is_ipv6 {
            format!("fd{net:02}::{number}")
        } else {
            format!("10.{net}.0.{number}")
        };
        text.parse().unwrap()
    }

    fn in_net(self, address: IpAddr) -> String {
        format!("{address}/{}", if self.is_ipv6 { 64 } else { 24 })
    }

    fn vip(self, number: u8) -> IpAddr {
        self.address(0, 100 + number)
    }

    fn server(self, number: u8) -> IpAddr {
        self.address(0, 10 + number)
    }

    /// Address translation can use another port, so it does.
    fn server_port(self, port: u16) -> u16 {
        if self.forward == Forward::Nat { port + 8000 } else { port }
    }
}

impl Setup {
    pub(super) fn first() -> Self {
        let real_servers = [(1, 1), (2, 1), (3, 1)].into();
        Self { scheduler: "rr", real_servers, others: BTreeMap::new() }
    }

    fn services(&self) -> Vec<Service> {
        let mut all = vec![Service {
            vip: 0,
            port: PORT,
            scheduler: self.scheduler,
            real_servers: self
                .real_servers
                .iter()
                .map(|(number, weight)| (*number, *weight))
                .collect(),
        }];
        all.extend(self.others.iter().map(|(number, other)| Service {
            vip: number % VIPS,
            port: 1000 + u16::from(*number),
            scheduler: other.scheduler,
            real_servers: other.real_servers.iter().map(|number| (*number, 1)).collect(),
        }));
        all
    }

    /// Returns the VIPs that services need.
    pub(super) fn vips(&self, kind: Kind) -> BTreeSet<IpAddr> {
        self.services().into_iter().map(|service| kind.vip(service.vip)).collect()
    }

    /// Writes a spec whose drains are longer than the downloads.
    pub(super) fn spec(&self, kind: Kind) -> String {
        let forward = match kind.forward {
            Forward::Dr => "dr",
            Forward::Nat => "nat",
            Forward::Tun => "tun",
        };
        let mut text = "version: 1\nscope: all\nvips:\n".to_owned();
        for vip in self.vips(kind) {
            writeln!(text, "  - {{ address: \"{vip}\", interface: eth0 }}").unwrap();
        }
        text += "services:\n";
        for Service { vip, port, scheduler, real_servers } in self.services() {
            let vip = kind.vip(vip);
            writeln!(text, "  - name: web{port}\n    vip: \"{vip}\"\n    port: {port}").unwrap();
            writeln!(text, "    scheduler: {scheduler}").unwrap();
            if let Some(flag) = fallback(scheduler) {
                writeln!(text, "    scheduler_flags: [{flag}]").unwrap();
            }
            text += "    real_servers:\n";
            for (number, weight) in real_servers {
                let (address, port) = (kind.server(number), kind.server_port(port));
                let port = if kind.forward == Forward::Nat {
                    format!("port: {port}, ")
                } else {
                    String::new()
                };
                writeln!(text, "      - {{ address: \"{address}\", {port}weight: {weight} }}")
                    .unwrap();
            }
        }
        // Last, so that a spec without its last service does not look truncated.
        writeln!(text, "defaults: {{ forward: {forward}, drain: 10s }}").unwrap();
        text + "sysctls: { net.ipv4.vs.expire_nodest_conn: 1 }\n"
    }

    /// Writes rules for `ipvsadm -R`.
    pub(super) fn rules(&self, kind: Kind) -> String {
        let method = match kind.forward {
            Forward::Dr => "-g",
            Forward::Nat => "-m",
            Forward::Tun => "-i",
        };
        let mut text = String::new();
        for Service { vip, port, scheduler, real_servers } in self.services() {
            let service = SocketAddr::new(kind.vip(vip), port);
            let flag = fallback(scheduler).map(|flag| format!(" -b {flag}")).unwrap_or_default();
            writeln!(text, "-A -t {service} -s {scheduler}{flag}").unwrap();
            for (number, weight) in real_servers {
                let server = SocketAddr::new(kind.server(number), kind.server_port(port));
                writeln!(text, "-a -t {service} -r {server} {method} -w {weight}").unwrap();
            }
        }
        text
    }
}

/// Without the flag, clients whose choice has weight 0 are refused.
fn fallback(scheduler: &str) -> Option<&'static str> {
    match scheduler {
        "sh" => Some("sh-fallback"),
        "mh" => Some("mh-fallback"),
        _ => None,
    }
}
