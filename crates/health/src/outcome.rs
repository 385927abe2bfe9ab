//! What a probe found: passed, failed, or unknown, with the reason as a typed value and its text.

mod failure;
mod fault;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use failure::Failure;
pub use fault::Fault;

/// The result of one probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The target answered as the check wants.
    Passed,
    /// The target did not answer, or answered otherwise.
    Failed(Failure),
    /// This host could not find out. It counts neither as a failure nor as a pass.
    Unknown(Fault),
}

/// What a probe was doing when its time ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The connection was not established.
    Connect,
    /// The TLS handshake was not complete.
    Handshake,
    /// The request was not sent completely.
    Send,
    /// No reply, or no complete one, had arrived.
    Reply,
    /// The program of an `exec` check had not ended.
    Program,
}

impl Outcome {
    /// Whether the probe passed.
    pub fn is_pass(&self) -> bool {
        matches!(self, Self::Passed)
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Fault> for Outcome {
    fn from(fault: Fault) -> Self {
        Self::Unknown(fault)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "no connection",
            Self::Handshake => "no TLS session",
            Self::Send => "request not taken",
            Self::Reply => "no complete reply",
            Self::Program => "the program still runs",
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Failed(failure) => failure.fmt(f),
            Self::Unknown(fault) => write!(f, "unknown: {fault}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn reasons_are_short_texts() {
        let after = Duration::from_secs(1);
        let found = vec!["10.0.0.1".to_owned(), "10.0.0.2".to_owned()];
        let message = "unknown service".to_owned();
        for (failure, text) in [
            (Failure::Timeout { stage: Stage::Connect, after }, "timeout: no connection after 1s"),
            (
                Failure::Timeout { stage: Stage::Reply, after: after / 2 },
                "timeout: no complete reply after 500ms",
            ),
            (Failure::Refused, "connection refused"),
            (Failure::Status { status: 503 }, "http 503"),
            (Failure::Unexpected { reply: String::new() }, "empty reply"),
            (Failure::Unexpected { reply: "-ERR".to_owned() }, "unexpected reply `-ERR`"),
            (
                Failure::CertificateEnds { days: 6, min_days: 7 },
                "certificate expires in 6 days (min_days 7)",
            ),
            (Failure::CertificateEnds { days: -1, min_days: 7 }, "certificate expired today"),
            (Failure::CertificateEnds { days: -3, min_days: 7 }, "certificate expired 2 days ago"),
            (Failure::DnsCode { code: 2 }, "dns SERVFAIL"),
            (Failure::DnsCode { code: 9 }, "dns code 9"),
            (Failure::DnsAnswer { found }, "dns answers 10.0.0.1, 10.0.0.2"),
            (Failure::DnsAnswer { found: vec![] }, "dns: no such record"),
            (Failure::GrpcStatus { code: 5, message }, "grpc status 5: unknown service"),
            (Failure::NotServing { state: 2 }, "grpc NOT_SERVING"),
            (Failure::Exit { code: 2, output: String::new() }, "exit status 2"),
            (Failure::FileDown { reason: "bfd".to_owned() }, "the file says down: bfd"),
        ] {
            assert_eq!(failure.to_string(), text);
            let stored = serde_json::to_string(&failure).unwrap();
            assert_eq!(serde_json::from_str::<Failure>(&stored).unwrap(), failure);
        }
        let unknown = Outcome::from(Fault::Descriptors);
        assert_eq!(unknown.to_string(), "unknown: no file descriptors are left on this host");
    }
}
