//! The addresses of this host that parameters refer to.

use std::collections::BTreeSet;
use std::error::Error as _;

use evenkeel_host::{Address, AddressFlags, AddressScope, Host, Namespace};
use evenkeel_model::{Binding, Family};

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

fn message(error: &evenkeel_host::Error) -> String {
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
    journalled: &BTreeSet<Binding>,
) -> Option<&'a Address> {
    // A kernel that stores the mark shows its own on the loopback address, if nowhere else.
    let keeps_marks = addresses.iter().any(|address| address.protocol.is_some());
    let is_journalled = |it: &Address| {
        journalled.iter().any(|binding| {
            binding.address == it.address
                && binding.prefix == it.prefix
                && *binding.interface == *it.interface
        })
    };
    let is_own = |it: &&Address| {
        it.interface == interface
            && it.scope != AddressScope::Link
            && !it.is_ours()
            && (keeps_marks || !is_journalled(it))
            && !it.flags.contains(AddressFlags::DEPRECATED)
    };
    let own = addresses.iter().filter(is_own);
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

/// Whether an IPv6 address is neither temporary nor a duplicate of another host's.
fn is_lasting(address: &Address) -> bool {
    // The bit of secondary IPv4 addresses marks temporary IPv6 ones.
    let unusable = [AddressFlags::SECONDARY, AddressFlags::DADFAILED];
    !unusable.into_iter().any(|flag| address.flags.contains(flag))
}
