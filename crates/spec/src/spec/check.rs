//! Health checks, and where they are written.

use std::borrow::Cow;
use std::fmt;

use evenkeel_model::check::{Close, RecordType, StatusRange};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::check_text::{
    AnswerText, Argument, BodyText, DnsName, FileText, GrpcService, HeaderValue, HostText,
    HttpPath, MethodText, Payload, ServerName, UserText,
};
use super::entries::{Entries, Entry};
use super::keyword::{unknown, words};
use super::number::{CheckPort, Days, Results};
use super::parse_str::{InvalidText, schema, text};
use super::{Address, FineDuration, Flag, Name, Percent};
use crate::recovering_de::{Field, KeyOf, List, Refused, keys};
use crate::suggest;

keys! {
    /// A health check: one key for its kind, and when and how it is made.
    #[schemars(extend("oneOf" = [
        {"required": ["tcp"]}, {"required": ["http"]}, {"required": ["https"]},
        {"required": ["tls"]}, {"required": ["dns"]}, {"required": ["udp"]},
        {"required": ["icmp"]}, {"required": ["grpc"]}, {"required": ["exec"]},
        {"required": ["file"]},
    ]))]
    CheckKeys, "a check, a map such as `{ tcp: {} }`", {
        /// A TCP connection, and what is said over it.
        tcp: Box<TcpKeys>,
        /// An HTTP request.
        http: Box<HttpKeys>,
        /// An HTTP request over TLS.
        https: Box<HttpsKeys>,
        /// A TLS handshake, and until when the certificate is valid.
        tls: Box<TlsCheckKeys>,
        /// A DNS query.
        dns: Box<DnsKeys>,
        /// A UDP packet and its answer.
        udp: Box<UdpKeys>,
        /// An ICMP or ICMPv6 echo.
        icmp: IcmpKeys,
        /// gRPC's health protocol.
        grpc: Box<GrpcKeys>,
        /// A program of the host, by its exit status.
        exec: Box<ExecKeys>,
        /// A file of the host, which begins with `up` or `down`.
        file: Box<FileKeys>,
        /// The port that is probed. Absent means the real server's.
        port: CheckPort,
        /// The source address of probes. Absent means that the kernel chooses.
        source: Address,
        /// The time from the start of one probe to that of the next. Absent means 2s.
        interval: FineDuration,
        /// The interval while the verdict is open: after a failure of what is up, or a pass of what
        /// is down. Absent means 500ms, or the interval if that is shorter.
        fast: FineDuration,
        /// The time for the whole probe. Absent means 1s.
        timeout: FineDuration,
        /// How many passes in a row bring up what is down. Absent means 2.
        rise: Results,
        /// How many failures in a row take down what is up. Absent means 3.
        fall: Results,
        /// By which part of the interval a probe may start earlier, at most 50%. Absent means 10%.
        jitter: Percent,
        /// How TCP connections end: `rst` or `fin`. Absent means rst for tcp, and fin for all others.
        close: CloseWord,
    }
}

impl CheckKeys {
    /// The keys of kinds.
    pub(crate) const KINDS: [&'static str; 10] =
        ["tcp", "http", "https", "tls", "dns", "udp", "icmp", "grpc", "exec", "file"];
}

impl Entry for CheckKeys {
    const EXPECTED: &'static str = "checks, a map such as `{ web: { http: { path: / } } }`";
    const KEY: &'static str = "a check";
    const KEYS: &'static str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
}

keys! {
    /// A TCP connection, and what is said over it.
    TcpKeys, "the options of a check, a map such as `{ send: 'PING\\r\\n', expect: +PONG }`", {
        /// What is sent once connected. Absent means nothing.
        send: Payload,
        /// What the reply must contain. Absent means that the connection is enough.
        expect: Payload,
    }
}

keys! {
    /// A UDP packet and its answer.
    UdpKeys, "the options of a check, a map such as `{ send: ping, expect: pong }`", {
        /// What is sent. Absent means an empty packet.
        send: Payload,
        /// What the answer must contain; with an empty text, any answer passes. Absent means that
        /// silence passes too, and only an ICMP error is a failure.
        expect: Payload,
    }
}

keys! {
    /// An HTTP request and its response.
    HttpKeys, "the options of a request, a map such as `{ path: /healthz }`", {
        /// The method. Absent means GET.
        method: MethodText,
        /// The path with its query. Absent means /.
        path: HttpPath,
        /// The host of the request. Absent means the address of the real server.
        host: HostText,
        /// Further header fields.
        headers: Entries<HeaderValue>,
        /// Statuses that pass. Absent means 200-299.
        status: List<StatusText>,
        /// A text that the body must contain.
        body: BodyText,
        /// Whether the request is made in HTTP/2, by prior knowledge. Absent means false.
        http2: Flag,
    }
}

keys! {
    /// An HTTP request over TLS and its response.
    HttpsKeys, "the options of a request, a map such as `{ path: /healthz, sni: www.example.org }`", {
        /// The method. Absent means GET.
        method: MethodText,
        /// The path with its query. Absent means /.
        path: HttpPath,
        /// The host of the request, and the name of the certificate if `sni` is absent. Absent means
        /// the address of the real server.
        host: HostText,
        /// Further header fields.
        headers: Entries<HeaderValue>,
        /// Statuses that pass. Absent means 200-299.
        status: List<StatusText>,
        /// A text that the body must contain.
        body: BodyText,
        /// Whether HTTP/2 is the only version offered (true), or is not offered (false). Absent means
        /// that the server chooses between HTTP/2 and HTTP/1.1.
        http2: Flag,
        /// The name in SNI, which the certificate must be valid for.
        sni: ServerName,
        /// Whether the certificate must be valid. Absent means true.
        verify: Flag,
        /// A file of authorities, in the host's directory for them. Absent means those of the host.
        ca: FileText,
        /// The file of the client's certificate.
        cert: FileText,
        /// The file of its key.
        key: FileText,
    }
}

keys! {
    /// How a TLS session is opened.
    TlsKeys, "the options of TLS, a map such as `{ sni: www.example.org }`", {
        /// The name in SNI, which the certificate must be valid for. Absent means that it must be valid
        /// for the address.
        sni: ServerName,
        /// Whether the certificate must be valid. Absent means true.
        verify: Flag,
        /// A file of authorities, in the host's directory for them. Absent means those of the host.
        ca: FileText,
        /// The file of the client's certificate.
        cert: FileText,
        /// The file of its key.
        key: FileText,
    }
}

keys! {
    /// A TLS handshake, and until when the certificate is valid.
    TlsCheckKeys, "the options of a check, a map such as `{ sni: www.example.org, min_days: 7 }`", {
        /// The name in SNI, which the certificate must be valid for. Absent means that it must be valid
        /// for the address.
        sni: ServerName,
        /// Whether the certificate must be valid. Absent means true.
        verify: Flag,
        /// A file of authorities, in the host's directory for them. Absent means those of the host.
        ca: FileText,
        /// The file of the client's certificate.
        cert: FileText,
        /// The file of its key.
        key: FileText,
        /// For how many whole days the certificate must still be valid. Absent means that it must be
        /// valid now.
        min_days: Days,
    }
}

keys! {
    /// A DNS query.
    #[schemars(extend("required" = ["name"]))]
    DnsKeys, "the options of a query, a map such as `{ name: www.example.org }`", {
        /// The name that is asked for.
        name: DnsName,
        /// The type of its records. Absent means A.
        record as "type": RecordWord,
        /// The data that one of the records must have. Absent means any record of the type.
        answer: AnswerText,
    }
}

keys! {
    /// gRPC's health protocol.
    GrpcKeys, "the options of a check, a map such as `{ service: shop.Cart }`", {
        /// The service that is asked for. Absent means the server as a whole.
        service: GrpcService,
        /// The request is made over TLS. Absent means that it is not.
        tls: Box<TlsKeys>,
        /// The authority of the request. Absent means the name in SNI, else the address.
        authority: HostText,
    }
}

keys! {
    /// A program of the host.
    #[schemars(extend("required" = ["argv"]))]
    ExecKeys, "the program of a check, a map such as `{ argv: [check-db, --fast] }`", {
        /// The program, a name in the host's directory of check programs, and its arguments.
        argv: List<Argument>,
        /// The user as whom it runs, never root. Absent means the host's user for checks.
        user: UserText,
    }
}

keys! {
    /// A file of the host, which another program writes.
    #[schemars(extend("required" = ["path"]))]
    FileKeys, "the file of a check, a map such as `{ path: maintenance, max_age: 1m }`", {
        /// Its name in the host's directory for such files.
        path: FileText,
        /// How old it may be. Absent means any age.
        max_age: FineDuration,
    }
}

words! {
    /// How TCP connections end.
    CloseWord(Close), "an end of a connection", [
        "rst" => Close::Rst,
        "fin" => Close::Fin,
    ]
}
words! {
    /// A type of DNS records.
    RecordWord(RecordType), "a type of records", [
        "A" => RecordType::A,
        "AAAA" => RecordType::Aaaa,
        "NS" => RecordType::Ns,
        "CNAME" => RecordType::Cname,
        "SOA" => RecordType::Soa,
        "PTR" => RecordType::Ptr,
        "MX" => RecordType::Mx,
        "TXT" => RecordType::Txt,
        "SRV" => RecordType::Srv,
    ], meant upper_case
}

fn upper_case(written: &str) -> Option<String> {
    let upper = written.to_ascii_uppercase();
    RecordWord::WORDS.contains(&&*upper).then(|| format!("did you mean `{upper}`?"))
}

/// `200`, or `200-299`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StatusText(pub(crate) StatusRange);

struct StatusOrRange;

impl Visitor<'_> for StatusOrRange {
    type Value = StatusText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a status, one such as 200 or a range such as 200-299")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<StatusText, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_str<E: Error>(self, written: &str) -> Result<StatusText, E> {
        let status = |digits: &str| match digits.bytes().all(|byte| byte.is_ascii_digit()) {
            true => digits.parse::<u16>().ok().filter(|it| (100..=599).contains(it)),
            false => None,
        };
        let (first, last) = written.split_once('-').unwrap_or((written, written));
        let range = status(first).zip(status(last)).filter(|(first, last)| first <= last);
        let range = range.map(|(first, last)| StatusText(StatusRange { first, last }));
        range.ok_or_else(|| {
            let message = format!("{} is not a status of HTTP", suggest::quote(written));
            let remedy = "write one from 100 to 599, or a range such as 200-299";
            InvalidText::new(message, remedy).into_error()
        })
    }
}

impl<'de> Deserialize<'de> for StatusText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StatusOrRange)
    }
}

schema!(StatusText, {
    "anyOf": [
        { "type": "integer", "minimum": 100, "maximum": 599 },
        { "type": "string", "pattern": "^[1-5][0-9]{2}(-[1-5][0-9]{2})?$" },
    ],
});

/// The options of an `icmp` check: there are none.
#[derive(Debug)]
pub(crate) struct IcmpKeys;

struct NoKeys;

impl<'de> Visitor<'de> for NoKeys {
    type Value = IcmpKeys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the options of an icmp check, `{}` as it has none")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<IcmpKeys, A::Error> {
        while let Some(key) = map.next_key_seed(KeyOf(&[]))? {
            Refused::Unknown(key.err().unwrap_or_default(), &[]).refuse(&mut map)?;
        }
        Ok(IcmpKeys)
    }
}

impl<'de> Deserialize<'de> for IcmpKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NoKeys)
    }
}

schema!(IcmpKeys, { "type": "object", "maxProperties": 0 });

/// The value of `check`.
#[derive(Debug)]
pub(crate) enum CheckText {
    /// `none`.
    None,
    /// A check.
    One(CheckRef),
    /// Several, all of which must pass.
    All(List<CheckRef>),
}

/// A check by its name, or written in place.
#[derive(Debug)]
pub(crate) enum CheckRef {
    Named(Name),
    Inline(Box<CheckKeys>),
}

const CHECK: &str = "a check, the name of one, a map such as `{ tcp: {} }`, or a list of both";

/// The word for no check.
pub(crate) const NONE: &str = "none";

fn number_as_name<E: Error>(number: &str) -> E {
    let message = format!("`{number}` is a number, not the name of a check");
    InvalidText::new(message, format!("write it in quotes: \"{number}\"")).into_error()
}

struct CheckVisitor;

impl<'de> Visitor<'de> for CheckVisitor {
    type Value = CheckText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CHECK)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<CheckText, E> {
        Err(number_as_name(&number.to_string()))
    }

    fn visit_str<E: Error>(self, written: &str) -> Result<CheckText, E> {
        match written {
            NONE => Ok(CheckText::None),
            name => {
                let name = Name::parse(name).map_err(InvalidText::into_error)?;
                Ok(CheckText::One(CheckRef::Named(name)))
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CheckText, A::Error> {
        CheckKeys::read_map(map).map(|keys| CheckText::One(CheckRef::Inline(Box::new(keys))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<CheckText, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Field<CheckRef>>()? {
            items.push(item);
        }
        Ok(CheckText::All(List(items)))
    }
}

impl<'de> Deserialize<'de> for CheckText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CheckVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = CheckRef;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a check, the name of one or a map such as `{ tcp: {} }`")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<CheckRef, E> {
        Err(number_as_name(&number.to_string()))
    }

    fn visit_str<E: Error>(self, written: &str) -> Result<CheckRef, E> {
        if written == NONE {
            let message = "`none` cannot be in a list of checks";
            let remedy = "write `check: none`, or remove it from the list";
            return Err(InvalidText::new(message, remedy).into_error());
        }
        Name::parse(written).map(CheckRef::Named).map_err(InvalidText::into_error)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CheckRef, A::Error> {
        CheckKeys::read_map(map).map(|keys| CheckRef::Inline(Box::new(keys)))
    }
}

impl<'de> Deserialize<'de> for CheckRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemVisitor)
    }
}

impl JsonSchema for CheckRef {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "CheckRef".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (name, keys) =
            (generator.subschema_for::<Name>(), generator.subschema_for::<CheckKeys>());
        schemars::json_schema!({ "anyOf": [name, keys] })
    }
}

impl JsonSchema for CheckText {
    fn schema_name() -> Cow<'static, str> {
        "Check".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (name, keys) =
            (generator.subschema_for::<Name>(), generator.subschema_for::<CheckKeys>());
        let item = generator.subschema_for::<CheckRef>();
        let list = schemars::json_schema!({ "type": "array", "items": item, "minItems": 1 });
        schemars::json_schema!({ "anyOf": [name, keys, list] })
    }
}
