//! Tests the filter and the answers of socket diagnostics, and the kernel of the machine that runs the tests.

use std::net::{TcpListener, TcpStream, UdpSocket};

use super::*;

/// Interprets a filter as the kernel does (`inet_diag_bc_run`).
fn accepts(bytecode: &[u8], local: IpAddr) -> bool {
    let (mut at, end) = (0_i64, i64::try_from(bytecode.len()).unwrap());
    while at < end {
        let operation = &bytecode[usize::try_from(at).unwrap()..];
        let no = i64::from(u16::from_ne_bytes([operation[2], operation[3]]));
        let holds = match operation[0] {
            BYTECODE_JUMP => false,
            _ => match local {
                IpAddr::V4(local) => operation[4] == AF_INET && operation[12..16] == local.octets(),
                IpAddr::V6(local) => {
                    operation[4] == AF_INET6 && operation[12..28] == local.octets()
                }
            },
        };
        at += if holds { i64::from(operation[1]) } else { no };
    }
    at == end
}

#[test]
fn a_filter_accepts_its_addresses_and_no_other() {
    let addresses: Vec<IpAddr> =
        ["192.0.2.1", "2001:db8::1", "192.0.2.3"].map(|it| it.parse().unwrap()).to_vec();
    for number in 1..=addresses.len() {
        let filter = bytecode(&addresses[..number]);
        for (place, address) in addresses.iter().enumerate() {
            assert_eq!(accepts(&filter, *address), place < number, "{address} among {number}");
        }
        assert!(!accepts(&filter, "192.0.2.9".parse().unwrap()));
    }
    let many: Vec<IpAddr> =
        (0..FILTERED).map(|it| Ipv6Addr::from(u128::try_from(it).unwrap()).into()).collect();
    let filter = bytecode(&many);
    assert!(many.iter().all(|address| accepts(&filter, *address)));
    assert!(filter.len() + OPERATION <= usize::from(u16::MAX));
}

/// The entry of a socket, with these attributes.
fn entry(family: u8, state: u8, local: &[u8], inode: u32, attributes: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; REPLY];
    (bytes[0], bytes[1]) = (family, state);
    bytes[4..8].copy_from_slice(&[0, 22, 0xd3, 0xf2]);
    bytes[8..8 + local.len()].copy_from_slice(local);
    bytes[REPLY - 4..].copy_from_slice(&inode.to_ne_bytes());
    bytes.extend(attributes);
    bytes
}

#[test]
fn a_mapped_address_is_one_of_ipv4() {
    let vip: IpAddr = "192.0.2.1".parse().unwrap();
    let mapped = Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().octets();
    let addresses = BTreeSet::from([vip]);
    let found = decode(SocketProtocol::Tcp, &entry(AF_INET6, 1, &mapped, 7, &[]), &addresses);
    assert_eq!(found.unwrap().unwrap().local, "192.0.2.1:22".parse().unwrap());
    let other =
        decode(SocketProtocol::Tcp, &entry(AF_INET, 1, &[192, 0, 2, 2], 7, &[]), &addresses);
    assert_eq!(other, Ok(None));
    assert_eq!(decode(SocketProtocol::Tcp, &[0; 10], &addresses), Err("an entry is cut short"),);
}

/// As the socket of the sync daemon of IPVS, which the kernel itself has.
#[test]
fn a_sender_to_a_group_has_no_session() {
    let addresses = BTreeSet::from(["192.0.2.1".parse().unwrap()]);
    let is_listed = |remote: [u8; 4]| {
        let mut entry = entry(AF_INET, 1, &[192, 0, 2, 1], 7, &[]);
        entry[24..28].copy_from_slice(&remote);
        decode(SocketProtocol::Udp, &entry, &addresses).unwrap().is_some()
    };
    assert!(is_listed([198, 51, 100, 1]));
    assert!(!is_listed([224, 0, 0, 81]));
}

#[test]
fn a_socket_that_no_program_has_counts_only_while_it_has_data_to_send() {
    let addresses = BTreeSet::from(["192.0.2.1".parse().unwrap()]);
    let is_listed = |state, inode| {
        let entry = entry(AF_INET, state, &[192, 0, 2, 1], inode, &[]);
        decode(SocketProtocol::Tcp, &entry, &addresses).unwrap().is_some()
    };
    assert!(is_listed(FIN_WAIT1, 0));
    assert!(is_listed(FIN_WAIT2, 7), "half closed");
    assert!(!is_listed(FIN_WAIT2, 0));
}

#[test]
fn an_association_counts_if_no_other_address_is_left_to_it() {
    let locals = |all: &[[u8; 4]]| {
        let length = u16::try_from(4 + all.len() * SOCKET_ADDRESS).unwrap();
        let mut bytes = [length.to_ne_bytes(), REPLY_LOCALS.to_ne_bytes()].concat();
        for address in all {
            let mut entry = vec![0; SOCKET_ADDRESS];
            entry[..2].copy_from_slice(&u16::from(AF_INET).to_ne_bytes());
            entry[4..8].copy_from_slice(address);
            bytes.extend(entry);
        }
        bytes
    };
    let addresses = BTreeSet::from(["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()]);
    let is_listed = |state, all: &[[u8; 4]]| {
        let entry = entry(AF_INET, state, &[10, 0, 0, 1], 7, &locals(all));
        decode(SocketProtocol::Sctp, &entry, &addresses).unwrap().is_some()
    };
    assert!(is_listed(SCTP_ESTABLISHED, &[[192, 0, 2, 1]]));
    assert!(is_listed(SCTP_ESTABLISHED, &[[192, 0, 2, 1], [127, 0, 0, 1], [192, 0, 2, 2]]));
    assert!(!is_listed(SCTP_ESTABLISHED, &[[192, 0, 2, 1], [10, 0, 0, 1]]));
    assert!(!is_listed(1, &[[192, 0, 2, 1]]), "not established yet");
}

/// Where the kernel has no socket diagnostics, the error says so.
#[test]
fn sockets_of_this_process_are_listed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let address = client.local_addr().unwrap();
    let on = BTreeSet::from([address.ip()]);
    match connected_sockets(SocketProtocol::Tcp, &on) {
        Ok(found) => {
            let is_there = |local| found.iter().any(|it| it.local == local);
            assert!(is_there(address) && is_there(listener.local_addr().unwrap()), "{found:?}");
            let elsewhere = BTreeSet::from(["192.0.2.1".parse().unwrap()]);
            assert_eq!(connected_sockets(SocketProtocol::Tcp, &elsewhere).unwrap(), []);
        }
        Err(error) => assert!(matches!(error, Error::NoSocketDiagnostics { .. }), "{error}"),
    }
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let is_listed = |udp: &UdpSocket| {
        let found = connected_sockets(SocketProtocol::Udp, &on);
        found.map(|all| all.iter().any(|it| it.local == udp.local_addr().unwrap()))
    };
    if let Ok(before) = is_listed(&udp) {
        assert!(!before);
        udp.connect(address).unwrap();
        assert!(is_listed(&udp).unwrap());
    }
}
