//! Builds the ARP and neighbour discovery frames that announce an address. Sends nothing.

use std::net::{Ipv4Addr, Ipv6Addr};

/// An Ethernet hardware address.
pub type HardwareAddress = [u8; 6];

const BROADCAST: HardwareAddress = [0xff; 6];
/// Where frames to `ff02::1` go (RFC 2464, section 7).
const ALL_NODES: HardwareAddress = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES_GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const NEXT_HEADER_ICMPV6: u8 = 58;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const ADVERTISEMENT_LEN: u8 = 32;
const FLAG_ROUTER: u8 = 0x80;
const FLAG_OVERRIDE: u8 = 0x20;
const OPTION_TARGET_LINK_ADDRESS: u8 = 2;

/// The two gratuitous ARP frames for an address: a request, then a reply, both broadcast and both with the
/// address as sender and as target.
///
/// RFC 5227 asks for the request; some switches and older hosts only learn from a reply, so both are customary.
/// The request's target hardware address is zero; the reply's is the sender's own, without which Linux takes it
/// for an ordinary answer and ignores it for a second after the last one (`arp_is_garp` in net/ipv4/arp.c).
#[must_use]
pub fn gratuitous_arp(address: Ipv4Addr, hardware: HardwareAddress) -> [Vec<u8>; 2] {
    const REQUEST: u16 = 1;
    const REPLY: u16 = 2;
    [arp(REQUEST, address, hardware, [0; 6]), arp(REPLY, address, hardware, hardware)]
}

/// The unsolicited neighbour advertisement for an address (RFC 4861, section 7.2.6): from the address to all
/// nodes, hop limit 255, override set, solicited clear.
///
/// `router` says whether the host forwards on that interface: an advertisement without the flag makes every
/// neighbour that uses the address as its gateway drop it from its routers.
#[must_use]
pub fn unsolicited_advertisement(
    address: Ipv6Addr,
    hardware: HardwareAddress,
    router: bool,
) -> Vec<u8> {
    let flags = if router { FLAG_ROUTER | FLAG_OVERRIDE } else { FLAG_OVERRIDE };
    let mut message = vec![NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    message.extend(address.octets());
    message.extend([OPTION_TARGET_LINK_ADDRESS, 1]);
    message.extend(hardware);
    let checksum = icmpv6_checksum(address, ALL_NODES_GROUP, &message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());

    let mut frame = ethernet(ALL_NODES, hardware, ETHERTYPE_IPV6);
    frame.extend([0x60, 0, 0, 0, 0, ADVERTISEMENT_LEN, NEXT_HEADER_ICMPV6, 255]);
    frame.extend(address.octets());
    frame.extend(ALL_NODES_GROUP.octets());
    frame.extend(message);
    frame
}

fn arp(
    operation: u16,
    address: Ipv4Addr,
    sender: HardwareAddress,
    target: HardwareAddress,
) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, sender, ETHERTYPE_ARP);
    // Hardware Ethernet, protocol IPv4, address lengths 6 and 4.
    frame.extend([0, 1, 0x08, 0, 6, 4]);
    frame.extend(operation.to_be_bytes());
    frame.extend(sender);
    frame.extend(address.octets());
    frame.extend(target);
    frame.extend(address.octets());
    frame
}

fn ethernet(to: HardwareAddress, from: HardwareAddress, ethertype: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(86);
    frame.extend(to);
    frame.extend(from);
    frame.extend(ethertype.to_be_bytes());
    frame
}

/// RFC 4443, section 2.3: the Internet checksum over the pseudo-header of RFC 8200 and the message, whose own
/// checksum field is zero.
fn icmpv6_checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let length = [0, 0, 0, ADVERTISEMENT_LEN, 0, 0, 0, NEXT_HEADER_ICMPV6];
    let mut sum = 0_u32;
    for bytes in [&from.octets()[..], &to.octets(), &length, message] {
        for pair in bytes.chunks_exact(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair[1]]));
        }
    }
    while let carry @ 1.. = sum >> 16 {
        sum = (sum & 0xffff) + carry;
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HARDWARE: HardwareAddress = [0x02, 0x11, 0x22, 0x33, 0x44, 0x55];

    #[test]
    fn the_arp_request_and_reply_carry_the_address_as_sender_and_target() {
        let [request, reply] = gratuitous_arp(Ipv4Addr::new(192, 168, 56, 185), HARDWARE);
        #[rustfmt::skip]
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x08, 0x06,
            0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01,
            0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 192, 168, 56, 185,
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 192, 168, 56, 185,
        ];
        assert_eq!(request, expected);
        assert_eq!(reply[..21], expected[..21]);
        assert_eq!(reply[21], 2, "a reply");
        assert_eq!(reply[22..32], expected[22..32]);
        assert_eq!(reply[32..38], HARDWARE);
        assert_eq!(reply[38..], expected[38..]);
    }

    #[test]
    fn the_advertisement_goes_to_all_nodes_with_override_and_a_valid_checksum() {
        let frame = unsolicited_advertisement("2001:db8::1".parse().unwrap(), HARDWARE, false);
        #[rustfmt::skip]
        let expected = [
            0x33, 0x33, 0x00, 0x00, 0x00, 0x01, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x86, 0xdd,
            0x60, 0x00, 0x00, 0x00, 0x00, 0x20, 0x3a, 0xff,
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01,
            0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01,
            // The checksum, 0x9292: what the pseudo-header and the rest of the message lack to all ones.
            0x88, 0x00, 0x92, 0x92, 0x20, 0x00, 0x00, 0x00,
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01,
            0x02, 0x01, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55,
        ];
        assert_eq!(frame, expected);
    }

    #[test]
    fn a_forwarding_host_stays_a_router_to_its_neighbours() {
        let frame = unsolicited_advertisement("fe80::1".parse().unwrap(), HARDWARE, true);
        assert_eq!(frame[58], 0xa0);
    }

    #[test]
    fn a_receiver_sums_any_advertisement_to_all_ones() {
        for address in ["::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe80::dead:beef"] {
            for hardware in [HARDWARE, [0xff; 6], [0; 6]] {
                let frame = unsolicited_advertisement(address.parse().unwrap(), hardware, false);
                // Addresses and message as they stand, length and next header of the pseudo-header.
                let sum = frame[22..].chunks_exact(2).fold(0x20 + 0x3a, |sum, pair| {
                    let sum = sum + u32::from(pair[0]) * 256 + u32::from(pair[1]);
                    (sum & 0xffff) + (sum >> 16)
                });
                assert_eq!(sum, 0xffff, "{address}");
            }
        }
    }
}
