//! Properties of arbitrary bytes decoded as a datagram. The fuzz target and the replay of its
//! corpus share this file.

use evenkeel_ipvs::codec::{
    Encoder, Header, decode_destination, decode_info, decode_object, decode_service,
    decode_sync_daemon, decode_timeouts, messages,
};
use evenkeel_ipvs::{
    Command, CommandObject, DestinationKey, EncodeError, Family, Service, SyncDaemon, Timeouts,
    flags,
};

/// Decodes everything in every way, and compares each decoded value with its own encoding.
///
/// # Panics
/// Panics if one of the properties does not hold.
pub(crate) fn check(datagram: &[u8]) {
    payload(datagram);
    for message in messages(datagram) {
        // Nothing can follow an invalid message.
        let Ok(message) = message else { return };
        let _answer = message.answer();
        let _interrupted = message.is_interrupted();
        payload(message.payload);
    }
}

fn payload(bytes: &[u8]) {
    let _object = decode_object(bytes);
    if let Ok(reply) = decode_service(bytes) {
        let _entry = reply.entry();
        service(reply.service);
    }
    for family in [Family::Ipv4, Family::Ipv6, Family::Other(1)] {
        if let Ok(reply) = decode_destination(bytes, family) {
            let _entry = reply.entry();
        }
    }
    let _info = decode_info(bytes);
    if let Ok(read) = decode_timeouts(bytes) {
        timeouts(read);
    }
    if let Ok(reply) = decode_sync_daemon(bytes) {
        let _entry = reply.entry();
        sync_daemon(reply.daemon);
    }
}

fn service(service: Service) {
    let sent = encoded(&Command::NewService(service));
    assert_eq!(decode_object(&sent), Ok(CommandObject::Service(service.key)));
    let again = decode_service(&sent).expect("what was decoded can be encoded").service;
    assert_eq!(again, Service { flags: service.flags & !flags::HASHED, ..service });
    let key = DestinationKey { address: [192, 0, 2, 1].into(), port: 80 };
    let sent = encoded(&Command::DeleteDestination(service.key, key));
    assert_eq!(decode_object(&sent), Ok(CommandObject::Destination(service.key, key)));
}

fn timeouts(timeouts: Timeouts) {
    let sent = written(|encoder, header| encoder.set_timeouts(header, &timeouts));
    assert_eq!(decode_timeouts(&sent), Ok(timeouts));
}

fn sync_daemon(daemon: SyncDaemon) {
    let sent = written(|encoder, header| encoder.new_sync_daemon(header, &daemon));
    assert_eq!(decode_object(&sent), Ok(CommandObject::SyncDaemon(daemon.state)));
    let again = decode_sync_daemon(&sent).expect("what was decoded can be encoded").daemon;
    assert_eq!(again, daemon);
}

fn encoded(command: &Command) -> Vec<u8> {
    written(|encoder, header| encoder.command(header, command))
}

fn written(write: impl FnOnce(&mut Encoder, Header) -> Result<(), EncodeError>) -> Vec<u8> {
    let mut encoder = Encoder::default();
    let header = Header { family: 28, sequence: 1 };
    write(&mut encoder, header).expect("a request of bounded size");
    let message = messages(encoder.bytes()).next().expect("a message").expect("whole");
    message.payload.to_vec()
}
