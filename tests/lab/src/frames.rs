//! Captures the Ethernet frames that a network namespace receives, decodes what tests ask of them,
//! and sends ARP requests. Numbers are those of `include/uapi/linux/{if_arp,if_ether,if_packet,in}.h`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvfrom, sendto,
    setsockopt, socket, sockopt::RcvBufForce,
};

/// A hardware address.
pub type Mac = [u8; 6];

/// `ARPHRD_ETHER`
const ETHERNET: u16 = 1;
/// `PACKET_HOST` and `PACKET_BROADCAST`
const TO_US: u8 = 0;
const TO_ALL: u8 = 1;
/// `ETH_P_IP`, `ETH_P_ARP` and `ETH_P_IPV6`
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
/// `IPPROTO_IPIP`, `IPPROTO_TCP`, `IPPROTO_UDP`, `IPPROTO_IPV6` and `IPPROTO_GRE`
const IPIP: u8 = 4;
const TCP: u8 = 6;
const UDP: u8 = 17;
const IN_IPV6: u8 = 41;
const GRE: u8 = 47;
/// The flag in the first byte of a GRE header that announces a checksum of four bytes.
const GRE_CHECKSUM: u8 = 0x80;
/// The flag in the fourteenth byte of a TCP header.
const SYN: u8 = 2;
/// The UDP port on which real servers of tests receive GUE.
pub const GUE_PORT: u16 = 6080;
/// Enough for all frames of a test between two calls of [`FrameCapture::received`].
const RECEIVE_BUFFER: usize = 4 << 20;

/// A packet socket for all Ethernet interfaces of a namespace.
#[derive(Debug)]
pub struct FrameCapture {
    socket: OwnedFd,
}

/// A frame that an interface received.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// The sender's address.
    pub source: Mac,
    /// The address that it was sent to.
    pub destination: Mac,
    /// What it carries.
    pub payload: Payload,
}

/// The payload of a frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Payload {
    /// ARP for IPv4.
    Arp(Arp),
    /// TCP, if `outer` is set inside an IP packet from and to other addresses.
    Tcp {
        /// The addresses of the tunnel.
        outer: Option<Tunnel>,
        /// The sender.
        from: SocketAddr,
        /// The receiver.
        to: SocketAddr,
        /// Whether it opens a connection, or agrees to that.
        is_syn: bool,
    },
    /// Anything else.
    Other,
}

/// A tunnel of any families.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tunnel {
    /// How the packet is packed.
    pub encapsulation: Encapsulation,
    /// The sender of the outer packet.
    pub from: IpAddr,
    /// Its receiver.
    pub to: IpAddr,
}

/// How a packet is packed into another one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Encapsulation {
    /// IP in IP.
    Ip,
    /// GRE.
    Gre,
    /// GUE, on [`GUE_PORT`].
    Gue,
}

/// An ARP message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Arp {
    /// Whether it answers a request.
    pub is_reply: bool,
    /// The hardware address for which it claims `sender`.
    pub sender_mac: Mac,
    /// The sender's address.
    pub sender: Ipv4Addr,
    /// The address that is asked for, or to which the reply goes.
    pub target: Ipv4Addr,
}

impl FrameCapture {
    /// Starts to capture in the calling thread's namespace.
    ///
    /// # Panics
    /// Panics if the socket cannot be created.
    #[must_use]
    pub fn start() -> Self {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)
            .expect("a packet socket");
        setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER).expect("a buffer");
        Self { socket }
    }

    /// Returns the frames that arrived since the last call for this host or for all. Frames that a
    /// bridge sends to all its ports because it does not know the receiver's are left out.
    ///
    /// # Panics
    /// Panics if the socket cannot be read.
    #[must_use]
    pub fn received(&self) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let (length, source) = match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer)
            {
                Ok(received) => received,
                Err(Errno::EAGAIN) => return frames,
                Err(error) => panic!("{error}"),
            };
            let source = source.expect("where it comes from");
            // Tunnel devices show what they unpack, too.
            if source.hatype() == ETHERNET && matches!(source.pkttype(), TO_US | TO_ALL) {
                frames.push(frame(&buffer[..length]));
            }
        }
    }
}

/// Asks all hosts of a network for the hardware address of one of them, as the kernel does.
#[derive(Debug)]
pub struct ArpRequester {
    socket: OwnedFd,
    to: LinkAddr,
    frame: Vec<u8>,
}

impl ArpRequester {
    /// Prepares a request for `target` by an interface of the calling thread's namespace, which has
    /// the address `sender`.
    ///
    /// # Panics
    /// Panics if there is no such interface, or no socket can be created.
    #[must_use]
    pub fn new(interface: &str, sender: Ipv4Addr, target: Ipv4Addr) -> Self {
        let mut all = getifaddrs().expect("a list of interfaces");
        let to = all
            .find_map(|entry| {
                let is_it = entry.interface_name == interface;
                entry.address.filter(|_| is_it)?.as_link_addr().copied()
            })
            .expect("an interface of that name");
        let own = to.addr().expect("a hardware address");
        let mut frame = [[0xff; 6], own].concat();
        frame.extend(ARP.to_be_bytes());
        // Ethernet, IPv4, the lengths of their addresses, and that it is a request.
        frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
        frame.extend(own);
        frame.extend(sender.octets());
        frame.extend([0; 6]);
        frame.extend(target.octets());
        // Without a protocol the socket receives nothing.
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None).expect("a socket");
        Self { socket, to, frame }
    }

    /// Sends the request to all hosts.
    ///
    /// # Panics
    /// Panics if the interface is down.
    pub fn ask(&self) {
        let sent = sendto(self.socket.as_raw_fd(), &self.frame, &self.to, MsgFlags::empty());
        assert_eq!(sent, Ok(self.frame.len()));
    }
}

fn frame(bytes: &[u8]) -> Frame {
    Frame {
        destination: bytes[..6].try_into().expect("six bytes"),
        source: bytes[6..12].try_into().expect("six bytes"),
        payload: payload(u16_at(bytes, 12), &bytes[14..]).unwrap_or(Payload::Other),
    }
}

fn payload(kind: u16, bytes: &[u8]) -> Option<Payload> {
    match kind {
        ARP => arp(bytes).map(Payload::Arp),
        IPV4 | IPV6 => tcp(&packet(bytes)?),
        _ => None,
    }
}

fn arp(bytes: &[u8]) -> Option<Arp> {
    let octets = |at: usize| <[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok();
    Some(Arp {
        is_reply: *bytes.get(7)? == 2,
        sender_mac: bytes.get(8..14)?.try_into().ok()?,
        sender: octets(14)?.into(),
        target: octets(24)?.into(),
    })
}

/// An IP packet without its header.
struct Packet<'a> {
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    content: &'a [u8],
}

fn packet(bytes: &[u8]) -> Option<Packet<'_>> {
    let address = |at: usize, length: usize| bytes.get(at..at + length);
    let four = |at| Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(address(at, 4)?).ok()?)));
    let six = |at| Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(address(at, 16)?).ok()?)));
    let (from, to, protocol, header) = match bytes.first()? >> 4 {
        4 => (four(12)?, four(16)?, *bytes.get(9)?, usize::from(bytes[0] & 15) * 4),
        6 => (six(8)?, six(24)?, *bytes.get(6)?, 40),
        _ => return None,
    };
    Some(Packet { from, to, protocol, content: bytes.get(header..)? })
}

fn tcp(packet: &Packet<'_>) -> Option<Payload> {
    let Packet { from, to, protocol, content } = *packet;
    let (encapsulation, header) = match protocol {
        TCP if content.len() >= 14 => {
            return Some(Payload::Tcp {
                outer: None,
                from: SocketAddr::new(from, u16_at(content, 0)),
                to: SocketAddr::new(to, u16_at(content, 2)),
                is_syn: content[13] & SYN != 0,
            });
        }
        IPIP | IN_IPV6 => (Encapsulation::Ip, 0),
        GRE => {
            let has_checksum = content.first()? & GRE_CHECKSUM != 0;
            (Encapsulation::Gre, if has_checksum { 8 } else { 4 })
        }
        UDP if content.len() >= 12 && u16_at(content, 2) == GUE_PORT => {
            // The UDP header, the GUE header, and its optional fields in units of four bytes.
            (Encapsulation::Gue, 8 + 4 + usize::from(content[8] & 0x1f) * 4)
        }
        _ => return None,
    };
    match tcp(&self::packet(content.get(header..)?)?)? {
        Payload::Tcp { outer: None, from: inner, to: target, is_syn } => {
            let outer = Some(Tunnel { encapsulation, from, to });
            Some(Payload::Tcp { outer, from: inner, to: target, is_syn })
        }
        _ => None,
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}
