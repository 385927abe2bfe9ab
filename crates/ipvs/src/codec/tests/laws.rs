//! Properties of all values and of arbitrary bytes.

use std::net::IpAddr;

use proptest::prelude::*;

use super::super::*;
use crate::uapi::*;
use crate::{
    Command, CommandObject, Connections, DecodeError, Destination, DestinationKey, Family, Name,
    Netmask, Rates, Service, ServiceKey, Statistics, Tunnel, flags, forward, protocol,
};

pub(super) const HEADER: Header = Header { family: 28, sequence: u32::MAX };

fn extremes<T: Copy + std::fmt::Debug + Arbitrary + 'static>(low: T, high: T) -> BoxedStrategy<T> {
    prop_oneof![Just(low), Just(high), any::<T>()].boxed()
}

pub(super) fn number() -> BoxedStrategy<u32> {
    extremes(0, u32::MAX)
}

pub(super) fn port() -> BoxedStrategy<u16> {
    extremes(0, u16::MAX)
}

fn family() -> impl Strategy<Value = Family> {
    any::<u16>().prop_map(Family::from)
}

fn service_key() -> impl Strategy<Value = ServiceKey> {
    let protocols =
        prop_oneof![Just(protocol::TCP), Just(protocol::UDP), Just(protocol::SCTP), any::<u16>()];
    let families = prop_oneof![Just(Family::Ipv4), Just(Family::Ipv6), family()];
    prop_oneof![
        (any::<IpAddr>(), port(), protocols).prop_map(|(address, port, protocol)| {
            ServiceKey::Address { address, port, protocol }
        }),
        (families, number()).prop_map(|(family, fwmark)| ServiceKey::Fwmark { family, fwmark }),
    ]
}

pub(super) fn name() -> impl Strategy<Value = Name> {
    "[a-z_]{1,15}".prop_map(|text| Name::new(&text).unwrap())
}

fn service() -> impl Strategy<Value = Service> {
    let netmask = |key: &ServiceKey, raw: u32| match key.family() {
        Family::Ipv4 => Netmask::Ipv4(raw.into()),
        Family::Ipv6 => Netmask::Ipv6(raw),
        Family::Other(_) => Netmask::Other(raw),
    };
    let rest = (name(), proptest::option::of(name()), number(), number());
    (service_key(), rest, number()).prop_map(move |(key, rest, raw)| {
        let (scheduler, persistence_engine, flags, timeout) = rest;
        Service { netmask: netmask(&key, raw), key, scheduler, persistence_engine, flags, timeout }
    })
}

fn tunnel() -> impl Strategy<Value = Tunnel> {
    (any::<u8>(), port(), any::<u16>()).prop_map(|(kind, port, flags)| Tunnel { kind, port, flags })
}

fn destination() -> impl Strategy<Value = Destination> {
    let numbers = (0..=7_u32, number(), number(), number());
    (any::<IpAddr>(), port(), numbers, tunnel()).prop_map(|(address, port, numbers, tunnel)| {
        let (forward, weight, upper_threshold, lower_threshold) = numbers;
        let tunnel = match forward {
            forward::TUNNEL => tunnel,
            _ => Tunnel::default(),
        };
        Destination { address, port, forward, weight, upper_threshold, lower_threshold, tunnel }
    })
}

fn command() -> impl Strategy<Value = Command> {
    (service(), destination(), 0..7).prop_map(|(service, destination, which)| match which {
        0 => Command::NewService(service),
        1 => Command::SetService(service),
        2 => Command::DeleteService(service.key),
        3 => Command::NewDestination(service.key, destination),
        4 => Command::SetDestination(service.key, destination),
        5 => Command::DeleteDestination(service.key, destination.key()),
        _ => Command::ZeroService(service.key),
    })
}

fn encoded(command: Command) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.command(HEADER, &command).unwrap();
    encoder.bytes().to_vec()
}

pub(super) fn payload(bytes: &[u8]) -> &[u8] {
    messages(bytes).next().unwrap().unwrap().payload
}

/// Returns an attribute with its padding.
pub(super) fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 4).unwrap();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Returns a message's payload with more attributes behind those of its last, nested attribute.
pub(super) fn with(payload: &[u8], nested_at: usize, more: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = [payload, &more.concat()].concat();
    let length = u16::try_from(bytes.len() - nested_at).unwrap();
    bytes[nested_at..nested_at + 2].copy_from_slice(&length.to_ne_bytes());
    bytes
}

/// Runs every decoder over every message in these bytes.
pub(super) fn decode_everything(bytes: &[u8]) {
    for message in messages(bytes).flatten() {
        let _answer = message.answer();
        if let Ok(reply) = decode_service(message.payload) {
            let _entry = reply.entry();
        }
        if let Ok(reply) = decode_destination(message.payload, Family::Ipv4) {
            let _entry = reply.entry();
        }
        if let Ok(reply) = decode_sync_daemon(message.payload) {
            let _entry = reply.entry();
        }
        let _timeouts = decode_timeouts(message.payload);
        let _info = decode_info(message.payload);
        let _object = decode_object(message.payload);
    }
}

proptest! {
    #[test]
    fn a_decoded_service_is_the_one_encoded(service in service()) {
        let bytes = encoded(Command::NewService(service));
        let expected = Service { flags: service.flags & !flags::HASHED, ..service };
        prop_assert_eq!(decode_service(payload(&bytes)).unwrap().service, expected);
    }

    #[test]
    fn setting_a_service_means_the_known_flags_only(service in service()) {
        let bytes = encoded(Command::SetService(service));
        let expected = Service { flags: service.flags & flags::KNOWN, ..service };
        prop_assert_eq!(decode_service(payload(&bytes)).unwrap().service, expected);
        let mut pair = attribute(IPVS_SVC_ATTR_FLAGS, &expected.flags.to_ne_bytes());
        pair[0] += 4;
        pair.extend(flags::KNOWN.to_ne_bytes());
        prop_assert!(bytes.windows(pair.len()).any(|window| window == pair));
    }

    #[test]
    fn a_decoded_destination_is_the_one_encoded(key in service_key(), destination in destination()) {
        for command in [
            Command::NewDestination(key, destination),
            Command::SetDestination(key, destination),
        ] {
            let bytes = encoded(command);
            let reply = decode_destination(payload(&bytes), Family::Other(1)).unwrap();
            prop_assert_eq!(reply.destination, destination);
            prop_assert_eq!(reply.connections, Connections::default());
        }
    }

    #[test]
    fn a_request_contains_its_object(command in command()) {
        prop_assert_eq!(decode_object(payload(&encoded(command))), Ok(command.object()));
    }

    #[test]
    fn a_buffer_of_requests_splits_into_them(commands in proptest::collection::vec(command(), 0..20)) {
        let mut encoder = Encoder::default();
        for command in &commands {
            encoder.command(HEADER, command).unwrap();
            // The client relies on this bound when it splits commands into chunks.
            prop_assert!(encoded(*command).len() <= 256);
        }
        let objects: Vec<CommandObject> = messages(encoder.bytes())
            .map(|message| decode_object(message.unwrap().payload).unwrap())
            .collect();
        let expected: Vec<CommandObject> = commands.iter().map(Command::object).collect();
        prop_assert_eq!(objects, expected);
        encoder.clear();
        prop_assert_eq!(encoder.bytes(), &[]);
    }

    #[test]
    fn counters_are_read_in_either_width_and_the_wider_wins(counters in any::<[u64; 10]>()) {
        let wide: Vec<u8> = (1..).zip(counters).flat_map(|(kind, counter)| {
            [attribute(kind, &counter.to_ne_bytes()), attribute(11, &[])].concat()
        }).collect();
        let narrow: Vec<u8> = (1..).zip(counters).flat_map(|(kind, counter)| {
            attribute(kind, &(counter as u32).to_ne_bytes())
        }).collect();
        let key = ServiceKey::Fwmark { family: Family::Ipv4, fwmark: 1 };
        let service = Service::new(key, Name::new("rr").unwrap());
        let bytes = encoded(Command::NewService(service));
        let narrow = attribute(IPVS_SVC_ATTR_STATS, &narrow);
        let wide = attribute(IPVS_SVC_ATTR_STATS64, &wide);
        let both = with(payload(&bytes), 4, &[narrow.clone(), wide]);
        prop_assert_eq!(decode_service(&both).unwrap().statistics(), Ok(statistics(counters)));
        let old = with(payload(&bytes), 4, &[narrow]);
        let cut = counters.map(|counter| u64::from(counter as u32));
        prop_assert_eq!(decode_service(&old).unwrap().statistics(), Ok(statistics(cut)));
    }

    #[test]
    fn unknown_attributes_are_kept(kind in 16_u16..0x3fff, bytes in any::<Vec<u8>>()) {
        let key = ServiceKey::Fwmark { family: Family::Ipv4, fwmark: 1 };
        let address = DestinationKey { address: IpAddr::from([192, 0, 2, 1]), port: 0 };
        let more = [attribute(kind, &bytes)];
        let service = encoded(Command::NewService(Service::new(key, Name::new("rr").unwrap())));
        let service = with(payload(&service), 4, &more);
        let request = encoded(Command::NewDestination(key, Destination::new(address, 0)));
        let nested_at = payload(&request).len() - nested_length(payload(&request));
        let destination = with(payload(&request), nested_at, &more);
        for unknown in [
            decode_service(&service).unwrap().entry().unwrap().unknown,
            decode_destination(&destination, Family::Ipv4).unwrap().entry().unwrap().unknown,
        ] {
            let [only] = unknown.as_slice() else { panic!("not one: {unknown:?}") };
            prop_assert_eq!((only.kind, &*only.bytes), (kind, &*bytes));
        }
    }

    #[test]
    fn any_bytes_decode_without_panic(bytes in any::<Vec<u8>>()) {
        decode_everything(&bytes);
        let _reply = decode_service(&bytes);
        let _reply = decode_destination(&bytes, Family::Ipv6);
        let _reply = decode_sync_daemon(&bytes);
        let _timeouts = decode_timeouts(&bytes);
        let _info = decode_info(&bytes);
        let _object = decode_object(&bytes);
    }

    #[test]
    fn damaged_messages_decode_without_panic(
        command in command(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encoded(command);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        decode_everything(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        decode_everything(&bytes);
    }

    #[test]
    fn a_cut_message_is_an_error_and_never_a_smaller_one(command in command(), cut in any::<prop::sample::Index>()) {
        let bytes = encoded(command);
        let cut = 1 + cut.index(bytes.len() - 1);
        prop_assert_eq!(messages(&bytes[..cut]).next(), Some(Err(DecodeError::CutMessage)));
    }
}

/// Returns the length of the destination's attribute at the end of a request of
/// [`Destination::new`] by NAT: its family, address, port and four numbers.
fn nested_length(payload: &[u8]) -> usize {
    let length = 4 + 8 + 20 + 8 + 4 * 8;
    let at = payload.len() - length;
    let kind = u16::from_ne_bytes([payload[at + 2], payload[at + 3]]);
    assert_eq!(kind & 0x3fff, IPVS_CMD_ATTR_DEST);
    length
}

fn statistics(counters: [u64; 10]) -> Statistics {
    let [connections, packets_in, packets_out, bytes_in, bytes_out, rates @ ..] = counters;
    Statistics {
        connections,
        packets_in,
        packets_out,
        bytes_in,
        bytes_out,
        rates: Rates {
            connections: rates[0],
            packets_in: rates[1],
            packets_out: rates[2],
            bytes_in: rates[3],
            bytes_out: rates[4],
        },
    }
}

#[test]
fn an_old_kernels_destination_has_its_services_family() {
    let key = ServiceKey::Fwmark { family: Family::Ipv6, fwmark: 1 };
    let address = "2001:db8::1".parse().unwrap();
    let destination = Destination::new(DestinationKey { address, port: 80 }, forward::DROUTE);
    let mut bytes = encoded(Command::NewDestination(key, destination));
    // The family's attribute gets a number that this crate does not know.
    let family = attribute(IPVS_DEST_ATTR_ADDR_FAMILY, &AF_INET6.to_ne_bytes());
    let at = bytes.windows(8).position(|window| window == family);
    bytes[at.unwrap() + 2] = 99;
    let reply = decode_destination(payload(&bytes), Family::Ipv6).unwrap();
    assert_eq!(reply.destination, destination);
}

#[test]
fn a_netmask_of_the_other_family_is_sent_as_the_host_mask() {
    let key = ServiceKey::Fwmark { family: Family::Ipv6, fwmark: 1 };
    let service = Service {
        netmask: Netmask::host(Family::Ipv4),
        ..Service::new(key, Name::new("rr").unwrap())
    };
    let bytes = encoded(Command::NewService(service));
    let decoded = decode_service(payload(&bytes)).unwrap().service;
    assert_eq!(decoded.netmask, Netmask::Ipv6(128));
}

#[test]
fn an_interrupted_dump_is_a_failure_and_not_an_end() {
    let errno = (-12_i32).to_ne_bytes();
    let message = Message { kind: 3, flags: 2, sequence: 1, port: 1, payload: &errno };
    let failure = Failure { errno: 12, message: None };
    assert_eq!(message.answer(), Ok(Answer::Failed(failure)));
}

#[test]
fn an_entry_of_a_large_table_is_small() {
    assert!(size_of::<Destination>() <= 48);
    assert!(size_of::<Service>() <= 80);
}
