//! One socket for the echoes to all targets of a family.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::checker::problem::Problem;
use crate::outcome::Fault;

use super::message::{self, Message};

/// What came back for an echo request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EchoReply {
    Answer,
    Unreachable,
}

#[derive(Debug)]
pub(crate) struct EchoSocket {
    shared: Arc<Shared>,
    receiver: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    /// No UDP: to the event loop, a socket that sends and receives packets is the same.
    socket: UdpSocket,
    is_v4: bool,
    /// A raw socket receives every ICMP message of the host, of IPv4 with the IP header.
    is_raw: bool,
    /// The identifier of our echoes; the kernel sets that of ping sockets.
    id: u16,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    echoes: HashMap<u16, Expected>,
    last: u16,
}

#[derive(Debug)]
struct Expected {
    address: IpAddr,
    token: u64,
    reply: oneshot::Sender<EchoReply>,
}

/// An echo that waits for its answer, until it is dropped.
#[derive(Debug)]
pub(crate) struct Echo {
    shared: Arc<Shared>,
    sequence: u16,
    address: IpAddr,
    token: u64,
    reply: oneshot::Receiver<EchoReply>,
}

impl EchoSocket {
    pub(crate) fn open(is_v4: bool, source: Option<IpAddr>) -> Result<Arc<Self>, Problem> {
        let (domain, protocol) =
            if is_v4 { (Domain::IPV4, Protocol::ICMPV4) } else { (Domain::IPV6, Protocol::ICMPV6) };
        let open = |kind: Type| Socket::new(domain, kind.nonblocking().cloexec(), Some(protocol));
        let (socket, is_raw) = match open(Type::RAW) {
            Ok(socket) => (socket, true),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                (open(Type::DGRAM).map_err(|error| Problem::of_setup(&error))?, false)
            }
            Err(error) => return Err(Problem::of_setup(&error)),
        };
        if let Some(source) = source {
            socket
                .bind(&SockAddr::from(SocketAddr::new(source, 0)))
                .map_err(|error| Problem::of_source(&error))?;
        }
        let mut id = [0; 2];
        getrandom(&mut id, GetRandomFlags::empty())
            .map_err(|error| Problem::of_setup(&error.into()))?;
        let shared = Arc::new(Shared {
            socket: UdpSocket::from_std(socket.into())
                .map_err(|error| Problem::of_setup(&error))?,
            is_v4,
            is_raw,
            id: u16::from_be_bytes(id),
            waiting: Mutex::default(),
        });
        let receiver = tokio::spawn(receive(shared.clone()));
        Ok(Arc::new(Self { shared, receiver }))
    }

    /// Prepares an echo, so that its answer is recognized.
    pub(crate) fn register(&self, address: IpAddr) -> Result<Echo, Problem> {
        let mut token = [0; 8];
        getrandom(&mut token, GetRandomFlags::empty())
            .map_err(|error| Problem::of_setup(&error.into()))?;
        let token = u64::from_be_bytes(token);
        let (sender, reply) = oneshot::channel();
        let mut waiting = self.shared.waiting();
        let mut sequence = waiting.last.wrapping_add(1);
        // Far fewer probes run at once than there are sequence numbers.
        while waiting.echoes.contains_key(&sequence) {
            if sequence == waiting.last {
                return Err(Fault::Ports.into());
            }
            sequence = sequence.wrapping_add(1);
        }
        waiting.last = sequence;
        waiting.echoes.insert(sequence, Expected { address, token, reply: sender });
        drop(waiting);
        Ok(Echo { shared: self.shared.clone(), sequence, address, token, reply })
    }

    pub(crate) async fn send(&self, echo: &Echo) -> Result<(), Problem> {
        let shared = &self.shared;
        let request = message::request(shared.is_v4, shared.id, echo.sequence, echo.token);
        let to = SocketAddr::new(echo.address, 0);
        let sent = shared.socket.send_to(&request, to).await;
        sent.map_err(|error| Problem::of_exchange(&error))?;
        Ok(())
    }
}

impl Drop for EchoSocket {
    fn drop(&mut self) {
        self.receiver.abort();
    }
}

impl Echo {
    pub(crate) async fn reply(&mut self) -> Option<EchoReply> {
        (&mut self.reply).await.ok()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.shared.waiting().echoes.remove(&self.sequence);
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dispatch(&self, packet: &[u8]) {
        let message = match (self.is_raw, self.is_v4) {
            (true, true) => message::without_ip_header(packet),
            _ => Some(packet),
        };
        let Some(message) = message.and_then(|it| message::decode(self.is_v4, it)) else { return };
        let is_ours = |id| !self.is_raw || id == self.id;
        let mut waiting = self.waiting();
        let (sequence, reply) = match message {
            Message::Reply { id, sequence, token } => {
                // By the number in the payload, not by the sender: a host may answer from another of its
                // addresses.
                let expected = waiting.echoes.get(&sequence);
                if !is_ours(id) || expected.is_none_or(|it| it.token != token) {
                    return;
                }
                (sequence, EchoReply::Answer)
            }
            Message::NotDelivered { id, sequence, to } => {
                let expected = waiting.echoes.get(&sequence);
                if !is_ours(id) || expected.is_none_or(|it| it.address != to) {
                    return;
                }
                (sequence, EchoReply::Unreachable)
            }
        };
        if let Some(expected) = waiting.echoes.remove(&sequence) {
            // The probe may have ended by now.
            let _ = expected.reply.send(reply);
        }
    }
}

/// Receives until the socket fails or has no user left.
async fn receive(shared: Arc<Shared>) {
    let mut buffer = [0; 2048];
    loop {
        match shared.socket.recv(&mut buffer).await {
            Ok(length) => shared.dispatch(&buffer[..length]),
            // An error of an echo that was sent: its probe gets the answer, or its time ends.
            Err(error) if is_of_a_target(&error) => {}
            Err(_) => {
                // Dropping them ends their probes.
                shared.waiting().echoes.clear();
                return;
            }
        }
    }
}

fn is_of_a_target(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::CONNREFUSED
                | Errno::HOSTUNREACH
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::PROTO
                | Errno::MSGSIZE
                | Errno::ACCESS
        )
    )
}
