//! Requests, each over a connection of its own.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};

use super::{DOWNLOAD, byte_at, length};

/// Sends one request over a new connection and returns the answer's body without its line end.
///
/// The request leaves from the calling thread's namespace; `limit` holds for connecting and for
/// each read.
///
/// # Errors
/// When no connection can be made, it breaks, or the answer is not HTTP with status 200.
pub fn get(address: SocketAddr, limit: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    Ok(ask(&mut stream, None)?.name)
}

/// Does the same from one of the namespace's addresses.
///
/// # Errors
/// As for [`get`], and when the namespace lacks the address.
pub fn get_from(from: IpAddr, address: SocketAddr, limit: Duration) -> io::Result<String> {
    let mut stream = Connect { from: SocketAddr::new(from, 0), to: address, limit }.open()?;
    Ok(ask(&mut stream, None)?.name)
}

/// A connection to be made from a given address and port.
#[derive(Clone, Copy, Debug)]
pub(in crate::net) struct Connect {
    pub(in crate::net) from: SocketAddr,
    pub(in crate::net) to: SocketAddr,
    /// For connecting, and for each read and write.
    pub(in crate::net) limit: Duration,
}

impl Connect {
    /// Connects, from the calling thread's namespace.
    ///
    /// # Errors
    /// `AddrInUse` when there is such a connection already, `TimedOut` after the limit.
    pub(in crate::net) fn open(self) -> io::Result<TcpStream> {
        let Self { from, to, limit } = self;
        let family = if from.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        // A program started meanwhile would hold the connection open.
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // The port's last connection may linger.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(limit))?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(limit))?;
        bind(&socket, &from)?;
        match connect(&socket, &to) {
            // The limit has passed.
            Err(Errno::INPROGRESS) => Err(ErrorKind::TimedOut.into()),
            // No host has that address.
            Err(Errno::ADDRNOTAVAIL) => Err(ErrorKind::AddrInUse.into()),
            outcome => Ok(outcome.map(|()| socket.into())?),
        }
    }
}

/// A whole answer.
#[derive(Debug)]
pub(in crate::net) struct Answer {
    /// The name of the server; empty for a download.
    pub(in crate::net) name: String,
}

/// Requests a server's name, or a download of so many seconds.
///
/// # Errors
/// `UnexpectedEof` when the answer is cut short, `InvalidData` when it is none or has other bytes
/// than it should.
pub(in crate::net) fn ask(stream: &mut TcpStream, download: Option<u32>) -> io::Result<Answer> {
    let path = download.map_or("/".to_owned(), |seconds| format!("{DOWNLOAD}{seconds}"));
    // In one piece: a segment each would cost more than the answer.
    let request = format!("GET {path} HTTP/1.1\r\nHost: vip\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        let cut = bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 200 ");
        return Err(if cut { ErrorKind::UnexpectedEof.into() } else { no_answer(&bytes) });
    };
    let (head, body) = (&bytes[..end], &bytes[end + 4..]);
    let promised = promised(head).ok_or_else(|| no_answer(&bytes))?;
    if body.len() < promised {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    if let Some(seconds) = download {
        let whole = promised == length(seconds);
        let same = body.iter().enumerate().all(|(place, byte)| *byte == byte_at(place));
        let answer = Answer { name: String::new() };
        return if whole && same { Ok(answer) } else { Err(no_answer(head)) };
    }
    let name = String::from_utf8_lossy(body).trim_end().to_owned();
    Ok(Answer { name })
}

/// The length that the head of a good answer announces.
fn promised(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return None;
    }
    head.lines().find_map(|line| line.strip_prefix("Content-Length: "))?.parse().ok()
}

fn no_answer(bytes: &[u8]) -> io::Error {
    let text = format!("no answer: {:?}", String::from_utf8_lossy(bytes));
    io::Error::new(ErrorKind::InvalidData, text)
}
