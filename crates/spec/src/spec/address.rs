//! Addresses and networks.

use std::net::{IpAddr, Ipv6Addr};

use evenkeel_model::Family;
use ipnet::IpNet;
use serde::de::{Deserialize, Deserializer};

use super::parse_str::{InvalidText, schema, text};
use crate::suggest::quote;

/// An IPv4 or IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) IpAddr);

/// An address with the prefix length it is bound with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefixed {
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
}

/// A network, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network(pub(crate) IpNet);

const ADDRESS: &str = "an IP address, one such as 192.0.2.1 or 2001:db8::1";

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, ADDRESS, |written| address(written).map(Self))
    }
}

impl<'de> Deserialize<'de> for Prefixed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, ADDRESS, |written| {
            let Some((head, length)) = written.split_once('/') else {
                let address = address(written)?;
                return Ok(Self { address, prefix: Family::from(address).host_prefix() });
            };
            let address = address(head)?;
            Ok(Self { address, prefix: prefix(written, length, address, 1)? })
        })
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "a network, one such as 192.0.2.0/24, or an IP address", |written| {
            let Some((head, length)) = written.split_once('/') else {
                return address(written).map(|address| Self(address.into()));
            };
            let address = address(head)?;
            let length = prefix(written, length, address, 0)?;
            let network = IpNet::new(address, length).unwrap_or_else(|_| address.into());
            if network.addr() == network.network() {
                return Ok(Self(network));
            }
            Err(InvalidText::new(
                format!("{} has bits set beyond its prefix", quote(written)),
                format!("write `{}` for the network, or the address alone", network.trunc()),
            ))
        })
    }
}

fn address(written: &str) -> Result<IpAddr, InvalidText> {
    match written.parse() {
        Ok(IpAddr::V6(address)) => match Ipv6Addr::to_ipv4_mapped(&address) {
            None => Ok(IpAddr::V6(address)),
            Some(v4) => Err(InvalidText::new(
                format!("{} is an IPv4-mapped IPv6 address", quote(written)),
                format!("write `{v4}`"),
            )),
        },
        Ok(address) => Ok(address),
        Err(_) => {
            Err(InvalidText::new(format!("{} is not an IP address", quote(written)), hint(written)))
        }
    }
}

/// The remedy for a text that is not an address, by what it was probably meant to be.
fn hint(written: &str) -> String {
    if written.split_once('/').is_some_and(|(head, _)| head.parse::<IpAddr>().is_ok()) {
        "write the address without a prefix length".to_owned()
    } else if written.parse::<std::net::SocketAddr>().is_ok() {
        "write the port under its own key, `port`".to_owned()
    } else if let Some((head, _)) = written.split_once('%').filter(|(head, _)| head.contains(':')) {
        format!("write `{head}` without the interface")
    } else {
        "write one such as 192.0.2.1 or 2001:db8::1; names are not looked up".to_owned()
    }
}

fn prefix(written: &str, length: &str, address: IpAddr, least: u8) -> Result<u8, InvalidText> {
    let most = Family::from(address).host_prefix();
    let digits = length.bytes().all(|byte| byte.is_ascii_digit());
    match length.parse() {
        Ok(length) if digits && (least..=most).contains(&length) => Ok(length),
        _ => Err(InvalidText::new(
            format!("{} has an impossible prefix length", quote(written)),
            format!("{address} allows /{least} to /{most}"),
        )),
    }
}

schema!(Address, {
    "type": "string", "anyOf": [{ "format": "ipv4" }, { "format": "ipv6" }],
    "pattern": "^[0-9a-fA-F:.]+$",
});
schema!(Prefixed, { "type": "string", "pattern": "^[0-9a-fA-F:.]+(/[0-9]{1,3})?$" });
schema!(Network, { "type": "string", "pattern": "^[0-9a-fA-F:.]+(/[0-9]{1,3})?$" });
