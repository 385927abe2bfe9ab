//! Encodes and decodes what concerns the namespace as a whole: information on IPVS itself,
//! timeouts, sync daemons.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use neli::consts::nl::NlmF;
use neli::err::SerError;

use super::attribute::{Attributes, GENL_HDRLEN, missing, name, nested, unknown_after};
use super::sink::{Content, Sink};
use super::{Encoder, Header};
use crate::uapi::*;
use crate::{
    DecodeError, EncodeError, Info, Name, SyncDaemon, SyncDaemonEntry, SyncState, Timeouts,
    UnknownAttributes, Version,
};

impl Encoder {
    /// Asks for the version and the size of the connection table; an acknowledgement follows.
    ///
    /// # Errors
    /// When neli cannot serialise it.
    pub fn get_info(&mut self, header: Header) -> Result<(), EncodeError> {
        self.request(header, NlmF::REQUEST | NlmF::ACK, IPVS_CMD_GET_INFO, ())
    }

    /// Asks for the timeouts; an acknowledgement follows.
    ///
    /// # Errors
    /// When neli cannot serialise it.
    pub fn get_timeouts(&mut self, header: Header) -> Result<(), EncodeError> {
        self.request(header, NlmF::REQUEST | NlmF::ACK, IPVS_CMD_GET_CONFIG, ())
    }

    /// Sets the timeouts that are not 0. The kernel answers it only with a refusal.
    ///
    /// # Errors
    /// When neli cannot serialise it.
    pub fn set_timeouts(&mut self, header: Header, timeouts: &Timeouts) -> Result<(), EncodeError> {
        self.request(header, NlmF::REQUEST, IPVS_CMD_SET_CONFIG, *timeouts)
    }

    /// Asks for the sync daemons.
    ///
    /// # Errors
    /// When neli cannot serialise it.
    pub fn get_sync_daemons(&mut self, header: Header) -> Result<(), EncodeError> {
        self.request(header, NlmF::REQUEST | NlmF::DUMP, IPVS_CMD_GET_DAEMON, ())
    }

    /// Starts a sync daemon. The kernel answers it only with a refusal.
    ///
    /// # Errors
    /// When neli cannot serialise it.
    pub fn new_sync_daemon(
        &mut self,
        header: Header,
        daemon: &SyncDaemon,
    ) -> Result<(), EncodeError> {
        let part = DaemonPart(DaemonContent::Full(*daemon));
        self.request(header, NlmF::REQUEST, IPVS_CMD_NEW_DAEMON, part)
    }

    /// Stops a sync daemon. The kernel answers it only with a refusal.
    ///
    /// # Errors
    /// When neli cannot serialise it.
    pub fn delete_sync_daemon(
        &mut self,
        header: Header,
        state: SyncState,
    ) -> Result<(), EncodeError> {
        let part = DaemonPart(DaemonContent::State(state));
        self.request(header, NlmF::REQUEST, IPVS_CMD_DEL_DAEMON, part)
    }
}

impl Content for Timeouts {
    fn write(&self, sink: &mut impl Sink) -> Result<(), SerError> {
        let Self { tcp, tcp_fin, udp } = *self;
        let all = [
            (IPVS_CMD_ATTR_TIMEOUT_TCP, tcp),
            (IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, tcp_fin),
            (IPVS_CMD_ATTR_TIMEOUT_UDP, udp),
        ];
        all.into_iter()
            .filter(|(_, seconds)| *seconds != 0)
            .try_for_each(|(kind, seconds)| sink.u32(kind, seconds))
    }
}

/// What a message about a sync daemon holds.
#[derive(Debug)]
struct DaemonPart(DaemonContent);

#[derive(Debug)]
enum DaemonContent {
    State(SyncState),
    Full(SyncDaemon),
}

impl Content for DaemonPart {
    fn write(&self, sink: &mut impl Sink) -> Result<(), SerError> {
        sink.nest(IPVS_CMD_ATTR_DAEMON, &self.0)
    }
}

impl Content for DaemonContent {
    fn write(&self, sink: &mut impl Sink) -> Result<(), SerError> {
        match self {
            Self::State(state) => sink.u32(IPVS_DAEMON_ATTR_STATE, (*state).into()),
            Self::Full(daemon) => write_sync_daemon(daemon, sink),
        }
    }
}

fn write_sync_daemon(daemon: &SyncDaemon, sink: &mut impl Sink) -> Result<(), SerError> {
    let SyncDaemon { state, interface, sync_id, max_length, group, port, ttl } = *daemon;
    sink.u32(IPVS_DAEMON_ATTR_STATE, state.into())?;
    sink.text(IPVS_DAEMON_ATTR_MCAST_IFN, interface.as_str())?;
    sink.u32(IPVS_DAEMON_ATTR_SYNC_ID, sync_id)?;
    if let Some(length) = max_length {
        sink.u16(IPVS_DAEMON_ATTR_SYNC_MAXLEN, length)?;
    }
    match group {
        None => {}
        Some(IpAddr::V4(group)) => {
            sink.attribute(IPVS_DAEMON_ATTR_MCAST_GROUP, &group.octets())?;
        }
        Some(IpAddr::V6(group)) => {
            sink.attribute(IPVS_DAEMON_ATTR_MCAST_GROUP6, &group.octets())?;
        }
    }
    // The one port of the family that is in the host's order.
    if let Some(port) = port {
        sink.u16(IPVS_DAEMON_ATTR_MCAST_PORT, port)?;
    }
    if let Some(ttl) = ttl {
        sink.u8(IPVS_DAEMON_ATTR_MCAST_TTL, ttl)?;
    }
    Ok(())
}

/// A sync daemon as encoded in a message; unknown attributes are decoded on request.
#[derive(Debug, Clone, Copy)]
pub struct SyncDaemonReply<'a> {
    /// Its configuration.
    pub daemon: SyncDaemon,
    attributes: &'a [u8],
}

impl SyncDaemonReply<'_> {
    /// The attributes this crate does not know.
    #[must_use]
    pub fn unknown(&self) -> UnknownAttributes {
        unknown_after(self.attributes, IPVS_DAEMON_ATTR_MCAST_TTL)
    }

    /// All of it.
    #[must_use]
    pub fn entry(&self) -> SyncDaemonEntry {
        SyncDaemonEntry { daemon: self.daemon, unknown: self.unknown() }
    }
}

/// Reads the report on IPVS from a message's payload, generic netlink header included.
///
/// # Errors
/// When an attribute is cut, has an impossible length, or is missing.
pub fn decode_info(payload: &[u8]) -> Result<Info, DecodeError> {
    let mut version = None;
    let mut connection_table_size = None;
    for attribute in Attributes(content(payload)?) {
        let a = attribute?;
        match a.kind {
            IPVS_INFO_ATTR_VERSION => version = Some(Version(a.u32("IPVS_INFO_ATTR_VERSION")?)),
            IPVS_INFO_ATTR_CONN_TAB_SIZE => {
                connection_table_size = Some(a.u32("IPVS_INFO_ATTR_CONN_TAB_SIZE")?);
            }
            _ => {}
        }
    }
    Ok(Info {
        version: version.ok_or(missing("IPVS_INFO_ATTR_VERSION"))?,
        connection_table_size: connection_table_size
            .ok_or(missing("IPVS_INFO_ATTR_CONN_TAB_SIZE"))?,
    })
}

/// Reads timeouts from a message's payload, generic netlink header included. Those that are not
/// there are 0.
///
/// # Errors
/// When an attribute is cut or has an impossible length.
pub fn decode_timeouts(payload: &[u8]) -> Result<Timeouts, DecodeError> {
    let mut timeouts = Timeouts::default();
    for attribute in Attributes(content(payload)?) {
        let a = attribute?;
        match a.kind {
            IPVS_CMD_ATTR_TIMEOUT_TCP => timeouts.tcp = a.u32("IPVS_CMD_ATTR_TIMEOUT_TCP")?,
            IPVS_CMD_ATTR_TIMEOUT_TCP_FIN => {
                timeouts.tcp_fin = a.u32("IPVS_CMD_ATTR_TIMEOUT_TCP_FIN")?;
            }
            IPVS_CMD_ATTR_TIMEOUT_UDP => timeouts.udp = a.u32("IPVS_CMD_ATTR_TIMEOUT_UDP")?,
            _ => {}
        }
    }
    Ok(timeouts)
}

/// Reads a sync daemon from a message's payload, generic netlink header included.
///
/// # Errors
/// When an attribute is cut, has an impossible length, or one is missing that every kernel sends.
pub fn decode_sync_daemon(payload: &[u8]) -> Result<SyncDaemonReply<'_>, DecodeError> {
    let attributes =
        nested(payload, IPVS_CMD_ATTR_DAEMON)?.ok_or(missing("IPVS_CMD_ATTR_DAEMON"))?;
    Ok(SyncDaemonReply { daemon: DaemonFields::read(attributes)?.daemon()?, attributes })
}

/// The daemon that a request is about; `None` when it is not about one.
pub(super) fn daemon_state(payload: &[u8]) -> Result<Option<SyncState>, DecodeError> {
    let Some(attributes) = nested(payload, IPVS_CMD_ATTR_DAEMON)? else {
        return Ok(None);
    };
    DaemonFields::read(attributes)?.state().map(Some)
}

#[derive(Default)]
struct DaemonFields {
    state: Option<SyncState>,
    interface: Option<Name>,
    sync_id: Option<u32>,
    max_length: Option<u16>,
    group: Option<Ipv4Addr>,
    group6: Option<Ipv6Addr>,
    port: Option<u16>,
    ttl: Option<u8>,
}

impl DaemonFields {
    fn read(attributes: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Self::default();
        for attribute in Attributes(attributes) {
            let a = attribute?;
            match a.kind {
                IPVS_DAEMON_ATTR_STATE => {
                    fields.state = Some(a.u32("IPVS_DAEMON_ATTR_STATE")?.into());
                }
                IPVS_DAEMON_ATTR_MCAST_IFN => {
                    fields.interface = Some(name(&a, "IPVS_DAEMON_ATTR_MCAST_IFN")?);
                }
                IPVS_DAEMON_ATTR_SYNC_ID => {
                    fields.sync_id = Some(a.u32("IPVS_DAEMON_ATTR_SYNC_ID")?);
                }
                IPVS_DAEMON_ATTR_SYNC_MAXLEN => {
                    fields.max_length = Some(a.u16("IPVS_DAEMON_ATTR_SYNC_MAXLEN")?);
                }
                IPVS_DAEMON_ATTR_MCAST_GROUP => {
                    let octets = a.array::<4>("IPVS_DAEMON_ATTR_MCAST_GROUP")?;
                    fields.group = Some(octets.into());
                }
                IPVS_DAEMON_ATTR_MCAST_GROUP6 => {
                    let octets = a.array::<16>("IPVS_DAEMON_ATTR_MCAST_GROUP6")?;
                    fields.group6 = Some(octets.into());
                }
                IPVS_DAEMON_ATTR_MCAST_PORT => {
                    fields.port = Some(a.u16("IPVS_DAEMON_ATTR_MCAST_PORT")?);
                }
                IPVS_DAEMON_ATTR_MCAST_TTL => {
                    fields.ttl = Some(a.u8("IPVS_DAEMON_ATTR_MCAST_TTL")?);
                }
                _ => {}
            }
        }
        Ok(fields)
    }

    fn state(&self) -> Result<SyncState, DecodeError> {
        self.state.ok_or(missing("IPVS_DAEMON_ATTR_STATE"))
    }

    fn daemon(self) -> Result<SyncDaemon, DecodeError> {
        Ok(SyncDaemon {
            state: self.state()?,
            interface: self.interface.ok_or(missing("IPVS_DAEMON_ATTR_MCAST_IFN"))?,
            sync_id: self.sync_id.ok_or(missing("IPVS_DAEMON_ATTR_SYNC_ID"))?,
            max_length: self.max_length,
            // Of both, the kernel takes this one too.
            group: self.group.map(IpAddr::V4).or(self.group6.map(IpAddr::V6)),
            port: self.port,
            ttl: self.ttl,
        })
    }
}

/// The attributes of a message that has no other around them.
fn content(payload: &[u8]) -> Result<&[u8], DecodeError> {
    payload.get(GENL_HDRLEN..).ok_or(DecodeError::CutMessage)
}
