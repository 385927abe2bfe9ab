//! The host's links and addresses: listing, binding, unbinding.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use tracing::debug;

use crate::address::Address;
use crate::address_messages::{Binding, Secondary, secondaries};
use crate::announce::PacketAddresses;
use crate::error::{Action, Error};
use crate::link::{Link, check_name, link_request};
use crate::namespace;
use crate::netlink::{Failure, Netlink};

/// How often links and addresses are read again when the two lists do not match.
const LISTING_ATTEMPTS: usize = 10;

/// A connection to the network configuration of one network namespace: that of the thread that opened it.
///
/// It may be moved to another thread, but [`Host::announce`] and [`Host::unbind`] also use parts of the calling
/// thread's namespace and refuse to work from another one ([`Error::OtherNamespace`]). Each call is one or a
/// few system calls and waits for nothing but the kernel.
#[derive(Debug)]
pub struct Host {
    pub(crate) netlink: Netlink,
    pub(crate) packet_addresses: PacketAddresses,
    namespace: (u64, u64),
}

impl Host {
    /// Connects to the calling thread's network namespace. Needs no privileges.
    ///
    /// # Errors
    /// [`Error::Connect`] if no socket can be had; [`Error::Read`] without `/proc`.
    pub fn connect() -> Result<Self, Error> {
        Ok(Self {
            namespace: namespace::current_nsfs()?,
            netlink: Netlink::open(NETLINK_ROUTE).map_err(Error::Connect)?,
            packet_addresses: PacketAddresses::default(),
        })
    }

    /// All interfaces, those that are down included, in the kernel's order.
    ///
    /// # Errors
    /// The list could not be read completely; a part of it is never returned.
    pub fn links(&self) -> Result<Vec<Link>, Error> {
        let payloads = self
            .netlink
            .dump(&RouteNetlinkMessage::GetLink(link_request(None)))
            .map_err(|failure| failure.during(Action::ListLinks))?;
        decode_all(&payloads, Link::decode, &Action::ListLinks)
    }

    /// The interface of this name, or none.
    ///
    /// # Errors
    /// [`Error::InvalidName`], or the kernel did not answer.
    pub fn link(&self, name: &str) -> Result<Option<Link>, Error> {
        check_name(name)?;
        let action = || Action::FindLink(name.to_owned());
        match self.netlink.request(RouteNetlinkMessage::GetLink(link_request(Some(name))), 0) {
            Err(failure) if failure.is(Errno::ENODEV) => Ok(None),
            Err(failure) => Err(failure.during(action())),
            Ok(payloads) => match decode_all(&payloads, Link::decode, &action())?.pop() {
                // The kernel also answers to alternative names; an address entry never shows those.
                Some(link) if link.name == name => Ok(Some(link)),
                Some(_) => Ok(None),
                None => Err(Error::Malformed {
                    action: action(),
                    what: "the kernel's answer is empty".into(),
                }),
            },
        }
    }

    /// All addresses of all interfaces, in the kernel's order. On one interface a primary IPv4 address stands
    /// before its secondaries.
    ///
    /// # Errors
    /// The list could not be read completely; a part of it is never returned.
    pub fn addresses(&self) -> Result<Vec<Address>, Error> {
        Ok(self.links_and_addresses()?.1)
    }

    /// Reads [`Self::links`] and [`Self::addresses`] consistently: the interface of every address is among
    /// the links.
    ///
    /// # Errors
    /// A list could not be read completely; a part of it is never returned.
    pub fn links_and_addresses(&self) -> Result<(Vec<Link>, Vec<Address>), Error> {
        // Names come from the other list. An interface made between the two readings is in one of them only.
        for _ in 0..LISTING_ATTEMPTS {
            let links = self.links()?;
            let mut addresses = self.nameless_addresses()?;
            let names: BTreeMap<u32, &str> =
                links.iter().map(|link| (link.index, link.name.as_str())).collect();
            let complete = addresses.iter_mut().all(|address| {
                names.get(&address.index).is_some_and(|name| {
                    address.interface = (*name).to_owned();
                    true
                })
            });
            if complete {
                return Ok((links, addresses));
            }
        }
        Err(Error::Interrupted { action: Action::ListAddresses })
    }

    /// Binds an address: an entry of its own that carries [`EVENKEEL_PROTOCOL`](crate::EVENKEEL_PROTOCOL) and
    /// the flags of [`Binding::flags`]. Does not announce it; see [`Host::announce`].
    ///
    /// The interface may be down; an IPv6 address is then usable only once the interface is up.
    ///
    /// # Errors
    /// [`Error::AlreadyBound`] if the interface has the address already, which is left unchanged;
    /// [`Error::InterfaceMissing`]; [`Error::InvalidPrefix`]; [`Error::NotPermitted`] without CAP_NET_ADMIN.
    pub fn bind(&self, binding: &Binding) -> Result<(), Error> {
        self.bind_labelled(binding, None)
    }

    /// As [`Self::bind`], with a label (`IFA_LABEL`) of at most 15 bytes, which only IPv4 addresses
    /// have; `None` leaves it to the kernel, which takes the interface's name.
    ///
    /// # Errors
    /// As [`Self::bind`]; also a label that the kernel refuses.
    pub fn bind_labelled(&self, binding: &Binding, label: Option<&str>) -> Result<(), Error> {
        let index = self.index_for(binding)?;
        let message = RouteNetlinkMessage::NewAddress(binding.to_add(index, label));
        match self.netlink.request(message, NLM_F_CREATE | NLM_F_EXCL) {
            Ok(_) => {
                debug!(vip = %binding.address, prefix = binding.prefix, interface = binding.interface, "bound");
                Ok(())
            }
            Err(failure) if failure.is(Errno::EEXIST) => Err(Error::AlreadyBound(binding.clone())),
            Err(failure) if failure.is(Errno::ENODEV) => Err(missing(&binding.interface)),
            Err(failure) => Err(failure.during(Action::Bind(binding.clone()))),
        }
    }

    /// Unbinds an address. The caller has to check first that it is evenkeel's.
    ///
    /// # Errors
    /// [`Error::NotBound`] if there is no such entry with this very prefix; [`Error::WouldDropSecondaries`] if
    /// other addresses would be removed with it (one added between the check and the removal is missed);
    /// [`Error::InterfaceMissing`]; [`Error::NotPermitted`] without CAP_NET_ADMIN.
    pub fn unbind(&self, binding: &Binding) -> Result<(), Error> {
        let index = self.index_for(binding)?;
        self.spare_secondaries(binding, index)?;
        let message = RouteNetlinkMessage::DelAddress(binding.to_delete(index));
        match self.netlink.request(message, 0) {
            Ok(_) => {
                debug!(vip = %binding.address, prefix = binding.prefix, interface = binding.interface, "unbound");
                Ok(())
            }
            Err(failure) if is_absence(&failure) => match self.link(&binding.interface)? {
                Some(_) => Err(Error::NotBound(binding.clone())),
                None => Err(missing(&binding.interface)),
            },
            Err(failure) => Err(failure.during(Action::Unbind(binding.clone()))),
        }
    }

    /// The interface of this name, where its absence is an error.
    pub(crate) fn existing_link(&self, name: &str) -> Result<Link, Error> {
        self.link(name)?.ok_or_else(|| missing(name))
    }

    /// Parts of some operations use the calling thread's namespace, not the socket's.
    pub(crate) fn check_namespace(&self, action: Action) -> Result<(), Error> {
        if namespace::current_nsfs()? == self.namespace {
            Ok(())
        } else {
            Err(Error::OtherNamespace { action })
        }
    }

    fn index_for(&self, binding: &Binding) -> Result<u32, Error> {
        if !binding.is_valid() {
            return Err(Error::InvalidPrefix(binding.clone()));
        }
        Ok(self.existing_link(&binding.interface)?.index)
    }

    /// The addresses that the kernel deletes together with another one: the IPv4 secondaries of a subnet,
    /// each with its primary. None of an interface on which the kernel promotes them
    /// (`promote_secondaries`); where that cannot be read, they are listed.
    ///
    /// The calling thread must be in the namespace of this connection.
    #[must_use]
    pub fn dependent_secondaries<'a>(&self, addresses: &'a [Address]) -> Vec<Secondary<'a>> {
        let mut found = secondaries(addresses);
        if found.is_empty() {
            return found;
        }
        let is_in_namespace = self.check_namespace(Action::ListAddresses).is_ok();
        let promotes = |name: &str| is_in_namespace && promotes_secondaries(name).unwrap_or(false);
        if promotes("all") {
            return Vec::new();
        }
        let interfaces: BTreeSet<&str> = found.iter().map(|it| &*it.address.interface).collect();
        let promoting: BTreeSet<&str> = interfaces.into_iter().filter(|it| promotes(it)).collect();
        found.retain(|it| !promoting.contains(&*it.address.interface));
        found
    }

    fn spare_secondaries(&self, binding: &Binding, index: u32) -> Result<(), Error> {
        if binding.address.is_ipv6() || binding.is_host() {
            return Ok(());
        }
        let secondaries = binding.secondaries(index, &self.nameless_addresses()?);
        if secondaries.is_empty() {
            return Ok(());
        }
        self.check_namespace(Action::Unbind(binding.clone()))?;
        if promotes_secondaries("all")? || promotes_secondaries(&binding.interface)? {
            return Ok(());
        }
        Err(Error::WouldDropSecondaries { binding: binding.clone(), secondaries })
    }

    fn nameless_addresses(&self) -> Result<Vec<Address>, Error> {
        let payloads = self
            .netlink
            .dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))
            .map_err(|failure| failure.during(Action::ListAddresses))?;
        decode_all(&payloads, Address::decode, &Action::ListAddresses)
    }
}

/// Reads a numeric setting of `/proc/sys/net` in the calling thread's namespace.
pub(crate) fn setting(path: &Path) -> Result<i32, Error> {
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path)?;
        text.trim()
            .parse()
            .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
    };
    read(path).map_err(|source| Error::Read { path: path.into(), source })
}

fn promotes_secondaries(interface: &str) -> Result<bool, Error> {
    let path: PathBuf =
        ["/proc/sys/net/ipv4/conf", interface, "promote_secondaries"].iter().collect();
    Ok(setting(&path)? != 0)
}

/// What the kernel says when there is no such address: IPv4 and IPv6 agree on EADDRNOTAVAIL, and differ where
/// the interface has nothing of the family at all.
fn is_absence(failure: &Failure) -> bool {
    [Errno::EADDRNOTAVAIL, Errno::ENOENT, Errno::ENODEV, Errno::ENXIO]
        .into_iter()
        .any(|errno| failure.is(errno))
}

fn missing(interface: &str) -> Error {
    Error::InterfaceMissing { interface: interface.to_owned() }
}

fn decode_all<T>(
    payloads: &[Vec<u8>],
    decode: fn(&[u8]) -> Result<T, String>,
    action: &Action,
) -> Result<Vec<T>, Error> {
    payloads
        .iter()
        .map(|payload| decode(payload))
        .collect::<Result<_, _>>()
        .map_err(|what| Error::Malformed { action: action.clone(), what })
}
