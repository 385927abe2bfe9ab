//! The errors of this crate. Each variant names the object that it concerns.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::address_messages::Binding;
use crate::capability::Capability;
use crate::netlink::{Failure, NetlinkRefusal};
use crate::packet_rules::TablesUnavailable;

/// An operation of this crate; its text continues a sentence that begins with "cannot".
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// [`Host::links`](crate::Host::links).
    ListLinks,
    /// [`Host::addresses`](crate::Host::addresses).
    ListAddresses,
    /// Looking up one interface, the first step of every operation on an interface.
    FindLink(String),
    /// [`Host::resolution`](crate::Host::resolution) and [`Host::resolve`](crate::Host::resolve):
    /// `neighbour 192.0.2.1 dev eth0`.
    FindNeighbour(String),
    /// [`Host::bind`](crate::Host::bind).
    Bind(Binding),
    /// [`Host::unbind`](crate::Host::unbind).
    Unbind(Binding),
    /// Looking up the route to an address.
    LookUpRoute(IpAddr),
    /// Listing the objects of one kind: `routes`.
    List(&'static str),
    /// Adding an object: `route 192.0.2.1 dev eth0`.
    Add(String),
    /// Changing an object.
    Edit(String),
    /// Deleting an object.
    Delete(String),
    /// [`Host::announce`](crate::Host::announce).
    Announce {
        /// The address announced.
        address: IpAddr,
        /// The interface announced on.
        interface: String,
    },
    /// [`Host::ask_neighbours`](crate::Host::ask_neighbours).
    AskNeighbours,
    /// [`Host::create_dummy`](crate::Host::create_dummy).
    CreateDummy(String),
    /// [`Host::bring_up_dummy`](crate::Host::bring_up_dummy).
    BringUpDummy(String),
    /// [`Host::delete_dummy`](crate::Host::delete_dummy).
    DeleteDummy(String),
    /// [`set_sysctl`](crate::set_sysctl).
    SetSysctl(String),
    /// [`Namespace::enter`](crate::Namespace::enter).
    EnterNamespace(String),
    /// [`Namespace::current`](crate::Namespace::current).
    IdentifyNamespace,
    /// [`AddressMonitor::take`](crate::AddressMonitor::take).
    Subscribe,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ListLinks => write!(f, "list the interfaces"),
            Self::ListAddresses => write!(f, "list the addresses"),
            Self::FindLink(name) => write!(f, "look up interface {name}"),
            Self::FindNeighbour(name) => write!(f, "look up {name}"),
            Self::Bind(binding) => write!(f, "bind {binding}"),
            Self::Unbind(binding) => write!(f, "unbind {binding}"),
            Self::LookUpRoute(address) => write!(f, "look up the route to {address}"),
            Self::List(kind) => write!(f, "list the {kind}"),
            Self::Add(object) => write!(f, "add {object}"),
            Self::Edit(object) => write!(f, "edit {object}"),
            Self::Delete(object) => write!(f, "delete {object}"),
            Self::Announce { address, interface } => write!(f, "announce {address} on {interface}"),
            Self::AskNeighbours => write!(f, "ask the neighbours for addresses"),
            Self::CreateDummy(name) => write!(f, "create dummy device {name}"),
            Self::BringUpDummy(name) => write!(f, "bring up dummy device {name}"),
            Self::DeleteDummy(name) => write!(f, "delete dummy device {name}"),
            Self::SetSysctl(key) => write!(f, "set sysctl {key}"),
            Self::EnterNamespace(name) => write!(f, "enter network namespace {name}"),
            Self::IdentifyNamespace => write!(f, "identify this network namespace"),
            Self::Subscribe => write!(f, "subscribe to changes of addresses and links"),
        }
    }
}

/// Why something was not done. Nothing was changed, except that after [`Error::Io`] and
/// [`Error::Malformed`] it is not known whether the kernel did what it was asked: read the state
/// again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No rtnetlink socket could be opened.
    #[error("cannot open an rtnetlink socket")]
    Connect(#[source] io::Error),
    /// The process lacks a capability.
    #[error("cannot {action} without {capability}")]
    NotPermitted {
        /// What was tried.
        action: Action,
        /// The missing capability.
        capability: Capability,
    },
    /// The interface has this address already. IPv6 allows an address once on an interface, IPv4
    /// once for each prefix length.
    #[error("{0} is bound already")]
    AlreadyBound(Binding),
    /// The interface does not have this address with this prefix.
    #[error("{0} is not bound")]
    NotBound(Binding),
    /// Another program added such an object.
    #[error("{object} already exists")]
    Exists {
        /// The object: `route 192.0.2.1 dev eth0`.
        object: String,
    },
    /// Another object prevents it.
    #[error("{other} is in the way of {object}; `{remedy}` removes it")]
    InTheWay {
        /// The object that was to be added.
        object: String,
        /// The other one.
        other: String,
        /// The command that removes the other one.
        remedy: String,
    },
    /// evenkeel has no such object on this host.
    #[error("{object} does not exist, or another program added it")]
    Missing {
        /// The object.
        object: String,
    },
    /// Another program changed it since it was read.
    #[error("{object} has changed since it was read; plan again")]
    Changed {
        /// The object.
        object: String,
    },
    /// The host is not one on which such an object is possible.
    #[error("{object} is not possible: {why}")]
    Impossible {
        /// The object: `route 192.0.2.1 dev eth0`.
        object: String,
        /// Why.
        why: String,
    },
    /// The prefix is longer than the address.
    #[error("{0}: the prefix is longer than the address")]
    InvalidPrefix(Binding),
    /// Removing an IPv4 primary address would remove other addresses of its subnet with it, because
    /// the interface's `promote_secondaries` is 0.
    #[error("unbinding {binding} would remove {} too: set net.ipv4.conf.{}.promote_secondaries=1 first", list(secondaries), binding.interface)]
    WouldDropSecondaries {
        /// The primary address.
        binding: Binding,
        /// The addresses that the kernel would remove with it; never empty.
        secondaries: Vec<IpAddr>,
    },
    /// There is no interface of this name in the connected network namespace.
    #[error("there is no interface {interface}")]
    InterfaceMissing {
        /// The name looked for.
        interface: String,
    },
    /// An interface of this name exists, of any kind.
    #[error("an interface {interface} exists already")]
    InterfaceExists {
        /// The name wanted.
        interface: String,
    },
    /// The interface is not a dummy device that carries [`ALIAS`](crate::ALIAS), so it
    /// is not ours to change or delete.
    #[error("{interface} is not a dummy device made by evenkeel")]
    NotOurs {
        /// The interface.
        interface: String,
    },
    /// The text cannot be the name of an interface.
    #[error("{name:?} cannot be the name of an interface: {reason}")]
    InvalidName {
        /// The text.
        name: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// The kernel has no dummy devices and could not load the module.
    #[error("cannot create dummy device {interface}: the kernel module dummy is not available")]
    DummyUnavailable {
        /// The name wanted.
        interface: String,
        /// What the kernel said.
        source: NetlinkRefusal,
    },
    /// The kernel has no such tunnels and could not load the module.
    #[error(
        "cannot add tunnel device {interface}: the kernel module {module} is not available; install it, or \
         use a kernel with {option}"
    )]
    TunnelUnavailable {
        /// The device.
        interface: String,
        /// The driver's module.
        module: &'static str,
        /// The option that builds the driver.
        option: &'static str,
        /// What the kernel said.
        source: NetlinkRefusal,
    },
    /// The kernel cannot unpack UDP packets and could not load the module.
    #[error(
        "cannot add {object}: the kernel module fou is not available; load it with `modprobe fou`, or use \
         a kernel with CONFIG_NET_FOU"
    )]
    FouUnavailable {
        /// The object: `fou port 6080/ipv4`.
        object: String,
    },
    /// The kernel cannot list sockets.
    #[error(
        "cannot list the {sockets}: the kernel has no socket diagnostics for them (CONFIG_INET_DIAG and the \
         like)"
    )]
    NoSocketDiagnostics {
        /// The sockets: `sockets of TCP`.
        sockets: &'static str,
    },
    /// The host cannot have such packet rules.
    #[error("cannot {action}: {why}")]
    TablesUnavailable {
        /// What was tried.
        action: Action,
        /// What is missing, with the remedy.
        why: TablesUnavailable,
    },
    /// A program that evenkeel runs failed.
    #[error("cannot {action}: {program} reports: {message}")]
    Program {
        /// What was tried.
        action: Action,
        /// The program: `nft`.
        program: &'static str,
        /// Its message.
        message: String,
    },
    /// The kernel refused for another reason.
    #[error("the kernel refused to {action}")]
    Refused {
        /// What was tried.
        action: Action,
        /// What the kernel said.
        source: NetlinkRefusal,
    },
    /// The list kept changing while it was read.
    #[error("cannot {action}: they change faster than they can be read")]
    Interrupted {
        /// What was tried.
        action: Action,
    },
    /// The kernel's answer was not understood.
    #[error("cannot {action}: {what}")]
    Malformed {
        /// What was tried.
        action: Action,
        /// What was wrong with the answer.
        what: String,
    },
    /// A socket failed, or the kernel did not answer in time.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: Action,
        /// What the socket said.
        source: io::Error,
    },
    /// The calling thread has left the network namespace it connected in.
    #[error("cannot {action} from another network namespace than the connected one")]
    OtherNamespace {
        /// What was tried.
        action: Action,
    },
    /// A file below `/proc` could not be read or understood.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What reading it said.
        source: io::Error,
    },
}

impl Error {
    /// Whether the same call may succeed later without any other change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Refused { source, .. } => source.is_retryable(),
            Self::Interrupted { .. } => true,
            Self::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ),
            _ => false,
        }
    }
}

impl Failure {
    /// Names the action that a netlink exchange failed in.
    pub(crate) fn during(self, action: Action) -> Error {
        match self {
            Self::Refused(refusal) if refusal.is(Errno::EPERM) => {
                Error::NotPermitted { action, capability: Capability::NetAdmin }
            }
            Self::Refused(source) => Error::Refused { action, source },
            Self::Interrupted => Error::Interrupted { action },
            Self::Malformed(what) => Error::Malformed { action, what },
            Self::Io(source) => Error::Io { action, source },
        }
    }
}

fn list(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eperm_names_the_capability_and_the_object() {
        let refusal = Failure::Refused(NetlinkRefusal { errno: 1, message: None });
        let error = refusal.during(Action::CreateDummy("vip0".into()));
        assert_eq!(error.to_string(), "cannot create dummy device vip0 without CAP_NET_ADMIN");
    }
}
