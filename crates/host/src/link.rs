//! Network interfaces as the kernel lists them.
//!
//! Of the many attributes of a link only those below are decoded, so that a new one, or a new form
//! of an old one, can never hide an interface.

use rtnetlink::packet_core::NlasIterator;
use rtnetlink::packet_route::link::{
    LinkAttribute, LinkExtentMask, LinkFlags, LinkHeader, LinkLayerType, LinkMessage,
};

use crate::error::Error;
use crate::netlink::text;
use crate::ownership::ALIAS;

pub(crate) mod tunnel;

use self::tunnel::LinkTunnel;

/// Attribute types of include/uapi/linux/if_link.h.
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
/// `struct ifinfomsg`.
const HEADER: usize = 16;
/// `IFNAMSIZ` without the closing zero.
const NAME_MAX: usize = 15;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it, never reused while the namespace exists.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The driver's name for its kind, such as `dummy`, `veth` or `bridge`; absent for hardware and
    /// loopback.
    pub kind: Option<String>,
    /// Whether an administrator set it up (`IFF_UP`).
    pub up: bool,
    /// Whether it can carry packets now: up and with a carrier. Requires both `IFF_LOWER_UP`, which
    /// is cleared as soon as the carrier is lost, and `IFF_RUNNING`, which is set once the kernel
    /// uses it.
    pub running: bool,
    /// Whether it is a loopback (`IFF_LOOPBACK`).
    pub loopback: bool,
    /// Whether it has a single peer (`IFF_POINTOPOINT`).
    pub point_to_point: bool,
    /// Whether it does not resolve neighbours (`IFF_NOARP`).
    pub no_arp: bool,
    /// Whether its frames are Ethernet's (`ARPHRD_ETHER`).
    pub ethernet: bool,
    /// The operational state of RFC 2863.
    pub operational: OperationalState,
    /// The free text of `ip link set alias`.
    pub alias: Option<String>,
    /// The largest packet in bytes.
    pub mtu: u32,
    /// The link-layer address: six bytes on Ethernet, other lengths elsewhere, empty where there is
    /// none.
    pub hardware_address: Vec<u8>,
    /// Set for a tunnel device of one of the drivers of [`TunnelDriver`](crate::TunnelDriver).
    pub tunnel: Option<LinkTunnel>,
}

impl Link {
    /// Whether it is a dummy device.
    #[must_use]
    pub fn is_dummy(&self) -> bool {
        self.kind.as_deref() == Some("dummy")
    }

    /// Whether it is a dummy device that [`Host::create_dummy`](crate::Host::create_dummy) made.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.is_dummy() && self.has_our_alias()
    }

    /// Whether it carries the mark of evenkeel's devices.
    #[must_use]
    pub fn has_our_alias(&self) -> bool {
        self.alias.as_deref() == Some(ALIAS)
    }

    /// Reads the payload of an `RTM_NEWLINK`.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, String> {
        let header = LinkHeader::parse(payload).map_err(|error| error.to_string())?;
        let mut link = Self {
            index: header.index,
            name: String::new(),
            kind: None,
            up: header.flags.contains(LinkFlags::Up),
            running: header.flags.contains(LinkFlags::Running | LinkFlags::LowerUp),
            loopback: header.flags.contains(LinkFlags::Loopback),
            point_to_point: header.flags.contains(LinkFlags::Pointopoint),
            no_arp: header.flags.contains(LinkFlags::Noarp),
            ethernet: header.link_layer_type == LinkLayerType::Ether,
            operational: OperationalState::Unknown,
            alias: None,
            mtu: 0,
            hardware_address: Vec::new(),
            tunnel: None,
        };
        for attribute in NlasIterator::new(payload.get(HEADER..).unwrap_or_default()) {
            let attribute = attribute.map_err(|error| error.to_string())?;
            let value = attribute.value();
            match attribute.kind() {
                IFLA_IFNAME => link.name = text(value),
                IFLA_ADDRESS => link.hardware_address = value.to_vec(),
                IFLA_MTU => {
                    let bytes = value.first_chunk::<4>().ok_or("the MTU is cut short")?;
                    link.mtu = u32::from_ne_bytes(*bytes);
                }
                IFLA_OPERSTATE => {
                    let state = value.first().ok_or("the operational state is empty")?;
                    link.operational = OperationalState::from(*state);
                }
                IFLA_IFALIAS => link.alias = Some(text(value)),
                IFLA_LINKINFO => (link.kind, link.tunnel) = link_info(value)?,
                _ => {}
            }
        }
        if link.name.is_empty() {
            return Err(format!("interface {} has no name", link.index));
        }
        Ok(link)
    }
}

/// Reads the driver's name for a link, and what the link is as a tunnel.
fn link_info(nested: &[u8]) -> Result<(Option<String>, Option<LinkTunnel>), String> {
    let (mut kind, mut data) = (None, Vec::new());
    for attribute in NlasIterator::new(nested) {
        let attribute = attribute.map_err(|error| error.to_string())?;
        match attribute.kind() {
            IFLA_INFO_KIND => kind = Some(text(attribute.value())),
            IFLA_INFO_DATA => data = attribute.value().to_vec(),
            _ => {}
        }
    }
    let tunnel = kind.as_deref().map_or(Ok(None), |kind| LinkTunnel::decode(kind, &data))?;
    Ok((kind, tunnel))
}

/// The operational state of an interface (RFC 2863, `IF_OPER_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OperationalState {
    /// Not reported by the driver; usual for working loopback, dummy and tunnel devices.
    Unknown,
    /// Hardware is missing.
    NotPresent,
    /// Down.
    Down,
    /// Down because an interface below it is.
    LowerLayerDown,
    /// In a test.
    Testing,
    /// Waiting for something outside, such as 802.1X.
    Dormant,
    /// Working.
    Up,
    /// A state without a name here.
    Other(u8),
}

impl From<u8> for OperationalState {
    fn from(value: u8) -> Self {
        match value {
            0 => Self::Unknown,
            1 => Self::NotPresent,
            2 => Self::Down,
            3 => Self::LowerLayerDown,
            4 => Self::Testing,
            5 => Self::Dormant,
            6 => Self::Up,
            other => Self::Other(other),
        }
    }
}

/// Builds a request for all links, or for one, without their statistics.
pub(crate) fn link_request(name: Option<&str>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    if let Some(name) = name {
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    }
    message
}

/// The rules of `dev_valid_name` in net/core/dev.c, and no `%`, which the kernel would expand to a
/// number.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.len() > NAME_MAX {
        "it is longer than 15 bytes"
    } else if matches!(name, "." | "..") {
        "it is a directory's name"
    } else if name.bytes().any(|byte| {
        matches!(byte, b'/' | b':' | b'%' | 0) || byte.is_ascii_whitespace() || byte == 0x0b
    }) {
        "it holds a blank, a zero byte or one of / : %"
    } else {
        return Ok(());
    };
    Err(Error::InvalidName { name: name.to_owned(), reason })
}

#[cfg(test)]
mod tests;
