//! Encodes requests into one reused buffer.

use std::io::Cursor;

use neli::consts::nl::{NlmF, Nlmsg};
use neli::err::SerError;
use neli::genl::{Genlmsghdr, GenlmsghdrBuilder};
use neli::nl::{NlPayload, NlmsghdrBuilder};
use neli::{Size, ToBytes};

use super::sink::{Content, Sink, length_of};
use crate::uapi::*;
use crate::{
    Command, Destination, DestinationKey, EncodeError, Family, Netmask, Service, ServiceKey, flags,
    forward,
};

/// What a request carries around its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The number the kernel gave to the family.
    pub family: u16,
    /// The request's own number, echoed in what answers it.
    pub sequence: u32,
}

/// Writes messages one after the other into a buffer that keeps its memory.
#[derive(Debug, Default)]
pub struct Encoder {
    buffer: Cursor<Vec<u8>>,
}

impl Encoder {
    /// The messages written so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get_ref()
    }

    /// Removes the messages and keeps the memory.
    pub fn clear(&mut self) {
        self.buffer.get_mut().clear();
        self.buffer.set_position(0);
    }

    /// Encodes a change. The kernel answers it only with a refusal.
    ///
    /// # Errors
    /// When neli cannot serialise it.
    pub fn command(&mut self, header: Header, command: &Command) -> Result<(), EncodeError> {
        let (number, service, destination) = match command {
            Command::NewService(service) => (IPVS_CMD_NEW_SERVICE, full(service, !0), None),
            Command::SetService(service) => {
                (IPVS_CMD_SET_SERVICE, full(service, flags::KNOWN), None)
            }
            Command::DeleteService(key) => (IPVS_CMD_DEL_SERVICE, ServicePart::Key(*key), None),
            Command::NewDestination(key, destination) => (
                IPVS_CMD_NEW_DEST,
                ServicePart::Key(*key),
                Some(DestinationPart::Full(*destination)),
            ),
            Command::SetDestination(key, destination) => (
                IPVS_CMD_SET_DEST,
                ServicePart::Key(*key),
                Some(DestinationPart::Full(*destination)),
            ),
            Command::DeleteDestination(key, destination) => (
                IPVS_CMD_DEL_DEST,
                ServicePart::Key(*key),
                Some(DestinationPart::Key(*destination)),
            ),
            Command::ZeroService(key) => (IPVS_CMD_ZERO, ServicePart::Key(*key), None),
        };
        let part = TablePart { service: Some(service), destination };
        self.request(header, NlmF::REQUEST, number, part)
    }

    /// Asks for all services, or for one; an acknowledgement follows the one.
    ///
    /// # Errors
    /// When neli cannot serialise it.
    pub fn get_services(
        &mut self,
        header: Header,
        only: Option<&ServiceKey>,
    ) -> Result<(), EncodeError> {
        let (flags, service) = match only {
            None => (NlmF::REQUEST | NlmF::DUMP, None),
            Some(key) => (NlmF::REQUEST | NlmF::ACK, Some(ServicePart::Key(*key))),
        };
        let part = TablePart { service, destination: None };
        self.request(header, flags, IPVS_CMD_GET_SERVICE, part)
    }

    /// Asks for a service's destinations.
    ///
    /// # Errors
    /// When neli cannot serialise it.
    pub fn get_destinations(
        &mut self,
        header: Header,
        service: &ServiceKey,
    ) -> Result<(), EncodeError> {
        let part = TablePart { service: Some(ServicePart::Key(*service)), destination: None };
        self.request(header, NlmF::REQUEST | NlmF::DUMP, IPVS_CMD_GET_DEST, part)
    }

    /// A message that does nothing and is acknowledged: its answer comes after those to all
    /// messages before it.
    ///
    /// # Errors
    /// When neli cannot serialise it.
    pub fn barrier(&mut self, sequence: u32) -> Result<(), EncodeError> {
        let payload = NlPayload::<u16, Request<()>>::Empty;
        let flags = NlmF::REQUEST | NlmF::ACK;
        self.message(Nlmsg::Noop.into(), flags, sequence, payload)
    }

    /// Anything else that neli can serialise, such as a request to another family.
    pub(crate) fn message<P: Size + ToBytes>(
        &mut self,
        kind: u16,
        flags: NlmF,
        sequence: u32,
        payload: NlPayload<u16, P>,
    ) -> Result<(), EncodeError> {
        NlmsghdrBuilder::default()
            .nl_type(kind)
            .nl_flags(flags)
            .nl_seq(sequence)
            .nl_payload(payload)
            .build()
            .map_err(|error| EncodeError(error.to_string()))?
            .to_bytes(&mut self.buffer)
            .map_err(|error| EncodeError(error.to_string()))
    }

    /// A message of the family.
    pub(super) fn request(
        &mut self,
        header: Header,
        flags: NlmF,
        command: u8,
        content: impl Content,
    ) -> Result<(), EncodeError> {
        let generic = GenlmsghdrBuilder::default()
            .cmd(command)
            .version(IPVS_GENL_VERSION)
            .build()
            .map_err(|error| EncodeError(error.to_string()))?;
        let request = Request { generic, content };
        let payload = NlPayload::Payload(request);
        self.message(header.family, flags, header.sequence, payload)
    }
}

fn full(service: &Service, mask: u32) -> ServicePart {
    ServicePart::Full { service: *service, mask: mask & !flags::HASHED }
}

/// A whole message of the family behind the netlink header.
#[derive(Debug)]
struct Request<C> {
    generic: Genlmsghdr<u8, u16>,
    content: C,
}

/// What a message about services and destinations holds.
#[derive(Debug)]
struct TablePart {
    service: Option<ServicePart>,
    destination: Option<DestinationPart>,
}

#[derive(Debug)]
enum ServicePart {
    Key(ServiceKey),
    Full { service: Service, mask: u32 },
}

#[derive(Debug)]
enum DestinationPart {
    Key(DestinationKey),
    Full(Destination),
}

impl<C: Content> Size for Request<C> {
    fn unpadded_size(&self) -> usize {
        self.generic.padded_size() + length_of(|counter| self.content.write(counter))
    }
}

impl<C: Content> ToBytes for Request<C> {
    fn to_bytes(&self, buffer: &mut Cursor<Vec<u8>>) -> Result<(), SerError> {
        self.generic.to_bytes(buffer)?;
        self.content.write(buffer)
    }
}

impl Content for TablePart {
    fn write(&self, sink: &mut impl Sink) -> Result<(), SerError> {
        if let Some(service) = &self.service {
            sink.nest(IPVS_CMD_ATTR_SERVICE, service)?;
        }
        if let Some(destination) = &self.destination {
            sink.nest(IPVS_CMD_ATTR_DEST, destination)?;
        }
        Ok(())
    }
}

impl Content for ServicePart {
    fn write(&self, sink: &mut impl Sink) -> Result<(), SerError> {
        match self {
            Self::Key(key) => write_service_key(key, sink),
            Self::Full { service, mask } => write_service(service, *mask, sink),
        }
    }
}

impl Content for DestinationPart {
    fn write(&self, sink: &mut impl Sink) -> Result<(), SerError> {
        match self {
            Self::Key(key) => write_destination_key(*key, sink),
            Self::Full(destination) => write_destination(destination, sink),
        }
    }
}

fn write_service_key(key: &ServiceKey, sink: &mut impl Sink) -> Result<(), SerError> {
    sink.u16(IPVS_SVC_ATTR_AF, key.family().into())?;
    match *key {
        ServiceKey::Fwmark { fwmark, .. } => sink.u32(IPVS_SVC_ATTR_FWMARK, fwmark),
        ServiceKey::Address { address, port, protocol } => {
            sink.u16(IPVS_SVC_ATTR_PROTOCOL, protocol)?;
            sink.address(IPVS_SVC_ATTR_ADDR, address)?;
            sink.attribute(IPVS_SVC_ATTR_PORT, &port.to_be_bytes())
        }
    }
}

fn write_service(service: &Service, mask: u32, sink: &mut impl Sink) -> Result<(), SerError> {
    let Service { key, scheduler, persistence_engine, flags, timeout, netmask } = service;
    write_service_key(key, sink)?;
    sink.text(IPVS_SVC_ATTR_SCHED_NAME, scheduler.as_str())?;
    if let Some(engine) = persistence_engine {
        sink.text(IPVS_SVC_ATTR_PE_NAME, engine.as_str())?;
    }
    sink.pair(IPVS_SVC_ATTR_FLAGS, flags & mask, mask)?;
    sink.u32(IPVS_SVC_ATTR_TIMEOUT, *timeout)?;
    sink.attribute(IPVS_SVC_ATTR_NETMASK, &netmask_bytes(*netmask, key.family()))
}

fn netmask_bytes(netmask: Netmask, family: Family) -> [u8; 4] {
    match (netmask, family) {
        (Netmask::Ipv4(mask), Family::Ipv4) => mask.octets(),
        (Netmask::Ipv6(prefix), Family::Ipv6) => prefix.to_ne_bytes(),
        (Netmask::Other(raw), Family::Other(_)) => raw.to_ne_bytes(),
        (_, Family::Ipv4 | Family::Other(_)) => [0xff; 4],
        (_, Family::Ipv6) => 128_u32.to_ne_bytes(),
    }
}

fn write_destination_key(key: DestinationKey, sink: &mut impl Sink) -> Result<(), SerError> {
    let family = Family::of(key.address);
    sink.u16(IPVS_DEST_ATTR_ADDR_FAMILY, family.into())?;
    sink.address(IPVS_DEST_ATTR_ADDR, key.address)?;
    sink.attribute(IPVS_DEST_ATTR_PORT, &key.port.to_be_bytes())
}

fn write_destination(destination: &Destination, sink: &mut impl Sink) -> Result<(), SerError> {
    let Destination {
        address: _,
        port: _,
        forward,
        weight,
        upper_threshold,
        lower_threshold,
        tunnel,
    } = destination;
    let forward = forward & IP_VS_CONN_F_FWD_MASK;
    write_destination_key(destination.key(), sink)?;
    sink.u32(IPVS_DEST_ATTR_FWD_METHOD, forward)?;
    sink.u32(IPVS_DEST_ATTR_WEIGHT, *weight)?;
    sink.u32(IPVS_DEST_ATTR_U_THRESH, *upper_threshold)?;
    sink.u32(IPVS_DEST_ATTR_L_THRESH, *lower_threshold)?;
    if forward == forward::TUNNEL {
        sink.attribute(IPVS_DEST_ATTR_TUN_TYPE, &[tunnel.kind])?;
        sink.attribute(IPVS_DEST_ATTR_TUN_PORT, &tunnel.port.to_be_bytes())?;
        sink.u16(IPVS_DEST_ATTR_TUN_FLAGS, tunnel.flags)?;
    }
    Ok(())
}
