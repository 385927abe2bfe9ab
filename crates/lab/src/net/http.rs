//! As much of HTTP as it takes to see which real server answered.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::Shutdown;

use crate::error::{Context, Error};
use crate::net::Namespace;

/// A server in a namespace that answers every request with its name. Stops when dropped.
///
/// Each connection has a thread of its own, and one that sends nothing is held open: it counts as
/// active for IPVS.
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
        let listener = Arc::new(listener);
        let name: Arc<str> = name.into();
        // A socket belongs to the namespace that it was opened in, wherever it is used.
        let accepting = Arc::clone(&listener);
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                let name = Arc::clone(&name);
                // A client that breaks off is the client's affair.
                std::thread::spawn(move || drop(answer(stream, &name)));
            }
        });
        Ok(Self { listener, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Wakes the thread that accepts; if that fails, waiting for it would be for ever.
        if rustix::net::shutdown(&self.listener, Shutdown::Both).is_ok() {
            drop(self.thread.take().map(JoinHandle::join));
        }
    }
}

fn answer(stream: TcpStream, name: &str) -> io::Result<()> {
    let mut head = BufReader::new(&stream).lines();
    // A request ends with an empty line; nothing that it says matters.
    while head.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let length = name.len() + 1;
    write!(
        &stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{name}\n"
    )
}

/// Asks once, over a new connection, and gives the answer's body without its line end.
///
/// The request leaves from the calling thread's namespace; `limit` holds for connecting and for each
/// read.
///
/// # Errors
/// When no connection comes about, it breaks, or the answer is not HTTP with status 200.
pub fn get(address: SocketAddr, limit: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, format!("no answer: {text:?}"));
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(invalid)?;
    if head.starts_with("HTTP/1.1 200 ") { Ok(body.trim_end().to_owned()) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_the_name_that_a_server_answers_with() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a client");
            answer(stream, "rs1")
        });
        assert_eq!(get(address, Duration::from_secs(5)).expect("an answer"), "rs1");
        server.join().expect("no panic").expect("an answer sent");
    }

    #[test]
    fn an_answer_that_is_not_http_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            drop(stream.read(&mut [0; 512]));
            stream.write_all(b"SSH-2.0-x\r\n")
        });
        let error = get(address, Duration::from_secs(5)).expect_err("no HTTP");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        server.join().expect("no panic").expect("bytes sent");
    }
}
