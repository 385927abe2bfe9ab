//! Requests to the HTTP endpoint of a daemon in this network namespace.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// The default listening address.
pub const ENDPOINT: &str = "127.0.0.1:9479";

/// Requests a path and returns the HTTP status and the body, or `None` if no daemon answers
/// completely.
///
/// # Panics
/// Panics if no timeout can be set on the socket.
#[must_use]
pub fn get(path: &str) -> Option<(u16, String)> {
    let endpoint: SocketAddr = ENDPOINT.parse().expect("an address");
    let mut stream = TcpStream::connect_timeout(&endpoint, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {ENDPOINT}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let code = head.split(' ').nth(1)?.parse().ok()?;
    Some((code, body.to_owned()))
}

/// Requests the daemon's status; `None` as for [`get`].
#[must_use]
pub fn status() -> Option<Value> {
    serde_json::from_str(&get("/status")?.1).ok()
}
