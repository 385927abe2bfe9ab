//! Overrides: what an operator asks of real servers for a time, against the spec.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::OverlayEffect;

/// An operator's override.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// The real servers that it concerns.
    pub target: OverrideTarget,
    /// What it does to them.
    pub effect: OverlayEffect,
    /// When the command was given, in seconds since 1970.
    pub since: u64,
    /// When it ends, in seconds since 1970; `None` until it is cleared.
    pub until: Option<u64>,
    /// The operator.
    pub by: Box<str>,
    /// Why; may be empty.
    pub reason: Box<str>,
}

/// The real servers that an override concerns. It is resolved for each plan, so that a real server that a later
/// spec adds to another service is under it too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideTarget {
    /// The service as a user names it (`web`, `192.0.2.1:80/tcp`); `None` means every service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Box<str>>,
    /// The address of the real server.
    pub address: IpAddr,
    /// Its port; `None` means every port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// The error for a text that names no real server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidTarget(pub String);

impl Override {
    /// Returns what it does, as a verb of the commands: `drain`, `weight 3`.
    pub fn action(&self) -> String {
        match self.effect {
            OverlayEffect::Weight(0) => "drain".to_owned(),
            OverlayEffect::Weight(weight) => format!("weight {weight}"),
            OverlayEffect::Out => "disable".to_owned(),
            OverlayEffect::AsSpec => "enable".to_owned(),
        }
    }
}

impl fmt::Display for OverrideTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, address, port } = self;
        if let Some(service) = service {
            write!(f, "{service}/")?;
        }
        match (port, address) {
            (Some(port), address) => write!(f, "{}", SocketAddr::new(*address, *port)),
            (None, IpAddr::V6(address)) => write!(f, "[{address}]"),
            (None, IpAddr::V4(address)) => write!(f, "{address}"),
        }
    }
}

impl FromStr for OverrideTarget {
    type Err = InvalidTarget;

    /// Reads `SERVICE/REAL_SERVER` or `REAL_SERVER`. The name of a service may contain slashes.
    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let (service, real_server) = match text.rsplit_once('/') {
            Some((service, real_server)) => (Some(service), real_server),
            None => (None, text),
        };
        let invalid = || InvalidTarget(text.to_owned());
        if service == Some("") {
            return Err(invalid());
        }
        let bracketed = real_server.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let (address, port) = match (real_server.parse::<SocketAddr>(), bracketed) {
            (Ok(both), _) => (both.ip(), Some(both.port())),
            (Err(_), Some(address)) => (IpAddr::V6(address.parse().map_err(|_| invalid())?), None),
            (Err(_), None) => (real_server.parse().map_err(|_| invalid())?, None),
        };
        Ok(Self { service: service.map(Into::into), address, port })
    }
}

impl fmt::Display for InvalidTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` names no real server; write one as web/10.0.0.5, web/10.0.0.5:80, 10.0.0.5 (in every \
             service) or [2001:db8::5]:80",
            self.0
        )
    }
}

impl std::error::Error for InvalidTarget {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_as_it_is_written() {
        for text in [
            "10.0.0.5",
            "10.0.0.5:80",
            "[2001:db8::5]",
            "[2001:db8::5]:0",
            "web/10.0.0.5",
            "a/b/10.0.0.5:65535",
            "192.0.2.1:80/tcp/10.0.0.5",
            "fwmark-7/ipv4/[2001:db8::5]:80",
        ] {
            let target: OverrideTarget = text.parse().expect(text);
            assert_eq!(target.to_string(), text);
        }
        let bare: OverrideTarget = "web/2001:db8::5".parse().expect("an address");
        assert_eq!(bare.to_string(), "web/[2001:db8::5]");
    }

    #[test]
    fn what_names_no_real_server_is_an_error() {
        for text in
            ["", "web", "web/", "/10.0.0.5", "192.0.2.1:80/tcp", "10.0.0.5:x", "[10.0.0.5]", "[::1"]
        {
            let error = text.parse::<OverrideTarget>().expect_err(text);
            assert!(error.to_string().starts_with(&format!("`{text}` names")), "{error}");
        }
    }
}
