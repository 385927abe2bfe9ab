//! The identity of a check of a target.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use evenkeel_model::check::Target;
use evenkeel_model::check::{Check, Kind};

/// The identity of a check of a target: a digest of both. Verdicts and schedules go by it, so what does not
/// change keeps them when anything else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CheckId([u8; 16]);

impl CheckId {
    /// The identity of a check of a target. What a check ignores, as an echo does the port, does not
    /// count: such probes are shared by all servers on the address.
    pub fn of(target: Target, check: &Check) -> Self {
        let destination = match check.kind {
            Kind::Icmp => target.at_port(0),
            _ => check.destination(target),
        };
        let check = Check { port: None, ..check.clone() };
        let text = serde_json::to_vec(&(destination, check)).expect("a check has no map keys");
        let digest = Sha256::digest(&text);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(bytes)
    }

    /// A number that is spread evenly over all checks: their phase is made of it.
    pub(crate) fn spread(self) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[..8]);
        u64::from_le_bytes(bytes)
    }

    /// An identity for tests of the state machines.
    #[cfg(test)]
    pub(crate) fn made(number: u64) -> Self {
        let digest = Sha256::digest(number.to_le_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(bytes)
    }
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl From<CheckId> for String {
    fn from(id: CheckId) -> Self {
        id.to_string()
    }
}

/// A text that is no identity of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the identity of a check: it has 32 hexadecimal digits")]
pub struct NoCheckId;

impl TryFrom<String> for CheckId {
    type Error = NoCheckId;

    fn try_from(text: String) -> Result<Self, NoCheckId> {
        let digits = text.as_bytes();
        if digits.len() != 32 {
            return Err(NoCheckId);
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(NoCheckId);
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).map_err(|_| NoCheckId)?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::num::NonZeroU16;
    use std::time::Duration;

    use super::*;
    use evenkeel_model::check::TcpOptions;

    fn target(text: &str) -> Target {
        text.parse::<SocketAddr>().unwrap().into()
    }

    fn tcp() -> Check {
        Check::new(Kind::Tcp(TcpOptions::default()))
    }

    #[test]
    fn the_identity_is_of_what_is_probed() {
        let (one, other) = (target("10.0.0.1:80"), target("10.0.0.1:81"));
        assert_eq!(CheckId::of(one, &tcp()), CheckId::of(one, &tcp()));
        assert_ne!(CheckId::of(one, &tcp()), CheckId::of(other, &tcp()));
        let at_port = Check { port: NonZeroU16::new(81), ..tcp() };
        assert_eq!(CheckId::of(one, &at_port), CheckId::of(other, &tcp()));
        let slower = Check { timeout: Duration::from_secs(2), ..tcp() };
        assert_ne!(CheckId::of(one, &slower), CheckId::of(one, &tcp()));
        let echo = Check::new(Kind::Icmp);
        assert_eq!(CheckId::of(one, &echo), CheckId::of(other, &echo));
        assert_ne!(CheckId::of(one, &echo), CheckId::of(target("[2001:db8::1]:80"), &echo));
    }

    #[test]
    fn identities_are_stored_as_hexadecimal_digits() {
        let id = CheckId::of(target("[2001:db8::1]:80"), &tcp());
        let text = serde_json::to_string(&id).unwrap();
        assert_eq!(text.len(), 34);
        assert_eq!(serde_json::from_str::<CheckId>(&text).unwrap(), id);
        for bad in [
            "\"\"",
            "\"zz\"",
            "\"0123456789abcdef0123456789abcdeg\"",
            "\"é123456789abcdef0123456789abcde\"",
        ] {
            assert!(serde_json::from_str::<CheckId>(bad).is_err(), "{bad}");
        }
    }
}
