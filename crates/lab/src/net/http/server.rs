//! The server of a real server: one thread for all connections, as a new one for each costs more
//! than the answer.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::Shutdown;

use super::{DOWNLOAD, PIECE, PIECES_A_SECOND, byte_at, length};
use crate::error::{Context, Error};
use crate::net::Namespace;

/// More than this is no request of ours.
const LONGEST_HEAD: usize = 8192;

/// A server in a namespace that answers every request with its name, at once, and
/// `/download?seconds=N` with bytes that take N seconds. Stops when dropped.
///
/// A connection that sends nothing is held open: it counts as active for IPVS.
#[derive(Debug)]
pub struct Server {
    listener: Arc<TcpListener>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on every address of the namespace, of either family.
    ///
    /// # Errors
    /// When the port is taken or the namespace is gone.
    pub fn start(namespace: &Namespace, port: u16, name: &str) -> Result<Self, Error> {
        let listener = namespace
            .run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)))?
            .step(format!("cannot listen on port {port} in {}", namespace.name()))?;
        // A socket belongs to the namespace that it was opened in, wherever it is used.
        Self::with(listener, name).step(format!("cannot serve in {}", namespace.name()))
    }

    pub(super) fn with(listener: TcpListener, name: &str) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = Arc::new(listener);
        let serve = Serve {
            listener: Arc::clone(&listener),
            answer: answer(&format!("{name}\n")),
            connections: Vec::new(),
        };
        let thread = std::thread::spawn(move || serve.until_shut());
        Ok(Self { listener, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Wakes the thread; if that fails, waiting for it would never end.
        if rustix::net::shutdown(&self.listener, Shutdown::Both).is_ok() {
            drop(self.thread.take().map(JoinHandle::join));
        }
    }
}

struct Serve {
    listener: Arc<TcpListener>,
    /// The answer to every short request.
    answer: Vec<u8>,
    connections: Vec<Connection>,
}

struct Connection {
    stream: TcpStream,
    at: At,
}

/// How far a connection has come.
enum At {
    /// This much of a request has come.
    Request(Vec<u8>),
    /// So many bytes of a download were sent, of so many; the next are due then.
    Download { sent: usize, of: usize, due: Instant },
    /// It is over.
    End,
}

impl Serve {
    fn until_shut(mut self) {
        loop {
            // Waiting fails for want of memory at most, and a test that hangs says less than a
            // server that is gone.
            let Ok(ready) = self.wait() else { return };
            let now = Instant::now();
            for (connection, is_ready) in self.connections.iter_mut().zip(&ready[1..]) {
                // A client that disconnects is not an error of the server.
                if connection.advance(*is_ready, &self.answer, now).is_err() {
                    connection.at = At::End;
                }
            }
            self.connections.retain(|connection| !matches!(connection.at, At::End));
            if ready[0] && !self.accept() {
                return;
            }
        }
    }

    /// Waits until something can be done. Whether it is the listener, and each of the connections.
    fn wait(&self) -> io::Result<Vec<bool>> {
        let connections = self.connections.iter().map(|connection| {
            let flags = match connection.at {
                At::Request(_) => PollFlags::IN,
                // poll(2) always reports broken connections.
                At::Download { .. } | At::End => PollFlags::empty(),
            };
            PollFd::from_borrowed_fd(connection.stream.as_fd(), flags)
        });
        let listener = PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN);
        let mut all: Vec<PollFd<'_>> = [listener].into_iter().chain(connections).collect();
        let due = self.connections.iter().filter_map(|connection| match connection.at {
            At::Download { due, .. } => Some(due),
            _ => None,
        });
        let wait = due.min().map(|due| due.saturating_duration_since(Instant::now()));
        let wait = wait.map(|wait| Timespec::try_from(wait).unwrap_or_default());
        poll(&mut all, wait.as_ref())?;
        Ok(all.iter().map(|fd| !fd.revents().is_empty()).collect())
    }

    /// Accepts all waiting connections. False if the listener was shut down.
    fn accept(&mut self) -> bool {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if stream.set_nonblocking(true).is_ok() {
                        let mut connection = Connection { stream, at: At::Request(Vec::new()) };
                        // The request is often there already.
                        match connection.advance(true, &self.answer, Instant::now()) {
                            Ok(()) if matches!(connection.at, At::End) => {}
                            Ok(()) => self.connections.push(connection),
                            Err(_) => {}
                        }
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::InvalidInput => return false,
                // The client disconnected before it was accepted.
                Err(_) => return true,
            }
        }
    }
}

impl Connection {
    fn advance(&mut self, is_ready: bool, answer: &[u8], now: Instant) -> io::Result<()> {
        match &mut self.at {
            At::Request(head) if is_ready => {
                let mut buffer = [0; 1024];
                let read = match self.stream.read(&mut buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                    result => result?,
                };
                head.extend_from_slice(&buffer[..read]);
                // A request ends with an empty line.
                if head.ends_with(b"\r\n\r\n") {
                    self.at = match seconds(head) {
                        Some(seconds) => self.begin(length(seconds), now)?,
                        None => self.stream.write_all(answer).map(|()| At::End)?,
                    };
                } else if read == 0 || head.len() > LONGEST_HEAD {
                    self.at = At::End;
                }
                Ok(())
            }
            // Its client has disconnected.
            At::Download { .. } if is_ready => Err(ErrorKind::ConnectionReset.into()),
            At::Download { sent, of, due } if *due <= now => {
                let piece: Vec<u8> = (*sent..(*sent + PIECE).min(*of)).map(byte_at).collect();
                match self.stream.write(&piece) {
                    Ok(written) => *sent += written,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
                *due += Duration::from_secs(1) / PIECES_A_SECOND;
                if *sent == *of {
                    self.at = At::End;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, of: usize, now: Instant) -> io::Result<At> {
        self.stream.write_all(head(of).as_bytes())?;
        Ok(At::Download { sent: 0, of, due: now })
    }
}

/// How long the download is that a request asks for, if it asks for one.
fn seconds(request: &[u8]) -> Option<u32> {
    let line = std::str::from_utf8(request).ok()?.lines().next()?;
    let path = line.split(' ').nth(1)?;
    path.strip_prefix(DOWNLOAD)?.parse().ok()
}

fn answer(body: &str) -> Vec<u8> {
    format!("{}{body}", head(body.len())).into_bytes()
}

fn head(length: usize) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    )
}
