//! Messages of ICMP and ICMPv6, as far as echoes need them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Types of both versions.
struct Types {
    request: u8,
    reply: u8,
    unreachable: u8,
    time_exceeded: u8,
}

const V4: Types = Types { request: 8, reply: 0, unreachable: 3, time_exceeded: 11 };
const V6: Types = Types { request: 128, reply: 129, unreachable: 1, time_exceeded: 3 };

/// Type, code, checksum, identifier, sequence.
const HEADER: usize = 8;

/// What a message says of an echo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// The answer.
    Reply {
        id: u16,
        sequence: u16,
        /// From the payload: a number that only the sender of the echo has.
        token: u64,
    },
    /// A router, or the target, did not deliver it.
    NotDelivered {
        id: u16,
        sequence: u16,
        /// To whom it was sent.
        to: IpAddr,
    },
}

/// An echo request. The kernel sets the checksum of ICMPv6 and of ping sockets.
pub(crate) fn request(is_v4: bool, id: u16, sequence: u16, token: u64) -> Vec<u8> {
    let types = if is_v4 { V4 } else { V6 };
    let mut message = vec![types.request, 0, 0, 0];
    message.extend_from_slice(&id.to_be_bytes());
    message.extend_from_slice(&sequence.to_be_bytes());
    message.extend_from_slice(&token.to_be_bytes());
    // As long as that of ping(8): some filters drop short ones.
    message.resize(HEADER + 56, 0);
    if is_v4 {
        let sum = checksum(&message).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
    }
    message
}

/// Reads a message; `None`: it is not about an echo.
pub(crate) fn decode(is_v4: bool, message: &[u8]) -> Option<Message> {
    let types = if is_v4 { V4 } else { V6 };
    let kind = *message.first()?;
    if kind == types.reply {
        let (id, sequence) = id_and_sequence(message)?;
        let token = u64::from_be_bytes(*message.get(HEADER..)?.first_chunk()?);
        return Some(Message::Reply { id, sequence, token });
    }
    if kind != types.unreachable && kind != types.time_exceeded {
        return None;
    }
    // The packet that was not delivered follows, at least with the header of its echo.
    let packet = message.get(HEADER..)?;
    let (to, echo) = if is_v4 {
        let octets: [u8; 4] = *packet.get(16..)?.first_chunk()?;
        (IpAddr::V4(Ipv4Addr::from(octets)), without_ip_header(packet)?)
    } else {
        let octets: [u8; 16] = *packet.get(24..)?.first_chunk()?;
        // An echo of ours has no extension headers.
        let is_icmp = packet.get(6) == Some(&58);
        (IpAddr::V6(Ipv6Addr::from(octets)), packet.get(40..).filter(|_| is_icmp)?)
    };
    let (id, sequence) = id_and_sequence(echo)?;
    (echo.first() == Some(&types.request)).then_some(Message::NotDelivered { id, sequence, to })
}

/// What follows the header of an IPv4 packet, if it is ICMP.
pub(crate) fn without_ip_header(packet: &[u8]) -> Option<&[u8]> {
    let length = usize::from(packet.first()? & 0x0f) * 4;
    (length >= 20 && packet.get(9) == Some(&1)).then(|| packet.get(length..))?
}

fn id_and_sequence(message: &[u8]) -> Option<(u16, u16)> {
    let at = |place: usize| Some(u16::from_be_bytes(*message.get(place..)?.first_chunk()?));
    Some((at(4)?, at(6)?))
}

/// The checksum of the internet (RFC 1071).
fn checksum(message: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in message.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_checksum_sums_up_to_nothing() {
        let message = request(true, 0x1234, 7, 0x0102_0304_0506_0708);
        assert_eq!(checksum(&message), 0);
        assert_eq!(&message[..8], [8, 0, message[2], message[3], 0x12, 0x34, 0, 7]);
        assert_eq!(checksum(b"\x01\x02\x03"), !0x0402);
    }

    #[test]
    fn replies_and_errors_are_matched() {
        for is_v4 in [true, false] {
            let echo = request(is_v4, 5, 6, 7);
            assert_eq!(decode(is_v4, &echo), None);
            let mut reply = echo.clone();
            reply[0] = if is_v4 { 0 } else { 129 };
            let expected = Message::Reply { id: 5, sequence: 6, token: 7 };
            assert_eq!(decode(is_v4, &reply), Some(expected));
            let (packet, to): (Vec<u8>, IpAddr) = if is_v4 {
                let mut header = vec![0; 20];
                header[0] = 0x45;
                header[9] = 1;
                header[16..].copy_from_slice(&[10, 0, 0, 1]);
                (header, "10.0.0.1".parse().unwrap())
            } else {
                let address: Ipv6Addr = "2001:db8::1".parse().unwrap();
                let mut header = vec![0; 40];
                header[6] = 58;
                header[24..].copy_from_slice(&address.octets());
                (header, address.into())
            };
            let kind = if is_v4 { 3 } else { 1 };
            // Routers need to return eight bytes only.
            let error = [&[kind, 1, 0, 0, 0, 0, 0, 0][..], &packet, &echo[..8]].concat();
            let expected = Message::NotDelivered { id: 5, sequence: 6, to };
            assert_eq!(decode(is_v4, &error), Some(expected));
            assert_eq!(decode(is_v4, &error[..error.len() - 1]), None);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read(
            kind in prop_oneof![Just(0_u8), Just(3), Just(1), Just(129), any::<u8>()],
            bytes in proptest::collection::vec(any::<u8>(), 0..100), is_v4: bool,
        ) {
            let message = [&[kind][..], &bytes].concat();
            let _ = decode(is_v4, &message);
            let _ = without_ip_header(&message);
        }
    }
}
