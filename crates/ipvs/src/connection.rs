//! Reads the connection table from `/proc/net/ip_vs_conn`; netlink does not offer it.
//!
//! A table may hold millions of entries, so it is read line by line and not kept in memory. It is
//! no snapshot: entries added or removed during the reading may be listed or not. The file contains
//! neither the forwarding method nor, for fwmark services, the service of an entry.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use thiserror::Error;

/// The table of the calling thread's network namespace. `/proc/net` would be that of the
/// process's first thread.
const PATH: &str = "/proc/thread-self/net/ip_vs_conn";

/// More than any line has: three IPv6 addresses and the longest data of a persistence engine
/// (`IP_VS_PENAME_MAXLEN`, `IP_VS_PEDATA_MAXLEN`) come to half of it.
const LONGEST_LINE: u64 = 1024;

/// An entry of the connection table: a connection, or a persistence template, which leads the
/// coming connections of a client to a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The transport protocol.
    pub protocol: ConnectionProtocol,
    /// The client. Of a template, the network of clients under the service's netmask, with port 0.
    pub client: SocketAddr,
    /// Where the client's packets go to: the service's address and port, or any within a fwmark
    /// service. Of a fwmark service's template, see [`Self::fwmark`].
    pub service: SocketAddr,
    /// Where they are forwarded to. Its family may be another one, through a tunnel.
    pub destination: SocketAddr,
    /// The state, as the protocol's module names it (`ESTABLISHED`); `NONE` or `ASSURED` of a
    /// template.
    pub state: Box<str>,
    /// Seconds until the entry expires without traffic.
    pub expires: u64,
    /// How a persistence engine identifies the client.
    pub engine: Option<EngineData>,
}

/// A transport protocol as the table names it (`ip_vs_proto_name`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ConnectionProtocol {
    /// Its IANA number. 0 is that of a fwmark service's templates, which hold for every protocol.
    Number(u8),
    /// A name that has no number here.
    Other(Box<str>),
}

/// How a persistence engine identifies a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineData {
    /// The engine: `sip`.
    pub engine: Box<str>,
    /// Its data, of clients' making: a SIP Call-ID.
    pub data: Box<[u8]>,
}

/// A line that is no entry of the table; holds the line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a line of the connection table cannot be parsed: {}", .0.escape_debug())]
pub struct UnknownLine(pub String);

/// Why the rest of the table cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectionTableError {
    /// The file cannot be opened or read. Without the module ip_vs it does not exist.
    #[error("cannot read {PATH}")]
    Read(#[from] io::Error),
    /// A line cannot be parsed.
    #[error(transparent)]
    Line(#[from] UnknownLine),
}

impl Connection {
    /// Reads a line of the table, with or without its end.
    ///
    /// # Errors
    /// It has another form than `ip_vs_conn_seq_show` gives.
    pub fn from_line(line: &[u8]) -> Result<Self, UnknownLine> {
        parse(line.trim_ascii_end())
            .ok_or_else(|| UnknownLine(String::from_utf8_lossy(line.trim_ascii_end()).into_owned()))
    }

    /// The mark, if this is a template of a fwmark service: it stands in the place of the address
    /// (`ip_vs_sched_persist`).
    #[must_use]
    pub fn fwmark(&self) -> Option<u32> {
        if self.protocol != ConnectionProtocol::Number(0) {
            return None;
        }
        Some(match self.service.ip() {
            IpAddr::V4(address) => address.to_bits(),
            IpAddr::V6(address) => (address.to_bits() >> 96) as u32,
        })
    }
}

/// The entries of a connection table, in the order of the kernel's hash table.
#[derive(Debug)]
pub struct ConnectionTable<R> {
    reader: R,
    line: Vec<u8>,
}

impl ConnectionTable<BufReader<File>> {
    /// The table of the calling thread's network namespace. It needs no capability.
    ///
    /// # Errors
    /// The kernel has no IPVS.
    pub fn open() -> Result<Self, ConnectionTableError> {
        Ok(Self::new(BufReader::with_capacity(64 * 1024, File::open(Path::new(PATH))?)))
    }
}

impl<R: BufRead> ConnectionTable<R> {
    /// The table that is read from there.
    pub fn new(reader: R) -> Self {
        Self { reader, line: Vec::new() }
    }

    fn read(&mut self) -> Result<Option<Connection>, ConnectionTableError> {
        loop {
            self.line.clear();
            (&mut self.reader).take(LONGEST_LINE).read_until(b'\n', &mut self.line)?;
            if self.line.is_empty() {
                return Ok(None);
            }
            // The heading.
            if !self.line.starts_with(b"Pro ") {
                return Ok(Some(Connection::from_line(&self.line)?));
            }
        }
    }
}

impl<R: BufRead> Iterator for ConnectionTable<R> {
    type Item = Result<Connection, ConnectionTableError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

fn parse(line: &[u8]) -> Option<Connection> {
    let mut words = Words(line);
    let mut word = || words.next();
    let protocol = protocol(word()?);
    let client = socket_address(word()?, word()?)?;
    let service = socket_address(word()?, word()?)?;
    let destination = socket_address(word()?, word()?)?;
    let state = word()?.into();
    let expires = word()?.parse().ok()?;
    let engine = match word() {
        None => None,
        Some(engine) => {
            // One blank behind the name; all else belongs to the data.
            let data = words.0.strip_prefix(b" ").unwrap_or(words.0).into();
            Some(EngineData { engine: engine.into(), data })
        }
    };
    Some(Connection { protocol, client, service, destination, state, expires, engine })
}

/// What is left of a line, word by word.
struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let line = self.0.trim_ascii_start();
        let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
        let (word, rest) = line.split_at(end);
        self.0 = rest;
        std::str::from_utf8(word).ok().filter(|word| !word.is_empty())
    }
}

fn protocol(word: &str) -> ConnectionProtocol {
    ConnectionProtocol::Number(match word {
        "IP" => 0,
        "ICMP" => 1,
        "TCP" => 6,
        "UDP" => 17,
        "ICMPv6" | "ICMPV6" => 58,
        "SCTP" => 132,
        _ => match word.strip_prefix("IP_").and_then(|number| number.parse().ok()) {
            Some(number) => number,
            None => return ConnectionProtocol::Other(word.into()),
        },
    })
}

/// Eight hexadecimal digits for IPv4, eight groups of four for IPv6, four digits for the port.
fn socket_address(address: &str, port: &str) -> Option<SocketAddr> {
    let hexadecimal = |text: &str, digits| {
        let is_whole = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_whole.then(|| u32::from_str_radix(text, 16).ok()).flatten()
    };
    let port = u16::try_from(hexadecimal(port, 4)?).ok()?;
    let address = match hexadecimal(address, 8) {
        Some(bits) => Ipv4Addr::from_bits(bits).into(),
        None => address.parse::<Ipv6Addr>().ok()?.into(),
    };
    Some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADING: &str =
        "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n";

    fn read(line: &str) -> Connection {
        Connection::from_line(line.as_bytes()).expect("a line of the table")
    }

    fn at(address: &str) -> SocketAddr {
        address.parse().expect("an address and a port")
    }

    #[test]
    fn an_ipv4_connection_is_read() {
        let line = "TCP 0A000009 D3F2 0A000064 0050 0A00000B 1F90 ESTABLISHED     899\n";
        let expected = Connection {
            protocol: ConnectionProtocol::Number(6),
            client: at("10.0.0.9:54258"),
            service: at("10.0.0.100:80"),
            destination: at("10.0.0.11:8080"),
            state: "ESTABLISHED".into(),
            expires: 899,
            engine: None,
        };
        assert_eq!(read(line), expected);
        assert_eq!(read(line).fwmark(), None);
    }

    #[test]
    fn an_ipv6_connection_to_another_family_is_read() {
        let line = "UDP fd00:0000:0000:0000:0000:0000:0000:0009 14E9 \
                    fd00:0000:0000:0000:0000:0000:0000:0100 0035 0A00000B 0035 UDP             299\n";
        let read = read(line);
        assert_eq!(read.client, at("[fd00::9]:5353"));
        assert_eq!(read.service, at("[fd00::100]:53"));
        assert_eq!(read.destination, at("10.0.0.11:53"));
    }

    #[test]
    fn the_template_of_a_fwmark_service_holds_its_mark() {
        let four = read("IP  0A000009 0000 00000007 0000 0A00000B 0000 NONE            240\n");
        assert_eq!(four.fwmark(), Some(7));
        let six = "IP  fd00:0000:0000:0000:0000:0000:0000:0000 0000 \
                   8000:0007:0000:0000:0000:0000:0000:0000 0000 \
                   fd00:0000:0000:0000:0000:0000:0000:0011 0000 ASSURED          59\n";
        assert_eq!(read(six).fwmark(), Some(0x8000_0007));
    }

    #[test]
    fn the_data_of_an_engine_is_kept_as_it_is() {
        let line =
            b"UDP 0A000009 13C4 0A000064 13C4 0A00000B 13C4 UDP             299 sip  a b\xff@c\n";
        let engine = Connection::from_line(line).expect("a line of the table").engine;
        let expected = EngineData { engine: "sip".into(), data: b" a b\xff@c"[..].into() };
        assert_eq!(engine, Some(expected));
    }

    #[test]
    fn unknown_states_and_protocols_are_kept() {
        let of = |protocol: &str, state: &str| {
            read(&format!("{protocol} 0A000009 0001 0A000064 0050 0A00000B 0050 {state} 7\n"))
        };
        assert_eq!(of("IP_89", "?").protocol, ConnectionProtocol::Number(89));
        assert_eq!(of("IP_900", "?").protocol, ConnectionProtocol::Other("IP_900".into()));
        let odd = of("QUIC", "BUG!");
        assert_eq!(odd.protocol, ConnectionProtocol::Other("QUIC".into()));
        assert_eq!(&*odd.state, "BUG!");
    }

    #[test]
    fn a_table_is_its_lines_without_the_heading() {
        let line = "TCP 0A000009 D3F2 0A000064 0050 0A00000B 1F90 FIN_WAIT         57\n";
        let text = format!("{HEADING}{line}{line}");
        let all: Result<Vec<_>, _> = ConnectionTable::new(text.as_bytes()).collect();
        assert_eq!(all.expect("a table"), [read(line), read(line)]);
        assert_eq!(ConnectionTable::new(HEADING.as_bytes()).count(), 0);
    }

    #[test]
    fn a_line_without_an_end_is_an_error_and_not_read_into_memory() {
        let endless = BufReader::new(io::repeat(b'A'));
        let first = ConnectionTable::new(endless).next().expect("an answer");
        let Err(ConnectionTableError::Line(UnknownLine(line))) = first else {
            panic!("{first:?}");
        };
        assert_eq!(line.len() as u64, LONGEST_LINE);
    }

    #[test]
    fn a_line_cut_anywhere_before_its_last_number_is_an_error() {
        let line = "TCP 0A000009 D3F2 0A000064 0050 0A00000B 1F90 ESTABLISHED     899";
        let last = line.len() - 3;
        for length in 0..=last {
            let cut = &line.as_bytes()[..length];
            assert_eq!(
                Connection::from_line(cut),
                Err(UnknownLine(String::from_utf8_lossy(cut.trim_ascii_end()).into_owned()))
            );
        }
    }

    fn address() -> impl Strategy<Value = SocketAddr> {
        let ip = prop_oneof![
            any::<Ipv4Addr>().prop_map(IpAddr::from),
            any::<Ipv6Addr>().prop_map(IpAddr::from)
        ];
        (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    /// As the kernel writes it: `%08X %04X` or `%pI6 %04X`.
    fn written(address: SocketAddr) -> String {
        let ip = match address.ip() {
            IpAddr::V4(ip) => format!("{:08X}", ip.to_bits()),
            IpAddr::V6(ip) => ip.segments().map(|group| format!("{group:04x}")).join(":"),
        };
        format!("{ip} {:04X}", address.port())
    }

    proptest! {
        #[test]
        fn what_the_kernel_writes_is_read_again(
            [client, service, destination] in [address(), address(), address()],
            (number, expires) in (any::<u8>(), any::<u32>()),
        ) {
            let [a, b, c] = [client, service, destination].map(written);
            let line = format!("IP_{number} {a} {b} {c} {:<11} {expires:7}\n", "SYNACK");
            let expected = Connection {
                protocol: ConnectionProtocol::Number(number),
                client,
                service,
                destination,
                state: "SYNACK".into(),
                expires: expires.into(),
                engine: None,
            };
            prop_assert_eq!(Connection::from_line(line.as_bytes()), Ok(expected));
        }

        #[test]
        fn arbitrary_bytes_make_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _either = Connection::from_line(&bytes);
        }
    }
}
