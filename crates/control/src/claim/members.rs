//! Lists the members of the multicast groups of `NETLINK_USERSOCK` in a network namespace.
//!
//! sock_diag(7) lists every bound netlink socket of a protocol, and then again those that are members of
//! a group, under one lock unless the list is cut there into two pieces. Processes without privileges can
//! be in the first list only. `/proc` has the first list, for kernels without the module netlink_diag.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::SOCK_DIAG;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// A member of at least one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member {
    /// The port of the socket.
    pub(super) port: u32,
    /// The groups, a bit each.
    pub(super) groups: u32,
}

/// How often a list is read that may lack a member: an entry can be missing between two pieces if another
/// one before it was removed meanwhile.
const READINGS: usize = 3;

/// The kernel answers within the sending system call; this only ends the wait for a lost answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The kernel sends pieces of at most 32 KiB.
const RECEIVE: usize = 64 * 1024;

// Of include/uapi/linux: netlink.h, sock_diag.h, netlink_diag.h.
const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const AF_NETLINK: u8 = 16;
const NETLINK_USERSOCK: u8 = 2;
const NDIAG_SHOW_GROUPS: u32 = 2;
const REQUEST: usize = 20;
const ENTRY: usize = 28;
const NETLINK_DIAG_GROUPS: u16 = 1;

thread_local! {
    /// Kept, as its pages would otherwise have to be got from the kernel each time, which takes longer than
    /// reading a short list.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One reading of the list.
#[derive(Default)]
struct Reading {
    members: BTreeSet<Member>,
    /// Whether no member can be missing.
    is_whole: bool,
}

/// Reads the list of the members in the network namespace in which it was opened.
#[derive(Debug)]
pub(super) struct MemberReader {
    /// Kept from one reading to the next; `None` where only `/proc` has the list.
    socket: Option<OwnedFd>,
}

impl MemberReader {
    /// Opens one in the calling thread's network namespace.
    pub(super) fn open() -> Self {
        Self { socket: socket().ok() }
    }

    /// Reads the list.
    ///
    /// # Errors
    /// Neither the kernel nor `/proc` lists them.
    pub(super) fn read(&mut self) -> io::Result<BTreeSet<Member>> {
        let Some(socket) = &self.socket else { return whole(read_proc) };
        whole(|| ask_kernel(socket)).or_else(|error| {
            // Parts of an answer may be left in it.
            self.socket = None;
            whole(read_proc).map_err(|_| error)
        })
    }
}

fn whole(read: impl Fn() -> io::Result<Reading>) -> io::Result<BTreeSet<Member>> {
    let mut members = BTreeSet::new();
    for _ in 0..READINGS {
        let reading = read()?;
        members.extend(reading.members);
        if reading.is_whole {
            break;
        }
    }
    Ok(members)
}

impl Reading {
    /// Adds the members of a piece with entries. No member is missing if all of those before are in the last
    /// piece too: it then has the second list from its beginning, as a member that an earlier piece has from
    /// the second list comes a second time only if another one was inserted before it, and a member is
    /// skipped only if one of an earlier piece was removed.
    fn add(&mut self, piece: BTreeSet<Member>) {
        self.is_whole = self.members.is_subset(&piece);
        self.members.extend(piece);
    }
}

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(SOCK_DIAG))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    Ok(socket)
}

fn ask_kernel(socket: &OwnedFd) -> io::Result<Reading> {
    send(socket, &request(), SendFlags::empty())?;
    BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(RECEIVE, 0);
        let mut reading = Reading { is_whole: true, ..Reading::default() };
        loop {
            let piece = receive(socket, buffer)?;
            let mut members = BTreeSet::new();
            let end = entries(piece, &mut members)?;
            // The end of the list can come alone.
            if piece.len() > HEADER + 4 {
                reading.add(members);
            }
            if end {
                return Ok(reading);
            }
        }
    })
}

fn receive<'a>(socket: &OwnedFd, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    loop {
        match recv(socket, &mut *buffer, RecvFlags::empty()) {
            Ok((length, _)) => return Ok(&buffer[..length]),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn request() -> [u8; HEADER + REQUEST] {
    let mut bytes = [0; HEADER + REQUEST];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &((HEADER + REQUEST) as u32).to_ne_bytes());
    put(4, &SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(6, &NLM_F_REQUEST_DUMP.to_ne_bytes());
    put(HEADER, &[AF_NETLINK, NETLINK_USERSOCK]);
    put(HEADER + 8, &NDIAG_SHOW_GROUPS.to_ne_bytes());
    bytes
}

/// Reads the entries of one piece; true if it is the last one.
fn entries(mut piece: &[u8], members: &mut BTreeSet<Member>) -> io::Result<bool> {
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's list is malformed");
    while !piece.is_empty() {
        let length = u32_at(piece, 0).ok_or_else(broken)? as usize;
        let body = piece.get(HEADER..length).ok_or_else(broken)?;
        match u16_at(piece, 4).ok_or_else(broken)? {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let errno = u32_at(body, 0).ok_or_else(broken)?.wrapping_neg();
                return Err(io::Error::from_raw_os_error(errno.cast_signed()));
            }
            SOCK_DIAG_BY_FAMILY => {
                let port = u32_at(body, 4).ok_or_else(broken)?;
                let attributes = body.get(ENTRY..).ok_or_else(broken)?;
                let groups = groups(attributes).unwrap_or_default();
                if groups != 0 {
                    members.insert(Member { port, groups });
                }
            }
            _ => {}
        }
        piece = piece.get(aligned(length)..).unwrap_or_default();
    }
    Ok(false)
}

/// The first 32 groups.
fn groups(mut attributes: &[u8]) -> Option<u32> {
    while !attributes.is_empty() {
        let length = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(4..length)?;
        if u16_at(attributes, 2)? == NETLINK_DIAG_GROUPS {
            // An array of longs; their first 32 bits are not the first bytes on every machine.
            let long = value.get(..size_of::<usize>())?.try_into().ok()?;
            return Some(usize::from_ne_bytes(long) as u32);
        }
        attributes = attributes.get(aligned(length)..).unwrap_or_default();
    }
    None
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// Reads `/proc/net/netlink`, whose lines begin with an address, the protocol, the port and the groups.
fn read_proc() -> io::Result<Reading> {
    let text = fs::read_to_string("/proc/thread-self/net/netlink")?;
    // The kernel gives at most a page at a time.
    Ok(Reading { members: lines(&text), is_whole: text.len() <= 4096 })
}

fn lines(text: &str) -> BTreeSet<Member> {
    let member = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let protocol: u8 = words.next()?.parse().ok()?;
        let port = words.next()?.parse().ok()?;
        let groups = u32::from_str_radix(words.next()?, 16).ok()?;
        (protocol == NETLINK_USERSOCK && groups != 0).then_some(Member { port, groups })
    };
    text.lines().filter_map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_are_those_of_the_protocol_with_a_group() {
        let text = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n\
            0000000000000000 0   411        00000551 0        0        0     2        0        15\n\
            0000000000000000 2   4000000001 e7200000 0        0        0     2        0        47\n\
            0000000000000000 2   7          00000000 0        0        0     2        0        48\n";
        let one = Member { port: 4_000_000_001, groups: 0xe720_0000 };
        assert_eq!(lines(text), BTreeSet::from([one]));
    }

    #[test]
    fn a_reading_is_whole_if_its_last_piece_has_every_member() {
        let set = |ports: &[u32]| -> BTreeSet<Member> {
            ports.iter().map(|&port| Member { port, groups: 1 }).collect()
        };
        let is_whole = |pieces: &[&[u32]]| {
            let mut reading = Reading::default();
            pieces.iter().for_each(|piece| reading.add(set(piece)));
            reading.is_whole
        };
        assert!(is_whole(&[&[]]));
        assert!(is_whole(&[&[1, 2]]), "one piece");
        assert!(is_whole(&[&[1], &[], &[1, 2]]), "the second list from its beginning");
        assert!(!is_whole(&[&[1, 2], &[2]]), "the second list without its first member");
        assert!(!is_whole(&[&[1, 2], &[]]), "the second list may have ended before");
    }

    #[test]
    fn a_list_that_may_lack_a_member_is_read_again() {
        let count = std::cell::Cell::new(0_usize);
        let reading = |is_whole: bool| {
            let port = count.replace(count.get() + 1) as u32;
            let members = BTreeSet::from([Member { port, groups: 1 }]);
            Ok(Reading { members, is_whole })
        };
        assert_eq!(whole(|| reading(false)).expect("a list").len(), READINGS);
        count.set(0);
        assert_eq!(whole(|| reading(count.get() == 1)).expect("a list").len(), 2);
    }

    #[test]
    fn an_error_of_the_kernel_is_an_error_and_a_truncated_list_is_none() {
        let mut error = vec![0; 20];
        error[0] = 20;
        error[4] = 2;
        error[16..].copy_from_slice(&(-2_i32).to_ne_bytes());
        let refused = entries(&error, &mut BTreeSet::new()).expect_err("it is one");
        assert_eq!(refused.raw_os_error(), Some(2));
        for length in 1..error.len() {
            assert!(entries(&error[..length], &mut BTreeSet::new()).is_err(), "{length}");
        }
    }

    #[test]
    fn the_kernel_and_proc_list_the_same() {
        let socket = socket().expect("a socket");
        let by_kernel = match ask_kernel(&socket) {
            // A kernel without the module.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            listed => listed.expect("a list").members,
        };
        // Other tests come and go.
        let agrees = (0..100).any(|_| by_kernel == read_proc().expect("a list").members)
            || (0..100).any(|_| {
                ask_kernel(&socket).expect("a list").members == read_proc().expect("a list").members
            });
        assert!(agrees);
    }
}
