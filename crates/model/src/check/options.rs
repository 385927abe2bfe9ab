//! The options of each kind of check.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A TCP connection, and what is said over it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct TcpOptions {
    /// Sent once connected; empty: nothing.
    pub send: Vec<u8>,
    /// What the reply must contain; `None`: the connection is enough.
    pub expect: Option<Vec<u8>>,
}

/// A UDP packet and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct UdpOptions {
    /// The payload; may be empty.
    pub send: Vec<u8>,
    /// What the answer must contain (nothing: any answer will do); `None`: silence passes too, at the
    /// end of the timeout, and only an ICMP error is a failure.
    pub expect: Option<Vec<u8>>,
}

/// How a TLS session is opened. Files are names in the host's directory for them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TlsOptions {
    /// The name in SNI, and in the certificate if `verify`; `None`: no SNI, and the certificate must
    /// be valid for the address.
    pub sni: Option<String>,
    /// Whether the certificate must be valid, for the name and by a trusted authority.
    pub verify: bool,
    /// A file of authorities; `None`: those of the host.
    pub ca: Option<String>,
    /// What the client presents.
    pub client: Option<ClientCertificate>,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self { sni: None, verify: true, ca: None, client: None }
    }
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// The file of the certificate, with its chain.
    pub certificate: String,
    /// The file of the key.
    pub key: String,
}

/// A TLS handshake, and until when the certificate is valid.
///
/// In TLS 1.3, a server refuses a client certificate only after the handshake: that is seen by `https`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct TlsCheckOptions {
    /// How the session is opened.
    pub tls: TlsOptions,
    /// How many whole days the server's certificate must be valid; `None`: any.
    pub min_days: Option<u16>,
}

/// Which version of HTTP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpVersion {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: over TLS by ALPN, without TLS by prior knowledge. A server that offers none fails.
    Http2,
    /// Over TLS what the server prefers; without TLS HTTP/1.1.
    Negotiated,
}

/// A range of HTTP statuses, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StatusRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// A header field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// An HTTP request and its response.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HttpOptions {
    /// Over TLS: `https`; `None`: `http`.
    pub tls: Option<TlsOptions>,
    /// The version.
    pub version: HttpVersion,
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The host in the request; `None`: the address. Over TLS also the name if `sni` is `None`.
    pub host: Option<String>,
    /// Further fields.
    pub headers: Vec<Header>,
    /// Statuses that pass.
    pub status: Vec<StatusRange>,
    /// A text that the body must contain, within its first 64 KiB.
    pub body: Option<String>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            tls: None,
            version: HttpVersion::Http1,
            method: "GET".to_owned(),
            path: "/".to_owned(),
            host: None,
            headers: Vec::new(),
            status: vec![StatusRange { first: 200, last: 299 }],
            body: None,
        }
    }
}

/// A type of DNS records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the names are those of DNS")]
pub enum RecordType {
    A,
    Ns,
    Cname,
    Soa,
    Ptr,
    Mx,
    Txt,
    Aaaa,
    Srv,
}

/// A DNS query over UDP, over TCP where the answer is truncated.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DnsOptions {
    /// The name that is asked for; `.` is the root.
    pub name: String,
    /// The type of the records.
    pub record: RecordType,
    /// The data of a record that the answer must have, as in a zone file; `None`: any of the type.
    pub answer: Option<String>,
}

/// gRPC's health protocol (`grpc.health.v1.Health/Check`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct GrpcOptions {
    /// The service; empty: the server as a whole.
    pub service: String,
    /// Over TLS; `None`: HTTP/2 by prior knowledge.
    pub tls: Option<TlsOptions>,
    /// The authority of the request; `None`: the name in SNI, else the address.
    pub authority: Option<String>,
}

/// A program of the host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ExecOptions {
    /// The program, a name in the host's directory of check programs, and its arguments.
    pub argv: Vec<String>,
    /// The user as whom it runs; `None`: the host's user for checks. Never root.
    pub user: Option<String>,
}

/// A file that another program writes: `up` or `down`, and then a reason.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileOptions {
    /// Its name in the host's directory for such files.
    pub path: PathBuf,
    /// How old it may be; `None`: as old as it is.
    pub max_age: Option<Duration>,
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::Ns => "NS",
            Self::Cname => "CNAME",
            Self::Soa => "SOA",
            Self::Ptr => "PTR",
            Self::Mx => "MX",
            Self::Txt => "TXT",
            Self::Aaaa => "AAAA",
            Self::Srv => "SRV",
        })
    }
}
