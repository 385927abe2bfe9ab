//! A generic netlink socket with its receive buffers. Every wait has a limit; the content of the
//! datagrams is not interpreted.

use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use neli::consts::socket::{Msg, NlFamily};
use neli::socket::NlSocket;
use neli::utils::Groups;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, NetlinkAddr, recvmmsg};
use rustix::net::sockopt;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use tracing::debug;

/// Room for one datagram. The kernel sizes a dump's datagrams by the longest buffer a socket
/// ever received with, up to this; a shorter one would cut them.
const DATAGRAM: usize = 32 * 1024;
/// How many datagrams one system call fetches. A dump of a service's destinations is usually
/// two: the entries, and the end by itself. More would only touch more memory.
const DATAGRAMS: usize = 2;
/// What is asked of the kernel as a receive buffer; it doubles the number. A batch of 64 KiB
/// whose messages are all refused needs a little over 600 KiB.
const RECEIVE_BUFFER: usize = 512 * 1024;
/// `net.core.rmem_default` as the kernel is built, for when the true size cannot be had.
const DEFAULT_RECEIVE_BUFFER: usize = 212_992;
/// How long to sleep when there is nothing to receive. The kernel answers within the system
/// call that asks, so this is hardly ever reached.
const PAUSE: Duration = Duration::from_micros(200);

pub(crate) struct Socket {
    inner: NlSocket,
    buffer: Vec<u8>,
    receive_buffer: usize,
}

/// Why nothing was received.
#[derive(Debug)]
pub(crate) enum ReceiveError {
    /// Nothing was received within the limit.
    TimedOut,
    /// `ENOBUFS`: datagrams were dropped because the receive buffer was full.
    Overrun,
    /// A datagram did not fit into [`DATAGRAM`].
    Cut,
    /// The system call failed.
    Io(io::Error),
}

/// The lengths of the datagrams received by one call.
#[derive(Clone, Copy)]
pub(crate) struct Received([usize; DATAGRAMS]);

impl Socket {
    /// Opens a socket whose refusals carry the kernel's own words.
    pub(crate) fn open() -> io::Result<Self> {
        let inner = NlSocket::connect(NlFamily::Generic, None, Groups::empty())?;
        // NETLINK_CAP_ACK is not needed: a refusal is matched by its sequence number, and the
        // extended message follows the echoed request in either case.
        if let Err(error) = inner.enable_ext_ack(true) {
            // Before Linux 4.12; refusals then have their number only.
            debug!(%error, "no extended acknowledgements");
        }
        let receive_buffer = enlarge_receive_buffer(&inner);
        Ok(Self { inner, buffer: vec![0; DATAGRAM * DATAGRAMS], receive_buffer })
    }

    /// How many bytes of datagrams, bookkeeping included, may wait to be received.
    pub(crate) fn receive_buffer(&self) -> usize {
        self.receive_buffer
    }

    /// Sends messages in one system call. The kernel has processed them when it returns.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match self.inner.send(bytes, Msg::empty()) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Receives at least one datagram.
    pub(crate) fn receive(&mut self, limit: Duration) -> Result<Received, ReceiveError> {
        let mut deadline = None;
        loop {
            match self.try_receive() {
                Ok(received) => return Ok(received),
                Err(ReceiveError::TimedOut) => {
                    let now = Instant::now();
                    if now > *deadline.get_or_insert(now + limit) {
                        return Err(ReceiveError::TimedOut);
                    }
                    thread::sleep(PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The datagrams that [`Self::receive`] last gave.
    pub(crate) fn datagrams(&self, Received(lengths): Received) -> impl Iterator<Item = &[u8]> {
        self.buffer
            .chunks(DATAGRAM)
            .zip(lengths)
            .filter_map(|(chunk, length)| chunk.get(..length))
            .filter(|datagram| !datagram.is_empty())
    }

    /// Discards all queued datagrams, including the rest of a dump.
    pub(crate) fn drain(&mut self) -> Result<(), ReceiveError> {
        loop {
            match self.try_receive() {
                Ok(_) | Err(ReceiveError::Overrun | ReceiveError::Cut) => {}
                Err(ReceiveError::TimedOut) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn try_receive(&mut self) -> Result<Received, ReceiveError> {
        let (first, second) = self.buffer.split_at_mut(DATAGRAM);
        let mut slices = [[IoSliceMut::new(first)], [IoSliceMut::new(second)]];
        // Created each time: if it were kept, it would hold raw pointers and bind us to one thread.
        let mut headers = MultiHeaders::<NetlinkAddr>::preallocate(DATAGRAMS, None);
        let flags = MsgFlags::MSG_DONTWAIT;
        let fd = self.inner.as_raw_fd();
        let received = recvmmsg(fd, &mut headers, slices.iter_mut(), flags, None);
        let received = received.map_err(|errno| match errno {
            Errno::EAGAIN | Errno::EINTR => ReceiveError::TimedOut,
            Errno::ENOBUFS => ReceiveError::Overrun,
            errno => ReceiveError::Io(errno.into()),
        })?;
        let mut lengths = [0; DATAGRAMS];
        for (length, datagram) in lengths.iter_mut().zip(received) {
            if datagram.flags.contains(MsgFlags::MSG_TRUNC) {
                return Err(ReceiveError::Cut);
            }
            // Port 0 is the kernel; what another process may send is passed over.
            if datagram.address.is_some_and(|sender| sender.pid() == 0) {
                *length = datagram.bytes;
            }
        }
        Ok(Received(lengths))
    }
}

/// Enlarges the receive buffer, beyond `net.core.rmem_max` if permitted, and returns its size.
///
/// neli's socket has no `SO_RCVBUFFORCE` and cannot lend its descriptor without unsafe code, so
/// the option is set through a duplicate, which shares it. Where duplicating is not to be had
/// (before Linux 5.6, or filtered), neli's own `SO_RCVBUF` must do.
fn enlarge_receive_buffer(socket: &NlSocket) -> usize {
    let duplicate = pidfd_open(getpid(), PidfdFlags::empty())
        .and_then(|process| pidfd_getfd(process, socket.as_raw_fd(), PidfdGetfdFlags::empty()));
    let duplicate = match duplicate {
        Ok(duplicate) => duplicate,
        Err(error) => {
            debug!(%error, "the descriptor could not be duplicated");
            if let Err(error) = socket.set_recv_buffer_size(RECEIVE_BUFFER) {
                debug!(%error, "the receive buffer keeps its size");
            }
            return DEFAULT_RECEIVE_BUFFER;
        }
    };
    if sockopt::set_socket_recv_buffer_size_force(&duplicate, RECEIVE_BUFFER).is_err()
        && let Err(error) = sockopt::set_socket_recv_buffer_size(&duplicate, RECEIVE_BUFFER)
    {
        debug!(%error, "the receive buffer keeps its size");
    }
    sockopt::socket_recv_buffer_size(&duplicate).unwrap_or(DEFAULT_RECEIVE_BUFFER)
}
