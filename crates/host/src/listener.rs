//! Lists the TCP and UDP sockets that accept packets to every address of the host.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use crate::error::Error;
use crate::sysctl::sysctl_value;

/// What the kernel shows of the calling thread's network namespace.
const NETWORK: &str = "/proc/thread-self/net";
/// `TCP_LISTEN`, in hexadecimal digits.
const LISTEN: &str = "0A";
/// `TCP_CLOSE`, the state of a UDP socket that is connected to no other one.
const UNCONNECTED: &str = "07";

/// The ports on which sockets accept packets to every address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listeners {
    /// Those of TCP.
    pub tcp: BTreeMap<u16, Listener>,
    /// Those of UDP.
    pub udp: BTreeMap<u16, Listener>,
}

/// A port on which a socket accepts packets to every address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Listener {
    /// Whether it accepts those of IPv4.
    pub ipv4: bool,
    /// Whether it accepts those of IPv6.
    pub ipv6: bool,
}

/// Returns the ports, with the families, on which a socket of the calling thread's network namespace
/// is bound to 0.0.0.0 or `::`. The kernel does not show whether one on `::` refuses IPv4: that is taken to
/// be as `net.ipv6.bindv6only` says.
///
/// UDP sockets in the range of ports that the kernel assigns (`net.ipv4.ip_local_port_range`) are left out:
/// those of clients look the same as those of servers.
///
/// # Errors
/// [`Error::Read`].
pub fn wildcard_listeners() -> Result<Listeners, Error> {
    let tcp = listeners("tcp", LISTEN)?;
    let mut udp = listeners("udp", UNCONNECTED)?;
    let assigned = sysctl_value("net.ipv4.ip_local_port_range")?;
    if let Some((first, last)) = assigned.as_deref().and_then(range) {
        udp.retain(|port, _| !(first..=last).contains(port));
    }
    Ok(Listeners { tcp, udp })
}

/// Reads two ports.
fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once(' ')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

fn listeners(protocol: &str, state: &str) -> Result<BTreeMap<u16, Listener>, Error> {
    let only_ipv6 = sysctl_value("net.ipv6.bindv6only")?.is_some_and(|value| value != "0");
    let mut found = BTreeMap::new();
    for (suffix, listener) in [
        ("", Listener { ipv4: true, ipv6: false }),
        ("6", Listener { ipv4: !only_ipv6, ipv6: true }),
    ] {
        let path = Path::new(NETWORK).join(format!("{protocol}{suffix}"));
        let table = match fs::read_to_string(&path) {
            // A kernel without the family.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            table => table.map_err(|source| Error::Read { path, source })?,
        };
        for port in ports(&table, state) {
            let known: &mut Listener = found.entry(port).or_default();
            known.ipv4 |= listener.ipv4;
            known.ipv6 |= listener.ipv6;
        }
    }
    Ok(found)
}

/// The ports of sockets in that state on the wildcard address: the second column is `ADDRESS:PORT` in
/// hexadecimal digits, the third one that of the other end, the fourth one the state.
fn ports<'a>(table: &'a str, state: &'a str) -> impl Iterator<Item = u16> + 'a {
    table.lines().filter_map(move |line| {
        let mut columns = line.split_whitespace();
        let (address, port) = columns.nth(1)?.split_once(':')?;
        let is_in_state = columns.nth(1)? == state;
        let is_wildcard = address.bytes().all(|digit| digit == b'0');
        (is_in_state && is_wildcard).then(|| u16::from_str_radix(port, 16).ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_that_listen_on_every_address_are_listed() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000
   1: 0100007F:2507 00000000:0000 0A 00000000:00000000 00:00000000 00000000
   2: 00000000:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000
   3: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A 0:0
";
        assert_eq!(ports(table, LISTEN).collect::<Vec<_>>(), [22, 443]);
        assert_eq!(ports(table, UNCONNECTED).collect::<Vec<_>>(), [8080]);
    }

    #[test]
    fn a_socket_of_this_process_is_listed() {
        let socket = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let found = wildcard_listeners().unwrap().tcp;
        assert!(found[&port].ipv4, "{found:?}");
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(!wildcard_listeners().unwrap().tcp.contains_key(&port));
    }

    /// The system chooses the port, which is one that clients get.
    #[test]
    fn a_udp_socket_on_a_port_of_clients_is_not_listed() {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(listeners("udp", UNCONNECTED).unwrap()[&port].ipv4);
        assert!(!wildcard_listeners().unwrap().udp.contains_key(&port));
    }

    #[test]
    fn the_range_of_assigned_ports_is_two_numbers() {
        assert_eq!(range("32768 60999"), Some((32768, 60999)));
        assert_eq!(range("32768"), None);
    }
}
