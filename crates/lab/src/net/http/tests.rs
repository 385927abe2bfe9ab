use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::*;

const LIMIT: Duration = Duration::from_secs(5);

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

fn serve() -> (Server, SocketAddr) {
    let (listener, address) = listen();
    (Server::with(listener, "rs1").expect("a server"), address)
}

/// The result of a client that receives these bytes in place of an answer.
fn understood(bytes: &'static [u8], download: Option<u32>) -> io::Result<Answer> {
    let (listener, address) = listen();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        drop(stream.read(&mut [0; 512]));
        stream.write_all(bytes)
    });
    let answer = ask(&mut TcpStream::connect(address).expect("a connection"), download);
    server.join().expect("no panic").expect("bytes sent");
    answer
}

#[test]
fn a_client_gets_the_name_that_a_server_answers_with() {
    let (_server, address) = serve();
    for _ in 0..3 {
        assert_eq!(get(address, LIMIT).expect("an answer"), "rs1");
    }
}

#[test]
fn a_client_that_sends_nothing_keeps_no_other_waiting() {
    let (_server, address) = serve();
    let mut silent = TcpStream::connect(address).expect("a connection");
    assert_eq!(get(address, LIMIT).expect("an answer"), "rs1");
    assert_eq!(ask(&mut silent, None).expect("an answer").name, "rs1");
}

#[test]
fn a_slow_download_arrives_completely_while_others_are_served() {
    let (_server, address) = serve();
    let start = std::time::Instant::now();
    let download = std::thread::spawn(move || {
        ask(&mut TcpStream::connect(address).expect("a connection"), Some(1))
    });
    assert_eq!(get(address, LIMIT).expect("an answer"), "rs1");
    download.join().expect("no panic").expect("a whole download");
    assert!(start.elapsed() > Duration::from_millis(800), "{:?}", start.elapsed());
}

#[test]
fn a_download_that_is_cut_short_or_altered_is_noticed() {
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n\0\x01\x02";
    let error = understood(cut, Some(1)).expect_err("bytes are missing");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    let other = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\0\x01\x01";
    let error = understood(other, Some(1)).expect_err("other bytes");
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    let error = understood(b"", None).expect_err("no bytes");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn an_answer_that_is_not_http_is_an_error() {
    let error = understood(b"SSH-2.0-x\r\n", None).expect_err("no HTTP");
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

#[test]
fn a_connection_uses_the_requested_source_port() {
    let (listener, to) = listen();
    let from = {
        let (free, address) = listen();
        drop(free);
        address
    };
    let connect = Connect { from, to, limit: LIMIT };
    let stream = connect.open().expect("a connection");
    assert_eq!(listener.accept().expect("a client").1, from);
    let again = connect.open().expect_err("it is taken");
    assert_eq!(again.kind(), ErrorKind::AddrInUse);
    drop(stream);
}
