//! Packets from this host to its own services, for the counters of the kernel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use evenkeel_lab_tests::run;
use nix::sys::socket::{setsockopt, sockopt::Mark};
use rustix::net::{AddressFamily, Protocol, SendFlags, SocketType, sendto, socket};

/// `IPPROTO_SCTP`
const SCTP: NonZeroU32 = NonZeroU32::new(132).unwrap();

/// Adds addresses to `lo`, usable at once.
pub(crate) fn add_to_lo(addresses: &[&str]) {
    for address in addresses {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        run(&format!("ip address add {address} dev lo{nodad}"));
    }
}

/// Sends UDP datagrams of this size with a firewall mark, 0 for none. Nothing needs to answer.
pub(crate) fn send_datagrams(to: &str, mark: u32, number: usize, size: usize) {
    let to: SocketAddr = to.parse().unwrap();
    let sender = UdpSocket::bind((unspecified(to), 0)).unwrap();
    if mark != 0 {
        setsockopt(&sender, Mark, &mark).unwrap();
    }
    for _ in 0..number {
        assert_eq!(sender.send_to(&vec![0; size], to).unwrap(), size);
    }
}

/// Sends SCTP packets that ask for an association: each is a connection to the kernel's IPVS, which
/// schedules them, although no kernel here has SCTP itself.
pub(crate) fn send_sctp(to: &str, number: u16) {
    let to: SocketAddr = to.parse().unwrap();
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let protocol = Some(Protocol::from_raw(SCTP));
    let sender = socket(family, SocketType::RAW, protocol).unwrap();
    // The port is in the packet; that of the address has to be 0.
    let target = SocketAddr::new(to.ip(), 0);
    for place in 0..number {
        let ports = [(5000 + place).to_be_bytes(), to.port().to_be_bytes()].concat();
        // No tag and no checksum; then a chunk INIT of 20 bytes: tag, window, streams, number.
        let rest = [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 20, 0, 0, 0, 1, 0, 0, 16, 0];
        let streams = [0, 1, 0, 1, 0, 0, 0, 1];
        let packet = [&ports[..], &rest, &streams].concat();
        assert_eq!(sendto(&sender, &packet, SendFlags::empty(), &target).unwrap(), packet.len());
    }
}

/// Opens TCP connections to a service whose real server is `listener`, and returns them with the
/// other ends.
pub(crate) fn connect(to: &str, listener: &TcpListener, number: usize) -> Vec<TcpStream> {
    let to = to.parse().unwrap();
    let pair = |_| {
        let client = TcpStream::connect_timeout(&to, Duration::from_secs(3)).unwrap();
        [client, listener.accept().unwrap().0]
    };
    (0..number).flat_map(pair).collect()
}

fn unspecified(of: SocketAddr) -> IpAddr {
    match of {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Reads until the reading passes, for up to 20 seconds: kernels before 6.2 update the counters that
/// can be read every two seconds, and rates change all the time (`estimation_timer`).
#[track_caller]
pub(crate) fn settled<T>(mut read: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match read() {
            Ok(read) => return read,
            Err(problem) => assert!(Instant::now() < end, "{problem}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
