//! Neighbour entries: the MAC address of a VIP on an interface, permanent in ARP or NDP.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{HostObject, HostValue};

/// The identity of a neighbour entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Neighbour {
    /// The address that it resolves.
    pub address: IpAddr,
    /// The interface's name; empty where it is not known, as in a plan without its host.
    pub interface: Box<str>,
}

/// What the kernel stores of a neighbour entry beyond its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NeighbourValue {
    /// The MAC address.
    pub mac: MacAddress,
}

/// A MAC address: the hardware address of an Ethernet device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

/// The text is not six bytes in hexadecimal digits with colons between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidMac;

impl MacAddress {
    /// In a plan without its host, the address that a gateway is to learn; no device has it.
    pub const UNKNOWN: Self = Self([0; 6]);

    /// Whether it is the address of one device: neither a group nor all zeroes.
    pub fn is_unicast(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }
}

impl FromStr for MacAddress {
    type Err = InvalidMac;

    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        let mut parts = text.split(':');
        let mut bytes = [0; 6];
        for byte in &mut bytes {
            let part = parts.next().ok_or(InvalidMac)?;
            let is_byte = part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
            let value = u8::from_str_radix(part, 16).ok().filter(|_| is_byte);
            *byte = value.ok_or(InvalidMac)?;
        }
        parts.next().is_none().then_some(Self(bytes)).ok_or(InvalidMac)
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, last] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{last:02x}")
    }
}

impl fmt::Display for InvalidMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a MAC address")
    }
}

impl std::error::Error for InvalidMac {}

impl Serialize for MacAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MacAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl From<MacAddress> for HostValue {
    fn from(mac: MacAddress) -> Self {
        Self::Neighbour(NeighbourValue { mac })
    }
}

impl From<Neighbour> for HostObject {
    fn from(neighbour: Neighbour) -> Self {
        Self::Neighbour(neighbour)
    }
}

impl fmt::Display for Neighbour {
    /// `192.0.2.1 dev eth0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interface = if self.interface.is_empty() { "?" } else { &self.interface };
        write!(f, "{} dev {interface}", self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_is_six_bytes_of_two_digits() {
        let mac = MacAddress([2, 0, 0x5e, 0, 0, 0xff]);
        assert_eq!("02:00:5E:00:00:ff".parse(), Ok(mac));
        assert_eq!(mac.to_string(), "02:00:5e:00:00:ff");
        for text in
            ["", "02:00:5e:00:00", "02:00:5e:00:00:ff:00", "2:0:5e:0:0:ff", "02-00-5e-00-00-ff"]
                .into_iter()
                .chain(["02:00:5e:00:00:+f", "02:00:5e:00:00:gg", "02:00:5e:00:00:ff:"])
        {
            assert_eq!(text.parse::<MacAddress>(), Err(InvalidMac), "{text}");
        }
    }

    #[test]
    fn groups_and_zeroes_are_not_unicast() {
        let is_unicast = |text: &str| text.parse().map(MacAddress::is_unicast);
        assert_eq!(is_unicast("02:00:00:00:00:01"), Ok(true));
        for text in ["00:00:00:00:00:00", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff"] {
            assert_eq!(is_unicast(text), Ok(false), "{text}");
        }
    }
}
