//! Tests what the HTTP endpoint of a daemon shows to those who can connect.

use std::net::TcpStream;

use super::*;

const SPEC: &str = "version: 1
services:
  - { name: web, vip: 192.0.2.1, port: 80, real_servers: [ { address: 10.0.0.1 } ] }
";

/// Requests a page under a host name, and returns the whole answer.
fn get(path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect("127.0.0.1:9479").unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn no_page_shows_the_text_of_a_spec_or_the_value_of_a_variable() {
    let host = Host::new();
    let _daemon = host.watching(SPEC, "--listen 127.0.0.1:9479");
    let bad = SPEC.replace("port: 80", "port: \"${env:PATH}\", password: hunter2");
    host.write("spec.yaml", bad);
    host.wait_for_state("degraded");
    let path = std::env::var("PATH").unwrap();
    for page in ["/readyz", "/status", "/metrics"] {
        let answer = get(page, "localhost");
        assert!(!answer.contains("hunter2") && !answer.contains("password"), "{page}: {answer}");
        assert!(!answer.contains(&path), "{page}: {answer}");
    }
    assert!(get("/readyz", "localhost").contains("`evenkeel status` on the host shows why"));
    let status = String::from_utf8(host.command("status").output().unwrap().stdout).unwrap();
    assert!(status.contains("hunter2"), "the host's own users see the excerpt: {status}");
    assert!(!status.contains(&path), "{status}");
}

/// A page of the web whose name resolves to 127.0.0.1.
#[test]
fn a_name_that_is_no_loopback_name_is_refused_unless_it_is_allowed() {
    let host = Host::new();
    let options = "--listen 127.0.0.1:9479 --allow-host lb1.example --allow-host lb1";
    let _daemon = host.watching(SPEC, options);
    for page in ["/", "/metrics", "/healthz", "/readyz", "/status"] {
        for name in ["localhost", "127.0.0.1:9479", "[::1]", "lb1.example:9479", "lb1"] {
            assert!(get(page, name).starts_with("HTTP/1.1 200"), "{page} {name}");
        }
        for name in ["attacker.example", "attacker.example:9479", "192.0.2.1"] {
            let answer = get(page, name);
            assert!(answer.starts_with("HTTP/1.1 421"), "{page} {name}: {answer}");
            assert!(!answer.contains("evenkeel_"), "{answer}");
        }
    }
}
