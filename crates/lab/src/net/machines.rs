//! Machines on any number of networks, with nothing configured but their own addresses and routes.
//!
//! For tests in which the program under test, or the commands of a guide, configure every host of a
//! cluster.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Index;

use ipnet::IpNet;

use crate::error::Error;
use crate::net::Namespace;

/// The longest name of an interface, and so of a network, whose bridge has its name.
const LONGEST_NAME: usize = 15;

/// The hardware address of an interface.
pub type HardwareAddress = [u8; 6];

/// The description of a machine. It becomes a namespace of the same name.
#[derive(Clone, Debug)]
pub struct Machine {
    name: String,
    interfaces: Vec<Interface>,
    gateways: Vec<IpAddr>,
    is_router: bool,
    sysctls: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
struct Interface {
    name: String,
    network: String,
    addresses: Vec<IpNet>,
}

/// Running machines, which are deleted when dropped.
#[derive(Debug)]
pub struct Machines {
    namespaces: BTreeMap<String, Namespace>,
    interfaces: BTreeMap<HardwareAddress, String>,
    _bridges: Namespace,
}

impl Machine {
    /// A machine without interfaces.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            interfaces: Vec::new(),
            gateways: Vec::new(),
            is_router: false,
            sysctls: Vec::new(),
        }
    }

    /// Adds an interface on a network, with addresses written as `192.168.1.20/24`.
    ///
    /// # Panics
    /// When one of them is no address with a prefix, or a name is too long: they are literals of a
    /// test.
    #[must_use]
    pub fn on(mut self, network: &str, interface: &str, addresses: &[&str]) -> Self {
        for name in [network, interface] {
            assert!(name.len() <= LONGEST_NAME, "{name} is longer than {LONGEST_NAME} bytes");
        }
        let parse =
            |text: &&str| text.parse().unwrap_or_else(|_| panic!("{text} is no address/prefix"));
        self.interfaces.push(Interface {
            name: interface.to_owned(),
            network: network.to_owned(),
            addresses: addresses.iter().map(parse).collect(),
        });
        self
    }

    /// Gives the machine the default route of a family, or both with two calls.
    ///
    /// # Panics
    /// When this is no address.
    #[must_use]
    pub fn gateway(mut self, address: &str) -> Self {
        self.gateways.push(address.parse().unwrap_or_else(|_| panic!("{address} is no address")));
        self
    }

    /// Lets the machine forward packets of both families.
    #[must_use]
    pub fn router(mut self) -> Self {
        self.is_router = true;
        self
    }

    /// Sets a sysctl, a path below `/proc/sys/net`, when the interfaces exist and before they are up.
    #[must_use]
    pub fn sysctl(mut self, name: &str, value: &str) -> Self {
        self.sysctls.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The commands that bring its interfaces up.
    fn commands(&self) -> String {
        let mut text = "link set lo up\n".to_owned();
        for Interface { name, addresses, .. } in &self.interfaces {
            text.push_str(&format!("link set {name} up\n"));
            for net in addresses {
                let nodad = if net.addr().is_ipv6() { " nodad" } else { "" };
                text.push_str(&format!("address add {net} dev {name}{nodad}\n"));
            }
        }
        for gateway in &self.gateways {
            text.push_str(&format!("route add default via {gateway}\n"));
        }
        text
    }

    fn start(&self, namespace: &Namespace) -> Result<(), Error> {
        let mut sysctls: Vec<(&str, &str)> = Vec::new();
        if self.is_router {
            sysctls.extend([("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")]);
        }
        sysctls.extend(self.sysctls.iter().map(|(name, value)| (&**name, &**value)));
        namespace.sysctls(&sysctls)?;
        namespace.ip(&self.commands())
    }
}

impl Machines {
    /// Builds all of them, and a bridge for each network. Takes about a third of a second in a guest.
    ///
    /// The hardware address of an interface depends only on its position in the description, so that
    /// two builds of one description are equal.
    ///
    /// # Errors
    /// When a name is taken, the kernel lacks a kind of link, or an address is refused.
    pub fn build(machines: &[Machine]) -> Result<Self, Error> {
        let names = machines.iter().map(|machine| machine.name.as_str());
        let names: Vec<&str> = ["bridges"].into_iter().chain(names).collect();
        let mut namespaces = Namespace::create_all(&names)?;
        let bridges = namespaces.remove(0);
        for namespace in &namespaces {
            // Before the links come, which take their settings from this.
            namespace.sysctls(&[("ipv6/conf/default/accept_dad", "0")])?;
        }
        bridges.ip(&links(machines))?;
        for (machine, namespace) in machines.iter().zip(&namespaces) {
            machine.start(namespace)?;
        }
        let namespaces = namespaces.into_iter().map(|it| (it.name().to_owned(), it)).collect();
        Ok(Self { namespaces, interfaces: interfaces(machines), _bridges: bridges })
    }

    /// The names of the machines with their namespaces.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Namespace)> {
        self.namespaces.iter().map(|(name, namespace)| (name.as_str(), namespace))
    }

    /// Each interface by its hardware address, as `MACHINE INTERFACE`.
    pub fn interfaces(&self) -> &BTreeMap<HardwareAddress, String> {
        &self.interfaces
    }
}

impl Index<&str> for Machines {
    type Output = Namespace;

    /// The namespace of a machine.
    ///
    /// # Panics
    /// When there is no machine of that name.
    fn index(&self, name: &str) -> &Namespace {
        self.namespaces.get(name).unwrap_or_else(|| panic!("no machine {name}"))
    }
}

/// The bridges, and a pair of links for each interface. They forward at once: nothing can loop.
fn links(machines: &[Machine]) -> String {
    let all = || machines.iter().flat_map(|machine| &machine.interfaces);
    let mut networks: Vec<&str> = all().map(|interface| interface.network.as_str()).collect();
    networks.sort_unstable();
    networks.dedup();
    let mut text = String::new();
    for network in networks {
        text.push_str(&format!(
            "link add {network} type bridge forward_delay 0\nlink set {network} up\n"
        ));
    }
    for (place, machine) in machines.iter().enumerate() {
        for (number, Interface { name, network, .. }) in machine.interfaces.iter().enumerate() {
            let port = format!("port{place}-{number}");
            let address = in_text(hardware_address(place, number));
            text.push_str(&format!(
                "link add {port} type veth peer name {name} address {address} netns {}\n\
                 link set {port} master {network} up\n",
                machine.name
            ));
        }
    }
    text
}

fn interfaces(machines: &[Machine]) -> BTreeMap<HardwareAddress, String> {
    let mut all = BTreeMap::new();
    for (place, machine) in machines.iter().enumerate() {
        for (number, interface) in machine.interfaces.iter().enumerate() {
            let name = format!("{} {}", machine.name, interface.name);
            all.insert(hardware_address(place, number), name);
        }
    }
    all
}

/// A locally administered address.
fn hardware_address(machine: usize, interface: usize) -> HardwareAddress {
    let byte = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    [2, 0, 0, 0, byte(machine), byte(interface)]
}

fn in_text(address: HardwareAddress) -> String {
    address.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router() -> Machine {
        Machine::new("router").on("outside", "eth0", &["10.0.0.1/24"]).on(
            "lan",
            "eth1",
            &["192.168.1.1/24", "fd00::1/64"],
        )
    }

    #[test]
    fn each_interface_has_a_hardware_address_of_its_own() {
        let client = Machine::new("client").on("outside", "eth0", &["10.0.0.2/24"]);
        let all = interfaces(&[client, router()]);
        let names: Vec<&str> = all.values().map(String::as_str).collect();
        assert_eq!(names, ["client eth0", "router eth0", "router eth1"]);
    }

    #[test]
    fn interfaces_of_one_network_are_ports_of_one_bridge() {
        let client = Machine::new("client").on("outside", "eth0", &[]);
        let text = links(&[client, router()]);
        assert_eq!(text.matches("type bridge").count(), 2);
        assert_eq!(text.matches("master outside up").count(), 2);
        assert_eq!(text.matches("master lan up").count(), 1);
    }

    #[test]
    fn a_machine_gets_its_addresses_before_the_route_that_needs_them() {
        let commands = router().gateway("10.0.0.254").commands();
        assert!(commands.ends_with(
            "address add fd00::1/64 dev eth1 nodad\nroute add default via 10.0.0.254\n"
        ));
    }
}
