//! Services and destinations out of a message's payload.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::attribute::{Attribute, Attributes, missing, name, nested, unknown_after};
use super::global::daemon_state;
use crate::uapi::*;
use crate::{
    CommandObject, Connections, DecodeError, Destination, DestinationEntry, DestinationKey, Family,
    Name, Netmask, Rates, Service, ServiceEntry, ServiceKey, Statistics, Tunnel, UnknownAttributes,
};

/// A service as encoded in a message; statistics and unknown attributes are decoded on request.
#[derive(Debug, Clone, Copy)]
pub struct ServiceReply<'a> {
    /// Its configuration, [`flags::HASHED`](crate::flags::HASHED) as it came.
    pub service: Service,
    attributes: &'a [u8],
    statistics: &'a [u8],
}

/// A destination as encoded in a message; statistics and unknown attributes are decoded on
/// request.
#[derive(Debug, Clone, Copy)]
pub struct DestinationReply<'a> {
    /// Its configuration.
    pub destination: Destination,
    /// Its current connections; 0 where the message lacks them.
    pub connections: Connections,
    attributes: &'a [u8],
    statistics: &'a [u8],
}

/// Reads a service from a message's payload, generic netlink header included.
///
/// # Errors
/// When an attribute is cut, has an impossible length, or one is missing that every kernel sends.
pub fn decode_service(payload: &[u8]) -> Result<ServiceReply<'_>, DecodeError> {
    let attributes = nested(payload, IPVS_CMD_ATTR_SERVICE)?
        .ok_or(DecodeError::Missing("IPVS_CMD_ATTR_SERVICE"))?;
    let fields = ServiceFields::read(attributes)?;
    Ok(ServiceReply {
        service: fields.service()?,
        attributes,
        statistics: fields.statistics64.or(fields.statistics).unwrap_or(&[]),
    })
}

/// Reads a destination from a message's payload, generic netlink header included. `family` is
/// the service's, for kernels before 3.18, which do not send a destination's own.
///
/// # Errors
/// When an attribute is cut, has an impossible length, or one is missing that every kernel sends.
pub fn decode_destination(
    payload: &[u8],
    family: Family,
) -> Result<DestinationReply<'_>, DecodeError> {
    let attributes =
        nested(payload, IPVS_CMD_ATTR_DEST)?.ok_or(DecodeError::Missing("IPVS_CMD_ATTR_DEST"))?;
    let fields = DestinationFields::read(attributes)?;
    Ok(DestinationReply {
        destination: fields.destination(family)?,
        connections: fields.connections,
        attributes,
        statistics: fields.statistics64.or(fields.statistics).unwrap_or(&[]),
    })
}

/// Reads from a request's payload what it is about.
///
/// # Errors
/// As [`decode_service`], [`decode_destination`] and
/// [`decode_sync_daemon`](super::decode_sync_daemon).
pub fn decode_object(payload: &[u8]) -> Result<CommandObject, DecodeError> {
    let Some(service) = nested(payload, IPVS_CMD_ATTR_SERVICE)? else {
        return Ok(match daemon_state(payload)? {
            Some(state) => CommandObject::SyncDaemon(state),
            None => CommandObject::Table,
        });
    };
    let service = ServiceFields::read(service)?.key()?;
    Ok(match nested(payload, IPVS_CMD_ATTR_DEST)? {
        None => CommandObject::Service(service),
        Some(destination) => {
            let key = DestinationFields::read(destination)?.key(service.family())?;
            CommandObject::Destination(service, key)
        }
    })
}

impl ServiceReply<'_> {
    /// Its counters, from the 64-bit attribute where there is one; all 0 when there is none.
    ///
    /// # Errors
    /// When they are cut or have impossible lengths.
    pub fn statistics(&self) -> Result<Statistics, DecodeError> {
        read_statistics(self.statistics)
    }

    /// The attributes this crate does not know.
    #[must_use]
    pub fn unknown(&self) -> UnknownAttributes {
        unknown_after(self.attributes, IPVS_SVC_ATTR_STATS64)
    }

    /// All of it.
    ///
    /// # Errors
    /// As [`Self::statistics`].
    pub fn entry(&self) -> Result<ServiceEntry, DecodeError> {
        Ok(ServiceEntry {
            service: self.service,
            statistics: self.statistics()?,
            unknown: self.unknown(),
        })
    }
}

impl DestinationReply<'_> {
    /// Its counters, from the 64-bit attribute where there is one; all 0 when there is none.
    ///
    /// # Errors
    /// When they are cut or have impossible lengths.
    pub fn statistics(&self) -> Result<Statistics, DecodeError> {
        read_statistics(self.statistics)
    }

    /// The attributes this crate does not know.
    #[must_use]
    pub fn unknown(&self) -> UnknownAttributes {
        unknown_after(self.attributes, IPVS_DEST_ATTR_TUN_FLAGS)
    }

    /// All of it.
    ///
    /// # Errors
    /// As [`Self::statistics`].
    pub fn entry(&self) -> Result<DestinationEntry, DecodeError> {
        Ok(DestinationEntry {
            destination: self.destination,
            connections: self.connections,
            statistics: self.statistics()?,
            unknown: self.unknown(),
        })
    }
}

#[derive(Default)]
struct ServiceFields<'a> {
    family: Option<Family>,
    protocol: Option<u16>,
    address: Option<Attribute<'a>>,
    port: Option<u16>,
    fwmark: Option<u32>,
    scheduler: Option<Name>,
    persistence_engine: Option<Name>,
    flags: Option<u32>,
    timeout: Option<u32>,
    netmask: Option<[u8; 4]>,
    statistics: Option<&'a [u8]>,
    statistics64: Option<&'a [u8]>,
}

impl<'a> ServiceFields<'a> {
    fn read(attributes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Self::default();
        for attribute in Attributes(attributes) {
            let a = attribute?;
            match a.kind {
                IPVS_SVC_ATTR_AF => fields.family = Some(a.u16("IPVS_SVC_ATTR_AF")?.into()),
                IPVS_SVC_ATTR_PROTOCOL => {
                    fields.protocol = Some(a.u16("IPVS_SVC_ATTR_PROTOCOL")?);
                }
                IPVS_SVC_ATTR_ADDR => fields.address = Some(a),
                IPVS_SVC_ATTR_PORT => fields.port = Some(a.be16("IPVS_SVC_ATTR_PORT")?),
                IPVS_SVC_ATTR_FWMARK => fields.fwmark = Some(a.u32("IPVS_SVC_ATTR_FWMARK")?),
                IPVS_SVC_ATTR_SCHED_NAME => {
                    fields.scheduler = Some(name(&a, "IPVS_SVC_ATTR_SCHED_NAME")?);
                }
                IPVS_SVC_ATTR_PE_NAME => {
                    fields.persistence_engine = Some(name(&a, "IPVS_SVC_ATTR_PE_NAME")?);
                }
                // struct ip_vs_flags: the flags, then the mask of those that are meant, which
                // is all of them in a reply.
                IPVS_SVC_ATTR_FLAGS => {
                    let [f0, f1, f2, f3, ..] = a.array::<8>("IPVS_SVC_ATTR_FLAGS")?;
                    fields.flags = Some(u32::from_ne_bytes([f0, f1, f2, f3]));
                }
                IPVS_SVC_ATTR_TIMEOUT => fields.timeout = Some(a.u32("IPVS_SVC_ATTR_TIMEOUT")?),
                IPVS_SVC_ATTR_NETMASK => {
                    fields.netmask = Some(a.array("IPVS_SVC_ATTR_NETMASK")?);
                }
                IPVS_SVC_ATTR_STATS => fields.statistics = Some(a.payload),
                IPVS_SVC_ATTR_STATS64 => fields.statistics64 = Some(a.payload),
                _ => {}
            }
        }
        Ok(fields)
    }

    fn key(&self) -> Result<ServiceKey, DecodeError> {
        let family = self.family.ok_or(missing("IPVS_SVC_ATTR_AF"))?;
        if let Some(fwmark) = self.fwmark {
            return Ok(ServiceKey::Fwmark { family, fwmark });
        }
        let bytes = self.address.ok_or(missing("IPVS_SVC_ATTR_ADDR"))?;
        Ok(ServiceKey::Address {
            address: address(&bytes, family, "IPVS_SVC_ATTR_ADDR")?,
            port: self.port.ok_or(missing("IPVS_SVC_ATTR_PORT"))?,
            protocol: self.protocol.ok_or(missing("IPVS_SVC_ATTR_PROTOCOL"))?,
        })
    }

    fn service(&self) -> Result<Service, DecodeError> {
        let key = self.key()?;
        let netmask = self.netmask.ok_or(missing("IPVS_SVC_ATTR_NETMASK"))?;
        Ok(Service {
            key,
            scheduler: self.scheduler.ok_or(missing("IPVS_SVC_ATTR_SCHED_NAME"))?,
            persistence_engine: self.persistence_engine,
            flags: self.flags.ok_or(missing("IPVS_SVC_ATTR_FLAGS"))?,
            timeout: self.timeout.ok_or(missing("IPVS_SVC_ATTR_TIMEOUT"))?,
            netmask: match key.family() {
                Family::Ipv4 => Netmask::Ipv4(Ipv4Addr::from(netmask)),
                Family::Ipv6 => Netmask::Ipv6(u32::from_ne_bytes(netmask)),
                Family::Other(_) => Netmask::Other(u32::from_ne_bytes(netmask)),
            },
        })
    }
}

#[derive(Default)]
struct DestinationFields<'a> {
    family: Option<Family>,
    address: Option<Attribute<'a>>,
    port: Option<u16>,
    forward: Option<u32>,
    weight: Option<u32>,
    upper_threshold: Option<u32>,
    lower_threshold: Option<u32>,
    tunnel: Tunnel,
    connections: Connections,
    statistics: Option<&'a [u8]>,
    statistics64: Option<&'a [u8]>,
}

impl<'a> DestinationFields<'a> {
    fn read(attributes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Self::default();
        for attribute in Attributes(attributes) {
            let a = attribute?;
            match a.kind {
                IPVS_DEST_ATTR_ADDR_FAMILY => {
                    fields.family = Some(a.u16("IPVS_DEST_ATTR_ADDR_FAMILY")?.into());
                }
                IPVS_DEST_ATTR_ADDR => fields.address = Some(a),
                IPVS_DEST_ATTR_PORT => fields.port = Some(a.be16("IPVS_DEST_ATTR_PORT")?),
                IPVS_DEST_ATTR_FWD_METHOD => {
                    fields.forward = Some(a.u32("IPVS_DEST_ATTR_FWD_METHOD")?);
                }
                IPVS_DEST_ATTR_WEIGHT => fields.weight = Some(a.u32("IPVS_DEST_ATTR_WEIGHT")?),
                IPVS_DEST_ATTR_U_THRESH => {
                    fields.upper_threshold = Some(a.u32("IPVS_DEST_ATTR_U_THRESH")?);
                }
                IPVS_DEST_ATTR_L_THRESH => {
                    fields.lower_threshold = Some(a.u32("IPVS_DEST_ATTR_L_THRESH")?);
                }
                IPVS_DEST_ATTR_ACTIVE_CONNS => {
                    fields.connections.active = a.u32("IPVS_DEST_ATTR_ACTIVE_CONNS")?;
                }
                IPVS_DEST_ATTR_INACT_CONNS => {
                    fields.connections.inactive = a.u32("IPVS_DEST_ATTR_INACT_CONNS")?;
                }
                IPVS_DEST_ATTR_PERSIST_CONNS => {
                    fields.connections.persistent = a.u32("IPVS_DEST_ATTR_PERSIST_CONNS")?;
                }
                IPVS_DEST_ATTR_TUN_TYPE => fields.tunnel.kind = a.u8("IPVS_DEST_ATTR_TUN_TYPE")?,
                IPVS_DEST_ATTR_TUN_PORT => {
                    fields.tunnel.port = a.be16("IPVS_DEST_ATTR_TUN_PORT")?
                }
                IPVS_DEST_ATTR_TUN_FLAGS => {
                    fields.tunnel.flags = a.u16("IPVS_DEST_ATTR_TUN_FLAGS")?;
                }
                IPVS_DEST_ATTR_STATS => fields.statistics = Some(a.payload),
                IPVS_DEST_ATTR_STATS64 => fields.statistics64 = Some(a.payload),
                _ => {}
            }
        }
        Ok(fields)
    }

    fn key(&self, service_family: Family) -> Result<DestinationKey, DecodeError> {
        // A request that leaves the family at 0 means the service's, and so does none at all.
        let family = match self.family {
            None | Some(Family::Other(0)) => service_family,
            Some(family) => family,
        };
        let bytes = self.address.ok_or(missing("IPVS_DEST_ATTR_ADDR"))?;
        Ok(DestinationKey {
            address: address(&bytes, family, "IPVS_DEST_ATTR_ADDR")?,
            port: self.port.ok_or(missing("IPVS_DEST_ATTR_PORT"))?,
        })
    }

    fn destination(&self, service_family: Family) -> Result<Destination, DecodeError> {
        let DestinationKey { address, port } = self.key(service_family)?;
        let upper = self.upper_threshold;
        let lower = self.lower_threshold;
        Ok(Destination {
            address,
            port,
            forward: self.forward.ok_or(missing("IPVS_DEST_ATTR_FWD_METHOD"))?
                & IP_VS_CONN_F_FWD_MASK,
            weight: self.weight.ok_or(missing("IPVS_DEST_ATTR_WEIGHT"))?,
            upper_threshold: upper.ok_or(missing("IPVS_DEST_ATTR_U_THRESH"))?,
            lower_threshold: lower.ok_or(missing("IPVS_DEST_ATTR_L_THRESH"))?,
            tunnel: self.tunnel,
        })
    }
}

/// An address comes as a union of 16 bytes whatever its family; bare IPv4 is taken too.
fn address(
    bytes: &Attribute<'_>,
    family: Family,
    attribute: &'static str,
) -> Result<IpAddr, DecodeError> {
    match family {
        Family::Ipv4 => match bytes.payload {
            &[a, b, c, d] => Ok(Ipv4Addr::new(a, b, c, d).into()),
            _ => {
                let [a, b, c, d, ..] = bytes.array::<16>(attribute)?;
                Ok(Ipv4Addr::new(a, b, c, d).into())
            }
        },
        Family::Ipv6 => Ok(Ipv6Addr::from(bytes.array::<16>(attribute)?).into()),
        Family::Other(raw) => Err(DecodeError::UnknownFamily(raw)),
    }
}

fn read_statistics(attributes: &[u8]) -> Result<Statistics, DecodeError> {
    let mut statistics = Statistics::default();
    let Statistics { connections, packets_in, packets_out, bytes_in, bytes_out, rates } =
        &mut statistics;
    let Rates {
        connections: connections_rate,
        packets_in: packets_in_rate,
        packets_out: packets_out_rate,
        bytes_in: bytes_in_rate,
        bytes_out: bytes_out_rate,
    } = rates;
    for attribute in Attributes(attributes) {
        let attribute = attribute?;
        let (field, called) = match attribute.kind {
            IPVS_STATS_ATTR_CONNS => (&mut *connections, "IPVS_STATS_ATTR_CONNS"),
            IPVS_STATS_ATTR_INPKTS => (&mut *packets_in, "IPVS_STATS_ATTR_INPKTS"),
            IPVS_STATS_ATTR_OUTPKTS => (&mut *packets_out, "IPVS_STATS_ATTR_OUTPKTS"),
            IPVS_STATS_ATTR_INBYTES => (&mut *bytes_in, "IPVS_STATS_ATTR_INBYTES"),
            IPVS_STATS_ATTR_OUTBYTES => (&mut *bytes_out, "IPVS_STATS_ATTR_OUTBYTES"),
            IPVS_STATS_ATTR_CPS => (&mut *connections_rate, "IPVS_STATS_ATTR_CPS"),
            IPVS_STATS_ATTR_INPPS => (&mut *packets_in_rate, "IPVS_STATS_ATTR_INPPS"),
            IPVS_STATS_ATTR_OUTPPS => (&mut *packets_out_rate, "IPVS_STATS_ATTR_OUTPPS"),
            IPVS_STATS_ATTR_INBPS => (&mut *bytes_in_rate, "IPVS_STATS_ATTR_INBPS"),
            IPVS_STATS_ATTR_OUTBPS => (&mut *bytes_out_rate, "IPVS_STATS_ATTR_OUTBPS"),
            // IPVS_STATS_ATTR_PAD aligns 64-bit numbers and means nothing.
            _ => continue,
        };
        *field = attribute.counter(called)?;
    }
    Ok(statistics)
}
