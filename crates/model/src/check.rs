//! What a check is: its kind with its options, when it runs, and how its results are counted.

use std::fmt;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod options;
mod target;

pub use options::{
    ClientCertificate, DnsOptions, ExecOptions, FileOptions, GrpcOptions, Header, HttpOptions,
    HttpVersion, RecordType, StatusRange, TcpOptions, TlsCheckOptions, TlsOptions, UdpOptions,
};
pub use target::Target;

/// A kind of check with its options.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A TCP connection.
    Tcp(TcpOptions),
    /// A request over HTTP or HTTPS.
    Http(HttpOptions),
    /// A TLS handshake.
    Tls(TlsCheckOptions),
    /// A DNS query.
    Dns(DnsOptions),
    /// A UDP packet.
    Udp(UdpOptions),
    /// An ICMP or ICMPv6 echo.
    Icmp,
    /// gRPC's health protocol.
    Grpc(GrpcOptions),
    /// A program of the host.
    Exec(ExecOptions),
    /// A file of the host.
    File(FileOptions),
}

/// The name of a kind, as in a spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are those of the kinds")]
pub enum KindName {
    Tcp,
    Http,
    Https,
    Tls,
    Dns,
    Udp,
    Icmp,
    Grpc,
    Exec,
    File,
}

/// How a probe ends its TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Close {
    /// With a reset, which leaves no state behind.
    Rst,
    /// In an orderly way.
    Fin,
}

/// A check. Two that are equal make one probe per target.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Check {
    /// What is asked.
    pub kind: Kind,
    /// The port; `None`: the target's.
    pub port: Option<NonZeroU16>,
    /// The source address; `None`: what the kernel chooses.
    pub source: Option<IpAddr>,
    /// The time from the start of one probe to that of the next.
    pub interval: Duration,
    /// The same while the verdict is open: after a failure of what is up, or a pass of what is down.
    pub fast: Duration,
    /// The time for the whole probe, from connecting to the last byte.
    pub timeout: Duration,
    /// How many passes in a row bring up what is down.
    pub rise: NonZeroU32,
    /// How many failures in a row take down what is up.
    pub fall: NonZeroU32,
    /// By which part of the interval a probe may start earlier, in percent.
    pub jitter: u8,
    /// How TCP connections end; `None`: `rst` for `tcp`, `fin` for all others.
    pub close: Option<Close>,
    /// When a target that comes and goes is kept out; `None`: never.
    pub flap: Option<Flap>,
}

/// When a target counts as flapping, and how long it is then kept out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Flap {
    /// How many changes of the verdict, up or down, make it one; the last of them is a rise.
    pub changes: NonZeroU32,
    /// Within which time.
    pub within: Duration,
    /// How long it stays down from that rise on.
    pub hold: Duration,
}

/// Why a check cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// A time of 0.
    #[error("{0} must be longer than 0")]
    Zero(TimeName),
    /// `fast` above `interval`.
    #[error("`fast` is longer than `interval`: it is the interval after a first failure")]
    Fast,
    /// Jitter above half of the interval.
    #[error("`jitter` must be at most 50%")]
    Jitter,
    /// A check that needs a port, of a target without one.
    #[error("the check needs a `port`: the real server has none")]
    NoPort,
    /// The source is of the other family.
    #[error("`source` is not of the address family of the target")]
    SourceFamily,
    /// A first rise that already counts as flapping.
    #[error("`changes` must be at least 2: with 1, every target that comes back is kept out")]
    Changes,
    /// An `exec` check without a program.
    #[error("`argv` is empty: it begins with the name of a program")]
    NoProgram,
}

/// A time of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the fields")]
pub enum TimeName {
    Interval,
    Fast,
    Timeout,
}

impl Check {
    /// A check of a kind with the usual times: every 2 s, within 1 s, 500 ms while open, two up, three down.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            port: None,
            source: None,
            interval: Duration::from_secs(2),
            fast: Duration::from_millis(500),
            timeout: Duration::from_secs(1),
            rise: NonZeroU32::MIN.saturating_add(1),
            fall: NonZeroU32::MIN.saturating_add(2),
            jitter: 10,
            close: None,
            flap: None,
        }
    }

    /// Finds out whether this check can be made of this target.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn validate(&self, target: Target) -> Result<(), CheckError> {
        for (name, time) in [
            (TimeName::Interval, self.interval),
            (TimeName::Fast, self.fast),
            (TimeName::Timeout, self.timeout),
        ] {
            if time.is_zero() {
                return Err(CheckError::Zero(name));
            }
        }
        if self.fast > self.interval {
            return Err(CheckError::Fast);
        }
        if self.jitter > 50 {
            return Err(CheckError::Jitter);
        }
        if self.kind.needs_port() && self.port.is_none() && target.port == 0 {
            return Err(CheckError::NoPort);
        }
        if self.source.is_some_and(|it| it.is_ipv4() != target.address.is_ipv4()) {
            return Err(CheckError::SourceFamily);
        }
        if self.flap.is_some_and(|it| it.changes.get() < 2) {
            return Err(CheckError::Changes);
        }
        if matches!(&self.kind, Kind::Exec(options) if options.argv.is_empty()) {
            return Err(CheckError::NoProgram);
        }
        Ok(())
    }

    /// What is really probed: the target with the port of the check.
    pub fn destination(&self, target: Target) -> Target {
        self.port.map_or(target, |port| target.at_port(port.get()))
    }

    /// How TCP connections end.
    pub fn close(&self) -> Close {
        self.close.unwrap_or(match self.kind {
            Kind::Tcp(_) => Close::Rst,
            _ => Close::Fin,
        })
    }
}

impl Kind {
    /// The name of the kind.
    pub fn name(&self) -> KindName {
        match self {
            Self::Tcp(_) => KindName::Tcp,
            Self::Http(HttpOptions { tls: None, .. }) => KindName::Http,
            Self::Http(HttpOptions { tls: Some(_), .. }) => KindName::Https,
            Self::Tls(_) => KindName::Tls,
            Self::Dns(_) => KindName::Dns,
            Self::Udp(_) => KindName::Udp,
            Self::Icmp => KindName::Icmp,
            Self::Grpc(_) => KindName::Grpc,
            Self::Exec(_) => KindName::Exec,
            Self::File(_) => KindName::File,
        }
    }

    /// Whether a probe needs a port.
    pub fn needs_port(&self) -> bool {
        match self {
            Self::Tcp(_)
            | Self::Http(_)
            | Self::Tls(_)
            | Self::Dns(_)
            | Self::Udp(_)
            | Self::Grpc(_) => true,
            Self::Icmp | Self::Exec(_) | Self::File(_) => false,
        }
    }
}

impl fmt::Display for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::Https => "https",
            Self::Tls => "tls",
            Self::Dns => "dns",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Grpc => "grpc",
            Self::Exec => "exec",
            Self::File => "file",
        })
    }
}

impl fmt::Display for TimeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interval => "`interval`",
            Self::Fast => "`fast`",
            Self::Timeout => "`timeout`",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn target(text: &str) -> Target {
        text.parse::<SocketAddr>().unwrap().into()
    }

    fn tcp() -> Check {
        Check::new(Kind::Tcp(TcpOptions::default()))
    }

    #[test]
    fn checks_that_cannot_be_made_are_errors() {
        let one = target("10.0.0.1:80");
        assert_eq!(tcp().validate(one), Ok(()));
        let zero = Check { timeout: Duration::ZERO, ..tcp() };
        assert_eq!(zero.validate(one), Err(CheckError::Zero(TimeName::Timeout)));
        let fast = Check { fast: Duration::from_secs(3), ..tcp() };
        assert_eq!(fast.validate(one), Err(CheckError::Fast));
        assert_eq!(Check { jitter: 51, ..tcp() }.validate(one), Err(CheckError::Jitter));
        assert_eq!(tcp().validate(one.at_port(0)), Err(CheckError::NoPort));
        assert_eq!(Check::new(Kind::Icmp).validate(one.at_port(0)), Ok(()));
        let source = Check { source: Some("::1".parse().unwrap()), ..tcp() };
        assert_eq!(source.validate(one), Err(CheckError::SourceFamily));
        let second = Duration::from_secs(1);
        let flap =
            |changes| Check { flap: Some(Flap { changes, within: second, hold: second }), ..tcp() };
        let (one_change, two) = (NonZeroU32::MIN, NonZeroU32::MIN.saturating_add(1));
        assert_eq!(flap(one_change).validate(one), Err(CheckError::Changes));
        assert_eq!(flap(two).validate(one), Ok(()));
        let exec = Check::new(Kind::Exec(ExecOptions { argv: vec![], user: None }));
        assert_eq!(exec.validate(one), Err(CheckError::NoProgram));
    }

    #[test]
    fn tcp_resets_and_all_others_close() {
        assert_eq!(tcp().close(), Close::Rst);
        assert_eq!(Check { close: Some(Close::Fin), ..tcp() }.close(), Close::Fin);
        assert_eq!(Check::new(Kind::Http(HttpOptions::default())).close(), Close::Fin);
    }
}
