//! The classic cluster: a client, a director and real servers, each a namespace, on one bridge.
//!
//! The settings that real servers need for each forwarding method are made here, unless the program
//! under test makes them ([`Topology::build_bare`]). The director gets its own addresses and nothing
//! else: the program under test sets up VIPs and the IPVS table.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use crate::error::{Context, Error};
use crate::net::{Namespace, Server, get};

/// How long one request may take before it counts as unanswered.
const PATIENCE: Duration = Duration::from_secs(3);
/// The one interface, beside `lo`, of each machine.
const DEVICE: &str = "eth0";

/// The forwarding method of the director, which decides what the real servers need.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Forward {
    /// Direct routing: each VIP on `lo`, not answered for by ARP.
    Dr,
    /// Address translation: answers return through the director. Needs clients in another network
    /// than the real servers, or the answers would bypass it.
    Nat,
    /// IP in IP: each VIP on the tunnel device of its family. An IPv6 VIP must be bound as
    /// deprecated on the director: chosen as the source of the outer packets it would be refused by
    /// the real servers, which hold it too.
    Tun,
}

/// A machine of the cluster.
#[derive(Clone, Debug)]
pub struct Host {
    /// The name of its namespace; a real server also answers with it.
    pub name: String,
    /// Its addresses, with the prefix of their network.
    pub addresses: Vec<IpNet>,
}

impl Host {
    /// A machine with addresses written as `192.168.56.10/24`.
    ///
    /// # Panics
    /// When one of them is no address with a prefix: they are literals of a test.
    pub fn new(name: &str, addresses: &[&str]) -> Self {
        let parse =
            |text: &&str| text.parse().unwrap_or_else(|_| panic!("{text} is no address/prefix"));
        Self { name: name.to_owned(), addresses: addresses.iter().map(parse).collect() }
    }
}

/// The description of a cluster.
#[derive(Clone, Debug)]
pub struct Topology {
    /// How packets will be forwarded.
    pub forward: Forward,
    /// The addresses that real servers serve; the program under test binds them on the director.
    pub vips: Vec<IpAddr>,
    /// Where requests come from.
    pub client: Host,
    /// Where they are distributed.
    pub director: Host,
    /// Where they are answered.
    pub real_servers: Vec<Host>,
    /// The ports that real servers answer on.
    pub ports: Vec<u16>,
}

/// A running cluster, which is deleted when dropped.
#[derive(Debug)]
pub struct Network {
    /// The client's namespace.
    pub client: Namespace,
    /// The director's.
    pub director: Namespace,
    /// The real servers', in the order of the description.
    pub real_servers: Vec<Namespace>,
    // Dropped before the namespaces would matter: a server holds a socket, not a namespace's name.
    _servers: Vec<Server>,
    _bridge: Namespace,
}

impl Topology {
    /// Builds it. Takes about a third of a second in a guest.
    ///
    /// # Errors
    /// When a name is taken, the kernel lacks a kind of link, or an address is refused.
    pub fn build(&self) -> Result<Network, Error> {
        self.build_hosts(false)
    }

    /// Builds it with links and the hosts' own addresses only: the program under test sets up the director
    /// and the real servers.
    ///
    /// # Errors
    /// As for [`Topology::build`].
    pub fn build_bare(&self) -> Result<Network, Error> {
        self.build_hosts(true)
    }

    fn build_hosts(&self, is_bare: bool) -> Result<Network, Error> {
        let hosts: Vec<&Host> =
            [&self.client, &self.director].into_iter().chain(&self.real_servers).collect();
        let bridge = format!("{}-bridge", self.director.name);
        let names: Vec<&str> = [bridge.as_str()]
            .into_iter()
            .chain(hosts.iter().map(|host| host.name.as_str()))
            .collect();
        let mut namespaces = Namespace::create_all(&names)?.into_iter();
        let mut next =
            || namespaces.next().ok_or_else(|| Error::Refused("a namespace is missing".to_owned()));
        let (bridge, client, director) = (next()?, next()?, next()?);
        let real_servers: Vec<Namespace> = namespaces.collect();

        for namespace in [&client, &director].into_iter().chain(&real_servers) {
            // Before the links come, which take their settings from these.
            namespace.sysctls(&[
                ("ipv6/conf/default/accept_dad", "0"),
                ("ipv4/conf/default/rp_filter", "0"),
                ("ipv4/conf/all/rp_filter", "0"),
            ])?;
        }
        bridge.ip(&links(&hosts))?;
        client.ip(&self.client_commands())?;
        if !is_bare {
            director.sysctls(&[
                ("ipv4/ip_forward", "1"),
                ("ipv6/conf/all/forwarding", "1"),
                ("ipv4/conf/all/send_redirects", "0"),
                ("ipv4/conf/eth0/send_redirects", "0"),
            ])?;
        }
        director.ip(&self.director_commands())?;
        let mut servers = Vec::new();
        for (host, namespace) in self.real_servers.iter().zip(&real_servers) {
            if is_bare {
                namespace.ip(&addresses(host))?;
            } else {
                self.prepare_real_server(host, namespace)?;
            }
            for &port in &self.ports {
                servers.push(Server::start(namespace, port, &host.name)?);
            }
        }
        Ok(Network { client, director, real_servers, _servers: servers, _bridge: bridge })
    }

    fn client_commands(&self) -> String {
        let mut text = addresses(&self.client);
        for vip in self.vips.iter().filter(|vip| !self.client.reaches(**vip)) {
            if let Some(gateway) = self.director.address_in_reach_of(&self.client, *vip) {
                text.push_str(&format!("route add {vip} via {gateway}\n"));
            }
        }
        text
    }

    fn director_commands(&self) -> String {
        let mut text = addresses(&self.director);
        text.push_str(&routes(
            &self.director,
            self.client
                .addresses
                .iter()
                .chain(self.real_servers.iter().flat_map(|host| &host.addresses)),
        ));
        text
    }

    fn prepare_real_server(&self, host: &Host, namespace: &Namespace) -> Result<(), Error> {
        let mut text = addresses(host);
        match self.forward {
            Forward::Nat => {
                // The director sees that client and real server share the bridge, and says so;
                // believed, that would lead the answers past it.
                namespace.sysctls(&[
                    ("ipv4/conf/all/accept_redirects", "0"),
                    ("ipv4/conf/eth0/accept_redirects", "0"),
                    ("ipv6/conf/eth0/accept_redirects", "0"),
                ])?;
                for address in &host.addresses {
                    if let Some(gateway) = self.director.address_in_reach_of(host, address.addr()) {
                        text.push_str(&format!("route add default via {gateway}\n"));
                    }
                }
            }
            Forward::Dr | Forward::Tun => {
                quiet_about_vips(namespace)?;
                // Answers go to the client directly, in whichever network it is.
                text.push_str(&routes(host, &self.client.addresses));
            }
        }
        for vip in &self.vips {
            let (device, length) = match (self.forward, vip) {
                (Forward::Nat, _) => continue,
                (Forward::Dr, IpAddr::V4(_)) => ("lo", 32),
                (Forward::Dr, IpAddr::V6(_)) => ("lo", 128),
                (Forward::Tun, IpAddr::V4(_)) => ("tunl0", 32),
                (Forward::Tun, IpAddr::V6(_)) => ("ip6tnl0", 128),
            };
            let nodad = if vip.is_ipv6() { " nodad" } else { "" };
            text.push_str(&format!(
                "link set {device} up\naddress add {vip}/{length} dev {device}{nodad}\n"
            ));
        }
        namespace.ip(&text)?;
        if self.forward == Forward::Tun && self.vips.iter().any(IpAddr::is_ipv4) {
            namespace.sysctls(&[("ipv4/conf/tunl0/rp_filter", "0")])?;
        }
        Ok(())
    }
}

impl Network {
    /// Sends `count` requests from the client, each over a new connection and after the answer to
    /// the one before, and gives the names of the real servers that answered.
    ///
    /// # Errors
    /// At the first request that is not answered.
    pub fn ask(&self, address: SocketAddr, count: usize) -> Result<Vec<String>, Error> {
        self.client.run(|| {
            (1..=count)
                .map(|number| get(address, PATIENCE).step(format!("request {number} to {address}")))
                .collect()
        })?
    }
}

impl Host {
    /// Whether the address lies in a network of this machine.
    fn reaches(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|net| net.contains(&address))
    }

    /// An address of this machine, of the family of `like`, that `other` reaches without a router.
    fn address_in_reach_of(&self, other: &Self, like: IpAddr) -> Option<IpAddr> {
        let mut own = self.addresses.iter().map(IpNet::addr);
        own.find(|address| address.is_ipv4() == like.is_ipv4() && other.reaches(*address))
    }
}

/// The bridge and a pair of links for each machine. It forwards at once: nothing can loop.
fn links(hosts: &[&Host]) -> String {
    let mut text = "link add br0 type bridge forward_delay 0\nlink set br0 up\n".to_owned();
    for (number, host) in hosts.iter().enumerate() {
        let name = &host.name;
        text.push_str(&format!(
            "link add port{number} type veth peer name {DEVICE} netns {name}\n\
             link set port{number} master br0 up\n"
        ));
    }
    text
}

/// Brings the interfaces up and gives them their addresses.
fn addresses(host: &Host) -> String {
    let mut text = format!("link set lo up\nlink set {DEVICE} up\n");
    for net in &host.addresses {
        let nodad = if net.addr().is_ipv6() { " nodad" } else { "" };
        text.push_str(&format!("address add {net} dev {DEVICE}{nodad}\n"));
    }
    text
}

/// Routes to the networks of others that are on the bridge but not among the host's own.
fn routes<'a>(host: &Host, others: impl IntoIterator<Item = &'a IpNet>) -> String {
    let mut nets: Vec<IpNet> = others.into_iter().map(IpNet::trunc).collect();
    nets.sort();
    nets.dedup();
    nets.retain(|net| !host.reaches(net.addr()));
    nets.iter().map(|net| format!("route add {net} dev {DEVICE}\n")).collect()
}

/// Lets only the director answer ARP requests for VIPs.
fn quiet_about_vips(namespace: &Namespace) -> Result<(), Error> {
    let settings: Vec<(String, &str)> = ["all", DEVICE, "lo"]
        .iter()
        .flat_map(|device| {
            [
                (format!("ipv4/conf/{device}/arp_ignore"), "1"),
                (format!("ipv4/conf/{device}/arp_announce"), "2"),
            ]
        })
        .collect();
    let settings: Vec<(&str, &str)> =
        settings.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    namespace.sysctls(&settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_server_learns_the_way_to_a_client_of_another_network_only() {
        let host = Host::new("rs1", &["10.0.0.2/24", "fd00::2/64"]);
        let client = Host::new("client", &["10.0.0.9/24", "10.9.0.9/24", "fd00::9/64"]);
        assert_eq!(routes(&host, &client.addresses), "route add 10.9.0.0/24 dev eth0\n");
    }

    #[test]
    fn the_return_path_leads_over_the_directors_address_in_the_same_network() {
        let director = Host::new("director", &["10.9.0.1/24", "10.0.0.1/24", "fd00::1/64"]);
        let host = Host::new("rs1", &["10.0.0.2/24"]);
        let gateway = director.address_in_reach_of(&host, host.addresses[0].addr());
        assert_eq!(gateway, Some("10.0.0.1".parse().expect("an address")));
    }
}
