//! The addresses of this host that parameters refer to.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::net::IpAddr;

use evenkeel_host::{Address, AddressFlags, AddressScope, EVENKEEL_PROTOCOL, Host, Namespace};
use evenkeel_model::{Binding, Cluster, Family, HostInputs, OwnAddress, Owner};
use ipnet::IpNet;

/// Reads all addresses of a network namespace. Returns the error as text.
pub(super) type AddressReader = Box<dyn FnMut() -> Result<Vec<Address>, String> + Send>;

/// Returns a reader of the addresses in the network namespace of that name, or in the calling thread's.
pub(super) fn reader(netns: Option<&str>) -> AddressReader {
    match netns.map(ToOwned::to_owned) {
        Some(name) => Box::new(move || of_namespace(&name)),
        None => {
            // The connection stays: connecting costs more system calls than reading.
            let mut connection = None;
            Box::new(move || {
                let addresses = of_this_namespace(&mut connection);
                if addresses.is_err() {
                    connection = None;
                }
                addresses.map_err(|error| message(&error))
            })
        }
    }
}

/// Returns a reader of the addresses in a snapshot.
pub(super) fn snapshot(addresses: &BTreeMap<Binding, Owner>) -> AddressReader {
    let read = addresses.iter().map(|(binding, owner)| Address {
        address: binding.address,
        peer: None,
        prefix: binding.prefix,
        index: 0,
        interface: binding.interface.to_string(),
        protocol: (*owner == Owner::Evenkeel).then_some(EVENKEEL_PROTOCOL),
        flags: AddressFlags(0),
        scope: AddressScope::Universe,
        label: None,
    });
    let read: Vec<Address> = read.collect();
    Box::new(move || Ok(read.clone()))
}

fn of_this_namespace(connection: &mut Option<Host>) -> Result<Vec<Address>, evenkeel_host::Error> {
    let host = match connection {
        Some(host) => host,
        None => connection.insert(Host::connect()?),
    };
    host.addresses()
}

/// Reads in a separate thread, because entering a namespace changes the thread's own.
fn of_namespace(name: &str) -> Result<Vec<Address>, String> {
    let read = || {
        Namespace::enter(name)?;
        Host::connect()?.addresses()
    };
    match std::thread::scope(|scope| scope.spawn(read).join()) {
        Ok(addresses) => addresses.map_err(|error| message(&error)),
        Err(_) => Err("the addresses cannot be read".to_owned()),
    }
}

pub(super) fn message(error: &evenkeel_host::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Returns the interface's first address of the host's own: the one that was added first, so that an
/// address that is added later changes nothing.
///
/// Leaves out addresses that evenkeel bound, which may come before the host's own and change with
/// the spec, and link-local ones; of IPv6 also temporary ones (RFC 8981), which the kernel replaces
/// every day, and those that another host has already. Kernels before 5.18 do not store that evenkeel bound an address; there
/// the journal shows it.
pub(super) fn first_own<'a>(
    addresses: &'a [Address],
    interface: &str,
    family: Option<Family>,
    journalled: &'a BTreeSet<Binding>,
) -> Option<&'a Address> {
    let is_usable =
        |it: &&Address| it.interface == interface && !it.flags.contains(AddressFlags::DEPRECATED);
    let own = own(addresses, journalled).filter(is_usable);
    let ipv4 = || own.clone().find(|it| it.address.is_ipv4());
    // The kernel lists IPv4 addresses in the order in which they were added, and IPv6 addresses of a
    // scope in the opposite order.
    let ipv6 = || own.clone().rfind(|it| it.address.is_ipv6() && is_lasting(it));
    match family {
        Some(Family::Ipv4) => ipv4(),
        Some(Family::Ipv6) => ipv6(),
        None => ipv4().or_else(ipv6),
    }
}

/// Returns the addresses of the host's own: without those that evenkeel bound, and link-local ones.
fn own<'a>(
    addresses: &'a [Address],
    journalled: &'a BTreeSet<Binding>,
) -> impl DoubleEndedIterator<Item = &'a Address> + Clone {
    // A kernel that stores the mark shows its own on the loopback address, if nowhere else.
    let keeps_marks = addresses.iter().any(|address| address.protocol.is_some());
    let is_journalled = |it: &Address| {
        journalled.iter().any(|binding| {
            binding.address == it.address
                && binding.prefix == it.prefix
                && *binding.interface == *it.interface
        })
    };
    addresses.iter().filter(move |it| {
        it.scope != AddressScope::Link && !it.is_ours() && (keeps_marks || !is_journalled(it))
    })
}

/// Returns the host's own addresses that concern a cluster: those that its spec lists, and those on a
/// network of a listed one; if there are none, all others for a message.
pub(super) fn host_inputs(
    addresses: &[Address],
    cluster: &Cluster,
    journalled: &BTreeSet<Binding>,
) -> HostInputs {
    let listed: BTreeSet<IpAddr> = cluster.addresses().copied().collect();
    let mut inputs = HostInputs::default();
    let own = own(addresses, journalled).filter(|it| !it.address.is_loopback());
    for address in own {
        let Ok(network) = IpNet::new(address.address, address.prefix) else { continue };
        if listed.contains(&address.address) || listed.iter().any(|it| network.contains(it)) {
            let interface = address.interface.as_str().into();
            inputs.addresses.push(OwnAddress { network, interface });
        } else {
            inputs.others.insert(address.address);
        }
    }
    inputs.addresses.sort();
    inputs.addresses.dedup();
    if inputs.addresses.iter().any(|own| listed.contains(&own.network.addr())) {
        inputs.others.clear();
    }
    inputs
}

/// Whether an IPv6 address is neither temporary nor a duplicate of another host's.
fn is_lasting(address: &Address) -> bool {
    // The bit of secondary IPv4 addresses marks temporary IPv6 ones.
    let unusable = [AddressFlags::SECONDARY, AddressFlags::DADFAILED];
    !unusable.into_iter().any(|flag| address.flags.contains(flag))
}
