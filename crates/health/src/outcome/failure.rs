//! What a target did or did not do.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Stage;

/// Why a probe failed: what the target did or did not do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The time of the whole check ended.
    Timeout {
        /// What had not happened.
        stage: Stage,
        /// The time.
        after: Duration,
    },
    /// Nothing listens on the port: a reset, or for UDP an ICMP message.
    Refused,
    /// The target reset the connection.
    Reset,
    /// The target closed the connection before the reply was complete.
    Closed,
    /// There is no route, or a router or the network says that there is no way.
    Unreachable,
    /// Another error of the connection; the text is the kernel's.
    Connection {
        /// The error.
        error: String,
    },
    /// An HTTP status outside of the ranges of the check.
    Status {
        /// The status.
        status: u16,
    },
    /// The reply does not contain what the check expects.
    Unexpected {
        /// The beginning of the reply, printable.
        reply: String,
    },
    /// The reply is longer than the limit, and what the check expects is not in its beginning.
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The reply does not follow its protocol.
    Malformed {
        /// What is wrong.
        what: String,
    },
    /// The TLS handshake failed, or the certificate is not accepted.
    Tls {
        /// The error.
        error: String,
    },
    /// The certificate ends too soon.
    CertificateEnds {
        /// Whole days until then, rounded down: -1 on the first day after its end.
        days: i64,
        /// How many the check wants.
        min_days: u16,
    },
    /// The DNS server answered with an error (RCODE).
    DnsCode {
        /// The code.
        code: u8,
    },
    /// The DNS answer has no record of the type, or none with the wanted data.
    DnsAnswer {
        /// What it has instead; empty if it has no record of the type.
        found: Vec<String>,
    },
    /// gRPC reported an error.
    GrpcStatus {
        /// The status code.
        code: u32,
        /// Its message.
        message: String,
    },
    /// gRPC health reports another state than SERVING.
    NotServing {
        /// The state, by its number in the protocol.
        state: u64,
    },
    /// The program ended with another status than 0.
    Exit {
        /// The status.
        code: i32,
        /// The beginning of what it printed.
        output: String,
    },
    /// The file of a `file` check does not exist.
    NoFile,
    /// The file says `down`.
    FileDown {
        /// What follows that word.
        reason: String,
    },
    /// The file was not written for longer than the check allows.
    FileStale {
        /// How long.
        age: Duration,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { stage, after } => write!(f, "timeout: {stage} after {after:?}"),
            Self::Refused => f.write_str("connection refused"),
            Self::Reset => f.write_str("connection reset"),
            Self::Closed => f.write_str("connection closed before the reply was complete"),
            Self::Unreachable => f.write_str("unreachable"),
            Self::Connection { error } => f.write_str(error),
            Self::Status { status } => write!(f, "http {status}"),
            Self::Unexpected { reply } if reply.is_empty() => f.write_str("empty reply"),
            Self::Unexpected { reply } => write!(f, "unexpected reply `{reply}`"),
            Self::TooLong { limit } => {
                write!(f, "what is expected is not in the first {limit} bytes of the reply")
            }
            Self::Malformed { what } => write!(f, "malformed reply: {what}"),
            Self::Tls { error } => write!(f, "tls: {error}"),
            Self::CertificateEnds { days: -1, .. } => f.write_str("certificate expired today"),
            Self::CertificateEnds { days, .. } if *days < 0 => {
                write!(f, "certificate expired {} days ago", -1 - days)
            }
            Self::CertificateEnds { days, min_days } => {
                write!(f, "certificate expires in {days} days (min_days {min_days})")
            }
            Self::DnsCode { code } => match dns_code(*code) {
                Some(name) => write!(f, "dns {name}"),
                None => write!(f, "dns code {code}"),
            },
            Self::DnsAnswer { found } if found.is_empty() => f.write_str("dns: no such record"),
            Self::DnsAnswer { found } => write!(f, "dns answers {}", found.join(", ")),
            Self::GrpcStatus { code, message } if message.is_empty() => {
                write!(f, "grpc status {code}")
            }
            Self::GrpcStatus { code, message } => write!(f, "grpc status {code}: {message}"),
            Self::NotServing { state: 0 } => f.write_str("grpc UNKNOWN"),
            Self::NotServing { state: 2 } => f.write_str("grpc NOT_SERVING"),
            Self::NotServing { state: 3 } => f.write_str("grpc SERVICE_UNKNOWN"),
            Self::NotServing { state } => write!(f, "grpc health state {state}"),
            Self::Exit { code, output } if output.is_empty() => write!(f, "exit status {code}"),
            Self::Exit { code, output } => write!(f, "exit status {code}: {output}"),
            Self::NoFile => f.write_str("the file does not exist"),
            Self::FileDown { reason } if reason.is_empty() => f.write_str("the file says down"),
            Self::FileDown { reason } => write!(f, "the file says down: {reason}"),
            Self::FileStale { age } => {
                write!(f, "the file was not written for {} s", age.as_secs())
            }
        }
    }
}

fn dns_code(code: u8) -> Option<&'static str> {
    Some(match code {
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        _ => return None,
    })
}
