//! Builds the ARP and neighbour discovery frames that announce an address or ask for one, and reads the
//! answers. Sends nothing.

use std::net::{Ipv4Addr, Ipv6Addr};

/// An Ethernet hardware address.
pub type HardwareAddress = [u8; 6];

const BROADCAST: HardwareAddress = [0xff; 6];
/// Where frames to `ff02::1` go (RFC 2464, section 7).
const ALL_NODES: HardwareAddress = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES_GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;
pub(crate) const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const NEXT_HEADER_ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const OPTION_SOURCE_LINK_ADDRESS: u8 = 1;
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
    let request =
        Arp { operation: ARP_REQUEST, from: address, hardware, to: address, to_hardware: [0; 6] };
    let reply = Arp { operation: ARP_REPLY, to_hardware: hardware, ..request };
    [request.frame(), reply.frame()]
}

/// The ARP request for an address, to all hosts. The sender `0.0.0.0` is that of a probe (RFC 5227), from
/// which hosts learn nothing.
pub(crate) fn arp_request(from: Ipv4Addr, hardware: HardwareAddress, target: Ipv4Addr) -> Vec<u8> {
    Arp { operation: ARP_REQUEST, from, hardware, to: target, to_hardware: [0; 6] }.frame()
}

/// Reads a frame as an ARP reply: the address, and the hardware address that it is said to have.
pub(crate) fn arp_reply(frame: &[u8]) -> Option<(Ipv4Addr, HardwareAddress)> {
    let message = frame.get(14..)?;
    let is_reply = message.get(6..8)? == ARP_REPLY.to_be_bytes();
    let hardware = message.get(8..14)?.try_into().ok()?;
    let address: [u8; 4] = message.get(14..18)?.try_into().ok()?;
    is_reply.then(|| (address.into(), hardware))
}

/// The neighbour solicitation for an address (RFC 4861, section 7.2.2), to the address's group of hosts. The
/// source `::` is that of duplicate address detection, from which hosts learn nothing.
pub(crate) fn neighbour_solicitation(
    from: Ipv6Addr,
    hardware: HardwareAddress,
    target: Ipv6Addr,
) -> Vec<u8> {
    let [.., a, b, c] = target.octets();
    let mut group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
    group[13..].copy_from_slice(&[a, b, c]);
    let mut message = vec![NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    if !from.is_unspecified() {
        message.extend([OPTION_SOURCE_LINK_ADDRESS, 1]);
        message.extend(hardware);
    }
    icmpv6(
        from,
        group.into(),
        ethernet([0x33, 0x33, 0xff, a, b, c], hardware, ETHERTYPE_IPV6),
        message,
    )
}

/// Reads an ICMPv6 message as a neighbour advertisement: the address, and the hardware address that it is said
/// to have. None for one without that option, which answers no request to a group.
pub(crate) fn neighbour_advertisement(message: &[u8]) -> Option<(Ipv6Addr, HardwareAddress)> {
    let address: [u8; 16] = message.get(8..24)?.try_into().ok()?;
    let mut options = message.get(24..)?;
    while let [kind, units, ..] = *options {
        // Lengths are in units of eight bytes; one of none is an error.
        let length = usize::from(units) * 8;
        let option = options.get(..length).filter(|it| !it.is_empty())?;
        if kind == OPTION_TARGET_LINK_ADDRESS {
            let hardware = option.get(2..8)?.try_into().ok()?;
            return (message[0] == NEIGHBOUR_ADVERTISEMENT).then(|| (address.into(), hardware));
        }
        options = options.get(length..)?;
    }
    None
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
    icmpv6(address, ALL_NODES_GROUP, ethernet(ALL_NODES, hardware, ETHERTYPE_IPV6), message)
}

/// Appends an IPv6 header and a message to a frame's header. The message's checksum is zero until here.
fn icmpv6(from: Ipv6Addr, to: Ipv6Addr, mut frame: Vec<u8>, mut message: Vec<u8>) -> Vec<u8> {
    let length = u8::try_from(message.len()).unwrap_or(u8::MAX);
    let checksum = icmpv6_checksum(from, to, length, &message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    frame.extend([0x60, 0, 0, 0, 0, length, NEXT_HEADER_ICMPV6, 255]);
    frame.extend(from.octets());
    frame.extend(to.octets());
    frame.extend(message);
    frame
}

/// An ARP message that is sent to all hosts.
struct Arp {
    operation: u16,
    from: Ipv4Addr,
    hardware: HardwareAddress,
    to: Ipv4Addr,
    to_hardware: HardwareAddress,
}

impl Arp {
    fn frame(&self) -> Vec<u8> {
        let mut frame = ethernet(BROADCAST, self.hardware, ETHERTYPE_ARP);
        // Hardware Ethernet, protocol IPv4, address lengths 6 and 4.
        frame.extend([0, 1, 0x08, 0, 6, 4]);
        frame.extend(self.operation.to_be_bytes());
        frame.extend(self.hardware);
        frame.extend(self.from.octets());
        frame.extend(self.to_hardware);
        frame.extend(self.to.octets());
        frame
    }
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
fn icmpv6_checksum(from: Ipv6Addr, to: Ipv6Addr, length: u8, message: &[u8]) -> u16 {
    let rest = [0, 0, 0, length, 0, 0, 0, NEXT_HEADER_ICMPV6];
    let mut sum = 0_u32;
    for bytes in [&from.octets()[..], &to.octets(), &rest, message] {
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

    #[test]
    fn a_request_names_its_sender_and_a_reply_to_it_is_read() {
        let [from, target] = [[192, 0, 2, 2], [192, 0, 2, 21]].map(Ipv4Addr::from);
        let mut frame = arp_request(from, HARDWARE, target);
        assert_eq!(frame[..6], BROADCAST);
        assert_eq!(
            frame[22..],
            [&HARDWARE[..], &from.octets(), &[0; 6], &target.octets()].concat()
        );
        assert_eq!(arp_reply(&frame), None, "a request");
        frame[21] = 2;
        assert_eq!(arp_reply(&frame), Some((from, HARDWARE)));
        assert_eq!(arp_reply(&frame[..31]), None, "it is cut short");
    }

    #[test]
    fn a_solicitation_goes_to_the_group_of_the_address_and_an_answer_is_read() {
        let target: Ipv6Addr = "2001:db8::12:3456".parse().unwrap();
        let from: Ipv6Addr = "fe80::1".parse().unwrap();
        let frame = neighbour_solicitation(from, HARDWARE, target);
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        let group: Ipv6Addr = "ff02::1:ff12:3456".parse().unwrap();
        assert_eq!(frame[38..54], group.octets());
        assert_eq!(frame[78..], [&[1, 1][..], &HARDWARE].concat());
        // One that finds duplicates names no hardware address.
        let probe = neighbour_solicitation(Ipv6Addr::UNSPECIFIED, HARDWARE, target);
        assert_eq!((probe.len(), probe[19]), (78, 24));
        for frame in [&frame, &probe] {
            let length = u32::from(frame[19]);
            let sum = frame[22..].chunks_exact(2).fold(length + 58, |sum, pair| {
                let sum = sum + u32::from(pair[0]) * 256 + u32::from(pair[1]);
                (sum & 0xffff) + (sum >> 16)
            });
            assert_eq!(sum, 0xffff);
        }
        assert_eq!(neighbour_advertisement(&frame[54..]), None, "a solicitation");
        let answer = unsolicited_advertisement(target, HARDWARE, false);
        assert_eq!(neighbour_advertisement(&answer[54..]), Some((target, HARDWARE)));
        for end in 54..answer.len() {
            assert_eq!(neighbour_advertisement(&answer[54..end]), None, "it is cut short");
        }
    }
}
