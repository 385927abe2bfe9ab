//! Which Host headers the endpoint answers on a loopback listener. A page of the web cannot read another host's
//! answers, unless its own name resolves to this host (DNS rebinding): then the browser sends that name.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::HOST;
use axum::http::{HeaderMap, Uri};

/// The names under which the endpoint is asked.
#[derive(Debug, Clone, Default)]
pub(super) struct AllowedHosts {
    /// Whether only loopback names, and those below, are allowed.
    is_loopback: bool,
    /// Names of `--allow-host`, in small letters.
    names: Vec<String>,
}

impl AllowedHosts {
    /// Allows loopback names and these on a loopback listener; all names on another one, which serves other
    /// hosts anyway.
    pub(super) fn new(listener: Option<SocketAddr>, names: &[String]) -> Self {
        let is_loopback = listener.is_some_and(|it| it.ip().to_canonical().is_loopback());
        Self { is_loopback, names: names.iter().map(|name| folded(name).to_owned()).collect() }
    }

    /// Whether a request is answered. One without a Host header is no browser's.
    pub(super) fn allow(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        if !self.is_loopback {
            return true;
        }
        let hosts = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default());
        hosts.chain(uri.authority().map(|authority| authority.as_str())).all(|it| self.knows(it))
    }

    /// Whether a host is known, with or without a port.
    fn knows(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => match rest.split_once(']') {
                Some((address, port)) if is_port(port) => address,
                _ => return false,
            },
            None => match host.rsplit_once(':') {
                Some((name, port)) if is_port(&format!(":{port}")) => name,
                Some(_) => return false,
                None => host,
            },
        };
        let name = folded(name);
        let is_loopback = name
            .parse::<IpAddr>()
            .map_or(name == "localhost", |address| address.to_canonical().is_loopback());
        is_loopback || self.names.contains(&name)
    }
}

/// Whether it is empty, or a colon with a port.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

/// A name without the dot at its end, in small letters.
fn folded(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(listener: &str, host: Option<&str>) -> bool {
        let listener = listener.parse().expect("an address");
        let allowed = AllowedHosts::new(Some(listener), &["Metrics.Example.".to_owned()]);
        let host = host.map(|host| (HOST, host.parse().expect("a header")));
        allowed.allow(&Uri::from_static("/status"), &host.into_iter().collect())
    }

    #[test]
    fn a_loopback_listener_answers_loopback_names_and_allowed_ones() {
        for listener in ["127.0.0.1:9479", "[::1]:9479", "127.9.9.9:1"] {
            for host in [
                "localhost",
                "localhost:9479",
                "LOCALHOST.",
                "127.0.0.1:80",
                "127.1.2.3",
                "[::1]",
                "[::1]:9479",
                "metrics.example",
                "metrics.example:9479",
            ] {
                assert!(allows(listener, Some(host)), "{host}");
            }
            for host in [
                "",
                "attacker.example",
                "attacker.example:9479",
                "localhost.attacker.example",
                "127.0.0.1.attacker.example",
                "192.0.2.1:9479",
                "[::2]",
                "[::1]x",
                "::1",
                "localhost:x",
                "metrics.example.attacker.example",
            ] {
                assert!(!allows(listener, Some(host)), "{host}");
            }
            assert!(allows(listener, None), "no browser");
        }
        assert!(allows("0.0.0.0:9479", Some("attacker.example")));
        assert!(allows("192.0.2.1:9479", Some("lb1.example")));
    }

    #[test]
    fn the_authority_of_a_request_line_counts_too() {
        let allowed = AllowedHosts::new(Some(([127, 0, 0, 1], 1).into()), &[]);
        let uri = Uri::from_static("http://attacker.example/status");
        assert!(!allowed.allow(&uri, &HeaderMap::new()));
    }
}
