//! One netlink socket, of rtnetlink or generic netlink, and its three exchanges: ask and be acknowledged, ask for one object, dump a table.
//!
//! Messages are built and encoded by the rtnetlink crate. Its socket is driven here rather than by its
//! connection task, which drops extended acknowledgements, does not report interrupted dumps, and skips
//! messages that it cannot decode: each of these could silently give an incomplete list.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::MSG_TRUNC;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST,
    NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NetlinkBuffer, NetlinkMessage, NetlinkSerializable,
    NlasIterator,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{Socket, SocketAddr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

/// The kernel answers within the sending system call; this only ends the wait for an answer that was lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// The kernel sizes the pieces of a dump by the largest buffer it has seen, up to 32 KiB; a single link with
/// many virtual functions may be larger.
const RECEIVE: usize = 64 * 1024;

/// How often a dump that was interrupted by a change is read again.
const DUMP_ATTEMPTS: usize = 10;

/// Sizes and types of include/uapi/linux/netlink.h.
const HEADER: usize = 16;
const ALIGN: usize = 4;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// A refusal by the kernel: its errno, and its message if it sent one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetlinkRefusal {
    /// The positive errno value.
    pub errno: i32,
    /// The extended acknowledgement's text (`NLMSGERR_ATTR_MSG`); most refusals have none.
    pub message: Option<String>,
}

impl NetlinkRefusal {
    pub(crate) fn is(&self, errno: Errno) -> bool {
        self.errno == errno as i32
    }

    /// Whether the same request may succeed later without any other change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        [Errno::EAGAIN, Errno::EBUSY, Errno::EINTR, Errno::ENOBUFS, Errno::ENOMEM]
            .into_iter()
            .any(|errno| self.is(errno))
    }
}

impl fmt::Display for NetlinkRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errno = Errno::from_raw(self.errno);
        match errno {
            Errno::UnknownErrno => write!(f, "errno {}", self.errno)?,
            known => write!(f, "{} ({known:?})", known.desc())?,
        }
        match &self.message {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for NetlinkRefusal {}

/// Why an exchange failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The kernel refused.
    Refused(NetlinkRefusal),
    /// The socket failed, or no answer came.
    Io(io::Error),
    /// The answer could not be decoded.
    Malformed(String),
    /// The table changed during each reading.
    Interrupted,
}

impl Failure {
    /// Whether the kernel refused with this errno.
    pub(crate) fn is(&self, errno: Errno) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.is(errno))
    }
}

/// A socket in the network namespace of the thread that opened it, for good.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: Socket,
    sequence: Cell<u32>,
}

impl Netlink {
    /// Opens a socket of a protocol (`NETLINK_ROUTE`, `NETLINK_GENERIC`).
    pub(crate) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        // Kernels before 4.12 have no extended acknowledgements; then there are no messages, and no harm.
        let _ = socket.set_ext_ack(true);
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { socket, sequence: Cell::new(0) })
    }

    /// Sends a request and waits for its acknowledgement. Returns the payloads
    /// of the answers that came before it.
    pub(crate) fn request(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        self.exchange(message, NLM_F_REQUEST | NLM_F_ACK | flags)
    }

    /// Reads a whole table, again if it changed meanwhile. Returns the payload of each entry.
    pub(crate) fn dump(&self, message: &RouteNetlinkMessage) -> Result<Vec<Vec<u8>>, Failure> {
        uninterrupted(|| self.exchange(message.clone(), NLM_F_REQUEST | NLM_F_DUMP))
    }

    /// As [`Self::dump`], with the table in the request's header as a filter; before Linux 4.20 the
    /// kernel does not filter, and answers with all tables.
    pub(crate) fn dump_filtered(
        &self,
        message: &RouteNetlinkMessage,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let filters = self.socket.set_netlink_get_strict_chk(true).is_ok();
        let outcome = self.dump(message);
        if filters {
            // The other dumps are not written for strict checks.
            self.socket.set_netlink_get_strict_chk(false).map_err(Failure::Io)?;
        }
        outcome
    }

    /// As [`Self::request`], with a payload that is encoded already.
    pub(crate) fn request_raw(
        &self,
        kind: u16,
        payload: &[u8],
        flags: u16,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        self.exchange_raw(kind, payload, NLM_F_REQUEST | NLM_F_ACK | flags)
    }

    /// As one attempt of [`Self::dump`], with a payload that is encoded already.
    pub(crate) fn dump_raw(&self, kind: u16, payload: &[u8]) -> Result<Vec<Vec<u8>>, Failure> {
        self.exchange_raw(kind, payload, NLM_F_REQUEST | NLM_F_DUMP)
    }

    fn exchange_raw(&self, kind: u16, payload: &[u8], flags: u16) -> Result<Vec<Vec<u8>>, Failure> {
        let sequence = self.next_sequence();
        let length = u32::try_from(HEADER + payload.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEADER + payload.len());
        bytes.extend(length.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(payload);
        self.send(&bytes, sequence)
    }

    fn next_sequence(&self) -> u32 {
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        sequence
    }

    /// Sends a message with these flags, of which one must request an answer that ends: `NLM_F_ACK` or
    /// `NLM_F_DUMP`. Returns the payloads of the answers.
    pub(crate) fn exchange<M>(&self, message: M, flags: u16) -> Result<Vec<Vec<u8>>, Failure>
    where
        M: NetlinkSerializable,
        NetlinkMessage<M>: From<M>,
    {
        let sequence = self.next_sequence();
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags;
        message.header.sequence_number = sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.send(&bytes, sequence)
    }

    /// Sends an encoded request, and receives the answers to it.
    fn send(&self, bytes: &[u8], sequence: u32) -> Result<Vec<Vec<u8>>, Failure> {
        self.socket.send_to(bytes, &SocketAddr::new(0, 0), 0).map_err(Failure::Io)?;

        // Read to the end even if the dump is known to be interrupted: the kernel runs one dump at a time on a
        // socket, and what is left of this one would stand before the next answer.
        let mut answer = Reply::new(sequence);
        let mut received = Vec::with_capacity(RECEIVE);
        while !answer.finished {
            received.clear();
            let length = match self.socket.recv(&mut received, MSG_TRUNC) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                outcome => outcome.map_err(Failure::Io)?,
            };
            if length > received.len() {
                return Err(Failure::Malformed(format!(
                    "the kernel's answer of {length} bytes does not fit"
                )));
            }
            answer.read(&received)?;
        }
        if answer.interrupted {
            return Err(Failure::Interrupted);
        }
        Ok(answer.payloads)
    }
}

/// Repeats a dump that was interrupted by a change; other failures are returned.
pub(crate) fn uninterrupted<T>(mut read: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    for _ in 0..DUMP_ATTEMPTS {
        match read() {
            Err(Failure::Interrupted) => {}
            outcome => return outcome,
        }
    }
    Err(Failure::Interrupted)
}

/// The messages with one sequence number, as they come in.
struct Reply {
    sequence: u32,
    payloads: Vec<Vec<u8>>,
    interrupted: bool,
    finished: bool,
}

impl Reply {
    fn new(sequence: u32) -> Self {
        Self { sequence, payloads: Vec::new(), interrupted: false, finished: false }
    }

    /// Takes in one datagram.
    fn read(&mut self, mut datagram: &[u8]) -> Result<(), Failure> {
        while !datagram.is_empty() {
            let message = NetlinkBuffer::new_checked(datagram)
                .map_err(|error| Failure::Malformed(error.to_string()))?;
            // Anything else is a late answer to an abandoned request.
            if message.sequence_number() == self.sequence {
                self.take(&message)?;
            }
            let length = (message.length() as usize).next_multiple_of(ALIGN);
            datagram = datagram.get(length..).unwrap_or_default();
        }
        Ok(())
    }

    fn take(&mut self, message: &NetlinkBuffer<&[u8]>) -> Result<(), Failure> {
        self.interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
        let payload = message.payload();
        match message.message_type() {
            NLMSG_NOOP => {}
            NLMSG_ERROR => {
                self.finished = true;
                refusal(payload, message.flags())?;
            }
            // An interrupted or failed dump may put its errno here (netlink_dump_done in af_netlink.c).
            NLMSG_DONE => {
                self.finished = true;
                if payload.len() >= 4 {
                    refusal(payload, NLM_F_CAPPED)?;
                }
            }
            _ => self.payloads.push(payload.to_vec()),
        }
        Ok(())
    }
}

/// Reads `struct nlmsgerr`: an errno, the request's header, the request itself unless capped, and the extended
/// acknowledgement's attributes if the flags say so. An errno of zero is an acknowledgement.
fn refusal(payload: &[u8], flags: u16) -> Result<(), Failure> {
    let Some((code, rest)) = payload.split_first_chunk::<4>() else {
        return Err(Failure::Malformed("the kernel's error message is cut short".into()));
    };
    let errno = i32::from_ne_bytes(*code).saturating_neg();
    if errno == 0 {
        return Ok(());
    }
    let message = (flags & NLM_F_ACK_TLVS != 0)
        .then(|| extended_message(rest, flags & NLM_F_CAPPED != 0))
        .flatten();
    Err(Failure::Refused(NetlinkRefusal { errno, message }))
}

fn extended_message(request: &[u8], capped: bool) -> Option<String> {
    let length = u32::from_ne_bytes(*request.first_chunk::<4>()?) as usize;
    let skipped = if capped { HEADER } else { length.next_multiple_of(ALIGN) };
    let attributes = request.get(skipped..)?;
    NlasIterator::new(attributes)
        .filter_map(Result::ok)
        .find(|attribute| attribute.kind() == NLMSGERR_ATTR_MSG)
        .map(|attribute| text(attribute.value()))
}

/// A string attribute, with or without its closing zero.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

#[cfg(test)]
mod tests;
