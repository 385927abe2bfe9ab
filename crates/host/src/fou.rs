//! FOU ports: UDP ports whose packets the kernel unpacks (foo over UDP, generic UDP encapsulation), over
//! the generic netlink family `fou` of include/uapi/linux/fou.h.

use nix::errno::Errno;
use rtnetlink::packet_core::{
    DefaultNla, Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkPayload,
    NetlinkSerializable, NlasIterator,
};
use rtnetlink::sys::protocols::NETLINK_GENERIC;
use tracing::debug;

use crate::error::{Action, Error};
use crate::host::Host;
use crate::netlink::{Failure, Netlink, uninterrupted};

/// The controller of generic netlink: include/uapi/linux/genetlink.h.
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// `struct genlmsghdr`.
const HEADER: usize = 4;

const FOU_CMD_ADD: u8 = 1;
const FOU_CMD_DEL: u8 = 2;
const FOU_CMD_GET: u8 = 3;
const FOU_ATTR_PORT: u16 = 1;
const FOU_ATTR_AF: u16 = 2;
const FOU_ATTR_TYPE: u16 = 4;
const FOU_ENCAP_GUE: u8 = 2;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// A FOU port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FouPort {
    /// The UDP port.
    pub port: u16,
    /// Whether it is one of IPv6.
    pub is_ipv6: bool,
    /// Whether its packets carry a GUE header; otherwise all of them are of one protocol.
    pub is_gue: bool,
}

impl FouPort {
    /// Reads the payload of an answer to `FOU_CMD_GET`.
    fn decode(payload: &[u8]) -> Result<Self, String> {
        let (mut port, mut is_ipv6, mut is_gue) = (None, false, false);
        for attribute in NlasIterator::new(payload.get(HEADER..).unwrap_or_default()) {
            let attribute = attribute.map_err(|error| error.to_string())?;
            let value = attribute.value();
            match attribute.kind() {
                FOU_ATTR_PORT => port = value.first_chunk().map(|bytes| u16::from_be_bytes(*bytes)),
                FOU_ATTR_AF => is_ipv6 = value.first() == Some(&AF_INET6),
                FOU_ATTR_TYPE => is_gue = value.first() == Some(&FOU_ENCAP_GUE),
                _ => {}
            }
        }
        Ok(Self { port: port.ok_or("an entry has no port")?, is_ipv6, is_gue })
    }

    /// The name in messages.
    fn object(self) -> String {
        format!("fou port {}/{}", self.port, if self.is_ipv6 { "ipv6" } else { "ipv4" })
    }

    /// Its attributes in a request. Without an address of its own it receives on all of the host's.
    fn attributes(self) -> Vec<DefaultNla> {
        let family = if self.is_ipv6 { AF_INET6 } else { AF_INET };
        vec![
            DefaultNla::new(FOU_ATTR_PORT, self.port.to_be_bytes().to_vec()),
            DefaultNla::new(FOU_ATTR_AF, vec![family]),
        ]
    }
}

impl Host {
    /// Lists the FOU ports; none without the kernel module.
    ///
    /// # Errors
    /// The list could not be read completely; a part of it is never returned.
    pub fn fou_ports(&self) -> Result<Vec<FouPort>, Error> {
        let action = || Action::List("fou ports");
        self.check_namespace(action())?;
        let netlink = connect(action())?;
        let family = family(&netlink).map_err(|failure| failure.during(action()))?;
        let Some(family) = family else { return Ok(Vec::new()) };
        ports(&netlink, family, action())
    }

    /// Adds a FOU port with GUE, as `ip fou add port PORT gue` does. The kernel stores no mark of who
    /// added it.
    ///
    /// # Errors
    /// [`Error::Exists`]; [`Error::Impossible`] if another socket uses the port;
    /// [`Error::FouUnavailable`] without the kernel module; [`Error::NotPermitted`] without CAP_NET_ADMIN.
    pub fn add_fou_port(&self, port: u16, is_ipv6: bool) -> Result<(), Error> {
        let added = FouPort { port, is_ipv6, is_gue: true };
        let action = || Action::Add(added.object());
        self.check_namespace(action())?;
        let netlink = connect(action())?;
        let family = family(&netlink).map_err(|failure| failure.during(action()))?;
        let family = family.ok_or_else(|| Error::FouUnavailable { object: added.object() })?;
        let mut attributes = added.attributes();
        attributes.push(DefaultNla::new(FOU_ATTR_TYPE, vec![FOU_ENCAP_GUE]));
        match netlink.exchange(message(family, FOU_CMD_ADD, &attributes), NLM_F_REQUEST | NLM_F_ACK)
        {
            Ok(_) => {
                debug!(port, is_ipv6, "added fou port");
                Ok(())
            }
            // EALREADY for the same port, EADDRINUSE for a socket of any kind, a FOU port of another
            // encapsulation among them.
            Err(failure) if failure.is(Errno::EALREADY) || failure.is(Errno::EADDRINUSE) => {
                let is_same = |it: &FouPort| (it.port, it.is_ipv6) == (port, is_ipv6);
                let object = added.object();
                if ports(&netlink, family, action())?.iter().any(is_same) {
                    return Err(Error::Exists { object });
                }
                let why = "another socket of this host uses the UDP port".to_owned();
                Err(Error::Impossible { object, why })
            }
            Err(failure) => Err(failure.during(action())),
        }
    }

    /// Deletes a FOU port. The caller has to check first that it is evenkeel's.
    ///
    /// # Errors
    /// [`Error::Missing`]; [`Error::NotPermitted`] without CAP_NET_ADMIN.
    pub fn delete_fou_port(&self, port: u16, is_ipv6: bool) -> Result<(), Error> {
        let gone = FouPort { port, is_ipv6, is_gue: true };
        let action = || Action::Delete(gone.object());
        self.check_namespace(action())?;
        let netlink = connect(action())?;
        let family = family(&netlink).map_err(|failure| failure.during(action()))?;
        let missing = || Error::Missing { object: gone.object() };
        let family = family.ok_or_else(missing)?;
        // For a port that does not exist the kernel answers EINVAL, as for a malformed request.
        if !ports(&netlink, family, action())?.contains(&gone) {
            return Err(missing());
        }
        let request = message(family, FOU_CMD_DEL, &gone.attributes());
        netlink
            .exchange(request, NLM_F_REQUEST | NLM_F_ACK)
            .map_err(|failure| failure.during(action()))?;
        debug!(port, is_ipv6, "deleted fou port");
        Ok(())
    }
}

/// Connects to generic netlink; for each call, as calls are rare and the daemon stays for long.
fn connect(action: Action) -> Result<Netlink, Error> {
    Netlink::open(NETLINK_GENERIC).map_err(|source| Error::Io { action, source })
}

/// Returns the number of the family, which the kernel assigns when the module is loaded; `None` without
/// the module. The kernel tries to load it by the family's name.
fn family(netlink: &Netlink) -> Result<Option<u16>, Failure> {
    let name = DefaultNla::new(CTRL_ATTR_FAMILY_NAME, b"fou\0".to_vec());
    let request = message(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, &[name]);
    let answers = match netlink.exchange(request, NLM_F_REQUEST | NLM_F_ACK) {
        Ok(answers) => answers,
        Err(failure) if failure.is(Errno::ENOENT) => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let malformed = |what: &str| Failure::Malformed(what.to_owned());
    for payload in answers {
        for attribute in NlasIterator::new(payload.get(HEADER..).unwrap_or_default()) {
            let attribute = attribute.map_err(|error| malformed(&error.to_string()))?;
            if attribute.kind() == CTRL_ATTR_FAMILY_ID {
                let number = attribute.value().first_chunk();
                let number = number.ok_or_else(|| malformed("the family's number is cut short"))?;
                return Ok(Some(u16::from_ne_bytes(*number)));
            }
        }
    }
    Err(malformed("the family has no number"))
}

fn ports(netlink: &Netlink, family: u16, action: Action) -> Result<Vec<FouPort>, Error> {
    let request = || message(family, FOU_CMD_GET, &[]);
    let payloads = uninterrupted(|| netlink.exchange(request(), NLM_F_REQUEST | NLM_F_DUMP));
    let payloads = payloads.map_err(|failure| failure.during(action.clone()))?;
    let decoded = payloads.iter().map(|payload| FouPort::decode(payload));
    let decoded: Result<Vec<FouPort>, String> = decoded.collect();
    decoded.map_err(|what| Error::Malformed { action, what })
}

/// A message of generic netlink.
struct GenericMessage {
    family: u16,
    bytes: Vec<u8>,
}

fn message(family: u16, command: u8, attributes: &[DefaultNla]) -> GenericMessage {
    const VERSION: u8 = 1;
    let mut bytes = vec![0; HEADER + attributes.buffer_len()];
    bytes[..2].copy_from_slice(&[command, VERSION]);
    attributes.emit(&mut bytes[HEADER..]);
    GenericMessage { family, bytes }
}

impl From<GenericMessage> for NetlinkPayload<GenericMessage> {
    fn from(message: GenericMessage) -> Self {
        Self::InnerMessage(message)
    }
}

impl NetlinkSerializable for GenericMessage {
    fn message_type(&self) -> u16 {
        self.family
    }

    fn buffer_len(&self) -> usize {
        self.bytes.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_port_in_network_order() {
        let port = FouPort { port: 6080, is_ipv6: true, is_gue: true };
        let GenericMessage { family, bytes } = message(27, FOU_CMD_DEL, &port.attributes());
        assert_eq!(family, 27);
        let expected = [2, 1, 0, 0, 6, 0, 1, 0, 0x17, 0xc0, 0, 0, 5, 0, 2, 0, 10, 0, 0, 0];
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_port_is_read_with_its_family_and_encapsulation() {
        let gue = [
            3, 1, 0, 0, 5, 0, 2, 0, 10, 0, 0, 0, 6, 0, 1, 0, 0x17, 0xc0, 0, 0, 5, 0, 4, 0, 2, 0, 0,
            0,
        ];
        let expected = FouPort { port: 6080, is_ipv6: true, is_gue: true };
        assert_eq!(FouPort::decode(&gue), Ok(expected));
        assert_eq!(FouPort::decode(&gue[..20]), Ok(FouPort { is_gue: false, ..expected }));
        assert!(FouPort::decode(&gue[..12]).is_err());
        assert!(FouPort::decode(&gue[..17]).is_err());
    }
}
