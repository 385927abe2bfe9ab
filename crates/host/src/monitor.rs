//! Subscribes to rtnetlink notifications of changes to addresses and links.
//!
//! Reports only the kind of change and which addresses were removed. The kernel drops notifications
//! when the receive buffer is full, so a notification only triggers a reading of the state and
//! never replaces it.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc::MSG_TRUNC;
use rtnetlink::packet_core::NetlinkBuffer;
use rtnetlink::sys::{Socket, protocols::NETLINK_ROUTE};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};

use crate::address::Address;
use crate::error::{Action, Error};

/// Holds some thousand notifications, so that a burst (a device with many addresses that goes down)
/// is not lost.
const ROOM: usize = 1 << 20;

/// A notification is far smaller; more than a page only for a link with many virtual functions.
const RECEIVE: usize = 64 * 1024;

/// Multicast groups and message types of include/uapi/linux/rtnetlink.h.
const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_IPV4_IFADDR: u32 = 5;
const RTNLGRP_IPV6_IFADDR: u32 = 9;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;

/// A subscription to the changes in one network namespace. Its file descriptor becomes readable
/// when there are notifications.
#[derive(Debug)]
pub struct AddressMonitor {
    socket: Socket,
    received: Vec<u8>,
}

/// What changed, merged from any number of notifications.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// An address was added or removed, or its flags changed.
    pub addresses: bool,
    /// The addresses that were removed from an interface, even if they have been added again since.
    pub gone: BTreeSet<IpAddr>,
    /// An interface was created, renamed, deleted or set up or down, its carrier or another property
    /// changed. While an interface is down the kernel does not report all of these.
    pub links: bool,
    /// Notifications were lost: anything may have changed.
    pub lost: bool,
}

impl AddressMonitor {
    /// Subscribes to every change in the calling thread's network namespace. Needs no privileges;
    /// with CAP_NET_ADMIN the receive buffer may exceed `net.core.rmem_max`.
    ///
    /// # Errors
    /// [`Error::Connect`] if no such socket can be had.
    pub fn subscribe() -> Result<Self, Error> {
        Self::open().map_err(Error::Connect)
    }

    fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        // Before the first notification can come.
        if set_socket_recv_buffer_size_force(&socket, ROOM).is_err() {
            set_socket_recv_buffer_size(&socket, ROOM)?;
        }
        socket.bind_auto()?;
        for group in [RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR] {
            socket.add_membership(group)?;
        }
        Ok(Self { socket, received: Vec::with_capacity(RECEIVE) })
    }

    /// Reads and merges all queued notifications; `None` if there are none. Does not block.
    ///
    /// Notifications that the kernel dropped are no error: they set [`Change::lost`].
    ///
    /// # Errors
    /// [`Error::Io`] if the socket failed.
    pub fn take(&mut self) -> Result<Option<Change>, Error> {
        let mut sum = Change::default();
        loop {
            self.received.clear();
            match self.socket.recv(&mut self.received, MSG_TRUNC) {
                Ok(length) if length > self.received.len() => sum.lost = true,
                Ok(_) => sum.note(&self.received),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Reported once; the notifications before and after it are still queued.
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    sum.lost = true;
                }
                Err(source) => return Err(Error::Io { action: Action::Subscribe, source }),
            }
        }
        Ok(Some(sum).filter(|sum| *sum != Change::default()))
    }
}

impl AsFd for AddressMonitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Change {
    /// Adds the notifications of one datagram. One that cannot be decoded counts as lost.
    fn note(&mut self, mut datagram: &[u8]) {
        while !datagram.is_empty() {
            let Ok(message) = NetlinkBuffer::new_checked(datagram) else {
                self.lost = true;
                return;
            };
            match message.message_type() {
                RTM_NEWLINK | RTM_DELLINK => self.links = true,
                RTM_NEWADDR => self.addresses = true,
                RTM_DELADDR => match Address::decode(message.payload()) {
                    Ok(gone) => {
                        self.addresses = true;
                        self.gone.insert(gone.address);
                    }
                    Err(_) => self.lost = true,
                },
                _ => {}
            }
            let length = (message.length() as usize).next_multiple_of(4);
            datagram = datagram.get(length..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of that type; one about an address is about 192.0.2.1/32.
    fn message(kind: u16) -> Vec<u8> {
        let mut payload = Vec::new();
        if matches!(kind, RTM_NEWADDR | RTM_DELADDR) {
            // struct ifaddrmsg: family, prefix length, flags, scope, index; then IFA_LOCAL.
            payload.extend([2, 32, 0, 0, 1, 0, 0, 0]);
            payload.extend([8_u16, 2].map(u16::to_ne_bytes).as_flattened());
            payload.extend([192, 0, 2, 1]);
        }
        let mut bytes = (16 + payload.len() as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(16, 0);
        bytes.extend(payload);
        bytes
    }

    fn noted(datagrams: &[&[u8]]) -> Change {
        let mut sum = Change::default();
        datagrams.iter().for_each(|datagram| sum.note(datagram));
        sum
    }

    #[test]
    fn notifications_are_summed_up_by_kind() {
        let [up, gone, bound, unbound] =
            [RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR].map(message);
        let links = Change { links: true, ..Change::default() };
        let addresses = Change { addresses: true, ..Change::default() };
        let without = Change { gone: [[192, 0, 2, 1].into()].into(), ..addresses.clone() };
        for (datagrams, expected) in [
            (vec![&up[..]], links.clone()),
            (vec![&gone], links),
            (vec![&bound], addresses.clone()),
            (vec![&unbound], without.clone()),
            (vec![&unbound, &bound], without.clone()),
            (vec![&up, &unbound], Change { links: true, ..without }),
            (vec![&[&bound[..], &gone].concat()], Change { links: true, ..addresses }),
            (vec![&message(24)], Change::default()),
        ] {
            assert_eq!(noted(&datagrams), expected);
        }
    }

    #[test]
    fn what_is_not_understood_may_be_anything() {
        let whole = message(RTM_NEWADDR);
        for length in 1..whole.len() {
            assert!(noted(&[&whole[..length]]).lost, "{length} bytes");
        }
        let removed = message(RTM_DELADDR);
        for length in 1..removed.len() {
            assert!(noted(&[&removed[..length]]).lost, "{length} bytes");
        }
        let mut nameless = removed[..24].to_vec();
        nameless[..4].copy_from_slice(&24_u32.to_ne_bytes());
        assert!(noted(&[&nameless]).lost, "no address");
        let past = whole.len() as u32 + 1;
        for lie in [0_u32, 15, past, u32::MAX] {
            let mut bytes = whole.clone();
            bytes[..4].copy_from_slice(&lie.to_ne_bytes());
            assert!(noted(&[&bytes]).lost, "a length of {lie}");
        }
    }

    #[test]
    fn a_subscription_needs_no_privileges_and_does_not_wait() {
        if rustix::process::geteuid().is_root() {
            // Of this thread alone.
            let unprivileged = rustix::process::Uid::from_raw(65_534);
            rustix::thread::set_thread_res_uid(None, unprivileged, None).unwrap();
        }
        let mut changes = AddressMonitor::subscribe().unwrap();
        // The machine's own changes may come in between.
        changes.take().unwrap();
    }
}
