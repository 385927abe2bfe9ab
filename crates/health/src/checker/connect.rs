//! TCP connections and UDP sockets to a target, from the source of the check.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use evenkeel_model::check::{Check, Close};

use super::problem::Problem;

/// Connects over TCP.
pub(crate) async fn tcp(destination: SocketAddr, check: &Check) -> Result<TcpStream, Problem> {
    let socket = match destination {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
    .map_err(|error| Problem::of_setup(&error))?;
    if let Some(source) = check.source {
        bind(&socket, source)?;
    }
    let stream = socket.connect(destination).await.map_err(|error| Problem::of_exchange(&error))?;
    if check.close() == Close::Rst {
        // Closing then resets, whenever and however the probe ends.
        SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .map_err(|error| Problem::of_setup(&error))?;
    }
    // What is sent is sent at once.
    stream.set_nodelay(true).map_err(|error| Problem::of_exchange(&error))?;
    Ok(stream)
}

/// Binds to a source, but to no port yet: the kernel chooses one that is free for the destination when it
/// connects. Ports that are free for all destinations run out, for each closed connection keeps its own for
/// a minute.
fn bind(socket: &TcpSocket, source: IpAddr) -> Result<(), Problem> {
    setsockopt(socket, IpBindAddressNoPort, &true)
        .map_err(|error| Problem::of_setup(&error.into()))?;
    socket.bind(SocketAddr::new(source, 0)).map_err(|error| Problem::of_source(&error))
}

/// Opens a UDP socket that is connected, so that it receives ICMP errors, and from others nothing.
pub(crate) async fn udp(destination: SocketAddr, check: &Check) -> Result<UdpSocket, Problem> {
    let any = match destination {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind(SocketAddr::new(check.source.unwrap_or(any), 0))
        .await
        .map_err(|error| Problem::of_source(&error))?;
    socket.connect(destination).await.map_err(|error| Problem::of_exchange(&error))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_takes_no_port_before_the_destination_is_known() {
        for (socket, source) in [
            (TcpSocket::new_v4(), "127.0.0.9".parse().unwrap()),
            (TcpSocket::new_v6(), "::1".parse().unwrap()),
        ] {
            let socket = socket.unwrap();
            assert_eq!(bind(&socket, source), Ok(()));
            assert_eq!(socket.local_addr().unwrap(), SocketAddr::new(source, 0));
        }
    }
}
